//! Epochs as the log makes them, with a proof that only the test-only verifier takes.

use chain::EpochSubmission;
use ledger::{
    Digest, EpochIndex, EpochRecord, FieldElement, Root, RunId, StepIndex,
    canonical::V1,
    tree::{CompactRange, MerkleTree, perfect_root, step_leaf},
};

/// A run's log, kept locally.
pub struct LocalLog {
    pub run: RunId,
    pub state: FieldElement,
    pub tree: MerkleTree,
    /// The same tree, as a submission gives it.
    pub range: CompactRange,
    pub epochs: u64,
}

impl LocalLog {
    pub fn new(run: RunId, genesis: FieldElement) -> Self {
        Self { run, state: genesis, tree: MerkleTree::new(), range: CompactRange::new(), epochs: 0 }
    }

    pub fn root(&self) -> Root {
        self.tree.root()
    }

    /// Appends an epoch of `n_steps` steps; values follow from the position.
    pub fn next(&mut self, n_steps: u64) -> EpochSubmission {
        let first = self.tree.size().0;
        let digests: Vec<_> = (first..first + n_steps).map(|step| FieldElement::from(1_000 + step)).collect();
        let records: Vec<_> = (first..first + n_steps).map(|step| Digest::of(&step.to_be_bytes())).collect();
        let leaves: Vec<_> = (first..)
            .zip(digests.iter().zip(&records))
            .map(|(step, (digest, record))| step_leaf(StepIndex(step), *digest, *record))
            .collect();
        let epoch_root = perfect_root(&leaves).expect("a power of two");
        leaves.iter().for_each(|leaf| self.tree.push(*leaf));
        let proof = b"not a proof; the test-only verifier does not look".to_vec();
        let state_out = FieldElement::from(7_000_000 + first + n_steps);
        let record = EpochRecord {
            accumulator: std::array::from_fn(|limb| FieldElement::from(limb as u64)),
            digests,
            epoch: EpochIndex(self.epochs),
            epoch_root,
            first_step: StepIndex(first),
            fresh: first == 0,
            policy_digest: FieldElement::from(2_222),
            proof: Digest::of(&proof),
            root_after: self.tree.root(),
            run: self.run,
            state_in: self.state,
            state_out,
            v: V1,
            wrap_k: None,
        };
        self.state = state_out;
        self.epochs += 1;
        let submission = EpochSubmission::new(&self.range, &record, records, proof);
        self.range.push_subtree(record.log_steps(), epoch_root).expect("epochs of one size are aligned");
        submission
    }
}
