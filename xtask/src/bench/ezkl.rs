//! The same Adam update with EZKL, from PyPI, in an environment of its own under the cache folder.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::tools::Tools;

/// What pip installs. The versions are part of what is measured.
const PACKAGES: [&str; 3] = ["ezkl==23.0.5", "onnx==1.23.2", "numpy==2.4.6"];
/// Makes the model, proves and measures.
const SCRIPT: &str = include_str!("ezkl_adam.py");

/// The environment's Python, installed if it is missing.
fn python(tools: &Tools) -> anyhow::Result<PathBuf> {
    let dir = tools.repo().join(".cache/ezkl");
    let python = dir.join("bin/python");
    let stamp = dir.join(".installed");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!("xtask: installing {} from PyPI into {}", PACKAGES.join(", "), dir.display());
    let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir).status();
    ensure!(venv.context("run python3 (is Python installed?)")?.success(), "python3 -m venv {} failed", dir.display());
    let status = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES)
        .status()
        .context("run pip")?;
    ensure!(status.success(), "pip install failed: {status}");
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    Ok(python)
}

/// One row for each number of parameters, each of `repeat` proofs.
pub fn sizes(tools: &Tools, sizes: &[u64], repeat: usize) -> anyhow::Result<Value> {
    let python = python(tools)?;
    let scratch = tools.repo().join(".cache/bench/ezkl");
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let script = scratch.join("ezkl_adam.py");
    fs::write(&script, SCRIPT).with_context(|| format!("write {}", script.display()))?;
    let mut rows = Vec::new();
    for size in sizes {
        println!("== EZKL, {size} parameters");
        let dir = scratch.join(size.to_string());
        let output = Command::new(&python)
            .arg(&script)
            .arg(size.to_string())
            .arg(&dir)
            .arg(repeat.to_string())
            // It looks for a home of its own.
            .env("HOME", &scratch)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("run EZKL")?;
        ensure!(output.status.success(), "EZKL with {size} parameters failed: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().context("EZKL printed nothing")?;
        rows.push(serde_json::from_str(last).context("answer of EZKL")?);
        // Keys of a few gigabytes.
        fs::remove_dir_all(&dir).ok();
    }
    Ok(Value::Array(rows))
}
