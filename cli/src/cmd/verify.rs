//! `cairn verify`.

use std::collections::{BTreeMap, btree_map::Entry};
use std::path::PathBuf;
use std::time::Instant;

use aggregator::{EpochProof, EpochVerifyingKey};
use circuits::claim::{check_child_start, check_follows, check_start, verify_step};
use circuits::digest::{state_after, step_digest};
use circuits::keys::StepVerifyingKey;
use clap::Args;
use ledger::{Address, ChunkIndex, EpochIndex, MerkleTree, RunDescription, StepIndex};
use rand_core::{OsRng, RngCore};
use serde::Serialize;
use srs::Srs;
use store::{ProofFiles, RunDir, VerifiedLog};

use crate::cmd::{Global, block_on};
use crate::home::Home;
use crate::output::{Check, Failure, NOT_PROVED, Output, failed};
use crate::progress;
use crate::rpc;
use crate::run::{EpochCircuit, genesis_products, open, selector, step_key};

/// Check a run as a stranger would: nothing but its directory, and with --rpc the chain, is believed.
#[derive(Args)]
#[command(after_help = "Example: cairn verify --run DIR --all --rpc http://127.0.0.1:8545 --contract 0x…")]
pub struct Verify {
    /// Run directory.
    #[arg(long = "run", value_name = "DIR")]
    dir: PathBuf,
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

#[derive(Serialize)]
struct Report {
    ok: bool,
    run: String,
    steps: u64,
    steps_verified: u64,
    epochs_verified: u64,
    local_root: String,
    chain_root: Option<String>,
    finalized: Option<bool>,
    step_verify_ms: f64,
    checks: Vec<Check>,
    not_proved: &'static str,
}

struct Checks(Vec<Check>);

impl Checks {
    /// Notes the result of one check; an error ends the verification as a failed check.
    fn note<T, E: std::fmt::Display>(
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
    /// Runs the command.
    pub fn run(self, global: &Global, out: &Output) -> anyhow::Result<()> {
        let mut checks = Checks(Vec::new());
        let mut report = Report {
            ok: false,
            run: String::new(),
            steps: 0,
            steps_verified: 0,
            epochs_verified: 0,
            local_root: String::new(),
            chain_root: None,
            finalized: None,
            step_verify_ms: 0.0,
            checks: Vec::new(),
            not_proved: NOT_PROVED,
        };
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
        let dir = open(&self.dir)?;
        let run = dir.run().description().clone();
        report.run = run.run.to_string();
        let log = checks.note("log, records, proof files, tree, epochs", dir.verify_log(ProofFiles::Check), |v| {
            format!("{} steps, {} proof files, {} epochs", v.log.size(), v.n_proofs, v.epochs.len())
        })?;
        report.steps = log.log.size().0;
        report.local_root = log.log.root().to_string();
        checks.note("manifest", dir.verify_files(), |f| format!("{} bytes", f.bytes))?;
        let (srs, key) = step_key(&home, &run)?;
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
        let verified = self.steps(out, &dir, &run, &log, (&srs, &key), &chosen);
        report.step_verify_ms = checks.note("step proofs", verified, |ms| {
            format!("{} of {} steps, {ms:.1} ms each", chosen.len(), report.steps)
        })?;
        report.steps_verified = chosen.len() as u64;
        let n = epochs(&home, &dir, &run, &log, (&srs, &key))?;
        report.epochs_verified = checks.note("epoch proofs", n, |n| format!("{n} epochs"))?;
        if let (Some(rpc), Some(contract)) = (&self.rpc, self.contract) {
            let (root, finalized) = block_on(self.chain(rpc, contract, &run, &log, checks))?;
            report.chain_root = Some(root);
            report.finalized = Some(finalized);
        }
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
        (srs, key): (&Srs, &StepVerifyingKey),
        chosen: &[u64],
    ) -> anyhow::Result<f64> {
        let bar = progress::bar(out, chosen.len() as u64, "step proofs");
        let mut seconds = 0.0;
        for &t in chosen {
            let step = StepIndex(t);
            let record = dir.record(&log.log, step)?;
            let proofs =
                (0..run.policy.n_chunks).map(|c| dir.proof(step, ChunkIndex(c))).collect::<Result<Vec<_>, _>>()?;
            let start = Instant::now();
            verify_step(key, srs.params(), &run.policy, &record.record().statement, &proofs)?;
            seconds += start.elapsed().as_secs_f64();
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(1e3 * seconds / chosen.len().max(1) as f64)
    }

    /// Compares with the chain: registration, head, every epoch event.
    async fn chain(
        &self,
        rpc: &str,
        contract: Address,
        run: &RunDescription,
        log: &VerifiedLog,
        checks: &mut Checks,
    ) -> anyhow::Result<(String, bool)> {
        let client = rpc::connect(rpc).await?;
        let identity = if run.identity.contract == contract && run.identity.chain_id == client.chain() {
            Ok(())
        } else {
            Err(format!(
                "the run is for chain {} contract {}, asked about chain {} contract {contract}",
                run.identity.chain_id,
                run.identity.contract,
                client.chain()
            ))
        };
        checks.note("chain and contract", identity, |()| format!("chain {}, {contract}", client.chain()))?;
        let found = client.run(contract, run.run).await?.ok_or_else(|| "the contract does not know the run".to_owned());
        let family = selector(run.policy.step_key_digest, log.epochs.first().and_then(|epoch| epoch.wrap_k));
        let registered = found.and_then(|r| {
            let expected = (family, run.genesis_state, run.policy_digest, run.parent);
            let got = (r.selector, r.genesis_state, r.policy_digest, r.parent);
            if expected == got {
                Ok(r)
            } else {
                Err(format!("selector, genesis, policy, parent: expected {expected:?}, got {got:?}"))
            }
        });
        checks.note("registration on chain", registered, |r| format!("owner {}", r.owner))?;
        if let Some(parent) = run.parent {
            let head = client.head(contract, parent).await?;
            let final_state = match head {
                None => Err(format!("the contract does not know parent {parent}")),
                Some(h) if !h.finalized => Err(format!("parent {parent} is not final")),
                Some(h) if h.state != run.genesis_state => {
                    Err(format!("the run starts from {}, parent {parent} ended in {}", run.genesis_state, h.state))
                }
                Some(h) => Ok(h),
            };
            checks.note("parent on chain", final_state, |h| format!("{parent}, final after {} steps", h.size))?;
        }
        let head = client
            .head(contract, run.run)
            .await?
            .ok_or_else(|| failed("head", "the contract does not know the run"))?;
        let (counter, size, root, state) = match log.epochs.last() {
            Some(e) => (log.epochs.len() as u64, e.size_after(), e.root_after, e.state_out),
            None => (0, ledger::TreeSize(0), MerkleTree::new().root(), run.genesis_state),
        };
        let expected = (counter, size, root, state);
        let got = (head.counter, head.size, head.root, head.state);
        let same = if expected == got {
            Ok(())
        } else {
            Err(format!(
                "counter, size, root, state: log has {counter}, {size}, {root}, {state}; chain has {}, {}, {}, {}",
                head.counter, head.size, head.root, head.state
            ))
        };
        checks.note("counter, size, root, state on chain", same, |()| {
            format!("epoch {}, {} steps, root {}", head.counter, head.size, head.root)
        })?;
        let events = client.epoch_events(contract, run.run, self.from_block).await?;
        let compared = events.len() == log.epochs.len()
            && events.iter().zip(&log.epochs).all(|(event, epoch)| {
                event.digests == epoch.digests
                    && Some(event.record_hashes.as_slice()) == log.log.record_hashes(epoch.first_step, epoch.n_steps())
                    && (event.root, event.state_in, event.state_out)
                        == (epoch.root_after, epoch.state_in, epoch.state_out)
            });
        let compared = if compared {
            Ok(())
        } else {
            Err(format!("{} events do not carry the log's {} epochs", events.len(), log.epochs.len()))
        };
        checks.note("epoch events", compared, |()| {
            let txs = events.iter().map(|e| e.tx.to_string()).collect::<Vec<_>>().join(" ");
            format!("{} epochs: {txs}", events.len())
        })?;
        Ok((head.root.to_string(), head.finalized))
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
    home: &Home<'_>,
    dir: &RunDir,
    run: &RunDescription,
    log: &VerifiedLog,
    step: (&Srs, &StepVerifyingKey),
) -> anyhow::Result<Result<u64, String>> {
    let mut keys: BTreeMap<u64, (Srs, EpochVerifyingKey)> = BTreeMap::new();
    for (index, epoch) in log.epochs.iter().enumerate() {
        let n_steps = epoch.n_steps();
        let (srs, key) = match keys.entry(n_steps) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(empty) => {
                // All epochs of a log are wrapped alike.
                let circuit = EpochCircuit::new(run, n_steps as usize, epoch.wrap_k)?;
                let key = home.anchored_key(step, &circuit)?;
                empty.insert((home.srs(circuit.k())?, key))
            }
        };
        let proof = EpochProof { instances: epoch.instances(), proof: dir.epoch_proof(EpochIndex(index as u64))? };
        if let Err(error) = key.verify(srs.params(), &proof) {
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
    lines.push(if r.ok {
        format!("everything that was checked holds; {} are not proved", r.not_proved)
    } else {
        "the run does not hold".to_owned()
    });
    lines.join("\n")
}
