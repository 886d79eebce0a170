//! `cairn status`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cmd::Global;
use crate::output::Output;
use crate::run::open;

/// Show where a run stands: steps, epochs, anchors. Checks nothing; see `cairn verify`.
#[derive(Args)]
#[command(after_help = "Example: cairn status --run DIR")]
pub struct Status {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Report {
    run: String,
    chain_id: u64,
    contract: String,
    params: u64,
    chunks: u32,
    epoch_size: u64,
    steps: u64,
    epochs: u64,
    anchored: u64,
    root: String,
    srs: String,
    not_proved: &'static str,
}

impl Status {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        let dir = open(&self.dir)?;
        let run = dir.run().description();
        let checkpoint = dir.checkpoint()?;
        let report = Report {
            run: run.run.to_string(),
            chain_id: run.identity.chain_id.0,
            contract: run.identity.contract.to_string(),
            params: run.policy.n_params,
            chunks: run.policy.n_chunks,
            epoch_size: run.epoch_len.steps(),
            steps: checkpoint.size.0,
            epochs: dir.n_epochs()?,
            anchored: dir.anchors()?.anchors().len() as u64,
            root: checkpoint.root.to_string(),
            srs: run.srs.name.clone(),
            not_proved: "gradient honesty, data quality, bias",
        };
        out.result(&report, |r| {
            format!(
                "run      {}\nsteps    {} of {} parameters in {} chunks\nepochs   {} of {} steps, {} anchored\nroot     {}\nchain    {} contract {}\nsrs      {}\nnot proved: {}",
                r.run, r.steps, r.params, r.chunks, r.epochs, r.epoch_size, r.anchored, r.root, r.chain_id, r.contract, r.srs, r.not_proved
            )
        })
    }
}
