//! `cairn verifier`.

use std::path::PathBuf;

use aggregator::EpochVerifyingKey;
use anyhow::Context;
use audit::Keys;
use audit::verifier::{ACCUMULATOR, source};
use clap::Args;
use serde::Serialize;
use verifier_gen::{Compiled, Encoder, VerifierSource};

use crate::cmd::Global;
use crate::home::Home;
use crate::output::Output;
use crate::run::{EpochCircuit, open, wrap_k};

/// Generate the Solidity verifier of a run's epochs and, with --solc, its bytecode.
#[derive(Args)]
#[command(after_help = "Example: cairn verifier --run DIR --out Verifier.sol --solc .cache/tools/bin/solc")]
pub struct Verifier {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Steps per epoch; the run's if not given.
    #[arg(long)]
    epoch_size: Option<usize>,
    /// The verifier of epochs that are wrapped in a circuit of 2^K rows; as the run's epochs are if not given.
    #[arg(long, value_name = "K")]
    wrap: Option<u32>,
    /// Where the source goes.
    #[arg(long)]
    out: PathBuf,
    /// A solc that speaks --standard-json; writes creation code as hex beside the source.
    #[arg(long)]
    solc: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    source: PathBuf,
    key_digest: String,
    verifier_bytes: Option<usize>,
    bytecode: Option<PathBuf>,
}

/// What makes submissions out of proofs under `key`.
pub fn encoder(key: &EpochVerifyingKey) -> anyhow::Result<Encoder> {
    Ok(Encoder::new(key.inner(), key.n_instances(), ACCUMULATOR)?)
}

/// Generates the verifier of a run's epochs.
pub fn generate(
    home: &Home<'_>,
    run: &ledger::RunDescription,
    circuit: &EpochCircuit,
) -> anyhow::Result<VerifierSource> {
    let step = home.step(run)?;
    let epoch_key = home.epoch(&step, circuit)?;
    // The epoch's reference string is the step's in another size.
    Ok(source(&step.srs, &epoch_key, circuit)?)
}

/// Compiles and says which compiler was used when it fails.
pub fn compile(solc: &std::path::Path, source: &VerifierSource) -> anyhow::Result<Compiled> {
    verifier_gen::compile(solc, &source.solidity).with_context(|| format!("compile with {}", solc.display()))
}

impl Verifier {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let dir = open(&self.dir)?;
        let run = dir.run().description();
        let n_steps = self.epoch_size.unwrap_or(run.epoch_len.steps() as usize);
        let wrap_k = self.wrap.map_or_else(|| wrap_k(&dir), |k| Ok(Some(k)))?;
        let source = generate(&home, run, &EpochCircuit::new(run, n_steps, wrap_k)?)?;
        std::fs::write(&self.out, &source.solidity).with_context(|| format!("write {}", self.out.display()))?;
        let (mut verifier_bytes, mut bytecode) = (None, None);
        if let Some(solc) = &self.solc {
            let compiled = compile(solc, &source)?;
            let path = self.out.with_extension("hex");
            std::fs::write(&path, hex::encode(&compiled.creation))
                .with_context(|| format!("write {}", path.display()))?;
            verifier_bytes = Some(compiled.runtime.len());
            bytecode = Some(path);
        }
        let report = Report { source: self.out, key_digest: source.key_digest, verifier_bytes, bytecode };
        out.result(&report, |r| {
            let size = r.verifier_bytes.map_or_else(String::new, |n| format!(", {n} bytes of runtime code"));
            format!("{} for key {}{size}", r.source.display(), r.key_digest)
        })
    }
}
