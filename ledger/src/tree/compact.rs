//! The peaks of a tree: all that is needed to append to it, as the contract does.

use super::{TreeError, empty_root, node_hash};
use crate::ids::{Digest, Root, TreeSize};

/// Roots of the perfect subtrees that a tree of some size consists of, largest first.
///
/// There is one peak for each one-bit of the size. `RunAnchor` is given the same with each epoch, checks it against
/// the root it stores, and extends it the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Digest>,
}

impl CompactRange {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose peaks were kept, largest subtree first.
    ///
    /// **Errors**: [`TreeError::PeakCount`] if such a tree has another number of peaks.
    pub fn from_peaks(size: TreeSize, peaks: Vec<Digest>) -> Result<Self, TreeError> {
        let expected = size.0.count_ones();
        if usize::try_from(expected) == Ok(peaks.len()) {
            Ok(Self { size: size.0, peaks })
        } else {
            Err(TreeError::PeakCount { size, expected, got: peaks.len() })
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// The peaks, largest subtree first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        self.merge(0, leaf);
    }

    /// Appends a perfect subtree of 2^`level` leaves.
    ///
    /// **Errors**: [`TreeError::Misaligned`] unless the size is a multiple of 2^`level`.
    pub fn push_subtree(&mut self, level: u32, root: Root) -> Result<(), TreeError> {
        let fits = 1u64
            .checked_shl(level)
            .filter(|leaves| self.size.is_multiple_of(*leaves) && self.size.checked_add(*leaves).is_some());
        if fits.is_none() {
            return Err(TreeError::Misaligned { level, size: self.size() });
        }
        self.merge(level, root.into());
        Ok(())
    }

    /// Root of the tree: the peaks hashed together from the smallest up.
    pub fn root(&self) -> Root {
        let bagged = self.peaks.iter().rev().copied().reduce(|right, left| node_hash(left, right));
        bagged.map_or_else(empty_root, Root::from)
    }

    /// Merges equal subtrees the way a binary counter carries.
    fn merge(&mut self, level: u32, subtree: Digest) {
        let (mut node, mut carry) = (subtree, level);
        while (self.size >> carry) & 1 == 1 {
            // A one-bit of the size has its peak, so there is always one to take.
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(left, node);
            carry += 1;
        }
        self.peaks.push(node);
        self.size += 1 << level;
    }
}
