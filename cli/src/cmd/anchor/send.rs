//! What `cairn anchor` sends.

use chain::{EpochSubmission, Outcome, Registration, Writer};
use ledger::{Address, Anchor as Anchored, TxHash};
use serde::Serialize;

use super::OpenRun;
use super::submissions::Submissions;
use crate::output::{Output, failed};

/// What was done for one run.
#[derive(Serialize)]
pub struct Report {
    pub run: String,
    pub anchored: u64,
    pub steps: u64,
    pub root: Option<String>,
    pub register_gas: Option<u64>,
    /// Of each epoch, the gas of the whole transaction that anchored it.
    pub anchor_gas: Vec<u64>,
    /// In the order in which they were sent; a transaction that anchored several epochs stands once.
    pub transactions: Vec<String>,
    pub finalized: bool,
}

impl Report {
    /// Of a run for which nothing is done yet.
    fn new(run: &OpenRun) -> Self {
        Self {
            run: run.run.run.to_string(),
            anchored: 0,
            steps: 0,
            root: None,
            register_gas: None,
            anchor_gas: Vec::new(),
            transactions: Vec::new(),
            finalized: false,
        }
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let end = if self.finalized { ", final" } else { "" };
        format!("run {}: {} epochs, {} steps anchored{end}", self.run, self.anchored, self.steps)
    }
}

/// What was done for several runs.
#[derive(Serialize)]
pub struct Reports {
    pub runs: Vec<Report>,
    /// Of all runs, in the order in which they were sent.
    pub transactions: Vec<String>,
}

/// An epoch that waits for its transaction.
struct Waiting {
    /// Position of its run.
    run: usize,
    submission: EpochSubmission,
}

/// Runs that are being anchored.
pub struct Sender<'a> {
    writer: &'a Writer,
    contract: Address,
    from_block: u64,
    out: &'a Output,
    runs: Vec<(OpenRun, Report)>,
    transactions: Vec<String>,
    waiting: Vec<Waiting>,
}

impl<'a> Sender<'a> {
    /// Checks that all of `runs` can be anchored by this account; nothing is sent.
    ///
    /// Errors: failed checks `run identity` and `parent`.
    pub async fn new(
        writer: &'a Writer,
        contract: Address,
        from_block: u64,
        runs: Vec<OpenRun>,
        out: &'a Output,
    ) -> anyhow::Result<Self> {
        for run in &runs {
            check_identity(writer, contract, run).await?;
            check_parent(writer, contract, run).await?;
        }
        let with_report = |run: OpenRun| {
            let report = Report::new(&run);
            (run, report)
        };
        let runs = runs.into_iter().map(with_report).collect();
        Ok(Self { writer, contract, from_block, out, runs, transactions: Vec::new(), waiting: Vec::new() })
    }

    /// Registers each run that is not registered.
    pub async fn register(&mut self) -> anyhow::Result<()> {
        for (run, report) in &mut self.runs {
            let registration = registration(run);
            if self.writer.client().is_registered(self.contract, run.run.run, &registration).await? {
                continue;
            }
            let (_, sent) = self.writer.register_run(self.contract, &registration).await?.into_inner();
            if let Some(sent) = sent {
                report.register_gas = Some(sent.gas);
                note(&mut [&mut self.transactions, &mut report.transactions], sent.tx);
            }
        }
        Ok(())
    }

    /// Anchors all epochs in order, up to `batch` in one transaction. Those which are anchored are compared with the log, and
    /// recorded if an interruption left them out.
    pub async fn anchor(&mut self, submissions: &mut Submissions<'_>, batch: usize) -> anyhow::Result<()> {
        for position in 0..self.runs.len() {
            let (run, _) = &self.runs[position];
            let head = self.writer.client().head(self.contract, run.run.run).await?;
            let anchored = head.map_or(0, |head| head.counter);
            for index in 0..self.runs[position].0.log.epochs().len() as u64 {
                let submission = submissions.get(&self.runs[position].0.log, index)?;
                let waiting = Waiting { run: position, submission };
                if index < anchored {
                    self.send(vec![waiting]).await?;
                } else {
                    self.waiting.push(waiting);
                }
                if self.waiting.len() == batch {
                    let waiting = std::mem::take(&mut self.waiting);
                    self.send(waiting).await?;
                }
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.send(waiting).await
    }

    /// Sends one transaction, unless all of it is anchored, and records what it did.
    async fn send(&mut self, waiting: Vec<Waiting>) -> anyhow::Result<()> {
        let (positions, submissions): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.run, waiting.submission)).unzip();
        let outcomes = match submissions.as_slice() {
            [] => Vec::new(),
            [only] => vec![self.writer.anchor(self.contract, only, self.from_block).await?],
            several => self.writer.anchor_batch(self.contract, several, self.from_block).await?,
        };
        // All of it is on the chain now: a wrong answer about one epoch must not keep the others from being recorded.
        let mut result = Ok(());
        for ((position, submission), outcome) in positions.into_iter().zip(submissions).zip(outcomes) {
            result = result.and(self.record(position, &submission, outcome));
        }
        result
    }

    fn record(&mut self, run: usize, submission: &EpochSubmission, outcome: Outcome<Anchored>) -> anyhow::Result<()> {
        let (run, report) = &mut self.runs[run];
        let index = submission.epoch.0;
        if outcome.was_there() {
            self.out.note(format!("run {}: epoch {index} is anchored already", report.run));
        }
        let anchor = outcome.into_inner();
        let epoch = &run.log.epochs()[index as usize];
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
        note(&mut [&mut self.transactions, &mut report.transactions], anchor.tx);
        run.log.append_anchor(anchor)?;
        Ok(())
    }

    /// Ends each run that has not ended.
    pub async fn finalize(&mut self) -> anyhow::Result<()> {
        for (run, report) in &mut self.runs {
            if let Some(sent) = self.writer.finalize(self.contract, run.run.run).await?.into_inner() {
                note(&mut [&mut self.transactions, &mut report.transactions], sent.tx);
            }
            report.finalized = true;
        }
        Ok(())
    }

    /// Writes the manifests.
    pub fn finish(self) -> anyhow::Result<Reports> {
        let finish = |(mut run, report): (OpenRun, Report)| run.log.write_manifest().map(|_| report);
        let runs = self.runs.into_iter().map(finish).collect::<Result<_, _>>()?;
        Ok(Reports { runs, transactions: self.transactions })
    }
}

/// Adds a transaction to lists that do not have it yet.
fn note(lists: &mut [&mut Vec<String>], tx: TxHash) {
    for list in lists {
        let tx = tx.to_string();
        if !list.contains(&tx) {
            list.push(tx);
        }
    }
}

fn registration(run: &OpenRun) -> Registration {
    let selector = run.selector();
    let run = &run.run;
    Registration {
        salt: run.identity.salt,
        selector,
        genesis_state: run.genesis_state,
        policy_digest: run.policy_digest,
        parent: run.parent,
    }
}

/// The run must be for this contract and, unless it is registered, of this account: then the contract knows who may anchor.
async fn check_identity(writer: &Writer, contract: Address, run: &OpenRun) -> anyhow::Result<()> {
    let identity = &run.run.identity;
    writer.client().expect_chain(identity.chain_id)?;
    let is_ours = identity.contract == contract
        && (identity.owner == writer.address()
            || writer.client().is_registered(contract, run.run.run, &registration(run)).await?);
    if is_ours {
        return Ok(());
    }
    let detail = format!(
        "run {} is for contract {} and owner {}, not {contract} and {}",
        run.run.run,
        identity.contract,
        identity.owner,
        writer.address()
    );
    Err(failed("run identity", detail))
}

/// A parent must be final, and have ended where the run starts.
async fn check_parent(writer: &Writer, contract: Address, run: &OpenRun) -> anyhow::Result<()> {
    let Some(parent) = run.run.parent else { return Ok(()) };
    let refuse = |detail: String| Err(failed("parent", detail));
    match writer.client().head(contract, parent).await? {
        None => refuse(format!("{parent} is not registered; anchor and finalize it first")),
        Some(head) if !head.finalized => {
            refuse(format!("{parent} is not final; finish it with cairn anchor --finalize first"))
        }
        Some(head) if head.state != run.run.genesis_state => refuse(format!(
            "the run starts from {}, {parent} ended after {} anchored steps in {}",
            run.run.genesis_state, head.size, head.state
        )),
        Some(_) => Ok(()),
    }
}
