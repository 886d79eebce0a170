//! Our verifier beside the one that snark-verifier's EVM loader emits: same key, same proof, one run.
//!
//! `cargo run -p verifier-gen --example gas_table -- [--home DIR --run DIR] [--json]`
//!
//! With both directories: the run's first epoch proof, under the key and reference string in the home of `cairn`.
//! Without: a halo2-base circuit made on the spot. solc as for the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use circuits::convert::to_fr;
use halo2_base::{
    gates::circuit::{BaseCircuitParams, builder::BaseCircuitBuilder},
    halo2_proofs::{
        SerdeFormat,
        halo2curves::bn256::{Bn256, Fr, G1Affine},
        plonk::VerifyingKey,
        poly::kzg::commitment::ParamsKZG,
    },
};
use ledger::EpochIndex;
use serde::Serialize;
use serde_json::Value;
use srs::SrsSize;
use verifier_gen::{
    Accumulator, Compiled, Encoder, Options, baseline,
    compile::{Optimizer, compile_with},
};

use crate::evm::{Answer, Chain};

#[path = "../tests/it/evm.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod evm;
#[path = "../tests/it/circuits.rs"]
#[expect(dead_code, reason = "only one of the tests' circuits is measured")]
mod small;

/// What is measured.
struct Subject {
    what: String,
    params: ParamsKZG<Bn256>,
    vk: VerifyingKey<G1Affine>,
    instances: Vec<Fr>,
    proof: Vec<u8>,
}

impl Subject {
    /// The halo2-base circuit of the tests.
    fn small() -> Self {
        let case = small::base();
        Self {
            what: "a halo2-base circuit with 2^9 rows".to_owned(),
            vk: case.pk.get_vk().clone(),
            params: case.params,
            instances: case.instances,
            proof: case.proof,
        }
    }

    /// The first epoch proof of a run.
    fn epoch(home: &Path, run: &Path) -> anyhow::Result<Self> {
        let dir = store::RunDir::open(run)?;
        let record = dir.epoch(EpochIndex(0))?.into_record();
        let proof = dir.epoch_proof(EpochIndex(0))?;
        let vk = read_key(&home.join("keys"), record.n_steps())?;
        let k = vk.get_domain().k();
        let label = "dev".parse()?;
        let srs = srs::SrsCache::new(home.join("srs")).load(&label, SrsSize::new(k)?, &srs::silent)?;
        Ok(Self {
            what: format!("epoch proof of {} steps, k = {k}", record.n_steps()),
            params: srs.params().clone(),
            vk,
            instances: record.instances().to_words().into_iter().map(to_fr).collect(),
            proof,
        })
    }
}

/// The newest verifying key for epochs of `n_steps`, as the aggregator writes it: the circuit's layout as JSON behind
/// its length, then halo2's key.
fn read_key(keys: &Path, n_steps: u64) -> anyhow::Result<VerifyingKey<G1Affine>> {
    let size = format!("-n{n_steps}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(keys).with_context(|| format!("read {}", keys.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("epoch-") && name.contains(&size) && name.ends_with(".vk") {
            found.push((entry.metadata()?.modified()?, name));
        }
    }
    let (_, name) = found.into_iter().max().with_context(|| format!("no key for {n_steps} steps"))?;
    let cache = store::ArtifactCache::open(keys)?;
    let key = cache.read(&store::CacheKey::new(name.clone())?, |mut input| {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let mut layout = vec![0; u32::from_be_bytes(length) as usize];
        input.read_exact(&mut layout)?;
        let layout: Value = serde_json::from_slice(&layout)?;
        let params: BaseCircuitParams = serde_json::from_value(layout["params"].clone())?;
        VerifyingKey::read::<_, BaseCircuitBuilder<Fr>>(&mut input, SerdeFormat::Processed, params)
    })?;
    key.with_context(|| format!("no key {name}"))
}

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
}

impl Figures {
    fn measure(compiled: &Compiled, calldata: &[u8]) -> anyhow::Result<Self> {
        let (chain, deploy_gas) = Chain::deploy(&compiled.creation);
        let (answer, gas) = chain.call_measured(calldata);
        ensure!(matches!(answer, Answer::Returned(_)), "the proof is refused: {answer:?}");
        let bytes = calldata.iter().map(|byte| if *byte == 0 { 4 } else { 16 });
        let calldata_and_base_gas = 21_000 + bytes.sum::<u64>();
        Ok(Self {
            code_bytes: compiled.runtime.len(),
            deploy_gas,
            calldata_bytes: calldata.len(),
            calldata_and_base_gas,
            execution_gas: gas - calldata_and_base_gas,
        })
    }

    fn total(&self) -> u64 {
        self.calldata_and_base_gas + self.execution_gas
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
    fn measure(subject: &Subject) -> anyhow::Result<Self> {
        let Subject { params, vk, instances, proof, .. } = subject;
        let accumulator = Accumulator::Limbs { first: 0 };
        let options =
            Options { contract: "EpochVerifier", n_instances: instances.len(), accumulator, command: "gas_table" };
        let source = verifier_gen::generate(params, vk, &options)?;
        let ours = compile_with(&evm::solc(), &source.solidity, Optimizer::Full)?;
        let calldata = Encoder::new(vk, instances.len(), accumulator)?.encode_calldata(proof, instances)?;
        let ours = Figures::measure(&ours, &calldata)?;
        let source = baseline::generate(params, vk, instances.len(), accumulator)
            .map_err(|e| anyhow::anyhow!("the loader refuses the key: {e:?}"))?;
        let loader = compile_with(&evm::solc(), &source, Optimizer::WithoutYul)?;
        let loader = Figures::measure(&loader, &baseline::calldata(instances, proof))?;
        Ok(Self { what: subject.what.clone(), ours, loader })
    }

    fn print(&self) {
        println!("{}", self.what);
        println!("{:<24}{:>12}{:>12}{:>9}", "", "ours", "loader", "ratio");
        let row = |name: &str, ours: u64, loader: u64| {
            println!("{name:<24}{ours:>12}{loader:>12}{:>9.3}", ours as f64 / loader as f64);
        };
        row("code, bytes", self.ours.code_bytes as u64, self.loader.code_bytes as u64);
        row("deployment, gas", self.ours.deploy_gas, self.loader.deploy_gas);
        row("calldata, bytes", self.ours.calldata_bytes as u64, self.loader.calldata_bytes as u64);
        row("calldata and base, gas", self.ours.calldata_and_base_gas, self.loader.calldata_and_base_gas);
        row("execution, gas", self.ours.execution_gas, self.loader.execution_gas);
        row("call, gas", self.ours.total(), self.loader.total());
    }
}

fn main() -> anyhow::Result<()> {
    let (mut home, mut run, mut as_json) = (None, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut directory = || arguments.next().map(PathBuf::from).with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--home" => home = Some(directory()?),
            "--run" => run = Some(directory()?),
            "--json" => as_json = true,
            _ => bail!("unknown argument {argument}"),
        }
    }
    let subject = match (home, run) {
        (Some(home), Some(run)) => Subject::epoch(&home, &run)?,
        (None, None) => Subject::small(),
        _ => bail!("--home and --run go together"),
    };
    let table = Table::measure(&subject)?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        table.print();
    }
    Ok(())
}
