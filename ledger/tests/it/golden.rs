//! Vectors in `testdata/ledger`, made by other implementations.

use std::path::Path;

use ledger::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/ledger").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct TreeVectors {
    entries: Vec<String>,
    leaves: Vec<Digest>,
    empty_root: Root,
    roots: Vec<Root>,
    inclusion: Vec<InclusionProof>,
}

#[test]
fn leaves_roots_and_inclusion_paths_equal_another_implementations() {
    let expected: TreeVectors = vectors("tree.json");
    assert_eq!(tree::empty_root(), expected.empty_root);
    assert_eq!(MerkleTree::new().root(), expected.empty_root);
    let (mut full, mut compact) = (MerkleTree::new(), CompactRange::new());
    for ((entry, leaf), root) in expected.entries.iter().zip(&expected.leaves).zip(&expected.roots) {
        let data = hex::decode(&entry[2..]).expect("hex in the vectors");
        assert_eq!(tree::leaf_hash(&data), *leaf);
        full.push(*leaf);
        compact.push(*leaf);
        assert_eq!((full.root(), compact.root()), (*root, *root), "size {}", full.size());
    }
    assert_eq!(full.size(), TreeSize(40));
    for proof in &expected.inclusion {
        assert_eq!(full.prove_inclusion(proof.index, proof.size).as_ref(), Ok(proof));
        let root = expected.roots[proof.size.0 as usize - 1];
        assert_eq!(proof.verify(expected.leaves[proof.index.0 as usize], root), Ok(()));
    }
    assert!(expected.inclusion.len() > 100);
}

#[derive(Deserialize)]
struct StepVectors {
    digests: Vec<FieldElement>,
    record_hashes: Vec<Digest>,
    leaves: Vec<Digest>,
    roots: Vec<Root>,
    epochs_of_4: Vec<Root>,
}

#[test]
fn step_leaves_and_epoch_by_epoch_roots_equal_another_implementations() {
    let expected: StepVectors = vectors("steps.json");
    let leaves: Vec<Digest> = (0u64..)
        .zip(expected.digests.iter().zip(&expected.record_hashes))
        .map(|(step, (digest, record))| tree::step_leaf(StepIndex(step), *digest, *record))
        .collect();
    assert_eq!(leaves, expected.leaves);
    let mut by_epochs = CompactRange::new();
    for (epoch, root) in leaves.chunks(4).zip(&expected.epochs_of_4) {
        assert_eq!(tree::perfect_root(epoch), Ok(*root));
        by_epochs.push_subtree(2, *root).expect("aligned");
        assert_eq!(by_epochs.root(), expected.roots[by_epochs.size().0 as usize - 1]);
    }
    assert_eq!(by_epochs.size(), TreeSize(64));
}

#[derive(Deserialize)]
struct InstanceVector {
    accumulator: [FieldElement; 12],
    run: RunId,
    first_step: u64,
    fresh: bool,
    state_in: FieldElement,
    state_out: FieldElement,
    policy_digest: FieldElement,
    digests: Vec<FieldElement>,
    words: Vec<FieldElement>,
}

#[derive(Deserialize)]
struct All<T> {
    vectors: Vec<T>,
}

#[test]
fn instances_stand_in_the_shared_order() {
    let All { vectors } = vectors::<All<InstanceVector>>("instances.json");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let instances = EpochInstances {
            accumulator: vector.accumulator,
            run: vector.run,
            first_step: StepIndex(vector.first_step),
            fresh: vector.fresh,
            state_in: vector.state_in,
            state_out: vector.state_out,
            policy_digest: vector.policy_digest,
            digests: vector.digests,
        };
        assert_eq!(instances.to_words(), vector.words);
        assert_eq!(EpochInstances::from_words(&vector.words).as_ref(), Ok(&instances));
        let slots: Vec<usize> = InstanceSlot::all(instances.digests.len()).map(InstanceSlot::index).collect();
        assert_eq!(slots, (0..vector.words.len()).collect::<Vec<_>>());
        assert_eq!(vector.words[InstanceSlot::StateOut.index()], instances.state_out);
        assert_eq!(vector.words[InstanceSlot::Fresh.index()], FieldElement::from(instances.fresh));
    }
}

#[test]
fn words_out_of_range_are_not_instances() {
    let All { vectors } = vectors::<All<InstanceVector>>("instances.json");
    let words = &vectors[4].words;
    let with = |slot: InstanceSlot, word| {
        let mut words = words.clone();
        words[slot.index()] = word;
        EpochInstances::from_words(&words)
    };
    let two = FieldElement::from(2);
    let out = |slot, got| Err(InstanceError::OutOfRange { slot, got });
    assert_eq!(with(InstanceSlot::Fresh, two), out(InstanceSlot::Fresh, two));
    let mut large = [0; 32];
    large[23] = 1;
    let large = FieldElement::from_be_bytes(large).expect("2^64 is below r");
    assert_eq!(with(InstanceSlot::FirstStep, large), out(InstanceSlot::FirstStep, large));
    assert_eq!(EpochInstances::from_words(&words[..17]), Err(InstanceError::TooShort { got: 17 }));
    assert_eq!(EpochInstances::from_words(&words[..18]), Err(InstanceError::StepCount { got: 0 }));
    assert_eq!(EpochInstances::from_words(&words[..21]), Err(InstanceError::StepCount { got: 3 }));
}

#[derive(Deserialize)]
struct RunIdVector {
    chain_id: ChainId,
    contract: Address,
    owner: Address,
    salt: Salt,
    run: RunId,
}

#[test]
fn run_ids_equal_another_keccak() {
    let All { vectors } = vectors::<All<RunIdVector>>("run_id.json");
    assert!(vectors.len() >= 10);
    for RunIdVector { chain_id, contract, owner, salt, run } in vectors {
        assert_eq!(RunIdentity { chain_id, contract, owner, salt }.run_id(), run);
    }
}

#[derive(Deserialize)]
struct CanonicalVector {
    layout: String,
    layout_digest: FieldElement,
}

#[test]
fn a_layout_equals_another_encoders() {
    let expected: CanonicalVector = vectors("canonical.json");
    let layout = Layout::contiguous([
        ("fc1.weight", vec![32, 64]),
        ("fc1.bias", vec![32]),
        ("fc2.weight", vec![10, 32]),
        ("fc2.bias", vec![10]),
    ])
    .expect("a valid layout");
    assert_eq!(canonical::encode(&layout), Ok(expected.layout.into_bytes()));
    assert_eq!(layout.digest(), Ok(expected.layout_digest));
    assert_eq!(layout.n_params(), 2410);
    let (tensor, inside) = layout.locate(2081).expect("below 2410");
    assert_eq!((tensor.name.as_str(), inside), ("fc2.weight", 1));
    assert_eq!(layout.locate(2410), None);
}
