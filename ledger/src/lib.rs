//! The words, formats and hash tree of a Cairn run.
//!
//! Everything that two parties must agree on byte by byte is defined here: ids, the canonical JSON of a
//! step's record, the leaf that goes under the run's root, the RFC 9162 tree, the order of an epoch
//! proof's instances, the checkpoint, the manifest. The byte formats are specified in `docs/spec/log.md`.
//!
//! **Layer**: L0. No I/O, no clock, no randomness; builds for `wasm32-unknown-unknown`. Every other crate
//! may depend on it; it depends on none of them.
//!
//! | module | purpose |
//! |---|---|
//! | [`ids`] | newtypes for ids, indices, hashes, field elements and curve points, with their hex text |
//! | [`canonical`] | canonical JSON: encode, and decode that refuses any other spelling |
//! | [`statement`] | what one step proof claims, and the policy a run is bound to |
//! | [`record`] | one line of `steps.jsonl` and its hash |
//! | [`chain`] | the rules by which a record follows the one before |
//! | [`tree`] | RFC 9162 Merkle tree: roots, inclusion, consistency, compact range |
//! | [`instances`] | the order of an epoch proof's public inputs |
//! | [`epoch`] | `epoch_NNNN.json`: what was aggregated and where it sits in the tree |
//! | [`gate`] | what a run must show before something relies on it |
//! | [`checkpoint`] | the signed-off head of a log, as text |
//! | [`manifest`] | `run_manifest.json` and the paths it may name |
//! | [`anchors`] | `anchors.json`: what was put on which chain |
//! | [`run`] | `run.json`: the public description of a run |

pub mod anchors;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod epoch;
pub mod gate;
pub mod ids;
pub mod instances;
pub mod manifest;
pub mod record;
pub mod run;
pub mod statement;
pub mod tree;

pub use anchors::{Anchor, AnchorLog, AnchorsError};
pub use canonical::CanonicalError;
pub use chain::{ChainError, ChainHead};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use epoch::{EpochError, EpochRecord, SealedEpoch};
pub use gate::{Gate, GateError, GateRefusal, RunFacts};
pub use ids::{
    Address, ChainId, ChunkIndex, CurvePoint, Digest, EpochIndex, FieldElement, IdError, Root, RunId, RunIdentity,
    Salt, Selector, StepIndex, TreeSize, TxHash,
};
pub use instances::{EpochInstances, InstanceError, InstanceSlot};
pub use manifest::{ArtifactPath, Manifest, ManifestEntry, ManifestError, PathError};
pub use record::{Decimal, RecordError, SealedRecord, StepMeta, StepRecord};
pub use run::{Dataset, EpochLen, Layout, LayoutError, RunDescription, RunError, SealedRun, SrsLabel, Tensor};
pub use statement::{ChunkCommitments, Hyper, NumberFormat, Policy, Rule, Schedule, StepStatement};
pub use tree::{CompactRange, ConsistencyProof, InclusionProof, MerkleTree, TreeError};
