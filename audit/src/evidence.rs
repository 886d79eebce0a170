//! One step with what surrounds it, from bytes: what a browser gets of a portal and checks itself.
//!
//! What is believed is the root, and it comes from a node that the visitor chose. From it everything follows: the leaf is
//! under the root, the record is under the leaf, the statement is in the record, and the proof is of the statement.

use std::sync::Arc;

use chain::{Head, LogSteps, RunOnChain};
use circuits::claim::verify_step;
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use circuits::notes::{NoteError, step_shape};
use epochcheck::{EpochProof, EpochVerifyingKey};
use ledger::{
    Address, ChunkIndex, ConsistencyProof, Digest, EpochRecord, InclusionProof, Root, RunDescription, RunId,
    SealedEpoch, SealedRecord, SealedRun, Selector, StepIndex, TreeError, TreeSize, tree::step_leaf,
};
use serde::{Deserialize, Serialize};
use srs::{SrsSize, SrsVerifier};
use store::{RunDir, StoreError, VerifiedLog};

use crate::circuit::{EpochCircuit, selector};
use crate::epochs;
use crate::error::{AuditError, Failure, Reason};
use crate::keys::{StepKey, check_policy, check_step_key};
use crate::report::Checks;
use crate::statements::{check_digests, check_link};
use crate::weights::{self, ExpectedState};

/// An earlier root of the run, and that the present one extends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierRoot {
    /// Root over the first [`ConsistencyProof::old`] steps.
    pub root: Root,
    /// The proof.
    pub proof: ConsistencyProof,
}

/// Version of the evidence. The first had neither epoch proof nor its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct V2;

impl From<V2> for u64 {
    fn from(_: V2) -> Self {
        2
    }
}

impl TryFrom<u64> for V2 {
    type Error = String;

    fn try_from(got: u64) -> Result<Self, Self::Error> {
        if got == 2 { Ok(Self) } else { Err(format!("expected evidence of version 2, got {got}")) }
    }
}

/// Everything about one step. Text fields are the files' own bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepEvidence {
    /// Version, 2.
    pub v: V2,
    /// `run.json`.
    pub run: String,
    /// The step's line of `steps.jsonl`, without its newline.
    pub record: String,
    /// The line before; none for step 0.
    pub before: Option<String>,
    /// The line behind; none for the last step.
    pub after: Option<String>,
    /// That the step is under the anchored root.
    pub inclusion: InclusionProof,
    /// The root that `inclusion` is for.
    pub root: Root,
    /// Earlier roots of the run.
    pub earlier: Vec<EarlierRoot>,
    /// `epoch_NNNN.json` of the step's epoch, if it has one.
    pub epoch: Option<String>,
    /// The key of that epoch's proof as `cairn` keeps it, in hex.
    pub epoch_key: Option<String>,
    /// `epoch_NNNN.proof`, in hex.
    pub epoch_proof: Option<String>,
    /// The step key, in hex.
    pub step_key: String,
    /// τH of the reference string, in hex.
    pub tau_h: String,
    /// The step's proofs, one for each chunk, in hex.
    pub proofs: Vec<String>,
}

/// What a node of the visitor's own says of the run.
#[derive(Clone, Debug)]
pub struct OnChain {
    /// Its head.
    pub head: Head,
    /// What it is registered with.
    pub run: RunOnChain,
    /// What verifies its epochs: see [`StepEvidence::verifier`].
    pub verifier: VerifierOnChain,
}

/// The verifier that a contract calls for epochs of a family and size. A place in the registry is never given to another, so it is
/// the one that verified the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifierOnChain {
    /// The node was not asked.
    NotAsked,
    /// The registry names none, or the family was stopped.
    None {
        /// The node's words.
        reason: String,
    },
    /// The one that the registry names.
    Placed {
        /// The registry of the contract.
        registry: Address,
        /// The verifier.
        address: Address,
        /// Its code.
        code: Vec<u8>,
    },
}

struct Parsed {
    run: SealedRun,
    record: SealedRecord,
    before: Option<SealedRecord>,
    after: Option<SealedRecord>,
}

/// Files of a run are canonical JSON, which is UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn record(line: &str) -> Result<SealedRecord, Reason> {
    Ok(SealedRecord::parse(line.as_bytes())?)
}

impl StepEvidence {
    /// The evidence of a step of a log that was checked, under the root over its first `size` steps. `earlier`: sizes whose
    /// roots it extends. `epoch_key`: the key of epochs of a circuit, asked for if the step is in one.
    ///
    /// Errors: [`AuditError::Store`] if a file is not there; [`AuditError::Failed`] if the log has no such step or size; those of
    /// `epoch_key`.
    pub fn of(
        dir: &RunDir,
        log: &VerifiedLog,
        (step, size): (StepIndex, TreeSize),
        earlier: &[TreeSize],
        key: &StepKey,
        epoch_key: impl FnOnce(&EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError>,
    ) -> Result<Self, AuditError> {
        let tree = log.log.tree();
        let in_tree = |error: TreeError| AuditError::failed("inclusion", error);
        let line = |step| -> Result<String, AuditError> { Ok(text(dir.record(&log.log, step)?.bytes())) };
        let earlier = earlier.iter().map(|old| -> Result<EarlierRoot, TreeError> {
            Ok(EarlierRoot { root: tree.root_at(*old)?, proof: tree.prove_consistency(*old, size)? })
        });
        let epoch = log.epochs.iter().find(|epoch| {
            (epoch.first_step.0..epoch.size_after().0).contains(&step.0) && epoch.size_after().0 <= size.0
        });
        let epoch_key = |record: &EpochRecord| -> Result<String, AuditError> {
            let key = epoch_key(&circuit(dir.run().description(), record)?)?;
            Ok(hex::encode(key.to_bytes().map_err(|error| AuditError::Keys(error.into()))?))
        };
        let key_of_epoch = epoch.map(epoch_key).transpose()?;
        let epoch_proof = epoch.map(|epoch| dir.epoch_proof(epoch.epoch)).transpose()?;
        let epoch = epoch.map(|epoch| dir.epoch(epoch.epoch)).transpose()?;
        let behind = StepIndex(step.0.saturating_add(1));
        let chunks = (0..dir.run().description().policy.n_chunks).map(ChunkIndex);
        let proofs = chunks.map(|chunk| dir.proof(step, chunk).map(hex::encode));
        Ok(Self {
            v: V2,
            run: text(dir.run().bytes()),
            record: line(step)?,
            before: step.0.checked_sub(1).map(|before| line(StepIndex(before))).transpose()?,
            after: (behind.0 < size.0).then(|| line(behind)).transpose()?,
            inclusion: tree.prove_inclusion(step, size).map_err(in_tree)?,
            root: tree.root_at(size).map_err(in_tree)?,
            earlier: earlier.collect::<Result<_, _>>().map_err(in_tree)?,
            epoch: epoch.map(|epoch| text(epoch.bytes())),
            epoch_key: key_of_epoch,
            epoch_proof: epoch_proof.map(hex::encode),
            step_key: hex::encode(key.key.to_bytes()),
            tau_h: hex::encode(key.srs.to_bytes()),
            proofs: proofs.collect::<Result<_, StoreError>>()?,
        })
    }

    /// The JSON.
    ///
    /// Errors: [`AuditError::Evidence`], which these types do not give.
    pub fn to_json(&self) -> Result<Vec<u8>, AuditError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads the JSON.
    ///
    /// Errors: [`AuditError::Evidence`].
    pub fn parse(json: &[u8]) -> Result<Self, AuditError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The run that the evidence says it is of, and where it is anchored.
    ///
    /// Errors: a failed check `run.json`.
    pub fn run(&self) -> Result<RunDescription, AuditError> {
        let run = SealedRun::parse(self.run.as_bytes()).map_err(|error| AuditError::failed("run.json", error))?;
        Ok(run.description().clone())
    }

    /// Family and size of the step's epoch, by which the contract's registry names its verifier; none if there is no epoch, or none
    /// that can be read: then the check says so.
    pub fn verifier(&self) -> Option<(Selector, LogSteps)> {
        let run = SealedRun::parse(self.run.as_bytes()).ok()?;
        let epoch = SealedEpoch::parse(self.epoch.as_ref()?.as_bytes()).ok()?;
        let size = LogSteps(u8::try_from(epoch.record().log_steps()).ok()?);
        Some((family(run.description(), epoch.record()), size))
    }

    /// Makes every check of one step. `expected`: the run and step that the visitor asked for; `on_chain`: what a node
    /// says, none if none was asked.
    ///
    /// Errors: a failed check.
    pub fn check(
        &self,
        expected: (RunId, StepIndex),
        on_chain: Option<&OnChain>,
        checks: &mut Checks<'_>,
    ) -> Result<(), AuditError> {
        let parsed = self.check_place(expected, on_chain, checks)?;
        let run = parsed.run.description();
        let r = parsed.record.record();
        let (key, srs) = checks.pass_on(self.step_key(run))?;
        let note = if srs.is_development() { "; development reference string, not secure" } else { "" };
        checks.passed("policy and step key", format!("policy {}{note}", run.policy_digest));
        let verified = self.verify_proofs(run, &parsed, &key, &srs);
        checks.note("step proof", verified, |bytes| format!("{bytes} bytes, pairing holds"))?;
        let before = parsed.before.as_ref().map(|before| &before.record().statement);
        let from = if before.is_some() { "the step before" } else { "the run's genesis state" };
        checks
            .note("link to the step before", check_link(run, before, r), |()| format!("starts where {from} ended"))?;
        match &parsed.after {
            None => checks.not_covered("link to the step behind", "no later step was given"),
            Some(after) => {
                let linked = check_link(run, Some(&r.statement), after.record());
                checks.note("link to the step behind", linked, |()| "it starts where this one ended".to_owned())?;
            }
        }
        self.check_epoch((run, &parsed), &srs, on_chain, checks)
    }

    /// Whether a weights file with its opening is the state after the step. Registration, root, record and inclusion are
    /// checked for that, the step's proof is not.
    ///
    /// Errors: a failed check.
    pub fn check_weights(
        &self,
        run: RunId,
        on_chain: Option<&OnChain>,
        (weights, opening): (&[u8], &[u8]),
        checks: &mut Checks<'_>,
    ) -> Result<(), AuditError> {
        let index = checks.pass_on(weights::state_of(opening))?;
        let before = index.checked_sub(1).ok_or_else(|| Reason::Differs {
            what: "state of the opening",
            expected: "one after a step".to_owned(),
            got: index.to_string(),
        });
        let step = StepIndex(checks.note("state", before, |step| format!("state {index}, after step {step}"))?);
        let parsed = self.check_place((run, step), on_chain, checks)?;
        let run = parsed.run.description();
        let (key, srs) = checks.pass_on(self.step_key(run))?;
        let step = StepKey { key, srs, whole: None };
        let expected = ExpectedState { index, digest: parsed.record.record().state_out };
        weights::check(run, &step, expected, (weights, opening), checks)
    }

    /// Record, leaf, registration, root, inclusion, consistency.
    fn check_place(
        &self,
        expected: (RunId, StepIndex),
        on_chain: Option<&OnChain>,
        checks: &mut Checks<'_>,
    ) -> Result<Parsed, AuditError> {
        let parsed = checks.note("run.json, records", self.parsed(expected), |p| {
            let d = p.run.description();
            format!("run {}, chain {}, contract {}", d.run, d.identity.chain_id, d.identity.contract)
        })?;
        let run = parsed.run.description();
        let r = parsed.record.record();
        checks.note("record hash", check_digests(r), |()| parsed.record.hash().to_string())?;
        let leaf = step_leaf(r.statement.step, r.digest, parsed.record.hash());
        let same = Reason::same("leaf", &leaf, &parsed.record.leaf());
        checks.note("leaf", same, |()| leaf.to_string())?;
        self.check_chain(run, on_chain, checks)?;
        self.check_tree(leaf, expected.1, checks)?;
        Ok(parsed)
    }

    fn parsed(&self, (run_id, step): (RunId, StepIndex)) -> Result<Parsed, Reason> {
        let run = SealedRun::parse(self.run.as_bytes())?;
        Reason::same("run", &run_id, &run.run())?;
        let before = self.before.as_deref().map(record).transpose()?;
        let after = self.after.as_deref().map(record).transpose()?;
        let record = record(&self.record)?;
        Reason::same("run of the record", &run_id, &record.record().run())?;
        Reason::same("step", &step, &record.record().step())?;
        // The hash chain: each record names the one before.
        if let Some(before) = &before {
            Reason::same("previous record's hash", &before.hash(), &record.record().prev)?;
        } else if step.0 == 0 {
            Reason::same("hash of run.json in the first record", &record.record().prev, &run.digest())?;
        } else {
            return Err(Reason::Differs { what: "step before", expected: "a record".into(), got: "none".into() });
        }
        if let Some(after) = &after {
            Reason::same("previous record's hash", &record.hash(), &after.record().prev)?;
        }
        Ok(Parsed { run, record, before, after })
    }

    fn check_chain(
        &self,
        run: &RunDescription,
        on_chain: Option<&OnChain>,
        checks: &mut Checks<'_>,
    ) -> Result<(), AuditError> {
        let Some(OnChain { head, run: registered, .. }) = on_chain else {
            checks.not_covered("registration on chain", "no node was asked: policy and keys are the portal's word");
            checks.not_covered("root on chain", "no node was asked: the root is the portal's word");
            return Ok(());
        };
        let same = Reason::same("genesis state", &registered.genesis_state, &run.genesis_state)
            .and_then(|()| Reason::same("policy", &registered.policy_digest, &run.policy_digest))
            .and_then(|()| Reason::same("parent", &shown(registered.parent), &shown(run.parent)));
        checks.note("registration on chain", same, |()| format!("owner {}", registered.owner))?;
        checks.note("root on chain", self.check_root(head), |()| {
            let (block, contract) = (head.block, run.identity.contract);
            format!("root {} over {} steps in {contract}, block {} {}", head.root, head.size, block.number, block.hash)
        })
    }

    fn check_tree(&self, leaf: Digest, step: StepIndex, checks: &mut Checks<'_>) -> Result<(), AuditError> {
        let size = self.inclusion.size;
        let included = Reason::same("position", &step, &self.inclusion.index)
            .and_then(|()| Ok(self.inclusion.verify(leaf, self.root)?));
        checks.note("inclusion", included, |()| format!("step {step} of {size} under root {}", self.root))?;
        let earlier = self.earlier.iter().try_for_each(|earlier| {
            Reason::same("size", &size, &earlier.proof.new)?;
            Ok::<_, Reason>(earlier.proof.verify(earlier.root, self.root)?)
        });
        checks.note("consistency with earlier roots", earlier, |()| format!("{} roots", self.earlier.len()))
    }

    fn check_root(&self, head: &Head) -> Result<(), Reason> {
        let (size, expected, got) = (head.size, head.root, self.root);
        Reason::same("anchored steps", &size, &self.inclusion.size)?;
        if expected == got { Ok(()) } else { Err(Reason::Root { size, expected, got }) }
    }

    fn step_key(&self, run: &RunDescription) -> Result<(StepVerifyingKey, SrsVerifier), AuditError> {
        check_policy(run)?;
        let read = || -> Result<(StepVerifyingKey, SrsVerifier), Reason> {
            let key = StepVerifyingKey::from_bytes(&decode("step key", &self.step_key)?, &step_shape(run)?)?;
            Ok((key, point(&self.tau_h)?))
        };
        let (key, srs) = read().map_err(|reason| AuditError::failed("step key", reason))?;
        check_step_key(run, &key)?;
        Ok((key, srs))
    }

    /// Bytes that were verified.
    fn verify_proofs(
        &self,
        run: &RunDescription,
        parsed: &Parsed,
        key: &StepVerifyingKey,
        srs: &SrsVerifier,
    ) -> Result<usize, Reason> {
        let proofs = self.proofs.iter().map(|proof| decode("proof", proof)).collect::<Result<Vec<_>, _>>()?;
        let record = parsed.record.record();
        // First the proof itself: what is bad is shown as a bad proof, not as another file.
        let params = srs.params(SrsSize::new(key.shape().k)?);
        verify_step(key, &params, &run.policy, &record.statement, &proofs)?;
        for ((_, expected), proof) in record.proofs().zip(&proofs) {
            Reason::same("SHA-256 of the proof", &expected, &Digest::of(proof))?;
        }
        Ok(proofs.iter().map(Vec::len).sum())
    }

    /// The epoch's record, its key, its proof.
    fn check_epoch(
        &self,
        (run, parsed): (&RunDescription, &Parsed),
        srs: &SrsVerifier,
        on_chain: Option<&OnChain>,
        checks: &mut Checks<'_>,
    ) -> Result<(), AuditError> {
        let Some(epoch) = &self.epoch else {
            // What is under the anchored root is in an epoch: leaving it out hides something.
            if on_chain.is_some() {
                let hidden =
                    Reason::Differs { what: "epoch", expected: "of an anchored step".into(), got: "none".into() };
                return Err(checks.fail(Failure::new("epoch", hidden)));
            }
            checks.not_covered("epoch", "the step is in no epoch yet");
            return Ok(());
        };
        let epoch = checks.note("epoch", epoch_has(epoch, run, parsed), |epoch| {
            format!("the epoch from step {} on carries this statement digest", epoch.record().first_step)
        })?;
        let record = epoch.record();
        let read = self.epoch_key(run, record).map_err(|reason| AuditError::failed(EPOCH_KEY, reason));
        let key = checks.pass_on(read)?;
        let word = check_epoch_key((run, record), (&key, srs), on_chain, checks)?;
        checks.note("epoch proof", self.verify_epoch(record, &key, srs), |bytes| {
            let (first, last) = (record.first_step, record.size_after().0.saturating_sub(1));
            let steps = format!("steps {first} to {last}, linked and under the policy, each with a proof");
            format!("{bytes} bytes, k = {}, proof and accumulator hold: {steps}; {word}", key.shape().k)
        })?;
        Ok(())
    }

    /// The epoch's key, of the circuit that run and record name.
    fn epoch_key(&self, run: &RunDescription, record: &EpochRecord) -> Result<EpochVerifyingKey, Reason> {
        let bytes = decode("epoch key", present("epoch key", self.epoch_key.as_deref())?)?;
        let key = EpochVerifyingKey::read(&mut &bytes[..])?;
        epochs::check_shape(&key, &circuit(run, record)?)?;
        Ok(key)
    }

    /// Bytes that were verified.
    fn verify_epoch(&self, record: &EpochRecord, key: &EpochVerifyingKey, srs: &SrsVerifier) -> Result<usize, Reason> {
        let proof = decode("epoch proof", present("epoch proof", self.epoch_proof.as_deref())?)?;
        let proof = EpochProof { instances: record.instances(), proof };
        // First the proof itself: what is bad is shown as a bad proof, not as another file.
        key.verify(&srs.params(SrsSize::new(key.shape().k)?), &proof)
            .map_err(|source| Reason::Epoch { epoch: record.epoch, source })?;
        Reason::same("SHA-256 of the epoch proof", &record.proof, &Digest::of(&proof.proof))?;
        Ok(proof.proof.len())
    }
}

const EPOCH_KEY: &str = "epoch key";

/// Compares an epoch's key with the code of the verifier that the contract called; returns whose word the key is.
fn check_epoch_key(
    (run, record): (&RunDescription, &EpochRecord),
    (key, srs): (&EpochVerifyingKey, &SrsVerifier),
    on_chain: Option<&OnChain>,
    checks: &mut Checks<'_>,
) -> Result<&'static str, AuditError> {
    const PORTALS: &str = "that the key is the right one is the portal's word";
    let Some(OnChain { run: registered, verifier, .. }) = on_chain else {
        checks.not_covered(EPOCH_KEY, "no node was asked: the epoch key is the portal's word");
        return Ok(PORTALS);
    };
    let (registry, address, code) = match verifier {
        VerifierOnChain::Placed { registry, address, code } => (registry, address, code),
        VerifierOnChain::None { reason } => {
            checks.not_covered(EPOCH_KEY, format!("the registry names no verifier now: {reason}"));
            return Ok(PORTALS);
        }
        VerifierOnChain::NotAsked => {
            checks.not_covered(EPOCH_KEY, "the node was not asked for the verifier");
            return Ok(PORTALS);
        }
    };
    let same = Reason::same("circuit family (selector)", &family(run, record), &registered.selector)
        .and_then(|()| epochs::check_code(code, key, srs));
    checks.note(EPOCH_KEY, same, |()| {
        let (digest, n_steps) = (from_fr(&key.digest()), record.n_steps());
        let placed = format!("verifier {address}, which registry {registry} names for epochs of {n_steps} steps");
        format!("digest {digest} and τH are in the code of {placed}; what else that code does is the registry's word")
    })?;
    Ok("its key is the registered verifier's")
}

/// The circuit whose proof an epoch's record is about.
fn circuit(run: &RunDescription, record: &EpochRecord) -> Result<EpochCircuit, NoteError> {
    EpochCircuit::new(run, record.digests.len(), record.wrap_k)
}

/// Family of the verifiers of an epoch.
fn family(run: &RunDescription, record: &EpochRecord) -> Selector {
    selector(run.policy.step_key_digest, record.wrap_k)
}

fn present<'a>(what: &'static str, text: Option<&'a str>) -> Result<&'a str, Reason> {
    text.ok_or_else(|| Reason::Differs { what, expected: "hex".to_owned(), got: "none".to_owned() })
}

fn shown(parent: Option<RunId>) -> String {
    parent.map_or_else(|| "none".to_owned(), |parent| parent.to_string())
}

/// Compares an epoch with a step in it.
fn epoch_has(json: &str, run: &RunDescription, parsed: &Parsed) -> Result<SealedEpoch, Reason> {
    let epoch = SealedEpoch::parse(json.as_bytes())?;
    let (e, r) = (epoch.record(), parsed.record.record());
    Reason::same("run of the epoch", &run.run, &e.run)?;
    Reason::same("policy of the epoch", &run.policy_digest, &e.policy_digest)?;
    let at = r.statement.step.0.checked_sub(e.first_step.0).and_then(|at| usize::try_from(at).ok());
    let got = at.and_then(|at| e.digests.get(at)).map_or_else(|| "none".to_owned(), ToString::to_string);
    Reason::same("statement digest in the epoch", &r.digest.to_string(), &got)?;
    Ok(epoch)
}

fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, Reason> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(text).map_err(|error| Reason::Differs { what, expected: "hex".to_owned(), got: error.to_string() })
}

/// The point of a reference string, in hex.
///
/// Errors: [`Reason::Differs`], [`Reason::Srs`].
pub fn point(tau_h: &str) -> Result<SrsVerifier, Reason> {
    let bytes = decode("tau_h", tau_h)?;
    let expected = SrsVerifier::LEN;
    let bytes = <&[u8; SrsVerifier::LEN]>::try_from(&bytes[..]).map_err(|_| Reason::Differs {
        what: "tau_h",
        expected: format!("{expected} bytes"),
        got: bytes.len().to_string(),
    })?;
    Ok(SrsVerifier::from_bytes(bytes)?)
}
