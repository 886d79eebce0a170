//! `cairn anchor`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ledger::{Address, RunDescription, Selector};
use store::RunWriter;

use crate::cmd::{Global, aggregate::open_writer, block_on, deploy::SignerArgs};
use crate::output::Output;
use crate::run::{open, selector};

mod plan;
mod send;
mod submissions;

use send::{Report, Reports, Sender};
use submissions::Submissions;

/// Epochs in one transaction when several runs are anchored, if not said otherwise.
const BATCH_OF_SEVERAL: u8 = 16;
/// Most epochs in one transaction: beyond, nodes refuse its bytes (128 KiB in geth) or its gas (2^24, EIP-7825).
const MAX_BATCH: i64 = 32;

/// Register runs and anchor their aggregated epochs in order. Repeating it goes on where it stopped.
///
/// Several runs share transactions, each of which anchors all of its epochs or none.
#[derive(Args)]
#[command(
    after_help = "Example: cairn anchor --run DIR --rpc http://127.0.0.1:8545 --contract 0x… --anvil-dev-key --finalize\nExample: cairn anchor --run A --run B --rpc http://127.0.0.1:8545 --key-file KEY\nExample: cairn anchor --run A --batch 8 --rpc http://127.0.0.1:8545 --key-file KEY"
)]
pub struct Anchor {
    /// Run directory; several times for several runs of one contract.
    #[arg(long = "run", value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,
    /// Address of the node.
    #[arg(long, required_unless_present = "dry_run")]
    rpc: Option<String>,
    /// RunAnchor; the one the first run was made for if not given.
    #[arg(long)]
    contract: Option<Address>,
    /// Most epochs in one transaction, of all runs together: all of them are anchored or none. If not given, 1 for one run and
    /// 16 for several.
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u8).range(1..=MAX_BATCH))]
    batch: Option<u8>,
    /// Send nothing: print what would be submitted for each epoch. Needs no node; with --rpc, also the gas that the
    /// epochs which are not anchored would use, if the run is registered.
    #[arg(long, conflicts_with = "finalize")]
    dry_run: bool,
    /// Answer of an earlier `--dry-run --json`: its proofs are taken as they are. Needs no keys and no reference string here.
    #[arg(long, value_name = "FILE")]
    submissions: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerArgs,
    /// Block to search earlier transactions from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// Close the runs afterwards: no epoch can follow.
    #[arg(long)]
    finalize: bool,
}

/// A run that is open for writing.
struct OpenRun {
    log: RunWriter,
    run: RunDescription,
}

impl OpenRun {
    /// Family of the circuits of its epochs' proofs.
    fn selector(&self) -> Selector {
        selector(self.run.policy.step_key_digest, self.log.epochs().first().and_then(|epoch| epoch.wrap_k))
    }
}

impl Anchor {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let runs = open_all(&self.dirs, out)?;
        if self.dry_run {
            return plan::print(&self, &runs, global, out);
        }
        let mut reports = block_on(self.anchor(runs, global, out))?;
        match reports.runs.as_mut_slice() {
            [_] => out.result(&reports.runs.remove(0), Report::text),
            _ => out.result(&reports, |reports| {
                let mut lines: Vec<String> = reports.runs.iter().map(Report::text).collect();
                lines.push(format!("{} transactions", reports.transactions.len()));
                lines.join("\n")
            }),
        }
    }

    fn contract(&self, runs: &[OpenRun]) -> Address {
        self.contract.unwrap_or(runs[0].run.identity.contract)
    }

    fn submissions<'o>(&self, runs: &[OpenRun], global: &Global, out: &'o Output) -> anyhow::Result<Submissions<'o>> {
        Ok(match &self.submissions {
            Some(path) => Submissions::read(path, runs.iter().map(|run| run.run.run))?,
            None => Submissions::new(global.home(out)?),
        })
    }

    async fn anchor(&self, runs: Vec<OpenRun>, global: &Global, out: &Output) -> anyhow::Result<Reports> {
        let rpc = self.rpc.as_deref().context("--rpc is missing")?;
        let writer = self.signer.writer(rpc).await?;
        let mut submissions = self.submissions(&runs, global, out)?;
        let batch = self.batch.unwrap_or(if runs.len() == 1 { 1 } else { BATCH_OF_SEVERAL });
        let contract = self.contract(&runs);
        let mut sender = Sender::new(&writer, contract, self.from_block, runs, out).await?;
        sender.register().await?;
        sender.anchor(&mut submissions, usize::from(batch)).await?;
        if self.finalize {
            sender.finalize().await?;
        }
        sender.finish()
    }
}

/// Opens runs for writing, repairing what an interruption left behind.
fn open_all(dirs: &[PathBuf], out: &Output) -> anyhow::Result<Vec<OpenRun>> {
    let mut seen = BTreeSet::new();
    for dir in dirs {
        let run = open(dir)?.run().description().run;
        anyhow::ensure!(seen.insert(run), "run {run} is given twice, again as {}", dir.display());
    }
    let open = |dir: &Path| {
        let (log, recovery) = open_writer(dir)?;
        if !recovery.is_clean() {
            out.note(format!("repaired after an interruption: {recovery:?}"));
        }
        let run = log.dir().run().description().clone();
        Ok(OpenRun { log, run })
    };
    dirs.iter().map(|dir| open(dir)).collect()
}
