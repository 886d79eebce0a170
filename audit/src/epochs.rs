//! Epoch proofs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aggregator::EpochProof;
use ledger::EpochIndex;
use srs::SrsSize;
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
