//! The same Adam update with EZKL, from PyPI, in an environment of its own under the cache folder.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{python::environment, tools::Tools};

/// What pip installs. The versions are part of what is measured.
const PACKAGES: [&str; 3] = ["ezkl==23.0.5", "onnx==1.23.2", "numpy==2.4.6"];
/// Makes the model, proves and measures.
const SCRIPT: &str = include_str!("ezkl_adam.py");

/// One row for each number of parameters, each of `repeat` proofs.
pub fn sizes(tools: &Tools, sizes: &[u64], repeat: usize) -> anyhow::Result<Value> {
    let python = environment(&tools.repo().join(".cache/ezkl"), &PACKAGES)?;
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
