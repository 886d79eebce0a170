//! Chromium, with which the island and pages are tested: Debian's, driven by the `playwright-core` of `tools`.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};

/// Where Debian puts it.
pub const CHROMIUM: &str = "/usr/bin/chromium";

/// Installs Chromium unless it is there.
///
/// # Errors
/// If apt-get is missing or fails; it asks for the rights of the administrator.
pub fn install() -> anyhow::Result<()> {
    if Path::new(CHROMIUM).is_file() {
        return Ok(());
    }
    eprintln!("xtask: installing chromium from Debian");
    for args in [&["update", "--quiet"][..], &["install", "--quiet", "--yes", "--no-install-recommends", "chromium"]] {
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null())
            .status()
            .context("run apt-get: without it, install chromium by hand")?;
        ensure!(status.success(), "apt-get {} failed: {status}", args[0]);
    }
    ensure!(Path::new(CHROMIUM).is_file(), "apt-get installed no {CHROMIUM}");
    Ok(())
}
