//! RFC 9162 (6962) Merkle tree over SHA-256: roots, inclusion and consistency proofs, compact range.
//!
//! Leaves and nodes have different prefixes and an odd leaf is never duplicated, so that no two lists of
//! leaves share a root. Spec: `docs/spec/log.md`, ids `log-leaf`, `log-node`, `log-tree`.

mod compact;
mod full;
mod proof;

pub use compact::CompactRange;
pub use full::MerkleTree;
pub use proof::{ConsistencyProof, InclusionProof};

use sha2::{Digest as _, Sha256};

use crate::ids::{Digest, FieldElement, Root, StepIndex, TreeSize};

/// A proof that does not hold, or a request that the tree cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is no such leaf.
    #[error("expected a leaf index below {size}, got {index}")]
    IndexOutOfRange {
        /// Size of the tree.
        size: TreeSize,
        /// The index asked for.
        index: StepIndex,
    },
    /// There is no such tree, or the older of two trees is larger than the newer.
    #[error("expected a size of at most {available}, got {size}")]
    SizeOutOfRange {
        /// Largest possible size.
        available: TreeSize,
        /// The size asked for.
        size: TreeSize,
    },
    /// The path does not have the length that index and sizes require.
    #[error("expected a path of {expected} hashes, got {got}")]
    PathLength {
        /// Length required.
        expected: usize,
        /// Length found.
        got: usize,
    },
    /// The path leads to another root.
    #[error("expected root {expected}, the path leads to {got}")]
    RootMismatch {
        /// Root to be proven.
        expected: Root,
        /// Root that the path leads to.
        got: Root,
    },
    /// The path leads to another root of the older tree.
    #[error("expected old root {expected}, the path leads to {got}")]
    OldRootMismatch {
        /// Root to be proven.
        expected: Root,
        /// Root that the path leads to.
        got: Root,
    },
    /// A subtree can only be appended where the size is a multiple of its own.
    #[error("a subtree of 2^{level} leaves cannot be appended at size {size}")]
    Misaligned {
        /// Binary logarithm of the subtree's size.
        level: u32,
        /// Size of the tree.
        size: TreeSize,
    },
    /// A tree of this size has another number of peaks.
    #[error("expected {expected} peaks for a tree of {size} leaves, got {got}")]
    PeakCount {
        /// Size of the tree.
        size: TreeSize,
        /// One-bits of the size.
        expected: u32,
        /// Peaks given.
        got: usize,
    },
    /// The number of leaves is not a power of two.
    #[error("expected a power of two of leaves, got {got}")]
    NotPerfect {
        /// Number of leaves.
        got: usize,
    },
}

/// Hash of a leaf: `SHA-256(0x00 ‖ data)`.
pub fn leaf_hash(data: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Digest::of(&bytes)
}

/// Leaf of step t: `SHA-256(0x00 ‖ u64be(t) ‖ D_t ‖ A_t)`.
///
/// `digest` is D_t, the statement digest; `record` is A_t, the hash of the record. Spec `log-leaf`.
pub fn step_leaf(step: StepIndex, digest: FieldElement, record: Digest) -> Digest {
    let mut bytes = [0; 73];
    bytes[1..9].copy_from_slice(&step.0.to_be_bytes());
    bytes[9..41].copy_from_slice(digest.as_bytes());
    bytes[41..].copy_from_slice(&record.0);
    Digest::of(&bytes)
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Root {
    Digest::of(&[]).into()
}

/// Root over `leaves`, which are leaf hashes.
pub fn root_of(leaves: &[Digest]) -> Root {
    let mut range = CompactRange::new();
    for leaf in leaves {
        range.push(*leaf);
    }
    range.root()
}

/// Root of an epoch: a perfect tree over its leaf hashes.
///
/// **Errors**: [`TreeError::NotPerfect`] unless the number of leaves is a power of two.
pub fn perfect_root(leaves: &[Digest]) -> Result<Root, TreeError> {
    if leaves.len().is_power_of_two() { Ok(root_of(leaves)) } else { Err(TreeError::NotPerfect { got: leaves.len() }) }
}
