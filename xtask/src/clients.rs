//! Torrent clients of others, with which ours is tested: Transmission and aria2 from Debian, libtorrent from PyPI.
//!
//! Debian's current release is unpacked into `<cache>/clients`, with the libraries it needs: older releases have
//! Transmission 3 and aria2 1.36, which cannot read an empty key and so no hybrid torrent. Nothing is installed on the
//! machine; apt's own settings and state are left alone.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::tools::{Tools, write_wrapper};

/// Debian's packages; what they depend on comes with them.
const DEBIAN: [&str; 3] = ["aria2", "transmission-cli", "transmission-daemon"];
/// What tests run of them.
const EXECUTABLES: [&str; 5] =
    ["aria2c", "transmission-cli", "transmission-daemon", "transmission-remote", "transmission-show"];
/// Debian's release, and the key that its lists are signed with.
const RELEASE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What pip installs.
const PYPI: [&str; 1] = ["libtorrent==2.1.1"];

/// Installs the clients into `<cache>/clients/bin` unless they are there.
///
/// # Errors
/// If apt-get, dpkg or Python are missing or fail.
pub fn install(tools: &Tools) -> anyhow::Result<()> {
    let dir = tools.cache().join("clients");
    let stamp = dir.join(".installed");
    let wanted = format!("{RELEASE}\n{}\n{}\n", DEBIAN.join(" "), PYPI.join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("xtask: installing torrent clients from Debian and PyPI into {}", dir.display());
    fs::create_dir_all(dir.join("bin")).with_context(|| format!("create {}", dir.display()))?;
    // Scripts get the path: a cache shared by links must not be found through one of them only.
    let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
    let bin = dir.join("bin");
    debian(&dir.join("debian"), &bin)?;
    python(&dir.join("python"), &bin)?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let what = format!("{} {:?}", command.get_program().display(), command.get_args().last().unwrap_or_default());
    let output = command.stdin(Stdio::null()).output().with_context(|| what.clone())?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Downloads with an apt of its own, for which nothing is installed yet, and unpacks.
fn debian(dir: &Path, bin: &Path) -> anyhow::Result<()> {
    let (triplet, loader) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
        other => bail!("no loader is known for {other}"),
    };
    let root = dir.join("root");
    for folder in ["lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(dir.join(folder)).with_context(|| format!("create {}", dir.display()))?;
    }
    let source = format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n");
    for (name, text) in [("sources.list", source.as_str()), ("status", "")] {
        fs::write(dir.join(name), text).with_context(|| format!("write {name} in {}", dir.display()))?;
    }
    let apt = |action: &[&str]| {
        let mut command = Command::new("apt-get");
        let at = |name: &str| dir.join(name).display().to_string();
        for setting in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            "Debug::NoLocking=1".to_owned(),
            // The folder may be one that apt's own user cannot enter.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &setting]);
        }
        run(command.args(action))
    };
    apt(&["-qq", "update"])?;
    let mut install = vec!["-qq", "-y", "--download-only", "--no-install-recommends", "install"];
    install.extend(DEBIAN);
    apt(&install)?;
    let archives = dir.join("cache/archives");
    for entry in fs::read_dir(&archives).with_context(|| format!("list {}", archives.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
        }
    }
    let libraries = root.join("usr/lib").join(triplet);
    for executable in EXECUTABLES {
        let target = root.join("usr/bin").join(executable);
        ensure!(target.is_file(), "Debian's packages have no {}", target.display());
        // With the release's own C library.
        let (loader, libraries) = (libraries.join(loader), libraries.display());
        let line =
            format!("exec \"{}\" --library-path \"{libraries}\" \"{}\" \"$@\"", loader.display(), target.display());
        write_wrapper(&bin.join(executable), &line)?;
    }
    for folder in ["cache", "lists"] {
        fs::remove_dir_all(dir.join(folder)).with_context(|| format!("remove {folder} in {}", dir.display()))?;
    }
    Ok(())
}

/// An environment with libtorrent.
fn python(dir: &Path, bin: &Path) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir)).context("is Python installed?")?;
    let python = dir.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYPI))?;
    write_wrapper(&bin.join("libtorrent-python"), &format!("exec \"{}\" -W ignore \"$@\"", python.display()))
}
