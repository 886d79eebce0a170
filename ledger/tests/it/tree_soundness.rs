//! Honest proofs hold; proofs with anything changed are refused.

use ledger::*;
use proptest::prelude::*;

fn leaves(n: u64) -> Vec<Digest> {
    (0..n).map(|leaf| tree::leaf_hash(&leaf.to_be_bytes())).collect()
}

fn tree_of(n: u64) -> MerkleTree {
    let mut tree = MerkleTree::new();
    leaves(n).into_iter().for_each(|leaf| tree.push(leaf));
    tree
}

#[test]
fn every_inclusion_proof_of_small_trees_holds_at_its_index_only() {
    let full = tree_of(20);
    for size in 1..=20 {
        let root = full.root_at(TreeSize(size)).unwrap();
        for index in 0..size {
            let proof = full.prove_inclusion(StepIndex(index), TreeSize(size)).unwrap();
            for (other, leaf) in leaves(20).into_iter().enumerate() {
                assert_eq!(proof.verify(leaf, root).is_ok(), other as u64 == index);
            }
            for other in (0..size).filter(|other| *other != index) {
                let moved = InclusionProof { index: StepIndex(other), ..proof.clone() };
                let refused = moved.verify(full.leaf(StepIndex(index)).unwrap(), root);
                let expected = matches!(refused, Err(TreeError::RootMismatch { .. } | TreeError::PathLength { .. }));
                assert!(expected, "index {index} as {other} of {size}: {refused:?}");
            }
        }
    }
}

#[test]
fn every_consistency_proof_of_small_trees_holds_for_its_roots_only() {
    let full = tree_of(24);
    let roots: Vec<Root> = (0..=24).map(|size| full.root_at(TreeSize(size)).unwrap()).collect();
    for new in 0..=24 {
        for old in 0..=new {
            let proof = full.prove_consistency(TreeSize(old as u64), TreeSize(new as u64)).unwrap();
            assert_eq!(proof.verify(roots[old], roots[new]), Ok(()), "{old} to {new}");
            for other in (0..=24).filter(|other| *other != old) {
                let refused = proof.verify(roots[other], roots[new]);
                // A wrong old root that is a power of two is the seed of both roots, so either may differ.
                assert!(
                    matches!(refused, Err(TreeError::OldRootMismatch { .. } | TreeError::RootMismatch { .. })),
                    "{old} to {new} with the root of {other}: {refused:?}"
                );
            }
            for other in (0..=24).filter(|other| *other != new && old > 0 && old < new) {
                let refused = proof.verify(roots[old], roots[other]);
                assert!(matches!(refused, Err(TreeError::RootMismatch { .. })), "{refused:?}");
            }
        }
    }
}

#[test]
fn requests_beyond_the_tree_are_errors() {
    let full = tree_of(5);
    let (size, index) = (TreeSize(5), StepIndex(5));
    assert_eq!(full.prove_inclusion(index, size), Err(TreeError::IndexOutOfRange { size, index }));
    let beyond = Err(TreeError::SizeOutOfRange { available: TreeSize(5), size: TreeSize(6) });
    assert_eq!(full.prove_inclusion(StepIndex(0), TreeSize(6)), beyond.clone());
    assert_eq!(full.root_at(TreeSize(6)).map(|_| ()), beyond.clone().map(|_: InclusionProof| ()));
    assert_eq!(
        full.prove_consistency(TreeSize(4), TreeSize(3)),
        Err(TreeError::SizeOutOfRange { available: TreeSize(3), size: TreeSize(4) })
    );
    assert_eq!(full.subtree_root(StepIndex(2), 2), Err(TreeError::Misaligned { level: 2, size: TreeSize(2) }));
    assert_eq!(
        full.subtree_root(StepIndex(4), 2),
        Err(TreeError::SizeOutOfRange { available: TreeSize(5), size: TreeSize(8) })
    );
    assert_eq!(tree::perfect_root(&leaves(3)), Err(TreeError::NotPerfect { got: 3 }));
    assert_eq!(tree::perfect_root(&[]), Err(TreeError::NotPerfect { got: 0 }));
}

#[test]
fn a_tree_continues_from_its_kept_peaks() {
    for size in 0..20 {
        let mut whole = CompactRange::new();
        leaves(size).into_iter().for_each(|leaf| whole.push(leaf));
        let mut kept = CompactRange::from_peaks(whole.size(), whole.peaks().to_vec()).unwrap();
        assert_eq!(kept, whole);
        for leaf in leaves(3) {
            whole.push(leaf);
            kept.push(leaf);
        }
        assert_eq!(kept.root(), whole.root());
    }
    let size = TreeSize(5);
    let refused = CompactRange::from_peaks(size, leaves(3));
    assert_eq!(refused, Err(TreeError::PeakCount { size, expected: 2, got: 3 }));
}

#[test]
fn a_subtree_is_taken_only_where_it_is_aligned() {
    let mut range = CompactRange::new();
    range.push_subtree(1, tree_of(2).root()).unwrap();
    for level in [2, 3, 63, 64, u32::MAX] {
        let refused = range.push_subtree(level, tree_of(4).root());
        assert_eq!(refused, Err(TreeError::Misaligned { level, size: TreeSize(2) }));
    }
    let mut huge = CompactRange::new();
    huge.push_subtree(63, tree::empty_root()).unwrap();
    let refused = huge.push_subtree(63, tree::empty_root());
    assert_eq!(refused, Err(TreeError::Misaligned { level: 63, size: TreeSize(1 << 63) }));
}

proptest! {
    #[test]
    fn any_sequence_of_aligned_epochs_gives_the_reference_root(levels in prop::collection::vec(0u32..5, 0..60)) {
        let (mut range, mut full) = (CompactRange::new(), MerkleTree::new());
        for level in levels {
            let first = range.size().0;
            let n = 1u64 << level;
            let epoch: Vec<Digest> = (first..first + n).map(|leaf| tree::leaf_hash(&leaf.to_be_bytes())).collect();
            let root = tree::perfect_root(&epoch).unwrap();
            let pushed = range.push_subtree(level, root);
            prop_assert_eq!(pushed.is_ok(), first.is_multiple_of(n));
            if pushed.is_ok() {
                epoch.into_iter().for_each(|leaf| full.push(leaf));
                prop_assert_eq!(full.subtree_root(StepIndex(first), level), Ok(root));
            }
            prop_assert_eq!(range.root(), full.root());
            prop_assert_eq!(range.peaks().len() as u32, range.size().0.count_ones());
        }
    }

    #[test]
    fn an_inclusion_proof_with_anything_changed_is_refused(
        n in 1u64..200, pick in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(), cut in any::<bool>()
    ) {
        let full = tree_of(n);
        let index = pick.index(n as usize) as u64;
        let proof = full.prove_inclusion(StepIndex(index), full.size()).unwrap();
        let (leaf, root) = (full.leaf(StepIndex(index)).unwrap(), full.root());
        prop_assert_eq!(proof.verify(leaf, root), Ok(()));

        let mut changed = proof.clone();
        if cut { changed.path.pop(); } else { changed.path.push(leaf); }
        if changed.path.len() != proof.path.len() {
            let (expected, got) = (proof.path.len(), changed.path.len());
            prop_assert_eq!(changed.verify(leaf, root), Err(TreeError::PathLength { expected, got }));
        }
        if !proof.path.is_empty() {
            let mut changed = proof.clone();
            let at = bit.index(changed.path.len() * 256);
            changed.path[at / 256].0[at % 256 / 8] ^= 1 << (at % 8);
            let refused = changed.verify(leaf, root);
            let mismatch = matches!(refused, Err(TreeError::RootMismatch { expected, .. }) if expected == root);
            prop_assert!(mismatch);
        }
    }

    #[test]
    fn hostile_indices_and_sizes_never_panic(index: u64, size: u64, old: u64, new: u64, n in 0usize..130) {
        let path = vec![Digest([7; 32]); n];
        let inclusion = InclusionProof { index: StepIndex(index), size: TreeSize(size), path: path.clone() };
        prop_assert!(inclusion.verify(Digest([1; 32]), Root([2; 32])).is_err());
        let consistency = ConsistencyProof { old: TreeSize(old), new: TreeSize(new), path };
        prop_assert!(consistency.verify(Root([1; 32]), Root([2; 32])).is_err());
    }
}
