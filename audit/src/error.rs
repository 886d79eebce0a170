//! Why a run does not hold, or could not be checked.

use std::sync::Arc;

use circuits::claim::ClaimError;
use circuits::convert::ConvertError;
use circuits::keys::StepError;
use circuits::notes::NoteError;
use circuits::weights::WeightsError;
use epochcheck::{EpochProofError, EpochShape};
use ledger::{
    CanonicalError, ChainError as LogChainError, ChunkIndex, CurvePoint, Digest, EpochError, EpochIndex, FieldElement,
    RecordError, Root, RunError, RunId, StepIndex, TreeError, TreeSize,
};
use srs::SrsError;
use store::{ArchiveError, StoreError};

use crate::capsule::CapsuleError;

/// A check that does not hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("check failed: {check}: {reason}")]
pub struct Failure {
    /// The check.
    pub check: String,
    /// Where, expected and got.
    pub reason: Arc<Reason>,
}

impl Failure {
    /// The failure of `check`.
    pub fn new(check: &str, reason: impl Into<Reason>) -> Self {
        Self { check: check.to_owned(), reason: Arc::new(reason.into()) }
    }
}

/// Why a verification ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A check was made, and does not hold.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The run's description does not say what its keys need.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The files could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reference string.
    #[error(transparent)]
    Srs(#[from] SrsError),
    /// A key is not there, or could not be made.
    #[error(transparent)]
    Keys(Box<dyn std::error::Error + Send + Sync>),
    /// The evidence of a step cannot be read.
    #[error("evidence: {0}")]
    Evidence(#[from] serde_json::Error),
    /// The node of the chain.
    #[cfg(feature = "native")]
    #[error(transparent)]
    Chain(#[from] chain::ChainError),
}

impl AuditError {
    /// A failed check.
    pub fn failed(check: &str, reason: impl Into<Reason>) -> Self {
        Failure::new(check, reason).into()
    }
}

/// What is wrong. One variant for each kind of check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The files disagree with one another.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Not a capsule.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
    /// A statement, a link, a schedule or a step proof.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A commitment is not one.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A note of `run.json`.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The step key.
    #[error(transparent)]
    Key(#[from] StepError),
    /// A reference string.
    #[error(transparent)]
    Srs(#[from] SrsError),
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The description of a run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A record does not continue the one before.
    #[error(transparent)]
    Log(#[from] LogChainError),
    /// A leaf is not where it should be in the tree, or one tree does not extend another.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An epoch's record.
    #[error(transparent)]
    EpochRecord(#[from] EpochError),
    /// Not canonical.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Weights or their opening.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A value is another than it should be.
    #[error("{what}: expected {expected}, got {got}")]
    Differs {
        /// The value.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Step 0 starts from another state than the run's description says.
    #[error("step 0 starts from state {got}, run.json says {expected}")]
    Genesis {
        /// By the description.
        expected: FieldElement,
        /// By step 0.
        got: FieldElement,
    },
    /// The digest of a record is not that of its statement.
    #[error("step {step}: digest is {got}, its statement gives {expected}")]
    StatementDigest {
        /// The step.
        step: StepIndex,
        /// By the statement.
        expected: FieldElement,
        /// In the record.
        got: FieldElement,
    },
    /// The state after a step is not that of its statement.
    #[error("step {step}: state after is {got}, its statement gives {expected}")]
    StateAfter {
        /// The step.
        step: StepIndex,
        /// By the statement.
        expected: FieldElement,
        /// In the record.
        got: FieldElement,
    },
    /// The policy of the description has another digest.
    #[error("run.json says {expected}, its policy gives {got}")]
    PolicyDigest {
        /// By the description.
        expected: FieldElement,
        /// Recomputed.
        got: FieldElement,
    },
    /// The step key is not the one that the policy pins.
    #[error("the policy pins {expected}, its shape gives {got}")]
    StepKey {
        /// By the policy.
        expected: FieldElement,
        /// The key's.
        got: FieldElement,
    },
    /// The directory is not the parent's.
    #[error("the run's parent is {expected:?}, this is the directory of {got}")]
    OtherParent {
        /// By the description.
        expected: Option<RunId>,
        /// The directory's.
        got: RunId,
    },
    /// The parent has no steps.
    #[error("parent {parent} has no steps")]
    EmptyParent {
        /// The parent.
        parent: RunId,
    },
    /// The run does not start where its parent's log ends.
    #[error("the run starts from {got}, the parent's log ends after {size} steps in {expected}")]
    ParentState {
        /// Steps of the parent.
        size: TreeSize,
        /// The parent's last state.
        expected: FieldElement,
        /// The run's first.
        got: FieldElement,
    },
    /// Step 0 does not start from the parent's commitments.
    #[error("chunk {chunk}: step 0 starts from commitment {got}, the parent ended in {expected}")]
    ParentLink {
        /// The chunk.
        chunk: ChunkIndex,
        /// The parent's last commitment.
        expected: CurvePoint,
        /// The run's first.
        got: CurvePoint,
    },
    /// An epoch proof.
    #[error("epoch {epoch}: {source}")]
    Epoch {
        /// The epoch.
        epoch: EpochIndex,
        /// Why it is refused.
        source: EpochProofError,
    },
    /// Bytes that are no epoch key.
    #[error(transparent)]
    EpochKey(#[from] EpochProofError),
    /// An epoch key of another circuit.
    #[error("expected the key of {expected:?}, got that of {got:?}")]
    EpochShape {
        /// By run and record.
        expected: Box<EpochShape>,
        /// The key's.
        got: Box<EpochShape>,
    },
    /// A number of a key or reference string that the code of its registered verifier does not have.
    #[error("the registered verifier is of another {what}: its code does not have {number}")]
    VerifierCode {
        /// Whose number.
        what: &'static str,
        /// The number.
        number: Digest,
    },
    /// An epoch was proved under another policy.
    #[error("epoch {epoch}: proved under policy {got}")]
    EpochPolicy {
        /// The epoch.
        epoch: EpochIndex,
        /// Its policy.
        got: FieldElement,
    },
    /// A proof of the chain's state.
    #[error(transparent)]
    State(#[from] chain::StateError),
    /// The chain has something else.
    #[error(transparent)]
    Chain(#[from] crate::chain::Mismatch),
    /// The root is not one that the chain had.
    #[error("{size} steps: the chain has root {expected}, got {got}")]
    Root {
        /// Steps under it.
        size: TreeSize,
        /// The chain's.
        expected: Root,
        /// The evidence's.
        got: Root,
    },
    /// The block is not the one that was named.
    #[error("expected {expected}, got {got}")]
    BlockHash {
        /// The one that was named.
        expected: Digest,
        /// By the header.
        got: Digest,
    },
    /// What a caller checked for itself.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Reason {
    /// A check of a caller's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }

    /// `expected == got`, or the difference.
    ///
    /// Errors: [`Reason::Differs`].
    pub fn same<T: PartialEq + std::fmt::Display>(what: &'static str, expected: &T, got: &T) -> Result<(), Self> {
        if expected == got {
            Ok(())
        } else {
            Err(Self::Differs { what, expected: expected.to_string(), got: got.to_string() })
        }
    }
}

impl From<String> for Reason {
    fn from(detail: String) -> Self {
        Self::Other(detail.into())
    }
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}
