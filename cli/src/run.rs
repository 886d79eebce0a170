//! What commands need to know of a run: its description, shapes and keys.

use std::path::Path;

use aggregator::EpochShape;
use anyhow::Context;
pub use audit::EpochCircuit;
pub use audit::circuit::{selector, wrap_k};
use audit::keys::{check_policy, check_step_key};
use circuits::keys::StepVerifyingKey;
pub use circuits::notes::genesis_products;
use circuits::notes::step_shape;
use ledger::RunDescription;
use srs::Srs;
use store::RunDir;

use crate::home::Home;

/// k of the wrap, if not said otherwise.
pub const WRAP_K: &str = "21";

/// Opens a run directory for reading.
pub fn open(path: &Path) -> anyhow::Result<RunDir> {
    RunDir::open(path).with_context(|| format!("run directory {}", path.display()))
}

/// The shape of epochs of `n_steps`.
pub fn epoch_shape(run: &RunDescription, n_steps: usize) -> anyhow::Result<EpochShape> {
    Ok(EpochCircuit::new(run, n_steps, None)?.shape())
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
