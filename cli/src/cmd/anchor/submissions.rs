//! What is sent for an epoch: made from its proof, or taken from an earlier dry run.

use std::collections::{BTreeMap, btree_map::Entry};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use chain::EpochSubmission;
use circuits::convert::to_fr;
use circuits::keys::StepVerifyingKey;
use ledger::{
    Address, Digest, EpochIndex, EpochRecord, FieldElement, RunDescription, RunId, Selector,
    instances::ACCUMULATOR_LIMBS, tree::CompactRange,
};
use serde::{Deserialize, Serialize};
use srs::Srs;
use store::RunWriter;
use verifier_gen::Encoder;

use crate::cmd::verifier;
use crate::home::Home;
use crate::output::failed;
use crate::run::{EpochCircuit, step_key};

/// What would be sent for one epoch: the arguments of `RunAnchor.anchor`.
#[derive(Serialize, Deserialize)]
pub struct Submission {
    /// Counted from 1.
    pub epoch: u64,
    pub first_step: u64,
    pub state_out: FieldElement,
    pub digests: Vec<FieldElement>,
    pub record_hashes: Vec<Digest>,
    /// Roots of the perfect subtrees of the run's tree before the epoch, largest first.
    pub peaks: Vec<Digest>,
    pub proof: String,
    pub root_after: String,
    /// Gas of a transaction of its own, as the node simulates it; only of the next epoch, as the others need that first.
    pub gas: Option<u64>,
}

/// What would be sent for a run.
#[derive(Serialize, Deserialize)]
pub struct DryRun {
    pub run: String,
    pub chain_id: u64,
    pub contract: Address,
    pub owner: Address,
    pub salt: String,
    pub selector: Selector,
    pub genesis_state: FieldElement,
    pub policy: FieldElement,
    pub submissions: Vec<Submission>,
    /// Gas of all epochs that are not anchored, in one transaction.
    pub gas_of_rest: Option<u64>,
}

/// A file of submissions: the answer of a dry run of one run, or of several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Plans {
    Several { runs: Vec<DryRun> },
    One(Box<DryRun>),
}

/// Longest accepted file of submissions, bytes.
const MAX_SUBMISSIONS_BYTES: u64 = 256 << 20;

/// Step key and circuit, by which the verifying key of an epoch's proof is known.
type EncoderKey = (FieldElement, EpochCircuit);

/// Where submissions' proofs come from.
enum Proofs<'a> {
    /// The runs' epoch proofs, with the hints that their verifiers take.
    Encoded {
        home: Home<'a>,
        encoders: BTreeMap<EncoderKey, Encoder>,
        /// By digest.
        keys: BTreeMap<FieldElement, (Srs, StepVerifyingKey)>,
    },
    /// Earlier dry runs.
    Planned(Vec<DryRun>),
}

/// Submissions of runs' epochs.
pub struct Submissions<'a>(Proofs<'a>);

impl DryRun {
    /// Of a run; its submissions and their gas are not there yet.
    pub fn of(run: &RunDescription, selector: Selector) -> Self {
        Self {
            run: run.run.to_string(),
            chain_id: run.identity.chain_id.0,
            contract: run.identity.contract,
            owner: run.identity.owner,
            salt: run.identity.salt.to_string(),
            selector,
            genesis_state: run.genesis_state,
            policy: run.policy_digest,
            submissions: Vec::new(),
            gas_of_rest: None,
        }
    }
}

impl<'a> Submissions<'a> {
    /// From the runs' epoch proofs.
    pub fn new(home: Home<'a>) -> Self {
        Self(Proofs::Encoded { home, encoders: BTreeMap::new(), keys: BTreeMap::new() })
    }

    /// Reads an earlier dry run of `runs`, which may be of more.
    ///
    /// Errors: the file can't be read; a failed check `submissions` if a run is not in it.
    pub fn read(path: &Path, runs: impl Iterator<Item = RunId>) -> anyhow::Result<Self> {
        let name = || format!("submissions {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(name)?;
        file.take(MAX_SUBMISSIONS_BYTES + 1).read_to_string(&mut text).with_context(name)?;
        anyhow::ensure!(
            text.len() as u64 <= MAX_SUBMISSIONS_BYTES,
            "{}: expected at most {MAX_SUBMISSIONS_BYTES} bytes",
            name()
        );
        let plans = match serde_json::from_str(&text).with_context(name)? {
            Plans::One(plan) => vec![*plan],
            Plans::Several { runs } => runs,
        };
        for run in runs {
            if !plans.iter().any(|plan| plan.run == run.to_string()) {
                let got: Vec<&str> = plans.iter().map(|plan| plan.run.as_str()).collect();
                return Err(failed("submissions", format!("run: expected {run}, got {}", got.join(", "))));
            }
        }
        Ok(Self(Proofs::Planned(plans)))
    }

    /// The epoch at `index` of the log.
    pub fn get(&mut self, log: &RunWriter, index: u64) -> anyhow::Result<EpochSubmission> {
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
                let encoder = encoder(home, encoders, keys, run, epoch)?;
                let instances: Vec<_> = epoch.instances().to_words().into_iter().map(to_fr).collect();
                let proof = encoder.encode_proof(&proof, &instances).map_err(|e| failed("epoch proof", e))?;
                Ok(EpochSubmission::new(&before, epoch, record_hashes, proof))
            }
            Proofs::Planned(plans) => {
                let plan = plans.iter().find(|plan| plan.run == epoch.run.to_string());
                planned(plan, index, &before, epoch, record_hashes)
            }
        }
    }
}

/// The encoder of an epoch's proof; keys are made or read once.
fn encoder<'e>(
    home: &Home<'_>,
    encoders: &'e mut BTreeMap<EncoderKey, Encoder>,
    keys: &mut BTreeMap<FieldElement, (Srs, StepVerifyingKey)>,
    run: &RunDescription,
    epoch: &EpochRecord,
) -> anyhow::Result<&'e Encoder> {
    let circuit = EpochCircuit::new(run, epoch.n_steps() as usize, epoch.wrap_k)?;
    let digest = run.policy.step_key_digest;
    Ok(match encoders.entry((digest, circuit.clone())) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(empty) => {
            let (srs, key) = match keys.entry(digest) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(empty) => empty.insert(step_key(home, run)?),
            };
            let key = home.anchored_key((srs, key), &circuit)?;
            empty.insert(verifier::encoder(&key)?)
        }
    })
}

/// The submission of an earlier dry run. Everything but the proof is the log's own; the plan's copy of it must be the same.
fn planned(
    plan: Option<&DryRun>,
    index: u64,
    before: &CompactRange,
    epoch: &EpochRecord,
    record_hashes: Vec<Digest>,
) -> anyhow::Result<EpochSubmission> {
    let found = plan.and_then(|plan| plan.submissions.get(index as usize));
    let planned = found.ok_or_else(|| failed("submissions", format!("epoch {index} of the log is not there")))?;
    let bytes = hex::decode(planned.proof.trim_start_matches("0x"))
        .with_context(|| format!("submissions, epoch {index}: proof"))?;
    let words = ACCUMULATOR_LIMBS * FieldElement::LEN;
    let proof = bytes.get(words..).unwrap_or_default().to_vec();
    let submission = EpochSubmission::new(before, epoch, record_hashes, proof);
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
