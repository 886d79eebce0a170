//! Errors of aggregation.

/// Why an epoch can't be aggregated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// A step proof can't be parsed.
    #[error("proof of step {step} (in the epoch), chunk {chunk}: {reason}")]
    Proof {
        /// Position in the epoch.
        step: usize,
        /// Chunk.
        chunk: usize,
        /// What is wrong.
        reason: String,
    },
    /// The epoch proof that is to be wrapped can't be parsed.
    #[error("epoch proof to be wrapped: {0}")]
    Wrapped(String),
    /// snark-verifier can't use the step key.
    #[error("protocol: {0}")]
    Protocol(String),
    /// Keys, SRS and witness do not fit each other.
    #[error("shape: {0}")]
    Shape(String),
    /// The steps are no epoch of the run: policy, links, schedule or a proof.
    #[error(transparent)]
    Claim(#[from] circuits::claim::ClaimError),
    /// A commitment is not usable.
    #[error(transparent)]
    Convert(#[from] circuits::convert::ConvertError),
    /// The circuit's instances are out of range.
    #[error(transparent)]
    Instance(#[from] ledger::instances::InstanceError),
    /// What the circuit shows is not what the steps claim: a bug or a memory fault, never to be published.
    #[error("epoch circuit shows {what} {got}, the steps give {expected}")]
    Mismatch {
        /// The instance.
        what: String,
        /// Computed from the steps.
        expected: ledger::FieldElement,
        /// Shown by the circuit.
        got: ledger::FieldElement,
    },
    /// Wrong number of instances.
    #[error("epoch proof has {got} instances, expected {expected}")]
    Instances {
        /// Of the key.
        expected: usize,
        /// Found.
        got: usize,
    },
    /// The accumulator in the instances is no pair of points.
    #[error("accumulator: {0}")]
    Accumulator(#[from] epochcheck::AccumulatorError),
    /// halo2 failed.
    #[error("halo2: {0}")]
    Plonk(#[from] halo2_proofs::plonk::Error),
    /// The engine could not make the proof.
    #[error("engine: {0}")]
    Engine(#[from] engine::EngineError),
    /// Reading or writing a key failed.
    #[error("key file: {0}")]
    Io(#[from] std::io::Error),
}
