//! `epochs/epoch_NNNN.json`: what an epoch proof says and where the epoch sits in the run's tree.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, V1};
use crate::ids::{Digest, EpochIndex, FieldElement, Root, RunId, StepIndex, TreeSize};
use crate::instances::{ACCUMULATOR_LIMBS, EpochInstances, InstanceError, check_step_count};

/// Largest length of the file.
pub const MAX_EPOCH_BYTES: usize = 8 << 20;

/// Largest log2 of the rows of a circuit: the roots of unity of the scalar field end there.
pub const MAX_WRAP_K: u32 = 28;

/// Bytes or values that are not an epoch's record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// Not canonical JSON of an epoch record.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The number of steps is not a power of two in range.
    #[error("epoch {epoch}: {source}")]
    Steps {
        /// The epoch.
        epoch: EpochIndex,
        /// What is wrong with the number.
        source: InstanceError,
    },
    /// The first step is not a multiple of the number of steps.
    #[error("epoch {epoch}: first step {first_step} is not a multiple of {n_steps}")]
    Misaligned {
        /// The epoch.
        epoch: EpochIndex,
        /// Its first step.
        first_step: StepIndex,
        /// Its number of steps.
        n_steps: u64,
    },
    /// Only an epoch that starts at step 0 may be fresh.
    #[error("epoch {epoch}: fresh although its first step is {first_step}")]
    Fresh {
        /// The epoch.
        epoch: EpochIndex,
        /// Its first step.
        first_step: StepIndex,
    },
    /// No circuit has that many rows.
    #[error("epoch {epoch}: expected a wrap of k up to {MAX_WRAP_K}, got {got}")]
    WrapK {
        /// The epoch.
        epoch: EpochIndex,
        /// log2 of the rows.
        got: u32,
    },
}

/// What an epoch proof says, and the tree before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Accumulator limbs, the first words of the instances.
    pub accumulator: [FieldElement; ACCUMULATOR_LIMBS],
    /// D_t of each step; their number is the number of steps, a power of two.
    pub digests: Vec<FieldElement>,
    /// Position of the epoch in its run, from 0.
    pub epoch: EpochIndex,
    /// Root over the epoch's own leaves.
    pub epoch_root: Root,
    /// t₀, a multiple of the number of steps.
    pub first_step: StepIndex,
    /// t₀ is 0 and the run has no parent.
    pub fresh: bool,
    /// Digest of the policy.
    pub policy_digest: FieldElement,
    /// SHA-256 of the proof bytes.
    pub proof: Digest,
    /// Root of the run's tree once this epoch is part of it.
    pub root_after: Root,
    /// The run.
    pub run: RunId,
    /// S_in.
    pub state_in: FieldElement,
    /// S_out.
    pub state_out: FieldElement,
    /// Format version.
    pub v: V1,
    /// log2 of the rows of the circuit in which the epoch's proof is verified once more, if `proof` is that circuit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap_k: Option<u32>,
}

/// An epoch record that was checked in itself, with its canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEpoch {
    record: EpochRecord,
    bytes: Vec<u8>,
}

impl EpochRecord {
    /// Number of steps.
    pub fn n_steps(&self) -> u64 {
        self.digests.len() as u64
    }

    /// Binary logarithm of the number of steps; 0 for none.
    pub fn log_steps(&self) -> u32 {
        self.n_steps().checked_ilog2().unwrap_or(0)
    }

    /// Size of the run's tree once this epoch is part of it.
    pub fn size_after(&self) -> TreeSize {
        TreeSize(self.first_step.0.saturating_add(self.n_steps()))
    }

    /// The public inputs of the proof.
    pub fn instances(&self) -> EpochInstances {
        EpochInstances {
            accumulator: self.accumulator,
            run: self.run,
            first_step: self.first_step,
            fresh: self.fresh,
            state_in: self.state_in,
            state_out: self.state_out,
            policy_digest: self.policy_digest,
            digests: self.digests.clone(),
        }
    }

    /// Checks the record in itself and fixes its bytes.
    ///
    /// **Errors**: every [`EpochError`]; whether it belongs to a log is checked by whoever holds the log.
    pub fn seal(self) -> Result<SealedEpoch, EpochError> {
        self.check()?;
        let bytes = canonical::encode(&self)?;
        Ok(SealedEpoch { record: self, bytes })
    }

    fn check(&self) -> Result<(), EpochError> {
        let Self { epoch, first_step, .. } = *self;
        check_step_count(self.digests.len()).map_err(|source| EpochError::Steps { epoch, source })?;
        let n_steps = self.n_steps();
        if !first_step.0.is_multiple_of(n_steps) {
            return Err(EpochError::Misaligned { epoch, first_step, n_steps });
        }
        if self.fresh && first_step != StepIndex(0) {
            return Err(EpochError::Fresh { epoch, first_step });
        }
        if let Some(got) = self.wrap_k.filter(|k| *k > MAX_WRAP_K) {
            return Err(EpochError::WrapK { epoch, got });
        }
        Ok(())
    }
}

impl SealedEpoch {
    /// Reads the file.
    ///
    /// **Errors**: every [`EpochError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EpochError> {
        let record: EpochRecord = canonical::decode(bytes, MAX_EPOCH_BYTES)?;
        record.check()?;
        Ok(Self { record, bytes: bytes.to_vec() })
    }

    /// The record.
    pub fn record(&self) -> &EpochRecord {
        &self.record
    }

    /// The record, giving up its bytes.
    pub fn into_record(self) -> EpochRecord {
        self.record
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
