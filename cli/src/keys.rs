//! Keys that are made on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use aggregator::EpochVerifyingKey;
use audit::{AuditError, EpochCircuit, Keys, StepKey};
use circuits::notes::step_shape;
use ledger::RunDescription;
use srs::SrsVerifier;

use crate::cmd::Global;
use crate::home::Home;
use crate::output::Output;
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

/// The home's keys for a program that runs on: made quietly, and only for circuits up to a size.
pub struct Keyring {
    home: PathBuf,
    srs: String,
    max_k: u32,
    out: Output,
}

impl Keyring {
    /// Keys of circuits of at most 2^`max_k` rows.
    ///
    /// Errors: the label of the reference string is none.
    pub fn new(global: &Global, max_k: u32) -> anyhow::Result<Self> {
        let keyring = Self { home: global.home.clone(), srs: global.srs.clone(), max_k, out: Output::new(false, true) };
        keyring.home()?;
        Ok(keyring)
    }

    fn home(&self) -> anyhow::Result<Home<'_>> {
        Home::new(&self.home, &self.srs, &self.out)
    }

    fn check(&self, circuit: &'static str, got: u32) -> Result<(), AuditError> {
        let limit = self.max_k;
        if got <= limit { Ok(()) } else { Err(AuditError::Keys(TooLarge { circuit, limit, got }.into())) }
    }
}

/// A circuit whose keys are not made.
#[derive(Debug, thiserror::Error)]
#[error("{circuit} circuit has k = {got}, keys are made up to k = {limit}")]
struct TooLarge {
    circuit: &'static str,
    limit: u32,
    got: u32,
}

impl Keys for Keyring {
    fn step(&self, run: &RunDescription) -> Result<StepKey, AuditError> {
        self.check("step", step_shape(run)?.k)?;
        self.home().map_err(audited)?.step(run)
    }

    fn epoch(&self, step: &StepKey, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError> {
        self.check("epoch", circuit.epoch_k.max(circuit.k()))?;
        self.home().map_err(audited)?.epoch(step, circuit)
    }
}
