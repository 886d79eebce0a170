//! Key generation is deterministic: keys have the digests of `testdata/keys/keys.json`.

use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use circuits::step::shape::StepShape;
use halo2_proofs::halo2curves::bn256::Fr;
use ledger::Rule;
use serde_json::Value;

use crate::support::{N, key, shape, srs};

/// The committed file; it says how it was made.
fn pinned() -> Value {
    serde_json::from_str(include_str!("../../../testdata/keys/keys.json")).expect("the file is JSON")
}

/// The pinned digest of epochs of `n_steps` under the step shape, at `k`.
pub fn pinned_epoch(step: &StepShape, n_steps: usize, k: u32) -> String {
    let file = pinned();
    let keys = file["epoch_keys"].as_array().expect("a list");
    let found = keys.iter().find(|key| {
        key["step"] == step.to_string().as_str() && key["n_steps"] == n_steps && key["k"] == k && key["n_chunks"] == 1
    });
    found.expect("this epoch key is pinned")["digest"].as_str().expect("a digest").to_owned()
}

fn text(digest: Fr) -> String {
    from_fr(&digest).to_string()
}

#[test]
fn step_keys_have_the_pinned_digests() {
    let file = pinned();
    let keys = file["step_keys"].as_object().expect("shape to digest");
    for rule in [Rule::AdamW, Rule::Sgd] {
        let tiny = shape(rule, N).to_string();
        assert_eq!(keys[&tiny], text(key(rule).vk.digest()).as_str(), "{tiny}");
    }
    assert_eq!(keys.len(), 3, "two tiny keys and the demo's");
    for (name, digest) in keys {
        let shape: StepShape = name.parse().expect("a shape");
        let key = StepVerifyingKey::generate(srs(shape.k).params(), &shape).expect("a key");
        assert_eq!(*digest, text(key.digest()).as_str(), "{name}");
    }
}
