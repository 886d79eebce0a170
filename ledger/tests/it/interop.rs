//! The tree against the crate `ct-merkle`, on random shapes.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ledger::*;
use proptest::prelude::*;
use sha2::Sha256;

fn both(n: usize) -> (MerkleTree, MemoryBackedTree<Sha256, [u8; 8]>) {
    let (mut ours, mut theirs) = (MerkleTree::new(), MemoryBackedTree::new());
    for entry in 0..n as u64 {
        let entry = entry.to_be_bytes();
        ours.push(tree::leaf_hash(&entry));
        theirs.push(entry);
    }
    (ours, theirs)
}

fn concatenated(path: &[Digest]) -> Vec<u8> {
    path.iter().flat_map(|node| node.0).collect()
}

proptest! {
    #[test]
    fn roots_inclusion_and_consistency_equal_another_implementations(n in 1usize..300, pick in any::<prop::sample::Index>()) {
        let (ours, theirs) = both(n);
        let expected = theirs.root();
        prop_assert_eq!(&ours.root().0[..], &expected.as_bytes()[..]);

        let index = pick.index(n);
        let inclusion = ours.prove_inclusion(StepIndex(index as u64), ours.size()).unwrap();
        let expected = theirs.prove_inclusion(index);
        prop_assert_eq!(concatenated(&inclusion.path), expected.as_bytes());

        let old = index + 1;
        let consistency = ours.prove_consistency(TreeSize(old as u64), ours.size()).unwrap();
        let expected = theirs.prove_consistency(n - old);
        prop_assert_eq!(concatenated(&consistency.path), expected.as_bytes());
    }
}
