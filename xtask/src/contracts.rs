//! `cargo xtask contracts build|test|snapshot|slither|check`.
//!
//! `contracts/artifacts/*.json` hold the ABI and bytecode of what is deployed, so that running needs no compiler;
//! `check` fails when they differ from a fresh build. `contracts/snapshots` holds gas and code sizes that tests measure;
//! `test` fails when they are others, `snapshot` writes them anew. `slither` must find nothing that `docs/slither.md` does not answer.

use std::{fs, iter, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::tools::Tools;

/// Contracts whose bytecode is committed, and the interface of the generated ones, for their errors.
const DEPLOYED: [&str; 4] = ["RunAnchor", "VerifierRegistry", "Attestations", "IEpochVerifier"];

/// Without the cache: other forge commands leave outputs without bytecode behind.
const FRESH_BUILD: [&str; 5] = ["build", "--force", "--skip", "test", "script"];

/// The analyser, pinned; also the name of its folder in the cache.
const SLITHER: &str = "slither-analyzer==0.11.6";

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
    /// Run the static analyser slither (PyPI, into the cache); fail if it finds anything.
    Slither,
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
        Action::Slither => slither(&tools),
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

/// Settings and what is excluded: `slither.config.json`; answers: `docs/slither.md`.
fn slither(tools: &Tools) -> anyhow::Result<()> {
    let venv = tools.cache().join(SLITHER);
    let program = venv.join("bin/slither");
    if !program.is_file() {
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run_command(Command::new(venv.join("bin/pip")).args(["install", "--quiet", SLITHER]))?;
    }
    forge(tools, &[FRESH_BUILD.as_slice(), &["--build-info"]].concat())?;
    // Slither asks forge for the project's settings.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(iter::once(tools.bin_dir()).chain(std::env::split_paths(&path)))?;
    run_command(Command::new(program).arg(".").current_dir(tools.repo()).env("PATH", path))
}

fn run_command(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(())
}

fn artifact_path(tools: &Tools, name: &str) -> PathBuf {
    tools.repo().join(format!("contracts/artifacts/{name}.json"))
}

/// Where the runtime code repeats the contract's only immutable, a word each; its value comes from the constructor.
fn immutable_offsets(name: &str, references: Option<&Value>) -> anyhow::Result<Vec<u64>> {
    let Some(references) = references.and_then(Value::as_object) else { return Ok(Vec::new()) };
    if references.len() > 1 {
        bail!("{name}: {} immutables, whoever compares runtime code knows of one", references.len());
    }
    let mut offsets = Vec::new();
    for place in references.values().filter_map(Value::as_array).flatten() {
        match (place["start"].as_u64(), place["length"].as_u64()) {
            (Some(start), Some(32)) => offsets.push(start),
            _ => bail!("{name}: expected an immutable of one word, got {place}"),
        }
    }
    offsets.sort_unstable();
    Ok(offsets)
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
        "immutable_offsets": immutable_offsets(name, built.pointer("/deployedBytecode/immutableReferences"))?,
        "deployed_bytecode": take("/deployedBytecode/object")?,
    });
    Ok(serde_json::to_string_pretty(&artifact)? + "\n")
}
