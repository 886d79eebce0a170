//! Prints `testdata/keys/keys.json`: `cargo run -p aggregator --example pin_keys > testdata/keys/keys.json`.
//!
//! Digests of keys under the development SRS, which is the same everywhere. Takes some minutes and 8 GiB: the demo's
//! epochs and their wrap are among them.

use std::collections::BTreeMap;

use aggregator::keys::CIRCUIT_VERSION;
use aggregator::keys::generate_verifying_key;
use aggregator::{EpochShape, wrap};
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use circuits::step::shape::StepShape;
use ledger::Rule;
use serde_json::{Value, json};
use srs::{Srs, SrsCache, SrsSize};

/// Rule, parameters, k, limb width: the demo's step circuit, and the tiny ones of the tests of `aggregator`.
const STEPS: [(Rule, usize, u32, u32); 3] =
    [(Rule::AdamW, 2_410, 15, 14), (Rule::AdamW, 5, 12, 11), (Rule::Sgd, 5, 12, 11)];
/// Position of the step circuit, steps, k: the epochs of the demo, and of the test `epoch_end_to_end`.
const EPOCHS: [(usize, usize, u32); 2] = [(0, 4, 21), (1, 2, 20)];
/// Position of the epoch circuit, k: the wrap of the demo's epochs.
const WRAPS: [(usize, u32); 1] = [(0, 21)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = SrsCache::new(std::env::temp_dir().join("cairn-test-srs"));
    let srs = |k| -> Result<Srs, Box<dyn std::error::Error>> { Ok(cache.development(SrsSize::new(k)?, &srs::silent)?) };
    let mut keys: Vec<(Srs, StepVerifyingKey)> = Vec::new();
    let mut steps = BTreeMap::new();
    for (rule, n_params, k, limb_bits) in STEPS {
        let shape = StepShape::at(rule, n_params, k, limb_bits).ok_or("no such shape")?;
        let srs = srs(k)?;
        let key = StepVerifyingKey::generate(srs.params(), &shape)?;
        steps.insert(shape.to_string(), from_fr(&key.digest()).to_string());
        keys.push((srs, key));
    }
    let (mut epochs, mut epoch_keys) = (Vec::<Value>::new(), Vec::new());
    for (step, n_steps, k) in EPOCHS {
        let (step_srs, key) = &keys[step];
        let shape = EpochShape { n_steps, n_chunks: 1, k };
        let epoch_key = generate_verifying_key(srs(k)?.params(), step_srs.params(), key, &shape)?;
        let (step, digest) = (key.shape().to_string(), from_fr(&epoch_key.digest()).to_string());
        epochs.push(json!({ "step": step, "n_steps": n_steps, "n_chunks": 1, "k": k, "digest": digest }));
        epoch_keys.push(epoch_key);
    }
    let mut wraps: Vec<Value> = Vec::new();
    for (epoch, k) in WRAPS {
        let key = &epoch_keys[epoch];
        let wrap = wrap::generate_verifying_key(srs(k)?.params(), srs(key.shape().k)?.params(), key)?;
        let [epoch, digest] = [key, &wrap].map(|key| from_fr(&key.digest()).to_string());
        wraps.push(json!({ "epoch": epoch, "k": k, "digest": digest }));
    }
    let pinned = json!({
        "made_by": "cargo run -p aggregator --example pin_keys > testdata/keys/keys.json",
        "srs": "development SRS, not secure",
        "epoch_circuit_version": CIRCUIT_VERSION,
        "step_keys": steps,
        "epoch_keys": epochs,
        "wrap_circuit_version": aggregator::wrap::CIRCUIT_VERSION,
        "wrap_keys": wraps,
    });
    println!("{}", serde_json::to_string_pretty(&pinned)?);
    Ok(())
}
