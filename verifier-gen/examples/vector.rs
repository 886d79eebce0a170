//! Writes the first epoch proof of a run and the key in the home of `cairn` as a vector of `testdata/verifier`.
//!
//! `cargo run -p verifier-gen --example vector -- --key HOME/keys/epoch-….vk --run DIR > testdata/verifier/….json`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use halo2_base::halo2_proofs::halo2curves::ff::PrimeField;
use ledger::EpochIndex;
use serde_json::Value;

use crate::vector::Vector;

#[path = "../tests/it/circuits.rs"]
#[expect(dead_code, reason = "of the tests' circuits only the form of a case is used")]
mod circuits;
#[path = "../tests/it/vector.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod vector;

/// Circuit and key of a file that the aggregator wrote: its layout as JSON behind its length, then halo2's key.
fn read_key(file: &Path) -> anyhow::Result<(Value, Vec<u8>)> {
    let name = file.file_name().and_then(|name| name.to_str()).context("the key's file has no name")?;
    let cache = store::ArtifactCache::open(file.parent().context("the key's file has no folder")?)?;
    let key = cache.read(&store::CacheKey::new(name.to_owned())?, |input| {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let mut layout = vec![0; u32::from_be_bytes(length) as usize];
        input.read_exact(&mut layout)?;
        let layout: Value = serde_json::from_slice(&layout)?;
        let mut key = Vec::new();
        input.read_to_end(&mut key)?;
        Ok::<_, std::io::Error>((layout["params"].clone(), key))
    })?;
    key.with_context(|| format!("no key {}", file.display()))
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn main() -> anyhow::Result<()> {
    let (mut key, mut run) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut path = || arguments.next().map(PathBuf::from).with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--key" => key = Some(path()?),
            "--run" => run = Some(path()?),
            _ => bail!("unknown argument {argument}"),
        }
    }
    let (Some(key), Some(run)) = (key, run) else { bail!("--key FILE and --run DIR are needed") };
    let (circuit, verifying_key) = read_key(&key)?;
    let dir = store::RunDir::open(&run)?;
    let record = dir.epoch(EpochIndex(0))?.into_record();
    let instance = |word| {
        let mut bytes = ::circuits::convert::to_fr(word).to_repr();
        bytes.reverse();
        hex0x(&bytes)
    };
    let vector = Vector {
        made_by: "cargo run -p verifier-gen --example vector".to_owned(),
        circuit: serde_json::from_value(circuit).context("the key's circuit")?,
        verifying_key: hex0x(&verifying_key),
        instances: record.instances().to_words().into_iter().map(instance).collect(),
        proof: hex0x(&dir.epoch_proof(EpochIndex(0))?),
    };
    let case = vector.case("Vector");
    ensure!(case.native(&case.proof, &case.instances), "{} does not hold under {}", run.display(), key.display());
    println!("{}", serde_json::to_string_pretty(&vector)?);
    Ok(())
}
