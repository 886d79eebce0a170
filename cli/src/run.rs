//! What commands need to know of a run: its description, shapes and keys.

use std::path::Path;

use aggregator::EpochShape;
use anyhow::{Context, anyhow};
use circuits::convert::from_fr;
use circuits::digest::policy_digest;
use circuits::keys::StepVerifyingKey;
use circuits::reference::PRODUCTS_START;
use ledger::RunDescription;
use prover::session::{NOTE_EPOCH_K, NOTE_GENESIS_PRODUCTS, step_shape};
use srs::Srs;
use store::RunDir;

use crate::home::Home;
use crate::output::failed;

/// P1 and P2 of the state before step 0: 1 for a run without parent, else by the run's description.
pub fn genesis_products(run: &RunDescription) -> anyhow::Result<(u64, u64)> {
    if run.parent.is_none() {
        return Ok(PRODUCTS_START);
    }
    let name = NOTE_GENESIS_PRODUCTS;
    let text = run.notes.get(name).ok_or_else(|| anyhow!("run.json of a run with a parent has no note {name}"))?;
    let products = text.split_once(' ').and_then(|(p1, p2)| Some((p1.parse().ok()?, p2.parse().ok()?)));
    products.ok_or_else(|| anyhow!("run.json, note {name}: expected two integers, got {text:?}"))
}

/// Opens a run directory for reading.
pub fn open(path: &Path) -> anyhow::Result<RunDir> {
    RunDir::open(path).with_context(|| format!("run directory {}", path.display()))
}

/// The shape of epochs of `n_steps`.
pub fn epoch_shape(run: &RunDescription, n_steps: usize) -> anyhow::Result<EpochShape> {
    let text = run.notes.get(NOTE_EPOCH_K).ok_or_else(|| anyhow!("run.json has no note {NOTE_EPOCH_K}"))?;
    let k = text.parse().with_context(|| format!("run.json, note {NOTE_EPOCH_K} = {text:?}"))?;
    Ok(EpochShape { n_steps, n_chunks: run.policy.n_chunks as usize, k })
}

/// Compares the digest of the run's policy with the description's.
///
/// Errors: a failed check `policy digest`.
pub fn check_policy(run: &RunDescription) -> anyhow::Result<()> {
    let got = policy_digest(&run.policy);
    if got != run.policy_digest {
        return Err(failed("policy digest", format!("run.json says {}, its policy gives {got}", run.policy_digest)));
    }
    Ok(())
}

/// Compares a step key with the one that the policy pins.
///
/// Errors: a failed check `step key`.
pub fn check_step_key(run: &RunDescription, key: &StepVerifyingKey) -> anyhow::Result<()> {
    let got = from_fr(&key.digest());
    if got != run.policy.step_key_digest {
        let detail = format!("the policy pins {}, its shape gives {got}", run.policy.step_key_digest);
        return Err(failed("step key", detail));
    }
    Ok(())
}

/// Regenerates the step key and checks it, and the policy's digest, against the run's description.
///
/// Errors: a failed check `policy digest` or `step key`.
pub fn step_key(home: &Home<'_>, run: &RunDescription) -> anyhow::Result<(Srs, StepVerifyingKey)> {
    check_policy(run)?;
    let (srs, key) = home.step_verifying_key(&step_shape(run)?)?;
    check_step_key(run, &key)?;
    Ok((srs, key))
}
