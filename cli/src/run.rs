//! What commands need to know of a run: its description, shapes and keys.

use std::path::Path;

use aggregator::EpochShape;
use anyhow::{Context, anyhow};
use circuits::convert::from_fr;
use circuits::digest::policy_digest;
use circuits::keys::StepVerifyingKey;
use circuits::reference::PRODUCTS_START;
use ledger::{Digest, EpochIndex, FieldElement, RunDescription, Selector};
use prover::session::{NOTE_EPOCH_K, NOTE_GENESIS_PRODUCTS, step_shape};
use srs::Srs;
use store::RunDir;

use crate::home::Home;
use crate::output::failed;

/// k of the wrap, if not said otherwise.
pub const WRAP_K: &str = "21";

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

/// A circuit whose proofs are anchored: the epoch's, or its wrap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochCircuit {
    /// Steps per epoch.
    pub n_steps: usize,
    /// Chunks per step.
    pub n_chunks: usize,
    /// log2 of the rows of the epoch circuit.
    pub epoch_k: u32,
    /// log2 of the rows of the wrap, if epochs are wrapped.
    pub wrap_k: Option<u32>,
}

impl EpochCircuit {
    /// Of epochs of `n_steps`.
    pub fn new(run: &RunDescription, n_steps: usize, wrap_k: Option<u32>) -> anyhow::Result<Self> {
        let EpochShape { n_steps, n_chunks, k } = epoch_shape(run, n_steps)?;
        Ok(Self { n_steps, n_chunks, epoch_k: k, wrap_k })
    }

    /// Shape of the epoch circuit.
    pub fn shape(&self) -> EpochShape {
        EpochShape { n_steps: self.n_steps, n_chunks: self.n_chunks, k: self.epoch_k }
    }

    /// log2 of the rows of the circuit whose proof is anchored.
    pub fn k(&self) -> u32 {
        self.wrap_k.unwrap_or(self.epoch_k)
    }
}

/// log2 of the rows of the wrap of a run's epochs, none if they are not wrapped; the first one decides, so none before it.
pub fn wrap_k(dir: &RunDir) -> anyhow::Result<Option<u32>> {
    if dir.n_epochs()? == 0 {
        return Ok(None);
    }
    Ok(dir.epoch(EpochIndex(0))?.record().wrap_k)
}

/// Family of the circuits whose proofs are anchored: the first bytes of a hash of the step key's digest and, if epochs are
/// wrapped, of the wrap's size.
pub fn selector(step_key_digest: FieldElement, wrap_k: Option<u32>) -> Selector {
    let mut bytes = match wrap_k {
        None => b"cairn/selector/v1".to_vec(),
        Some(k) => [&b"cairn/selector/wrap/v1"[..], &k.to_be_bytes()].concat(),
    };
    bytes.extend_from_slice(step_key_digest.as_bytes());
    let Digest(hash) = Digest::of(&bytes);
    Selector([hash[0], hash[1], hash[2], hash[3]])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_runs_have_selectors_of_their_own() {
        let digest = "0x153b3286475d3c83c51fb4bc98c471d29df51593179dc90068104571ebdf9b7c".parse().expect("a digest");
        let plain = selector(digest, None);
        assert_eq!(plain.to_string(), "0x684c87c8", "the demo's, as it is registered");
        assert!(selector(digest, Some(21)) != plain && selector(digest, Some(22)) != selector(digest, Some(21)));
    }
}
