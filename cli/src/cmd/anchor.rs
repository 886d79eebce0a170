//! `cairn anchor`.

use std::path::PathBuf;

use chain::{EpochSubmission, Outcome, Registration};
use clap::Args;
use ledger::{Address, EpochIndex};
use serde::Serialize;

use crate::cmd::{Global, aggregate::open_writer, block_on, deploy::SignerArgs, deploy::selector};
use crate::output::{Output, failed};

/// Register a run and anchor its aggregated epochs in order. Repeating it goes on where it stopped.
///
/// Example: cairn anchor --run DIR --rpc http://127.0.0.1:8545 --contract 0x… --anvil-dev-key --finalize
#[derive(Args)]
pub struct Anchor {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Address of the node.
    #[arg(long)]
    rpc: String,
    /// RunAnchor.
    #[arg(long)]
    contract: Address,
    #[command(flatten)]
    signer: SignerArgs,
    /// Block to search earlier transactions from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// Close the run afterwards: no epoch can follow.
    #[arg(long)]
    finalize: bool,
}

#[derive(Serialize)]
struct Report {
    run: String,
    anchored: u64,
    steps: u64,
    root: Option<String>,
    register_gas: Option<u64>,
    anchor_gas: Vec<u64>,
    transactions: Vec<String>,
    finalized: bool,
}

impl Anchor {
    /// Runs the command.
    pub fn run(self, _: &Global, out: &Output) -> anyhow::Result<()> {
        let report = block_on(self.anchor(out))?;
        out.result(&report, |r| {
            format!(
                "run {}: {} epochs, {} steps anchored{}",
                r.run,
                r.anchored,
                r.steps,
                if r.finalized { ", final" } else { "" }
            )
        })
    }

    async fn anchor(&self, out: &Output) -> anyhow::Result<Report> {
        let (mut log, recovery) = open_writer(&self.dir)?;
        if !recovery.is_clean() {
            out.note(format!("repaired after an interruption: {recovery:?}"));
        }
        let run = log.dir().run().description().clone();
        let writer = self.signer.writer(&self.rpc).await?;
        writer.client().expect_chain(run.identity.chain_id)?;
        if run.identity.contract != self.contract || run.identity.owner != writer.address() {
            let detail = format!(
                "the run is for contract {} and owner {}, not {} and {}",
                run.identity.contract,
                run.identity.owner,
                self.contract,
                writer.address()
            );
            return Err(failed("run identity", detail));
        }
        let mut report = Report {
            run: run.run.to_string(),
            anchored: 0,
            steps: 0,
            root: None,
            register_gas: None,
            anchor_gas: Vec::new(),
            transactions: Vec::new(),
            finalized: false,
        };
        if let Some(parent) = run.parent {
            let refuse = |detail: String| Err(failed("parent", detail));
            match writer.client().head(self.contract, parent).await? {
                None => return refuse(format!("{parent} is not registered; anchor and finalize it first")),
                Some(head) if !head.finalized => {
                    let detail = format!("{parent} is not final; finish it with cairn anchor --finalize first");
                    return refuse(detail);
                }
                Some(head) if head.state != run.genesis_state => {
                    let (got, size) = (head.state, head.size);
                    return refuse(format!(
                        "the run starts from {}, {parent} ended after {size} anchored steps in {got}",
                        run.genesis_state
                    ));
                }
                Some(_) => {}
            }
        }
        let registration = Registration {
            salt: run.identity.salt,
            selector: selector(run.policy.step_key_digest),
            genesis_state: run.genesis_state,
            policy_digest: run.policy_digest,
            parent: run.parent,
        };
        let (_, sent) = writer.register_run(self.contract, &registration).await?.into_inner();
        if let Some(sent) = sent {
            report.register_gas = Some(sent.gas);
            report.transactions.push(sent.tx.to_string());
        }
        for index in 0..log.epochs().len() as u64 {
            let epoch = log.epochs()[index as usize].clone();
            let record_hashes = log
                .log()
                .record_hashes(epoch.first_step, epoch.n_steps())
                .ok_or_else(|| failed("epoch", format!("epoch {index} is longer than the log")))?
                .to_vec();
            let proof = log.dir().epoch_proof(EpochIndex(index))?;
            let submission = EpochSubmission::new(&epoch, record_hashes, proof);
            let outcome = writer.anchor(self.contract, &submission, self.from_block).await?;
            if matches!(outcome, Outcome::Already(_)) {
                out.note(format!("epoch {index} is anchored already"));
            }
            let anchor = outcome.into_inner();
            if anchor.root != epoch.root_after || anchor.size != epoch.size_after() {
                let detail = format!(
                    "contract has root {} at {} steps, the log {} at {}",
                    anchor.root,
                    anchor.size,
                    epoch.root_after,
                    epoch.size_after()
                );
                return Err(failed("anchored root", detail));
            }
            report.anchored = anchor.counter;
            report.steps = anchor.size.0;
            report.root = Some(anchor.root.to_string());
            report.anchor_gas.push(anchor.gas);
            report.transactions.push(anchor.tx.to_string());
            log.append_anchor(anchor)?;
        }
        if self.finalize {
            if let Some(sent) = writer.finalize(self.contract, run.run).await?.into_inner() {
                report.transactions.push(sent.tx.to_string());
            }
            report.finalized = true;
        }
        log.write_manifest()?;
        Ok(report)
    }
}
