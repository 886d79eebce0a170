//! Epoch proofs and their keys.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use circuits::convert::from_fr;
use epochcheck::{EpochProof, EpochVerifyingKey};
use ledger::{Digest, EpochIndex};
use srs::{SrsSize, SrsVerifier};
use store::{RunDir, VerifiedLog};

use crate::circuit::EpochCircuit;
use crate::error::{AuditError, Reason};
use crate::keys::{Keys, StepKey};
use crate::report::Checks;

/// Verifies all epoch proofs of a log that was checked; returns how many there are.
///
/// Errors: a failed check; there is no key.
pub fn check(
    keys: &dyn Keys,
    dir: &RunDir,
    log: &VerifiedLog,
    step: &StepKey,
    checks: &mut Checks<'_>,
) -> Result<u64, AuditError> {
    let n = checks.pass_on(verify(keys, dir, log, step))?;
    checks.passed(CHECK, format!("{n} epochs"));
    Ok(n)
}

const CHECK: &str = "epoch proofs";

fn verify(keys: &dyn Keys, dir: &RunDir, log: &VerifiedLog, step: &StepKey) -> Result<u64, AuditError> {
    let run = dir.run().description();
    let mut known = BTreeMap::new();
    for (index, epoch) in (0..).map(EpochIndex).zip(&log.epochs) {
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
        let proof = EpochProof { instances: epoch.instances(), proof: dir.epoch_proof(index)? };
        key.verify(params, &proof)
            .map_err(|source| AuditError::failed(CHECK, Reason::Epoch { epoch: index, source }))?;
        if epoch.policy_digest != run.policy_digest {
            let reason = Reason::EpochPolicy { epoch: index, got: epoch.policy_digest };
            return Err(AuditError::failed(CHECK, reason));
        }
    }
    Ok(log.epochs.len() as u64)
}

/// Compares a key's shape with that of the circuit whose proofs are anchored.
///
/// Errors: [`Reason::EpochShape`].
pub fn check_shape(key: &EpochVerifyingKey, circuit: &EpochCircuit) -> Result<(), Reason> {
    let (expected, got) = (circuit.anchored_shape(), key.shape());
    if expected == *got {
        Ok(())
    } else {
        Err(Reason::EpochShape { expected: expected.into(), got: got.clone().into() })
    }
}

/// Whether the code of a verifier has the digest of a key and the point of a reference string in it, as each generated verifier
/// does (`docs/spec/verifier.md`).
///
/// The digest is a hash of all of the key, so no other key is in a code that has it as its own. That the code does with these
/// numbers what a verifier does is not looked at.
///
/// Errors: [`Reason::VerifierCode`].
pub fn check_code(code: &[u8], key: &EpochVerifyingKey, srs: &SrsVerifier) -> Result<(), Reason> {
    let has = |number: &[u8; 32]| {
        // Code has numbers without the zeros before them.
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let number = &number[start..];
        code.windows(number.len()).any(|part| part == number)
    };
    let refuse = |what, number: &[u8; 32]| Err(Reason::VerifierCode { what, number: Digest(*number) });
    let digest = from_fr(&key.digest());
    if !has(digest.as_bytes()) {
        return refuse("key", digest.as_bytes());
    }
    match srs.pairing_words().iter().find(|word| !has(word)) {
        Some(word) => refuse("reference string", word),
        None => Ok(()),
    }
}
