//! `cairn status`.

use std::path::PathBuf;

use clap::Args;
use ledger::{Address, FieldElement, RunId, Selector};
use serde::Serialize;

use crate::cmd::gate::{Facts, last_state};
use crate::cmd::{Global, block_on};
use crate::output::{NOT_PROVED, Output};
use crate::run::{open, selector, wrap_k};

/// Show where a run stands: steps, epochs, anchors and, with --rpc, what the chain says of it. Checks nothing; see
/// `cairn verify` and `cairn gate`.
#[derive(Args)]
#[command(after_help = "Example: cairn status --run DIR --rpc http://127.0.0.1:8545")]
pub struct Status {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Address of a node: also show the facts that gates ask for.
    #[arg(long)]
    rpc: Option<String>,
    /// RunAnchor; the one the run was made for if not given.
    #[arg(long, requires = "rpc")]
    contract: Option<Address>,
}

#[derive(Serialize)]
struct Report {
    run: String,
    chain_id: u64,
    contract: String,
    /// What gates list.
    selector: Selector,
    /// What gates list.
    policy: FieldElement,
    /// After the last aggregated epoch, by the directory: what is offered.
    state: FieldElement,
    /// What the chain says; none if it was not asked or does not know the run.
    facts: Option<Facts>,
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
        let contract = self.contract.unwrap_or(run.identity.contract);
        let facts = match &self.rpc {
            Some(rpc) => block_on(ask(rpc, contract, run.run))?.map(Facts::from),
            None => None,
        };
        let report = Report {
            run: run.run.to_string(),
            chain_id: run.identity.chain_id.0,
            contract: contract.to_string(),
            selector: selector(run.policy.step_key_digest, wrap_k(&dir)?),
            policy: run.policy_digest,
            state: last_state(&dir)?,
            facts,
            params: run.policy.n_params,
            chunks: run.policy.n_chunks,
            epoch_size: run.epoch_len.steps(),
            steps: checkpoint.size.0,
            epochs: dir.n_epochs()?,
            anchored: dir.anchors()?.anchors().len() as u64,
            root: checkpoint.root.to_string(),
            srs: run.srs.name.clone(),
            not_proved: NOT_PROVED,
        };
        out.result(&report, |r| {
            format!(
                "run      {}\nsteps    {} of {} parameters in {} chunks\nepochs   {} of {} steps, {} anchored\nroot     {}\nstate    {}\npolicy   {}\ncircuit  {}\nchain    {} contract {}\n{}srs      {}\nnot proved: {}",
                r.run,
                r.steps,
                r.params,
                r.chunks,
                r.epochs,
                r.epoch_size,
                r.anchored,
                r.root,
                r.state,
                r.policy,
                r.selector,
                r.chain_id,
                r.contract,
                r.facts.as_ref().map_or_else(String::new, |facts| format!("anchored {}\n", facts.text())),
                r.srs,
                r.not_proved
            )
        })
    }
}

async fn ask(rpc: &str, contract: Address, run: RunId) -> anyhow::Result<Option<ledger::RunFacts>> {
    let client = crate::rpc::connect(rpc).await?;
    Ok(client.facts(contract, run).await?)
}
