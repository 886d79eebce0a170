//! Our verifier beside the one that snark-verifier's EVM loader emits: same key, same proof, one run.
//!
//! `cargo run -p verifier-gen --example gas_table [-- --json]`, which prints the table as progress and JSON as the result;
//! `cargo xtask bench gas` does that, and adds what a whole `anchor` costs.
//!
//! The circuits of the tests are keyed and proved here; the epochs are proofs of real runs, from `testdata/verifier`.
//! solc as for the tests. Of the execution, what the precompiled contracts charge for sums of points and the pairing is
//! shown apart: every verifier of the key pays it.

use anyhow::{bail, ensure};
use serde::Serialize;
use verifier_gen::{
    Compiled, baseline,
    compile::{Optimizer, compile_with},
};

use crate::{
    circuits::Case,
    evm::{Answer, Chain, Precompiles},
};

#[path = "../tests/it/circuits.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod circuits;
#[path = "../tests/it/evm.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod evm;
#[path = "../tests/it/vector.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod vector;

/// Figures of one verifier.
#[derive(Serialize)]
struct Figures {
    /// Bytes of runtime code.
    code_bytes: usize,
    /// Gas of the deployment.
    deploy_gas: u64,
    /// Bytes of calldata.
    calldata_bytes: usize,
    /// Gas of the transaction before anything runs.
    calldata_and_base_gas: u64,
    /// Gas of the verification.
    execution_gas: u64,
    /// What the precompiled contracts charged of it.
    precompiles: Precompiles,
    /// Of the execution, what is not a sum of points or a pairing.
    own_gas: u64,
}

impl Figures {
    fn measure(compiled: &Compiled, calldata: &[u8]) -> anyhow::Result<Self> {
        let (chain, deploy_gas) = Chain::deploy(&compiled.creation);
        let (answer, gas, precompiles) = chain.call_inspected(calldata);
        ensure!(matches!(answer, Answer::Returned(_)), "the proof is refused: {answer:?}");
        let bytes = calldata.iter().map(|byte| if *byte == 0 { 4 } else { 16 });
        let calldata_and_base_gas = 21_000 + bytes.sum::<u64>();
        let execution_gas = gas - calldata_and_base_gas;
        Ok(Self {
            code_bytes: compiled.runtime.len(),
            deploy_gas,
            calldata_bytes: calldata.len(),
            calldata_and_base_gas,
            execution_gas,
            precompiles,
            own_gas: execution_gas - precompiles.points_gas(),
        })
    }

    fn rows(&self) -> [(&'static str, u64); 11] {
        let Precompiles { multiplications, additions, pairings, inversions } = self.precompiles;
        [
            ("code, bytes", self.code_bytes as u64),
            ("deployment, gas", self.deploy_gas),
            ("calldata, bytes", self.calldata_bytes as u64),
            ("calldata and base, gas", self.calldata_and_base_gas),
            ("execution, gas", self.execution_gas),
            ("  points and pairing", multiplications.gas + additions.gas + pairings.gas),
            ("    multiplications", multiplications.calls),
            ("    additions", additions.calls),
            ("    inversions", inversions.calls),
            ("  all else", self.own_gas),
            ("call, gas", self.calldata_and_base_gas + self.execution_gas),
        ]
    }
}

/// Both verifiers on one proof.
#[derive(Serialize)]
struct Table {
    what: String,
    ours: Figures,
    loader: Figures,
}

impl Table {
    fn measure(case: &Case) -> anyhow::Result<Self> {
        let Case { params, vk, instances, accumulator, proof, .. } = case;
        let ours = compile_with(&evm::solc(), &case.source().solidity, Optimizer::Full)?;
        let ours = Figures::measure(&ours, &case.encoder().encode_calldata(proof, instances)?)?;
        let source = baseline::generate(params, vk, instances.len(), *accumulator)
            .map_err(|e| anyhow::anyhow!("the loader refuses the key: {e:?}"))?;
        let loader = compile_with(&evm::solc(), &source, Optimizer::WithoutYul)?;
        let loader = Figures::measure(&loader, &baseline::calldata(instances, proof))?;
        let columns = vk.cs().num_advice_columns();
        let k = vk.get_domain().k();
        let what = format!("{}: k = {k}, {columns} advice columns, {} instances", case.name, instances.len());
        Ok(Self { what, ours, loader })
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("{:<48}{:>12}{:>12}{:>9}", self.what, "ours", "loader", "ratio")];
        for ((name, ours), (_, loader)) in self.ours.rows().into_iter().zip(self.loader.rows()) {
            let ratio = if loader == 0 { String::new() } else { format!("{:.3}", ours as f64 / loader as f64) };
            lines.push(format!("  {name:<46}{ours:>12}{loader:>12}{ratio:>9}"));
        }
        lines.join("\n")
    }
}

fn main() -> anyhow::Result<()> {
    let mut as_json = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => as_json = true,
            _ => bail!("unknown argument {argument}"),
        }
    }
    let mut tables = Vec::new();
    for case in circuits::all().iter().chain(&[vector::demo(), vector::wide()]) {
        let table = Table::measure(case)?;
        if as_json {
            eprintln!("{}", table.text());
        } else {
            println!("{}", table.text());
        }
        tables.push(table);
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&tables)?);
    }
    Ok(())
}
