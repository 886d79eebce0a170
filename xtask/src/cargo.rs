//! Programs of this repository: building one, and asking it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::tools::Tools;

/// Cargo, as if it was called from a shell: `cargo run` tells this program about its package, and build scripts that look
/// at such variables (ring's) would run again, with all that depends on them.
pub fn cargo(repo: &Path) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.current_dir(repo);
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|start| name.starts_with(start))
        });
        if is_ours {
            command.env_remove(name);
        }
    }
    command
}

/// [`cargo`] with the compiler itself, also where CI checks the code while it compiles: Clippy as the compiler leaves out
/// what makes programs fast and modules small.
pub fn optimising(repo: &Path) -> Command {
    let mut command = cargo(repo);
    command.env_remove("RUSTC_WORKSPACE_WRAPPER");
    command
}

/// Builds one target (`--bin NAME` and the like) and says where its executable is.
///
/// # Errors
/// If it does not build.
pub fn build(tools: &Tools, target: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    executable(cargo(tools.repo()), target, name)
}

/// [`build`] of something that is to be measured.
///
/// # Errors
/// If it does not build.
pub fn build_optimised(tools: &Tools, target: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    executable(optimising(tools.repo()), target, name)
}

fn executable(mut cargo: Command, target: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    // The whole workspace chooses the features, so that all programs and tests share what they depend on.
    let mut args = vec!["build", "--workspace", "--message-format", "json-render-diagnostics"];
    args.extend(target);
    let output = cargo.args(&args).stderr(Stdio::inherit()).output().context("cargo build")?;
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
