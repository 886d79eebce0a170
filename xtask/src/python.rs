//! Python environments in the cache folder, and the one that the package in `python/` is tested with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{cargo, tools::Tools};

/// What the tests run with, one requirement a line.
const REQUIREMENTS: &str = include_str!("../../python/requirements-test.txt");

/// The Python of the environment in `dir`, into which these packages are installed from PyPI unless they are there.
///
/// What it has besides stays: worktrees that share a cache may be at different pins, and torch has gigabytes.
///
/// # Errors
/// If Python is missing or an installation fails.
pub fn environment(dir: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let python = dir.join("bin/python");
    let stamp = dir.join(".installed");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!("xtask: installing {} from PyPI into {}", packages.join(", "), dir.display());
    // An interrupted creation leaves a Python without pip.
    let has_pip = Command::new(&python).args(["-m", "pip", "--version"]).output();
    if !has_pip.is_ok_and(|output| output.status.success()) {
        let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir).status();
        let made = venv.context("run python3 (is Python installed?)")?.success();
        ensure!(made, "python3 -m venv {} failed", dir.display());
    }
    let status = Command::new(&python)
        // pip's own cache would hold gigabytes a second time.
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"])
        .args(packages)
        .status()
        .context("run pip")?;
    ensure!(status.success(), "pip install failed: {status}");
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    Ok(python)
}

/// The Python that has what `python/` is tested with.
///
/// # Errors
/// As [`environment`].
pub fn for_tests(tools: &Tools) -> anyhow::Result<PathBuf> {
    environment(&tools.cache().join("python"), &requirements())
}

fn requirements() -> Vec<&'static str> {
    REQUIREMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The runner of the package's tests, which prove with a real `cairn`.
///
/// # Errors
/// As [`environment`]; if `cairn` does not build.
pub fn tests(tools: &Tools) -> anyhow::Result<Command> {
    let mut command = Command::new(for_tests(tools)?);
    command.env("CAIRN_BIN", cargo::build(tools, &["--bin", "cairn"], "cairn")?);
    command.env("CAIRN_TOOLS", tools.bin_dir());
    command.args(["-B", "-m", "pytest", "-p", "no:cacheprovider"]).current_dir(tools.repo().join("python"));
    Ok(command)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_requirement_is_pinned() {
        let requirements = super::requirements();
        assert!(requirements.len() > 3);
        assert!(requirements.iter().all(|r| r.contains("==")), "{requirements:?}");
    }
}
