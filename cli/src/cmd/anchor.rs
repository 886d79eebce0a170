//! `cairn anchor`.

use std::collections::{BTreeMap, btree_map::Entry};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chain::{EpochSubmission, Outcome, Registration};
use circuits::convert::to_fr;
use circuits::keys::StepVerifyingKey;
use clap::Args;
use ledger::{
    Address, Digest, EpochIndex, FieldElement, RunDescription, RunId, Selector, instances::ACCUMULATOR_LIMBS,
    tree::CompactRange,
};
use serde::{Deserialize, Serialize};
use srs::Srs;
use store::RunWriter;
use verifier_gen::Encoder;

use crate::cmd::{Global, aggregate::open_writer, block_on, deploy::SignerArgs, deploy::selector, verifier};
use crate::home::Home;
use crate::output::{Output, failed};
use crate::run::{epoch_shape, step_key};

/// Register a run and anchor its aggregated epochs in order. Repeating it goes on where it stopped.
#[derive(Args)]
#[command(
    after_help = "Example: cairn anchor --run DIR --rpc http://127.0.0.1:8545 --contract 0x… --anvil-dev-key --finalize"
)]
pub struct Anchor {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
    /// Address of the node.
    #[arg(long, required_unless_present = "dry_run")]
    rpc: Option<String>,
    /// RunAnchor; the one the run was made for if not given.
    #[arg(long)]
    contract: Option<Address>,
    /// Send nothing: print what would be submitted for each epoch. Needs no node; with --rpc, also the gas that the
    /// epochs which are not anchored would use, if the run is registered.
    #[arg(long, conflicts_with = "finalize")]
    dry_run: bool,
    /// Answer of an earlier `--dry-run --json`: its proofs are sent as they are. Needs no keys and no reference string here.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    submissions: Option<PathBuf>,
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

/// What would be sent for one epoch: the arguments of `RunAnchor.anchor`.
#[derive(Serialize, Deserialize)]
struct Submission {
    /// Counted from 1.
    epoch: u64,
    first_step: u64,
    state_out: FieldElement,
    digests: Vec<FieldElement>,
    record_hashes: Vec<Digest>,
    /// Roots of the perfect subtrees of the run's tree before the epoch, largest first.
    peaks: Vec<Digest>,
    proof: String,
    root_after: String,
    /// Gas of a transaction of its own, as the node simulates it; only of the next epoch, as the others need that first.
    gas: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct DryRun {
    run: String,
    chain_id: u64,
    contract: Address,
    owner: Address,
    salt: String,
    selector: Selector,
    genesis_state: FieldElement,
    policy: FieldElement,
    submissions: Vec<Submission>,
    /// Gas of all epochs that are not anchored, in one transaction.
    gas_of_rest: Option<u64>,
}

/// What a node says that the rest of a run would cost.
struct Estimate {
    /// Epochs anchored.
    anchored: u64,
    next: u64,
    rest: u64,
}

/// Longest accepted file of submissions, bytes.
const MAX_SUBMISSIONS_BYTES: u64 = 256 << 20;

/// Where submissions' proofs come from.
enum Proofs<'a> {
    /// The run's epoch proofs, with the hints that their verifiers take.
    Encoded {
        home: Home<'a>,
        /// By number of steps.
        encoders: BTreeMap<u64, Encoder>,
        keys: Option<Box<(Srs, StepVerifyingKey)>>,
    },
    /// An earlier dry run.
    Planned(DryRun),
}

/// Submissions of a run's epochs.
struct Submissions<'a>(Proofs<'a>);

impl<'a> Submissions<'a> {
    fn new(home: Home<'a>) -> Self {
        Self(Proofs::Encoded { home, encoders: BTreeMap::new(), keys: None })
    }

    /// Reads an earlier dry run of `run`.
    fn read(path: &Path, run: RunId) -> anyhow::Result<Self> {
        let name = || format!("submissions {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(name)?;
        file.take(MAX_SUBMISSIONS_BYTES + 1).read_to_string(&mut text).with_context(name)?;
        anyhow::ensure!(
            text.len() as u64 <= MAX_SUBMISSIONS_BYTES,
            "{}: expected at most {MAX_SUBMISSIONS_BYTES} bytes",
            name()
        );
        let plan: DryRun = serde_json::from_str(&text).with_context(name)?;
        if plan.run != run.to_string() {
            return Err(failed("submissions", format!("run: expected {run}, got {}", plan.run)));
        }
        Ok(Self(Proofs::Planned(plan)))
    }

    /// The epoch at `index` of the log.
    fn get(&mut self, log: &RunWriter, index: u64) -> anyhow::Result<EpochSubmission> {
        let epoch = &log.epochs()[index as usize];
        let record_hashes = log
            .log()
            .record_hashes(epoch.first_step, epoch.n_steps())
            .ok_or_else(|| failed("epoch", format!("epoch {index} is longer than the log")))?
            .to_vec();
        let mut before = CompactRange::new();
        for earlier in &log.epochs()[..index as usize] {
            before.push_subtree(earlier.log_steps(), earlier.epoch_root)?;
        }
        match &mut self.0 {
            Proofs::Encoded { home, encoders, keys } => {
                let run = log.dir().run().description();
                let proof = log.dir().epoch_proof(EpochIndex(index))?;
                let keys = match keys {
                    Some(keys) => keys,
                    empty => empty.insert(Box::new(step_key(home, run)?)),
                };
                let encoder = match encoders.entry(epoch.n_steps()) {
                    Entry::Occupied(found) => found.into_mut(),
                    Entry::Vacant(empty) => {
                        let shape = epoch_shape(run, epoch.n_steps() as usize)?;
                        let key = home.epoch_verifying_key((&keys.0, &keys.1), &shape)?;
                        empty.insert(verifier::encoder(&key)?)
                    }
                };
                let instances: Vec<_> = epoch.instances().to_words().into_iter().map(to_fr).collect();
                let proof = encoder.encode_proof(&proof, &instances).map_err(|e| failed("epoch proof", e))?;
                Ok(EpochSubmission::new(&before, epoch, record_hashes, proof))
            }
            Proofs::Planned(plan) => {
                let found = plan.submissions.get(index as usize);
                let planned =
                    found.ok_or_else(|| failed("submissions", format!("epoch {index} of the log is not there")))?;
                let bytes = hex::decode(planned.proof.trim_start_matches("0x"))
                    .with_context(|| format!("submissions, epoch {index}: proof"))?;
                // Everything but the proof is the log's own; the plan's copy of it must be the same.
                let words = ACCUMULATOR_LIMBS * FieldElement::LEN;
                let proof = bytes.get(words..).unwrap_or_default().to_vec();
                let submission = EpochSubmission::new(&before, epoch, record_hashes, proof);
                let pairs = [
                    ("accumulator", submission.proof_bytes() == bytes),
                    ("state_out", submission.state_out == planned.state_out),
                    ("digests", submission.digests == planned.digests),
                    ("record_hashes", submission.record_hashes == planned.record_hashes),
                    ("peaks", submission.peaks == planned.peaks),
                    ("root_after", submission.root_after.to_string() == planned.root_after),
                ];
                match pairs.iter().find(|(_, same)| !same) {
                    Some((what, _)) => {
                        Err(failed("submissions", format!("epoch {index}: {what}: expected the log's, got another")))
                    }
                    None => Ok(submission),
                }
            }
        }
    }
}

impl Anchor {
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        if self.dry_run {
            return self.print(global, out);
        }
        let report = block_on(self.anchor(global, out))?;
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

    fn print(&self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let (log, _) = open_writer(&self.dir)?;
        let run = log.dir().run().description();
        let mut submissions = Submissions::new(global.home(out)?);
        let mut plan = DryRun {
            run: run.run.to_string(),
            chain_id: run.identity.chain_id.0,
            contract: run.identity.contract,
            owner: run.identity.owner,
            salt: run.identity.salt.to_string(),
            selector: selector(run.policy.step_key_digest),
            genesis_state: run.genesis_state,
            policy: run.policy_digest,
            submissions: Vec::new(),
            gas_of_rest: None,
        };
        let mut epochs = Vec::new();
        for index in 0..log.epochs().len() as u64 {
            epochs.push(submissions.get(&log, index)?);
        }
        let estimate = match &self.rpc {
            Some(rpc) => block_on(self.estimate(rpc, run, &epochs, out))?,
            None => None,
        };
        plan.gas_of_rest = estimate.as_ref().map(|estimate| estimate.rest);
        for (index, epoch) in (0u64..).zip(epochs) {
            plan.submissions.push(Submission {
                epoch: index + 1,
                first_step: log.epochs()[index as usize].first_step.0,
                state_out: epoch.state_out,
                proof: format!("0x{}", hex::encode(epoch.proof_bytes())),
                digests: epoch.digests,
                record_hashes: epoch.record_hashes,
                peaks: epoch.peaks,
                root_after: epoch.root_after.to_string(),
                gas: estimate.as_ref().filter(|estimate| estimate.anchored == index).map(|estimate| estimate.next),
            });
        }
        out.result(&plan, |p| {
            let mut lines =
                vec![format!("run {} for {} on chain {}, owner {}", p.run, p.contract, p.chain_id, p.owner)];
            lines.extend(p.submissions.iter().map(|s| {
                let steps = s.digests.len();
                let gas = s.gas.map_or_else(String::new, |gas| format!(", {gas} gas"));
                format!(
                    "epoch {}: {steps} steps from {}, {} bytes of proof{gas}",
                    s.epoch,
                    s.first_step,
                    s.proof.len() / 2 - 1
                )
            }));
            lines.extend(p.gas_of_rest.map(|gas| format!("what is not anchored, in one transaction: {gas} gas")));
            lines.join("\n")
        })
    }

    /// Asks a node for the gas of what is not anchored; none if the run is not registered or nothing is left.
    async fn estimate(
        &self,
        rpc: &str,
        run: &RunDescription,
        epochs: &[EpochSubmission],
        out: &Output,
    ) -> anyhow::Result<Option<Estimate>> {
        let client = crate::rpc::connect(rpc).await?;
        client.expect_chain(run.identity.chain_id)?;
        let contract = self.contract.unwrap_or(run.identity.contract);
        let Some(head) = client.head(contract, run.run).await? else {
            out.note("the run is not registered, so no gas can be estimated; cairn anchor registers it first");
            return Ok(None);
        };
        let anchored = usize::try_from(head.counter).unwrap_or(usize::MAX);
        let Some(rest @ [next, ..]) = epochs.get(anchored..) else { return Ok(None) };
        let owner = run.identity.owner;
        let next = client.estimate_anchor(contract, owner, std::slice::from_ref(next)).await?;
        let rest = if rest.len() == 1 { next } else { client.estimate_anchor(contract, owner, rest).await? };
        Ok(Some(Estimate { anchored: head.counter, next, rest }))
    }

    async fn anchor(&self, global: &Global, out: &Output) -> anyhow::Result<Report> {
        let (mut log, recovery) = open_writer(&self.dir)?;
        if !recovery.is_clean() {
            out.note(format!("repaired after an interruption: {recovery:?}"));
        }
        let run = log.dir().run().description().clone();
        let rpc = self.rpc.as_deref().context("--rpc is missing")?;
        let contract = self.contract.unwrap_or(run.identity.contract);
        let writer = self.signer.writer(rpc).await?;
        writer.client().expect_chain(run.identity.chain_id)?;
        if run.identity.contract != contract || run.identity.owner != writer.address() {
            let detail = format!(
                "the run is for contract {} and owner {}, not {} and {}",
                run.identity.contract,
                run.identity.owner,
                contract,
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
            match writer.client().head(contract, parent).await? {
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
        let (_, sent) = writer.register_run(contract, &registration).await?.into_inner();
        if let Some(sent) = sent {
            report.register_gas = Some(sent.gas);
            report.transactions.push(sent.tx.to_string());
        }
        let mut submissions = match &self.submissions {
            Some(path) => Submissions::read(path, run.run)?,
            None => Submissions::new(global.home(out)?),
        };
        for index in 0..log.epochs().len() as u64 {
            let epoch = log.epochs()[index as usize].clone();
            let submission = submissions.get(&log, index)?;
            let outcome = writer.anchor(contract, &submission, self.from_block).await?;
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
            if let Some(sent) = writer.finalize(contract, run.run).await?.into_inner() {
                report.transactions.push(sent.tx.to_string());
            }
            report.finalized = true;
        }
        log.write_manifest()?;
        Ok(report)
    }
}
