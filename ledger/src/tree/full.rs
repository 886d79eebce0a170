//! The whole tree in memory, for proofs.

use super::{ConsistencyProof, InclusionProof, TreeError, empty_root, node_hash};
use crate::ids::{Digest, Root, StepIndex, TreeSize};

/// Every complete node of a growing tree, level by level: 64 bytes a leaf.
///
/// Answers for the current size and for every earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MerkleTree {
    /// `levels[l][i]` is the root of leaves `i·2^l .. (i+1)·2^l`.
    levels: Vec<Vec<Digest>>,
}

impl MerkleTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.len() as u64)
    }

    /// The leaf hash at `index`.
    pub fn leaf(&self, index: StepIndex) -> Option<Digest> {
        self.levels.first()?.get(usize::try_from(index.0).ok()?).copied()
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(node);
            match row[..] {
                [.., left, right] if row.len().is_multiple_of(2) => node = node_hash(left, right),
                _ => break,
            }
        }
    }

    /// Root of the current tree.
    pub fn root(&self) -> Root {
        self.range(0, self.len()).map_or_else(empty_root, Root::from)
    }

    /// Root of the tree as it was at `size`.
    ///
    /// **Errors**: [`TreeError::SizeOutOfRange`].
    pub fn root_at(&self, size: TreeSize) -> Result<Root, TreeError> {
        let size = self.check_size(size)?;
        Ok(self.range(0, size).map_or_else(empty_root, Root::from))
    }

    /// Root of the perfect subtree of 2^`level` leaves from `first` on.
    ///
    /// **Errors**: [`TreeError::Misaligned`] or [`TreeError::SizeOutOfRange`].
    pub fn subtree_root(&self, first: StepIndex, level: u32) -> Result<Root, TreeError> {
        let leaves = 1u64.checked_shl(level).filter(|leaves| first.0.is_multiple_of(*leaves));
        let leaves = leaves.ok_or(TreeError::Misaligned { level, size: TreeSize(first.0) })?;
        let end = self.check_size(TreeSize(first.0.saturating_add(leaves)))?;
        let out_of_range = TreeError::SizeOutOfRange { available: self.size(), size: TreeSize(end as u64) };
        self.range(end - leaves as usize, end).map(Root::from).ok_or(out_of_range)
    }

    /// Proof that the leaf at `index` is in the tree of `size` leaves.
    ///
    /// **Errors**: [`TreeError::SizeOutOfRange`], [`TreeError::IndexOutOfRange`].
    pub fn prove_inclusion(&self, index: StepIndex, size: TreeSize) -> Result<InclusionProof, TreeError> {
        let end = self.check_size(size)?;
        let Some(leaf) = usize::try_from(index.0).ok().filter(|leaf| *leaf < end) else {
            return Err(TreeError::IndexOutOfRange { size, index });
        };
        let (mut low, mut high, mut path) = (0, end, Vec::new());
        while high - low > 1 {
            let middle = low + split(high - low);
            let (sibling, rest) =
                if leaf < middle { ((middle, high), (low, middle)) } else { ((low, middle), (middle, high)) };
            path.extend(self.range(sibling.0, sibling.1));
            (low, high) = rest;
        }
        path.reverse();
        Ok(InclusionProof { index, size, path })
    }

    /// Proof that the tree of `new` leaves extends the tree of `old` leaves.
    ///
    /// **Errors**: [`TreeError::SizeOutOfRange`].
    pub fn prove_consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, TreeError> {
        let end = self.check_size(new)?;
        if old > new {
            return Err(TreeError::SizeOutOfRange { available: new, size: old });
        }
        // `old <= new` and `new` fits, so `old` fits too.
        let old_end = old.0 as usize;
        let (mut low, mut high, mut path) = (0, end, Vec::new());
        if 0 < old_end && old_end < end {
            // Descend to the subtree that ends where the old tree ended, noting siblings on the way.
            while old_end < high {
                let middle = low + split(high - low);
                if old_end <= middle {
                    path.extend(self.range(middle, high));
                    high = middle;
                } else {
                    path.extend(self.range(low, middle));
                    low = middle;
                }
            }
            // The verifier knows this node itself if it is the whole old tree.
            if low > 0 {
                path.extend(self.range(low, high));
            }
            path.reverse();
        }
        Ok(ConsistencyProof { old, new, path })
    }

    fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    fn check_size(&self, size: TreeSize) -> Result<usize, TreeError> {
        let fits = usize::try_from(size.0).ok().filter(|size| *size <= self.len());
        fits.ok_or(TreeError::SizeOutOfRange { available: self.size(), size })
    }

    /// Root over leaves `low..high`, where `low` is a multiple of the power of two that covers the range,
    /// as it is for every range that RFC 9162 splits a tree into. None for the empty range.
    fn range(&self, low: usize, high: usize) -> Option<Digest> {
        let (mut start, mut parts) = (low, Vec::new());
        while start < high {
            let level = (high - start).ilog2();
            parts.push(*self.levels.get(level as usize)?.get(start >> level)?);
            start += 1 << level;
        }
        parts.into_iter().rev().reduce(|right, left| node_hash(left, right))
    }
}

/// Largest power of two below `n`, for `n` of at least 2.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}
