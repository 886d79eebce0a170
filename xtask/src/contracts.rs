//! `cargo xtask contracts build|test|snapshot|check`.
//!
//! `contracts/artifacts/*.json` hold the ABI and bytecode of what is deployed, so that running needs no compiler;
//! `check` fails when they differ from a fresh build. `contracts/snapshots` holds gas and code sizes that tests measure;
//! `test` fails when they are others, `snapshot` writes them anew.

use std::{fs, iter, path::PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::tools::Tools;

/// Contracts whose bytecode is committed, and the interface of the generated ones, for their errors.
const DEPLOYED: [&str; 3] = ["RunAnchor", "VerifierRegistry", "IEpochVerifier"];

/// Without the cache: other forge commands leave outputs without bytecode behind.
const FRESH_BUILD: [&str; 4] = ["build", "--force", "--skip", "test"];

/// Runs what measures, and writes instead of comparing.
const SNAPSHOT: [&str; 4] = ["test", "--match-contract", "(Gas|RealProof)$", "--gas-snapshot-check=false"];

/// What to do with the contracts.
#[derive(Subcommand)]
pub enum Action {
    /// Compile, and write `contracts/artifacts`.
    Build,
    /// Run the contracts' tests.
    Test {
        /// More arguments of `forge test`, as `--match-contract RealProof`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write `contracts/snapshots`.
    Snapshot,
    /// Fail if `contracts/artifacts` or the formatting differ from a fresh build.
    Check,
}

/// Runs one action.
///
/// # Errors
/// If a tool is missing, compilation or a test fails, or (`check`) an artifact is stale.
pub fn run(action: Action) -> anyhow::Result<()> {
    let tools = Tools::locate()?;
    match action {
        Action::Build => {
            forge(&tools, &FRESH_BUILD)?;
            for name in DEPLOYED {
                let path = artifact_path(&tools, name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
                }
                fs::write(&path, fresh_artifact(&tools, name)?).with_context(|| format!("write {}", path.display()))?;
                println!("contracts: wrote {}", path.display());
            }
            Ok(())
        }
        Action::Test { args } => {
            let args: Vec<&str> = iter::once("test").chain(args.iter().map(String::as_str)).collect();
            forge(&tools, &args)
        }
        Action::Snapshot => forge(&tools, &SNAPSHOT),
        Action::Check => {
            forge(&tools, &["fmt", "--check"])?;
            forge(&tools, &FRESH_BUILD)?;
            for name in DEPLOYED {
                let path = artifact_path(&tools, name);
                let committed = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                if committed != fresh_artifact(&tools, name)? {
                    bail!("{} is stale: run `cargo xtask contracts build`", path.display());
                }
            }
            println!("contracts: artifacts are fresh");
            Ok(())
        }
    }
}

fn forge(tools: &Tools, args: &[&str]) -> anyhow::Result<()> {
    let status = tools.command("forge")?.args(args).status().context("run forge")?;
    if !status.success() {
        bail!("forge {} failed: {status}", args.join(" "));
    }
    Ok(())
}

fn artifact_path(tools: &Tools, name: &str) -> PathBuf {
    tools.repo().join(format!("contracts/artifacts/{name}.json"))
}

/// Name, compiler, ABI and both bytecodes, from forge's output.
fn fresh_artifact(tools: &Tools, name: &str) -> anyhow::Result<String> {
    let path = tools.repo().join(format!("contracts/out/{name}.sol/{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let built: Value = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    let take =
        |pointer: &str| built.pointer(pointer).cloned().with_context(|| format!("{}: no {pointer}", path.display()));
    let artifact = json!({
        "generated_by": "cargo xtask contracts build",
        "contract": name,
        "compiler": take("/metadata/compiler/version")?,
        "abi": take("/abi")?,
        "bytecode": take("/bytecode/object")?,
        "deployed_bytecode": take("/deployedBytecode/object")?,
    });
    Ok(serde_json::to_string_pretty(&artifact)? + "\n")
}
