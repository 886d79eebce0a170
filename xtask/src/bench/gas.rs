//! What a verification costs on chain.

use std::fs;

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
    let program = build(tools, "verifier-gen", &["--example", "gas_table"], "gas_table")?;
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
    Ok(json!({ "verifiers": tables, "anchor": anchor }))
}
