//! `cairn open`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ledger::StepIndex;
use prover::session::{read_state, seeds};
use prover::weights::{Opening, to_safetensors};
use serde::Serialize;
use store::PrivateDir;

use crate::cmd::Global;
use crate::output::Output;
use crate::run::open;

/// Write weights and opening of one state. They open that state and no other.
#[derive(Args)]
#[command(after_help = "Example: cairn open --run DIR --step 8 --weights model.safetensors --opening opening.json")]
pub struct Open {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// State: the weights before step N, so the number of steps done.
    #[arg(long)]
    step: u64,
    /// Weights, safetensors.
    #[arg(long)]
    weights: PathBuf,
    /// Opening, JSON.
    #[arg(long)]
    opening: PathBuf,
}

#[derive(Serialize)]
struct Report {
    state: u64,
    digest: String,
    weights: PathBuf,
    opening: PathBuf,
}

impl Open {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let dir = open(&self.dir)?;
        let run = dir.run().description();
        let public = dir.path().parent().unwrap_or(dir.path());
        let private = PrivateDir::open_or_create(&home.private(), public, run.run)?;
        let seeds = seeds(&private)?.with_context(|| {
            format!("{}: no run secret here; only the trainer can open states", private.path().display())
        })?;
        let state = read_state(&private, StepIndex(self.step))?;
        let digest = match self.step.checked_sub(1) {
            None => run.genesis_state,
            Some(last) => dir.record(&dir.log()?, StepIndex(last))?.record().state_out,
        };
        anyhow::ensure!(
            self.step > 0 || run.parent.is_none() || seeds.genesis.is_some(),
            "{}: no genesis_seed here, which opens state 0 of a child run",
            private.path().display()
        );
        let opening = Opening::new(run.run, self.step, digest, &seeds.state(run.run, self.step), &state)?;
        std::fs::write(&self.weights, to_safetensors(&run.layout, &state.w)?)
            .with_context(|| format!("write {}", self.weights.display()))?;
        std::fs::write(&self.opening, serde_json::to_vec(&opening)?)
            .with_context(|| format!("write {}", self.opening.display()))?;
        let report =
            Report { state: self.step, digest: digest.to_string(), weights: self.weights, opening: self.opening };
        out.result(&report, |r| {
            format!("state {} ({}): {} and {}", r.state, r.digest, r.weights.display(), r.opening.display())
        })
    }
}
