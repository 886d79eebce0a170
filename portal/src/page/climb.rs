//! The way from a step's leaf to the root, as it is drawn.

use ledger::{Digest, tree::node_hash};

use crate::{api::handlers::Evidence, index::RunEntry};

/// A way up, and where it ends.
pub(super) struct Climb {
    /// From the leaf on.
    pub(super) rungs: Vec<Rung>,
    /// The node that it ends at.
    pub(super) reached: Digest,
    /// Whether that is the root that the contract holds.
    pub(super) reaches_root: bool,
}

impl Climb {
    /// The way of a step to the root of its run.
    pub(super) fn of(evidence: &Evidence, run: &RunEntry) -> Self {
        let Evidence { step, path, .. } = evidence;
        let rungs = climb(step.leaf(), step.step.0, run.size.0, path);
        let reached = rungs.last().map_or(step.leaf(), |rung| rung.node);
        Self { rungs, reached, reaches_root: reached.0 == run.root.0 }
    }
}

/// A node on the way up: on which side the sibling stands, the sibling, and what both give.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) sibling_is_left: bool,
    pub(super) sibling: Digest,
    pub(super) node: Digest,
}

/// The way from a leaf to the root (RFC 9162, 2.1.3.2).
fn climb(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Vec<Rung> {
    let (mut at, mut last, mut node) = (index, size.saturating_sub(1), leaf);
    let mut out = Vec::new();
    for sibling in path {
        let sibling_is_left = at & 1 == 1 || at == last;
        node = if sibling_is_left { node_hash(*sibling, node) } else { node_hash(node, *sibling) };
        out.push(Rung { sibling_is_left, sibling: *sibling, node });
        if sibling_is_left {
            // Levels on which the node has no sibling are not in the path.
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        }
        (at, last) = (at >> 1, last >> 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use ledger::{MerkleTree, StepIndex, TreeSize};

    use super::*;

    #[test]
    fn every_climb_in_trees_of_every_size_ends_at_the_root() {
        let mut tree = MerkleTree::new();
        for size in 1..=40 {
            tree.push(Digest::of(&[size as u8]));
            for index in 0..size {
                let proof = tree.prove_inclusion(StepIndex(index), TreeSize(size)).unwrap();
                let leaf = tree.leaf(StepIndex(index)).unwrap();
                let reached = climb(leaf, index, size, &proof.path).last().map_or(leaf, |rung| rung.node);
                assert_eq!(reached.0, tree.root().0, "{index} of {size}");
            }
        }
    }
}
