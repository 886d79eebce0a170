//! The order of an epoch proof's public inputs: the one place that defines it.
//!
//! The circuit, the contract and every verifier follow this order; `testdata/ledger/instances.json` holds
//! vectors that the Rust and the Solidity tests both read. Spec: `docs/spec/log.md`, `log-instances`.
//!
//! | words | value |
//! |---|---|
//! | 0 … 11 | accumulator limbs |
//! | 12 | run id |
//! | 13 | t₀, the first step |
//! | 14 | fresh, 0 or 1 |
//! | 15 | S_in |
//! | 16 | S_out |
//! | 17 | policy digest |
//! | 18 … 17+N | D_t₀ … D_{t₀+N−1} |

use crate::ids::{FieldElement, RunId, StepIndex};

/// Number of words that carry the accumulator: two points, two coordinates each, three limbs a coordinate.
pub const ACCUMULATOR_LIMBS: usize = 12;

/// Number of words before the statement digests.
pub const HEADER_WORDS: usize = ACCUMULATOR_LIMBS + 6;

/// Largest binary logarithm of an epoch's number of steps.
pub const MAX_LOG_STEPS: u32 = 16;

/// What one word of the instances means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceSlot {
    /// Limb of the accumulator, 0 to 11.
    Accumulator(usize),
    /// The run id.
    Run,
    /// Index of the first step.
    FirstStep,
    /// Whether the first step is fresh.
    Fresh,
    /// Digest of the state before the first step.
    StateIn,
    /// Digest of the state after the last step.
    StateOut,
    /// Digest of the policy.
    Policy,
    /// Statement digest of the first step plus this many.
    Digest(usize),
}

/// Words that are not the instances of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The number of steps is not 2^j with j at most 16.
    #[error("expected a power of two of steps up to 2^{MAX_LOG_STEPS}, got {got}")]
    StepCount {
        /// Number of steps.
        got: usize,
    },
    /// There are not even words enough for the header.
    #[error("expected at least {HEADER_WORDS} words, got {got}")]
    TooShort {
        /// Number of words.
        got: usize,
    },
    /// A word is out of range for its meaning.
    #[error("instance {slot:?}: {got} is out of range")]
    OutOfRange {
        /// Which word.
        slot: InstanceSlot,
        /// Its value.
        got: FieldElement,
    },
}

/// The public inputs of one epoch proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochInstances {
    /// Limbs of the accumulator that the last pairing checks, in the order of the circuit.
    pub accumulator: [FieldElement; ACCUMULATOR_LIMBS],
    /// The run.
    pub run: RunId,
    /// t₀.
    pub first_step: StepIndex,
    /// t₀ is 0 and the run has no parent.
    pub fresh: bool,
    /// S_in.
    pub state_in: FieldElement,
    /// S_out.
    pub state_out: FieldElement,
    /// Digest of the policy.
    pub policy_digest: FieldElement,
    /// D_t₀ … D_{t₀+N−1}, N a power of two.
    pub digests: Vec<FieldElement>,
}

impl EpochInstances {
    /// The words in order. **Shape**: `[18 + N]`.
    pub fn to_words(&self) -> Vec<FieldElement> {
        let mut words = Vec::with_capacity(HEADER_WORDS + self.digests.len());
        words.extend(self.accumulator);
        words.push(self.run.to_field());
        words.push(FieldElement::from(self.first_step.0));
        words.push(FieldElement::from(self.fresh));
        words.push(self.state_in);
        words.push(self.state_out);
        words.push(self.policy_digest);
        words.extend(&self.digests);
        words
    }

    /// Reads the words back.
    ///
    /// **Errors**: every [`InstanceError`].
    pub fn from_words(words: &[FieldElement]) -> Result<Self, InstanceError> {
        let too_short = InstanceError::TooShort { got: words.len() };
        let Some((header, digests)) = words.split_at_checked(HEADER_WORDS) else {
            return Err(too_short);
        };
        let Some((accumulator, rest)) = header.split_first_chunk::<ACCUMULATOR_LIMBS>() else {
            return Err(too_short);
        };
        let [run, first_step, fresh, state_in, state_out, policy_digest] = *rest else {
            return Err(too_short);
        };
        check_step_count(digests.len())?;
        let first_step = small(InstanceSlot::FirstStep, first_step, u64::MAX)?;
        let fresh = small(InstanceSlot::Fresh, fresh, 1)? == 1;
        Ok(Self {
            accumulator: *accumulator,
            run: run.into(),
            first_step: StepIndex(first_step),
            fresh,
            state_in,
            state_out,
            policy_digest,
            digests: digests.to_vec(),
        })
    }
}

impl InstanceSlot {
    /// Every slot of an epoch of `n_steps`, in order.
    pub fn all(n_steps: usize) -> impl Iterator<Item = Self> {
        let header = [Self::Run, Self::FirstStep, Self::Fresh, Self::StateIn, Self::StateOut, Self::Policy];
        (0..ACCUMULATOR_LIMBS).map(Self::Accumulator).chain(header).chain((0..n_steps).map(Self::Digest))
    }

    /// Position of this slot among the words.
    pub const fn index(self) -> usize {
        match self {
            Self::Accumulator(limb) => limb,
            Self::Run => ACCUMULATOR_LIMBS,
            Self::FirstStep => ACCUMULATOR_LIMBS + 1,
            Self::Fresh => ACCUMULATOR_LIMBS + 2,
            Self::StateIn => ACCUMULATOR_LIMBS + 3,
            Self::StateOut => ACCUMULATOR_LIMBS + 4,
            Self::Policy => ACCUMULATOR_LIMBS + 5,
            Self::Digest(offset) => HEADER_WORDS + offset,
        }
    }
}

/// **Errors**: [`InstanceError::StepCount`] unless `n_steps` is 2^j with j ≤ 16.
pub(crate) fn check_step_count(n_steps: usize) -> Result<(), InstanceError> {
    if n_steps.is_power_of_two() && n_steps.ilog2() <= MAX_LOG_STEPS {
        Ok(())
    } else {
        Err(InstanceError::StepCount { got: n_steps })
    }
}

fn small(slot: InstanceSlot, got: FieldElement, max: u64) -> Result<u64, InstanceError> {
    let (high, low) = got.as_bytes().split_at(24);
    let number = low.iter().fold(0, |acc: u64, byte| (acc << 8) | u64::from(*byte));
    if high.iter().all(|byte| *byte == 0) && number <= max {
        Ok(number)
    } else {
        Err(InstanceError::OutOfRange { slot, got })
    }
}
