//! Torrent clients of others, with which ours is tested: Transmission and aria2 from Debian, libtorrent from PyPI.
//!
//! They are in `<cache>/clients`. Debian's current release has them; older ones have Transmission 3 and aria2 1.36, which
//! cannot read an empty key and so no hybrid torrent.

use std::{fs, path::Path, process::Command};

use anyhow::Context;

use crate::debian::{self, run};
use crate::tools::{Tools, write_wrapper};

/// Debian's packages; what they depend on comes with them.
const DEBIAN: [&str; 3] = ["aria2", "transmission-cli", "transmission-daemon"];
/// What tests run of them.
const EXECUTABLES: [&str; 5] =
    ["aria2c", "transmission-cli", "transmission-daemon", "transmission-remote", "transmission-show"];
/// What pip installs.
const PYPI: [&str; 1] = ["libtorrent==2.1.1"];

/// Installs the clients into `<cache>/clients/bin` unless they are there.
///
/// # Errors
/// If apt-get, dpkg or Python are missing or fail.
pub fn install(tools: &Tools) -> anyhow::Result<()> {
    let dir = tools.cache().join("clients");
    let stamp = dir.join(".installed");
    let wanted = format!("{}\n{}\n{}\n", debian::RELEASE, DEBIAN.join(" "), PYPI.join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("xtask: installing torrent clients from Debian and PyPI into {}", dir.display());
    fs::create_dir_all(dir.join("bin")).with_context(|| format!("create {}", dir.display()))?;
    // Scripts get the path: a cache shared by links must not be found through one of them only.
    let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
    let bin = dir.join("bin");
    debian::unpack(&dir.join("debian"), &bin, &DEBIAN, &EXECUTABLES)?;
    python(&dir.join("python"), &bin)?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}

/// An environment with libtorrent.
fn python(dir: &Path, bin: &Path) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir)).context("is Python installed?")?;
    let python = dir.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYPI))?;
    write_wrapper(&bin.join("libtorrent-python"), &format!("exec \"{}\" -W ignore \"$@\"", python.display()))
}
