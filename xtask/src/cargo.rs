//! Programs of this repository: building one, and asking it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::tools::Tools;

fn cargo(tools: &Tools) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.current_dir(tools.repo()).stderr(Stdio::inherit());
    command
}

/// Whether programs are built with the features that the tests of the whole workspace need.
static WITH_TESTS: AtomicBool = AtomicBool::new(false);

/// From now on programs share all artifacts with `cargo test --workspace`, which asks dependencies for more features than
/// one package does. Without this each is compiled once more; with it the first program takes longer to build.
pub fn share_with_tests() {
    WITH_TESTS.store(true, Ordering::Relaxed);
}

/// Builds one target (`--bin NAME` and the like) of a package and says where its executable is.
///
/// # Errors
/// If it does not build.
pub fn build(tools: &Tools, package: &str, target: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let mut args = vec!["build", "--message-format", "json-render-diagnostics"];
    if WITH_TESTS.load(Ordering::Relaxed) {
        // An example brings in the features of development dependencies.
        args.extend(["--workspace", "--example", "generated"]);
    } else {
        args.extend(["--package", package]);
    }
    args.extend(target);
    let output = cargo(tools).args(&args).output().context("cargo build")?;
    ensure!(output.status.success(), "cargo {} failed", args.join(" "));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where {name} is"))
}

/// Runs a program that prints one JSON value.
///
/// # Errors
/// If it fails or prints something else.
pub fn measure(program: &Path, args: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    ensure!(output.status.success(), "{} {} failed: {}", program.display(), args.join(" "), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("answer of {}", program.display()))
}
