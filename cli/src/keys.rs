//! Keys that are made on this machine.

use std::sync::Arc;

use aggregator::EpochVerifyingKey;
use audit::{AuditError, EpochCircuit, Keys, StepKey};
use ledger::RunDescription;
use srs::SrsVerifier;

use crate::home::Home;
use crate::run::step_key;

/// The error of a command as one of a verification.
fn audited(error: anyhow::Error) -> AuditError {
    error.downcast().unwrap_or_else(|error| AuditError::Keys(error.into()))
}

impl Keys for Home<'_> {
    fn step(&self, run: &RunDescription) -> Result<StepKey, AuditError> {
        let (srs, key) = step_key(self, run).map_err(audited)?;
        Ok(StepKey { key, srs: SrsVerifier::from(&srs), whole: Some(srs) })
    }

    fn epoch(&self, step: &StepKey, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError> {
        let missing = || AuditError::Keys("the reference string is not on this machine".into());
        let srs = step.whole.as_ref().ok_or_else(missing)?;
        Ok(Arc::new(self.anchored_key((srs, &step.key), circuit).map_err(audited)?))
    }
}
