//! Where the keys that proofs are verified with come from: made on this machine, or a capsule's.

use std::sync::Arc;

use aggregator::EpochVerifyingKey;
use circuits::keys::StepVerifyingKey;
use ledger::RunDescription;
use srs::{Srs, SrsVerifier};

use crate::home::Home;
use crate::run::{EpochCircuit, step_key};

/// The key of a run's steps, which its policy pins, with what verification needs of the reference string.
pub struct StepKey {
    /// The key.
    pub key: StepVerifyingKey,
    /// The reference string's.
    pub srs: SrsVerifier,
    /// All of it, if it is on this machine.
    pub whole: Option<Srs>,
}

/// Keys to verify with.
pub trait Keys {
    /// The step key, which is the one that the run's policy pins.
    ///
    /// Errors: a failed check `policy digest` or `step key`; there is no key.
    fn step(&self, run: &RunDescription) -> anyhow::Result<StepKey>;

    /// The key of the proofs that are anchored.
    ///
    /// Errors: there is no key.
    fn epoch(&self, step: &StepKey, circuit: &EpochCircuit) -> anyhow::Result<Arc<EpochVerifyingKey>>;
}

impl Keys for Home<'_> {
    fn step(&self, run: &RunDescription) -> anyhow::Result<StepKey> {
        let (srs, key) = step_key(self, run)?;
        Ok(StepKey { key, srs: SrsVerifier::from(&srs), whole: Some(srs) })
    }

    fn epoch(&self, step: &StepKey, circuit: &EpochCircuit) -> anyhow::Result<Arc<EpochVerifyingKey>> {
        let srs = step.whole.as_ref().ok_or_else(|| anyhow::anyhow!("the reference string is not on this machine"))?;
        Ok(Arc::new(self.anchored_key((srs, &step.key), circuit)?))
    }
}
