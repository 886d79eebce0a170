//! The same epoch anchored as it is and wrapped: proving time and memory beside the gas of the transaction.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::table::{bytes, least, line, number};
use crate::{
    cargo::build_optimised,
    demo::{Anvil, Cairn, path_text, text},
    tools::Tools,
};

/// Steps of the epoch.
const STEPS: &str = "4";
/// The aim of the design for a whole `anchor` of these steps: 320,000 gas and 1,000 a step.
const GAS_AIM: f64 = 324_000.0;

/// Trains one epoch and anchors it twice, on a node each.
pub fn epoch(tools: &Tools) -> anyhow::Result<Value> {
    println!("== epoch of {STEPS} steps, 2,410 parameters, as it is and wrapped");
    tools.install()?;
    let scratch = tools.repo().join(".cache/bench");
    let artifacts = fresh(&scratch.join("wrap"))?;
    let cairn = Cairn { path: build_optimised(tools, &["--bin", "cairn"], "cairn")?, home: scratch.join("home") };

    let node = Anvil::start(tools)?;
    let deployed = cairn.must(&["deploy", "--rpc", &node.rpc, "--anvil-dev-key"])?;
    let (contract, owner) = (text(&deployed, "contract")?, text(&deployed, "owner")?);
    let data = tools.repo().join("testdata/digits.csv.gz");
    let plain = artifacts.join("plain");
    let trained = cairn.must(&[
        "train",
        "--data",
        path_text(&data)?,
        "--steps",
        STEPS,
        "--epoch-size",
        STEPS,
        "--contract",
        contract,
        "--owner",
        owner,
        "--artifacts",
        path_text(&plain)?,
    ])?;
    let plain = PathBuf::from(text(&trained, "run_dir")?);
    let wrapped = artifacts.join("wrapped").join(plain.file_name().context("the run's directory has no name")?);
    copy(&plain, &wrapped)?;

    let mut figures = Map::new();
    for (name, run, more) in [("as it is", &plain, &[][..]), ("wrapped", &wrapped, &["--wrap"])] {
        let run = path_text(run)?;
        let aggregated = cairn.must(&[&["aggregate", "--run", run], more].concat())?;
        let node = Anvil::start(tools)?;
        let verifier = cairn.must(&["deploy", "--rpc", &node.rpc, "--anvil-dev-key", "--run", run])?;
        let anchored = cairn.must(&["anchor", "--run", run, "--rpc", &node.rpc, "--anvil-dev-key"])?;
        let verified = cairn.must(&["verify", "--all", "--run", run, "--rpc", &node.rpc, "--contract", contract])?;
        let solc = tools.bin_dir().join("solc");
        let source = scratch.join("wrap/Verifier.sol");
        let generated =
            cairn.must(&["verifier", "--run", run, "--out", path_text(&source)?, "--solc", path_text(&solc)?])?;
        check_key(tools.repo(), text(&generated, "key_digest")?)?;
        print(name, &aggregated, &verifier, &anchored)?;
        let row = json!({ "aggregate": aggregated, "deploy": verifier, "anchor": anchored, "verify": verified });
        figures.insert(name.replace(' ', "_"), row);
    }
    Ok(Value::Object(figures))
}

/// The key is one of the committed ones.
fn check_key(repo: &Path, got: &str) -> anyhow::Result<()> {
    let path = repo.join("testdata/keys/keys.json");
    let file = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let pinned: Value = serde_json::from_str(&file).with_context(|| format!("parse {}", path.display()))?;
    let keys = ["epoch_keys", "wrap_keys"].into_iter().filter_map(|kind| pinned[kind].as_array()).flatten();
    ensure!(keys.into_iter().any(|key| key["digest"] == got), "key {got}: {} does not have it", path.display());
    Ok(())
}

fn print(name: &str, aggregated: &Value, verifier: &Value, anchored: &Value) -> anyhow::Result<()> {
    println!("  -- {name}");
    line("epoch proof, key in the cache or not", &format!("{:.0} s", least(aggregated, "aggregate_ms")? / 1e3), None);
    if aggregated["wrap_k"].is_number() {
        let (k, columns) = (number(aggregated, "wrap_k")?, number(aggregated, "wrap_columns")?);
        let cells = number(aggregated, "wrap_cells")?;
        line("wrap", &format!("k = {k}, {columns} columns, {cells:.0} cells"), None);
        line("wrap proof", &format!("{:.0} s", least(aggregated, "wrap_ms")? / 1e3), None);
    }
    let memory = number(aggregated, "aggregate_peak_rss_bytes")?;
    line("peak memory", &bytes(memory), Some(("≤ 12 GiB", memory <= (12u64 << 30) as f64)));
    line("proof", &format!("{:.0} bytes", least(aggregated, "proof_bytes")?), None);
    line("verifier", &format!("{:.0} bytes", number(&verifier["verifiers"][0], "verifier_bytes")?), None);
    let gas = least(anchored, "anchor_gas")?;
    line("anchor, whole transaction", &format!("{gas:.0} gas"), Some(("≤ 324,000", gas <= GAS_AIM)));
    Ok(())
}

/// An empty directory.
fn fresh(dir: &Path) -> anyhow::Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir.to_owned())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a directory's entry has no name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}
