//! Committed verifiers are what the generator makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use verifier_gen::compile::Optimizer;

use crate::{circuits, evm, vector};

/// Compares; `CAIRN_BLESS=1` writes the file instead.
fn is_fresh(path: &Path, generated: &str) {
    if std::env::var_os("CAIRN_BLESS").is_some() {
        fs::write(path, generated).expect("write the committed file");
    }
    let committed = fs::read_to_string(path).expect("read the committed file");
    assert!(committed == generated, "{} is stale: run with CAIRN_BLESS=1 and read the difference", path.display());
}

#[test]
fn committed_verifiers_are_generated_again() {
    for case in [circuits::plonk(), circuits::accumulator()] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.sol", case.contract()));
        is_fresh(&path, &case.source().solidity);
        assert_eq!(case.source(), case.source());
    }
}

/// From the stored verifying key of the demo's epochs: it takes 2^21 rows to make, and milliseconds to read.
#[test]
fn the_epoch_verifier_of_the_contracts_is_generated_again() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    is_fresh(&root.join(vector::COMMITTED), &vector::committed().solidity);
}

#[test]
fn the_stored_verifying_key_is_the_pinned_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/keys/keys.json");
    let pinned: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).expect("read the pinned keys")).expect("JSON");
    let of_demo = |key: &&serde_json::Value| key["k"] == 21 && key["n_steps"] == 4 && key["n_chunks"] == 1;
    let epoch = pinned["epoch_keys"].as_array().into_iter().flatten().find(of_demo).expect("the demo's epoch key");
    assert_eq!(epoch["digest"], vector::committed().key_digest);
}

/// What `cairn deploy` would put on the chain: the vectors of the contracts and of the chain client run it.
#[test]
fn the_code_in_the_anchors_vectors_is_the_committed_verifiers() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/anchor/demo.json");
    let vectors: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).expect("read the vectors")).expect("JSON");
    let compiled = evm::compile(&vector::committed().solidity, Optimizer::Full);
    assert_eq!(vectors["verifier_code"], format!("0x{}", hex::encode(compiled.creation)));
}
