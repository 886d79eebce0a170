//! Proofs about a tree, and how anyone checks them.

use serde::{Deserialize, Serialize};

use super::{TreeError, empty_root, node_hash};
use crate::ids::{Digest, Root, StepIndex, TreeSize};

/// Says that a leaf is in a tree (RFC 9162 §2.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Position of the leaf.
    pub index: StepIndex,
    /// Siblings from the leaf to the root.
    pub path: Vec<Digest>,
    /// Number of leaves of the tree.
    pub size: TreeSize,
}

/// Says that one tree extends another (RFC 9162 §2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Number of leaves of the larger tree.
    pub new: TreeSize,
    /// Number of leaves of the smaller tree.
    pub old: TreeSize,
    /// Nodes, smallest subtree first.
    pub path: Vec<Digest>,
}

impl InclusionProof {
    /// Checks that `leaf`, a leaf hash, is at [`Self::index`] of the tree with `root`.
    ///
    /// **Errors**: [`TreeError::IndexOutOfRange`], [`TreeError::PathLength`], [`TreeError::RootMismatch`].
    pub fn verify(&self, leaf: Digest, root: Root) -> Result<(), TreeError> {
        let (index, size) = (self.index.0, self.size.0);
        if index >= size {
            return Err(TreeError::IndexOutOfRange { size: self.size, index: self.index });
        }
        // Up to the node where the ways to this leaf and to the last leaf part, siblings are on either
        // side; above it every sibling is on the left, one for each one-bit that is left of the index.
        let inner = (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize;
        let border = index.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize;
        if self.path.len() != inner + border {
            return Err(TreeError::PathLength { expected: inner + border, got: self.path.len() });
        }
        let mut node = leaf;
        for (level, sibling) in self.path.iter().enumerate() {
            let on_the_right = level < inner && (index >> level) & 1 == 0;
            node = if on_the_right { node_hash(node, *sibling) } else { node_hash(*sibling, node) };
        }
        let got = Root::from(node);
        if got == root { Ok(()) } else { Err(TreeError::RootMismatch { expected: root, got }) }
    }
}

impl ConsistencyProof {
    /// Checks that the tree with `new_root` begins with the leaves of the tree with `old_root`.
    ///
    /// Every tree extends the empty one; that proof has no path.
    ///
    /// **Errors**: [`TreeError::SizeOutOfRange`], [`TreeError::PathLength`],
    /// [`TreeError::OldRootMismatch`], [`TreeError::RootMismatch`].
    pub fn verify(&self, old_root: Root, new_root: Root) -> Result<(), TreeError> {
        let (old, new) = (self.old.0, self.new.0);
        if old > new {
            return Err(TreeError::SizeOutOfRange { available: self.new, size: self.old });
        }
        if old == 0 || old == new {
            self.expect_path(0)?;
            let expected = if old == 0 { empty_root() } else { new_root };
            return equal_old(old_root, expected);
        }
        // The largest perfect subtree that ends where the old tree ends. It is the whole old tree if `old`
        // is a power of two; then the verifier has it already.
        let level = old.trailing_zeros();
        let (mut index, mut last) = ((old - 1) >> level, (new - 1) >> level);
        let whole = old.is_power_of_two();
        let inner = (u64::BITS - (index ^ last).leading_zeros()) as usize;
        let border = index.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize;
        self.expect_path(usize::from(!whole) + inner + border)?;

        let (seed, siblings) = match self.path.split_first() {
            Some((first, rest)) if !whole => (*first, rest),
            _ => (old_root.into(), &self.path[..]),
        };
        let (mut old_node, mut new_node) = (seed, seed);
        for sibling in siblings {
            if index & 1 == 1 || index == last {
                old_node = node_hash(*sibling, old_node);
                new_node = node_hash(*sibling, new_node);
                // Levels at which this node has no sibling yet are passed over.
                while index & 1 == 0 && index != 0 {
                    (index, last) = (index >> 1, last >> 1);
                }
            } else {
                new_node = node_hash(new_node, *sibling);
            }
            (index, last) = (index >> 1, last >> 1);
        }
        equal_old(old_root, old_node.into())?;
        let got = Root::from(new_node);
        if got == new_root { Ok(()) } else { Err(TreeError::RootMismatch { expected: new_root, got }) }
    }

    fn expect_path(&self, expected: usize) -> Result<(), TreeError> {
        let got = self.path.len();
        if got == expected { Ok(()) } else { Err(TreeError::PathLength { expected, got }) }
    }
}

fn equal_old(expected: Root, got: Root) -> Result<(), TreeError> {
    if got == expected { Ok(()) } else { Err(TreeError::OldRootMismatch { expected, got }) }
}
