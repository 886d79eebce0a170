//! `cairn verify`.

mod chain;

pub use self::chain::{Place, Scope, check_head, check_parent, check_registration, compare};

use std::collections::{BTreeMap, btree_map::Entry};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aggregator::EpochProof;
use circuits::claim::{check_child_start, check_follows, check_start, verify_step};
use circuits::digest::{state_after, step_digest};
use clap::Args;
use ledger::{Address, ChunkIndex, Digest, EpochIndex, RunDescription, StepIndex};
use rand_core::{OsRng, RngCore};
use serde::Serialize;
use srs::SrsSize;
use store::{ProofFiles, RunDir, VerifiedLog};

use crate::capsule::Capsule;
use crate::cmd::{Global, block_on};
use crate::keys::{Keys, StepKey};
use crate::output::{Check, Failure, NOT_PROVED, Output, failed};
use crate::progress;
use crate::rpc;
use crate::run::{EpochCircuit, genesis_products, open};

/// Check a run as a stranger would: nothing but its directory, and with --rpc the chain, is believed.
#[derive(Args)]
#[command(
    after_help = "Example: cairn verify --run DIR --all --rpc http://127.0.0.1:8545 --contract 0x…\nExample: cairn verify --capsule FILE --all"
)]
pub struct Verify {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR", required_unless_present = "capsule")]
    dir: Option<PathBuf>,
    /// A capsule instead: run, keys and the state of the chain in one file. Nobody is asked anything.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "rpc"])]
    capsule: Option<PathBuf>,
    /// Hash that the capsule's block has to have, from someone you trust.
    #[arg(long, value_name = "HASH", requires = "capsule")]
    block_hash: Option<Digest>,
    /// Compiler, speaks --standard-json: also compile the capsule's verifiers and compare their code.
    #[arg(long, value_name = "FILE", requires = "capsule")]
    solc: Option<PathBuf>,
    /// Directory of the parent, to check that the run starts where the parent's log ends.
    #[arg(long, value_name = "DIR")]
    parent: Option<PathBuf>,
    /// Verify the proofs of this many randomly chosen steps.
    #[arg(long, default_value_t = 4, conflicts_with = "all")]
    k: u64,
    /// Verify the proofs of all steps.
    #[arg(long)]
    all: bool,
    /// Address of a node, to compare with the chain.
    #[arg(long, requires = "contract")]
    rpc: Option<String>,
    /// RunAnchor.
    #[arg(long, requires = "rpc")]
    contract: Option<Address>,
    /// Block to read events from.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
}

#[derive(Default, Serialize)]
struct Report {
    ok: bool,
    run: String,
    steps: u64,
    steps_verified: u64,
    epochs_verified: u64,
    local_root: String,
    chain_root: Option<String>,
    finalized: Option<bool>,
    /// Height and hash of the block that a capsule proves the head in.
    block: Option<u64>,
    block_hash: Option<String>,
    step_verify_ms: f64,
    checks: Vec<Check>,
    not_proved: &'static str,
}

/// The checks made so far; all of them held, but perhaps the last.
#[derive(Default)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// Notes the result of one check; an error ends the verification as a failed check.
    pub fn note<T, E: std::fmt::Display>(
        &mut self,
        check: &str,
        result: Result<T, E>,
        detail: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        match result {
            Ok(value) => {
                self.0.push(Check { check: check.to_owned(), ok: true, detail: detail(&value) });
                Ok(value)
            }
            Err(error) => {
                self.0.push(Check { check: check.to_owned(), ok: false, detail: error.to_string() });
                Err(failed(check, error))
            }
        }
    }
}

impl Verify {
    /// The command for all proofs of the run in `dir`, without a chain.
    pub fn proofs(dir: &Path) -> Self {
        let dir = Some(dir.to_owned());
        let (capsule, block_hash, solc) = (None, None, None);
        Self { dir, capsule, block_hash, solc, parent: None, k: 0, all: true, rpc: None, contract: None, from_block: 0 }
    }

    /// Makes the checks of the command, and prints nothing.
    pub fn check(&self, global: &Global, out: &Output, checks: &mut Checks) -> anyhow::Result<()> {
        self.verify(global, out, checks, &mut Report::default())
    }

    /// Verifies the proofs of some steps of a log that was checked, where others are not there.
    pub fn check_steps(
        &self,
        global: &Global,
        out: &Output,
        dir: &RunDir,
        log: &VerifiedLog,
        steps: &[u64],
        checks: &mut Checks,
    ) -> anyhow::Result<()> {
        let run = dir.run().description();
        let step = global.home(out)?.step(run)?;
        checks.note("links, schedule, digests", statements(dir, run, log), |n| format!("{n} steps"))?;
        let verified = self.steps(out, dir, run, log, &step, steps);
        checks.note("step proofs", verified, |ms| format!("{} steps, {ms:.1} ms each", steps.len()))?;
        Ok(())
    }

    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let mut checks = Checks::default();
        let mut report = Report { not_proved: NOT_PROVED, ..Report::default() };
        let result = self.verify(global, out, &mut checks, &mut report);
        report.ok = result.is_ok();
        report.checks = checks.0;
        // Checks that could not be made (I/O) have no report; failed ones do.
        if result.as_ref().is_ok() || result.as_ref().err().is_some_and(|e| e.is::<Failure>()) {
            out.result(&report, text)?;
        }
        result
    }

    fn verify(&self, global: &Global, out: &Output, checks: &mut Checks, report: &mut Report) -> anyhow::Result<()> {
        let home = global.home(out)?;
        let capsule = self.capsule.as_deref().map(Capsule::open).transpose()?;
        let (dir, keys): (RunDir, &dyn Keys) = match (&capsule, &self.dir) {
            (Some(capsule), _) => (capsule.run()?, capsule),
            (None, Some(dir)) => (open(dir)?, &home),
            (None, None) => anyhow::bail!("neither --run nor --capsule is given"),
        };
        let run = dir.run().description().clone();
        report.run = run.run.to_string();
        let log = checks.note("log, records, proof files, tree, epochs", dir.verify_log(ProofFiles::Check), |v| {
            format!("{} steps, {} proof files, {} epochs", v.log.size(), v.n_proofs, v.epochs.len())
        })?;
        report.steps = log.log.size().0;
        report.local_root = log.log.root().to_string();
        let files = checks.note("manifest", dir.verify_files(), |f| format!("{} bytes", f.bytes))?;
        if let Some(capsule) = &capsule {
            checks.note("capsule", capsule.check_run(&log, &files), |()| capsule.describe())?;
        }
        let step = keys.step(&run)?;
        checks.note("policy and step key", Ok::<_, anyhow::Error>(()), |()| {
            format!("policy {}, step key {}", run.policy_digest, run.policy.step_key_digest)
        })?;
        let statements = statements(&dir, &run, &log);
        checks.note("links, schedule, digests", statements, |n| format!("{n} steps"))?;
        if let Some(parent) = &self.parent {
            let parent = open(parent)?;
            checks.note("parent's log", parent_log(&parent, &dir, &run, &log), |state| format!("ends in {state}"))?;
        }
        let chosen = self.choose(report.steps);
        let verified = self.steps(out, &dir, &run, &log, &step, &chosen);
        report.step_verify_ms = checks.note("step proofs", verified, |ms| {
            format!("{} of {} steps, {ms:.1} ms each", chosen.len(), report.steps)
        })?;
        report.steps_verified = chosen.len() as u64;
        let n = epochs(keys, &dir, &run, &log, &step)?;
        report.epochs_verified = checks.note("epoch proofs", n, |n| format!("{n} epochs"))?;
        if let Some(capsule) = &capsule {
            self.against_block(capsule, &run, &log, checks, report)?;
        }
        if let (Some(rpc), Some(contract)) = (&self.rpc, self.contract) {
            let place = Place { contract, from_block: self.from_block, scope: Scope::Head };
            let (root, finalized) = block_on(async {
                let client = rpc::connect(rpc).await?;
                compare(&client, place, &run, &log, checks).await
            })?;
            report.chain_root = Some(root.to_string());
            report.finalized = Some(finalized);
        }
        Ok(())
    }

    /// Compares the run with the state that its capsule proves.
    fn against_block(
        &self,
        capsule: &Capsule,
        run: &RunDescription,
        log: &VerifiedLog,
        checks: &mut Checks,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let anchored = capsule.evidence()?.check(run, log)?;
        let (head, owner) = (&anchored.head, anchored.run.owner);
        let block = head.block;
        (report.block, report.block_hash) = (Some(block.number), Some(block.hash.to_string()));
        let held = Ok::<(), String>(());
        checks.note("state proof", held.clone(), |()| {
            format!(
                "block {} {}, unix time {}, registry {}",
                block.number, block.hash, anchored.timestamp, anchored.registry
            )
        })?;
        if let Some(expected) = self.block_hash {
            let same =
                if expected == block.hash { Ok(()) } else { Err(format!("expected {expected}, got {}", block.hash)) };
            checks.note("block hash", same, |()| expected.to_string())?;
        }
        checks.note("registration on chain", held.clone(), |()| format!("owner {owner}"))?;
        checks.note("anchored head", held, |()| {
            format!("epoch {}, {} steps, root {}, state {}", head.counter, head.size, head.root, head.state)
        })?;
        let n = capsule.check_verifiers(run, self.solc.as_deref())?;
        let how =
            if self.solc.is_some() { "compiled and compared" } else { "with every number of key and reference string" };
        checks.note("contract sources, verifier code", Ok::<_, String>(n), |n| format!("{n} verifiers, {how}"))?;
        (report.chain_root, report.finalized) = (Some(head.root.to_string()), Some(head.finalized));
        Ok(())
    }

    /// Steps whose proofs are verified: all, or a random sample without repetition.
    fn choose(&self, size: u64) -> Vec<u64> {
        if self.all || self.k >= size {
            return (0..size).collect();
        }
        let mut chosen = std::collections::BTreeSet::new();
        while (chosen.len() as u64) < self.k {
            chosen.insert(OsRng.next_u64() % size);
        }
        chosen.into_iter().collect()
    }

    /// Verifies proofs; returns the mean milliseconds of one step.
    fn steps(
        &self,
        out: &Output,
        dir: &RunDir,
        run: &RunDescription,
        log: &VerifiedLog,
        step_key: &StepKey,
        chosen: &[u64],
    ) -> anyhow::Result<f64> {
        let params = step_key.srs.params(SrsSize::new(step_key.key.shape().k)?);
        let bar = progress::bar(out, chosen.len() as u64, "step proofs");
        let mut seconds = 0.0;
        for &t in chosen {
            let step = StepIndex(t);
            let record = dir.record(&log.log, step)?;
            let proofs =
                (0..run.policy.n_chunks).map(|c| dir.proof(step, ChunkIndex(c))).collect::<Result<Vec<_>, _>>()?;
            let start = Instant::now();
            verify_step(&step_key.key, &params, &run.policy, &record.record().statement, &proofs)?;
            seconds += start.elapsed().as_secs_f64();
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(1e3 * seconds / chosen.len().max(1) as f64)
    }
}

/// Recomputes every statement digest and state digest, and checks every link and schedule.
fn statements(dir: &RunDir, run: &RunDescription, log: &VerifiedLog) -> anyhow::Result<u64> {
    let rule = run.policy.rule;
    let mut before: Option<ledger::StepStatement> = None;
    let mut n = 0;
    let mut check = |record: &ledger::SealedRecord| -> anyhow::Result<()> {
        let r = record.record();
        let s = &r.statement;
        match &before {
            Some(before) => check_follows(rule, before, s)?,
            None => {
                let products = genesis_products(run)?;
                match run.parent {
                    None => check_start(rule, s)?,
                    Some(_) => check_child_start(rule, products, s)?,
                }
                let genesis = circuits::digest::state_digest(products, s.chunks.iter().map(|c| &c.input))?;
                anyhow::ensure!(
                    genesis == run.genesis_state,
                    "step 0 starts from state {genesis}, run.json says {}",
                    run.genesis_state
                );
            }
        }
        let (digest, state) = (step_digest(s)?, state_after(s)?);
        anyhow::ensure!(digest == r.digest, "step {}: digest is {}, its statement gives {digest}", s.step, r.digest);
        anyhow::ensure!(
            state == r.state_out,
            "step {}: state after is {}, its statement gives {state}",
            s.step,
            r.state_out
        );
        before = Some(s.clone());
        n += 1;
        Ok(())
    };
    for t in 0..log.log.size().0 {
        check(&dir.record(&log.log, StepIndex(t))?)?;
    }
    Ok(n)
}

/// Checks that the run starts where the log of `parent` ends; returns the state they share.
fn parent_log(
    parent: &RunDir,
    dir: &RunDir,
    run: &RunDescription,
    log: &VerifiedLog,
) -> anyhow::Result<ledger::FieldElement> {
    let id = parent.run().description().run;
    anyhow::ensure!(run.parent == Some(id), "the run's parent is {:?}, this is the directory of {id}", run.parent);
    let theirs = parent.verify_log(ProofFiles::Check)?;
    let size = theirs.log.size().0;
    let last = size.checked_sub(1).ok_or_else(|| anyhow::anyhow!("parent {id} has no steps"))?;
    let last = parent.record(&theirs.log, StepIndex(last))?;
    let last = last.record();
    let state = state_after(&last.statement)?;
    anyhow::ensure!(
        state == run.genesis_state,
        "the run starts from {}, the parent's log ends after {size} steps in {state}",
        run.genesis_state
    );
    if log.log.size().0 > 0 {
        let first = dir.record(&log.log, StepIndex(0))?;
        for ((chunk, a), (_, b)) in last.statement.chunks().zip(first.record().statement.chunks()) {
            anyhow::ensure!(
                a.output == b.input,
                "chunk {chunk}: step 0 starts from commitment {}, the parent ended in {}",
                b.input,
                a.output
            );
        }
    }
    Ok(state)
}

/// Verifies all epoch proofs; the outer error is about keys, the inner about proofs.
fn epochs(
    keys: &dyn Keys,
    dir: &RunDir,
    run: &RunDescription,
    log: &VerifiedLog,
    step: &StepKey,
) -> anyhow::Result<Result<u64, String>> {
    let mut known = BTreeMap::new();
    for (index, epoch) in log.epochs.iter().enumerate() {
        let n_steps = epoch.n_steps();
        let (params, key) = match known.entry(n_steps) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(empty) => {
                // All epochs of a log are wrapped alike.
                let circuit = EpochCircuit::new(run, n_steps as usize, epoch.wrap_k)?;
                let key = keys.epoch(step, &circuit)?;
                empty.insert((step.srs.params(SrsSize::new(key.shape().k)?), key))
            }
        };
        let proof = EpochProof { instances: epoch.instances(), proof: dir.epoch_proof(EpochIndex(index as u64))? };
        if let Err(error) = key.verify(params, &proof) {
            return Ok(Err(format!("epoch {index}: {error}")));
        }
        if epoch.policy_digest != run.policy_digest {
            return Ok(Err(format!("epoch {index}: proved under policy {}", epoch.policy_digest)));
        }
    }
    Ok(Ok(log.epochs.len() as u64))
}

fn text(r: &Report) -> String {
    let mut lines = vec![format!("run {}", r.run)];
    for c in &r.checks {
        lines.push(format!("  {} {:42} {}", if c.ok { "ok  " } else { "FAIL" }, c.check, c.detail));
    }
    if let (true, Some(number), Some(hash)) = (r.ok, r.block, &r.block_hash) {
        lines.push(format!("all this is of block {number} {hash}: compare the hash with someone who knows the chain"));
    }
    lines.push(if r.ok {
        format!("everything that was checked holds; {} are not proved", r.not_proved)
    } else {
        "the run does not hold".to_owned()
    });
    lines.join("\n")
}
