//! Where the keys that proofs are verified with come from: made on this machine, or a capsule's.

use std::sync::Arc;

use circuits::convert::from_fr;
use circuits::digest::policy_digest;
use circuits::keys::StepVerifyingKey;
pub use epochcheck::EpochVerifyingKey;
use ledger::RunDescription;
use srs::{Srs, SrsVerifier};

use crate::circuit::EpochCircuit;
use crate::error::{AuditError, Reason};

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
    fn step(&self, run: &RunDescription) -> Result<StepKey, AuditError>;

    /// The key of the proofs that are anchored.
    ///
    /// Errors: there is no key.
    fn epoch(&self, step: &StepKey, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError>;
}

/// Compares the digest of the run's policy with the description's.
///
/// Errors: a failed check `policy digest`.
pub fn check_policy(run: &RunDescription) -> Result<(), AuditError> {
    let (expected, got) = (run.policy_digest, policy_digest(&run.policy));
    if expected == got {
        Ok(())
    } else {
        Err(AuditError::failed("policy digest", Reason::PolicyDigest { expected, got }))
    }
}

/// Compares a step key with the one that the policy pins.
///
/// Errors: a failed check `step key`.
pub fn check_step_key(run: &RunDescription, key: &StepVerifyingKey) -> Result<(), AuditError> {
    let (expected, got) = (run.policy.step_key_digest, from_fr(&key.digest()));
    if expected == got { Ok(()) } else { Err(AuditError::failed("step key", Reason::StepKey { expected, got })) }
}
