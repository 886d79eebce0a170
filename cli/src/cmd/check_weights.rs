//! `cairn check-weights`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ledger::StepIndex;
use prover::weights::{Opening, WeightsError, from_safetensors};
use serde::Serialize;

use crate::cmd::Global;
use crate::output::{Output, failed};
use crate::run::{open, step_key};

/// Check that a weights file with its opening is the state of a run at a step.
#[derive(Args)]
#[command(after_help = "Example: cairn check-weights --run DIR --weights model.safetensors --opening opening.json")]
pub struct CheckWeights {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Weights, safetensors.
    #[arg(long)]
    weights: PathBuf,
    /// Opening, JSON.
    #[arg(long)]
    opening: PathBuf,
}

#[derive(Serialize)]
struct Report {
    run: String,
    state: u64,
    digest: String,
    ok: bool,
}

impl CheckWeights {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let dir = open(&self.dir)?;
        let run = dir.run().description();
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let opening: Opening = serde_json::from_slice(&read(&self.opening)?)
            .with_context(|| format!("opening {}", self.opening.display()))?;
        let w = from_safetensors(&run.layout, &read(&self.weights)?)
            .with_context(|| format!("weights {}", self.weights.display()))?;
        if opening.run != run.run {
            return Err(failed("run", format!("the opening is for run {}, this is {}", opening.run, run.run)));
        }
        let expected = match opening.state.checked_sub(1) {
            None => run.genesis_state,
            Some(last) => dir.record(&dir.log()?, StepIndex(last))?.record().state_out,
        };
        let (srs, key) = step_key(&home, run)?;
        opening.check(srs.params(), &key, run.policy.n_chunks as usize, expected, w).map_err(|e| match e {
            WeightsError::Mismatch { .. } => failed("weights", e),
            other => other.into(),
        })?;
        let report = Report { run: run.run.to_string(), state: opening.state, digest: expected.to_string(), ok: true };
        out.result(&report, |r| format!("these are the weights at state {} of run {}", r.state, r.run))
    }
}
