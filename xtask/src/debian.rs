//! Programs of Debian's current release, unpacked with the libraries they need. Nothing is installed on the machine; apt's
//! own settings and state are left alone.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::tools::write_wrapper;

/// Debian's release, and the key that its lists are signed with.
pub const RELEASE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Runs a program that says why it failed, and nothing else.
///
/// # Errors
/// If it cannot be started or fails, with what it wrote to stderr.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let what = format!("{} {:?}", command.get_program().display(), command.get_args().last().unwrap_or_default());
    let output = command.stdin(Stdio::null()).output().with_context(|| what.clone())?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Unpacks `packages` and what they depend on into `dir`, with an apt of its own, for which nothing is installed yet, and
/// writes a starter into `bin` for each of `executables`.
///
/// # Errors
/// If apt-get or dpkg are missing or fail, or the packages lack an executable.
pub fn unpack(dir: &Path, bin: &Path, packages: &[&str], executables: &[&str]) -> anyhow::Result<()> {
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
    install.extend(packages);
    apt(&install)?;
    let archives = dir.join("cache/archives");
    for entry in fs::read_dir(&archives).with_context(|| format!("list {}", archives.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
        }
    }
    let libraries = root.join("usr/lib").join(triplet);
    for executable in executables {
        let found =
            ["usr/bin", "usr/sbin"].iter().map(|folder| root.join(folder).join(executable)).find(|f| f.is_file());
        let target = found.with_context(|| format!("Debian's packages have no {executable}"))?;
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
