//! `cargo xtask generate [--check]`: the verifier of the demo's epochs as the contracts hold it.
//!
//! `contracts/src/generated` holds its source, `testdata/anchor/demo.json` its creation code; both follow from the
//! verifying key in `testdata/verifier`.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::{cargo, tools::Tools};

/// Write the generated verifier and its code.
#[derive(Args, Default)]
pub struct Generate {
    /// Write nothing; fail if a file is another one.
    #[arg(long)]
    check: bool,
}

/// The source.
const SOURCE: &str = "contracts/src/generated/EpochVerifier4.sol";
/// Where the creation code stands.
const VECTORS: &str = "testdata/anchor/demo.json";

/// Writes or compares.
///
/// # Errors
/// If the key in the vectors is another one, a tool fails, or (`--check`) a file is stale.
pub fn run(generate: &Generate) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    tools.install()?;
    let program = cargo::build(&tools, &["--example", "generated"], "generated")?;
    let answer = cargo::measure(&program, &[])?;
    let text = |name: &str| answer[name].as_str().with_context(|| format!("the generator gave no {name}"));

    let path = tools.repo().join(VECTORS);
    let vectors = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut vectors: Value = serde_json::from_str(&vectors).with_context(|| format!("parse {}", path.display()))?;
    let key = text("key_digest")?;
    if vectors["verifier_key"] != key {
        bail!("{VECTORS} has key {}, testdata/verifier has {key}: run `cargo xtask fixtures`", vectors["verifier_key"]);
    }
    vectors["verifier_code"] = Value::from(text("creation_code")?);
    generate.settle(tools.repo(), SOURCE, text("solidity")?)?;
    generate.settle(tools.repo(), VECTORS, &(serde_json::to_string_pretty(&vectors)? + "\n"))
}

impl Generate {
    /// Compares, and writes nothing.
    pub fn checked() -> Self {
        Self { check: true }
    }

    fn settle(&self, repo: &Path, name: &str, content: &str) -> anyhow::Result<()> {
        let path = repo.join(name);
        if !self.check {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
            }
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
            println!("generate: wrote {name}");
        } else if fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))? != content {
            bail!("{name} is stale: run `cargo xtask generate`");
        } else {
            println!("generate: {name} is fresh");
        }
        Ok(())
    }
}
