//! The broker between prover service and workers, with which both are tested: `nats-server` from Debian.

use std::fs;

use anyhow::Context;

use crate::debian;
use crate::tools::Tools;

/// Debian's package, and what is run of it.
const SERVER: [&str; 1] = ["nats-server"];

/// Installs it into `<cache>/nats/bin` unless it is there.
///
/// # Errors
/// If apt-get or dpkg are missing or fail.
pub fn install(tools: &Tools) -> anyhow::Result<()> {
    let dir = tools.cache().join("nats");
    let stamp = dir.join(".installed");
    let wanted = format!("{}\n{}\n", debian::RELEASE, SERVER.join(" "));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("xtask: installing nats-server from Debian into {}", dir.display());
    fs::create_dir_all(dir.join("bin")).with_context(|| format!("create {}", dir.display()))?;
    // The starter gets the path: a cache shared by links must not be found through one of them only.
    let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
    debian::unpack(&dir.join("debian"), &dir.join("bin"), &SERVER, &SERVER)?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}
