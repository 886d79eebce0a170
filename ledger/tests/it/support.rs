//! Values that the tests share.

use std::collections::BTreeMap;

use ledger::canonical::V1;
use ledger::*;

/// A digest that differs for every label.
pub fn digest(label: &str) -> Digest {
    Digest::of(label.as_bytes())
}

/// A field element that differs for every label.
pub fn element(label: &str) -> FieldElement {
    FieldElement::from_digest(digest(label))
}

/// Bytes in the range of a point that differ for every label; not on the curve, which nothing here checks.
pub fn point(label: &str) -> CurvePoint {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(element(&format!("{label} x")).as_bytes());
    bytes[32..].copy_from_slice(element(&format!("{label} y")).as_bytes());
    CurvePoint::from_bytes(bytes).expect("coordinates below 2^253 are below q")
}

/// A run with two chunks.
pub fn description() -> RunDescription {
    let layout = Layout::contiguous([("w", vec![3, 4]), ("b", vec![3])]).expect("a valid layout");
    let identity = RunIdentity {
        chain_id: ChainId(31337),
        contract: Address([1; 20]),
        owner: Address([2; 20]),
        salt: Salt([3; 32]),
    };
    RunDescription {
        dataset: Some(Dataset { digest: digest("data"), name: "digits".to_owned() }),
        epoch_len: EpochLen::from_log(2).expect("4 steps"),
        genesis_state: element("state 0"),
        identity,
        notes: BTreeMap::from([("model".to_owned(), "12-3".to_owned())]),
        parent: None,
        policy: Policy {
            beta1: 1,
            beta2: 2,
            eps: 3,
            format: NumberFormat::Q24,
            layout_digest: layout.digest().expect("small numbers"),
            lr_max: 100,
            n_chunks: 2,
            n_params: 15,
            rule: Rule::AdamW,
            step_key_digest: element("step key"),
            weight_decay: u64::MAX,
        },
        layout,
        policy_digest: element("policy"),
        run: identity.run_id(),
        srs: SrsLabel::development(digest("srs")),
        v: V1,
    }
}

/// The run of [`description`].
pub fn run() -> SealedRun {
    description().seal().expect("a valid description")
}

/// The record that continues `head` honestly.
pub fn next_record(run: &SealedRun, head: &ChainHead) -> StepRecord {
    let RunDescription { policy, run: id, .. } = run.description().clone();
    let step = head.next_step();
    let chunks = (0..policy.n_chunks as usize)
        .map(|chunk| ChunkCommitments {
            gradient: point(&format!("gradient {step} {chunk}")),
            input: head.outputs().map_or(point(&format!("genesis {chunk}")), |outputs| outputs[chunk]),
            output: point(&format!("output {step} {chunk}")),
        })
        .collect();
    let Policy { beta1, beta2, eps, weight_decay, lr_max, .. } = policy;
    StepRecord {
        digest: element(&format!("D {step}")),
        meta: StepMeta {
            accuracy: None,
            extra: BTreeMap::from([("note".to_owned(), "é \"quoted\" \u{1}".to_owned())]),
            loss: Some(Decimal::from_f64(2.25).expect("finite")),
            prove_ms: Some(1234),
        },
        prev: head.last_record(),
        proofs: vec![digest(&format!("proof {step} 0")), digest(&format!("proof {step} 1"))],
        state_out: element(&format!("state {step} out")),
        statement: StepStatement {
            chunks,
            fresh: head.next_is_fresh(),
            hyper: Hyper { beta1, beta2, eps, lr: lr_max, weight_decay },
            run: id,
            schedule: Schedule { a: u64::MAX, c: 7, p1: 8, p2: 9 },
            step,
        },
        v: V1,
    }
}

/// An epoch of four steps.
pub fn epoch() -> EpochRecord {
    EpochRecord {
        accumulator: std::array::from_fn(|limb| element(&format!("limb {limb}"))),
        digests: (0..4).map(|step| element(&format!("D {step}"))).collect(),
        epoch: EpochIndex(0),
        epoch_root: digest("epoch root").into(),
        first_step: StepIndex(0),
        fresh: true,
        policy_digest: element("policy"),
        proof: digest("proof"),
        root_after: digest("root after").into(),
        run: description().run,
        state_in: element("in"),
        state_out: element("out"),
        v: V1,
        wrap_k: None,
    }
}

/// A manifest of three files.
pub fn manifest() -> Manifest {
    let files = ["run.json", "steps.jsonl", "proofs/step_000000.proof"];
    let entry = |path: &str| ManifestEntry {
        len: path.len() as u64,
        path: path.parse().expect("a valid path"),
        sha256: digest(path),
    };
    let files = files.into_iter().map(entry).collect();
    Manifest::new(description().run, TreeSize(1), digest("root").into(), files).expect("no collisions")
}

/// The anchor after another one.
pub fn anchor(counter: u64) -> Anchor {
    Anchor {
        block: 10 + counter,
        chain_id: ChainId(31337),
        contract: Address([1; 20]),
        counter,
        gas: 400_000,
        root: digest(&format!("root {counter}")).into(),
        size: TreeSize(4 * counter),
        state: element(&format!("state {counter}")),
        tx: TxHash([9; 32]),
    }
}
