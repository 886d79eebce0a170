//! What a verification costs on chain.

use std::{collections::BTreeSet, fs};

use anyhow::Context;
use serde_json::{Value, json};

use super::table::line;
use crate::{
    cargo::{build, measure},
    contracts,
    tools::Tools,
};

/// What the contracts' tests measure of real epochs; the test compares it with what it finds.
const ANCHOR: &str = "contracts/snapshots/RealProof.json";

/// Generated verifiers beside the EVM loader's on the same keys and proofs, then the `anchor` of real epochs of 4 steps.
pub fn verifiers(tools: &Tools) -> anyhow::Result<Value> {
    println!("== verifiers, beside snark-verifier's EVM loader");
    let program = build(tools, &["--example", "gas_table"], "gas_table")?;
    let tables = measure(&program, &["--json"])?;
    println!("== anchor of 4 steps, real proofs");
    let args = ["--match-contract", "RealProof", "--match-test", "test_realProof_gas"];
    contracts::run(contracts::Action::Test { args: args.map(str::to_owned).to_vec() })?;
    let path = tools.repo().join(ANCHOR);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let anchor: Value = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    for (name, value) in anchor.as_object().into_iter().flatten() {
        let figure = value.as_str().unwrap_or_default();
        let gas = figure.parse::<u64>().ok().filter(|_| name.ends_with("transaction"));
        line(name, figure, gas.map(|gas| ("≤ 450,000", gas <= 450_000)));
    }
    println!("== where the gas of an anchor goes");
    let program = build(tools, &["--example", "anchor_gas"], "anchor_gas")?;
    let parts = measure(&program, &[])?;
    print_parts(&parts)?;
    Ok(json!({ "verifiers": tables, "anchor": anchor, "anchor_parts": parts }))
}

/// The parts of each epoch's transaction side by side, those of the verifier first.
fn print_parts(epochs: &Value) -> anyhow::Result<()> {
    let epochs = epochs.as_array().context("the parts are no list")?;
    let row = |what: &str, pick: &dyn Fn(&Value) -> Option<u64>| {
        let figures: Vec<String> = epochs.iter().map(|epoch| pick(epoch).unwrap_or_default().to_string()).collect();
        line(what, &figures.join("  "), None);
    };
    for name in ["gas", "base", "calldata", "calldata_bytes"] {
        row(name, &|epoch| epoch[name].as_u64());
    }
    for code in ["verifier", "anchor"] {
        let names: BTreeSet<&String> =
            epochs.iter().filter_map(|epoch| epoch[code].as_object()).flat_map(|o| o.keys()).collect();
        row(code, &|epoch| Some(epoch[code].as_object()?.values().filter_map(Value::as_u64).sum()));
        for name in names {
            row(&format!("– {name}"), &|epoch| epoch[code][name].as_u64());
        }
    }
    Ok(())
}
