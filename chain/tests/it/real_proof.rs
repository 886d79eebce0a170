//! Real epoch proofs on a real node: the vectors of `cargo xtask fixtures` are anchored, what differs from them is refused.
//!
//! The contract stands at the address that the run's id was made for. `contracts/test/RealProof.t.sol`
//! goes through every word of instances and proof; here are one of each kind, through the client.

use chain::{ChainError, DelaySecs, DeployPlan, EpochSubmission, InitCode, LogSteps, Outcome, Registration, Revert};
use ledger::{
    Address, Digest, EpochIndex, FieldElement, Root, RunId, Salt, Selector, StepIndex, TreeSize,
    tree::{CompactRange, step_leaf},
};
use serde_json::Value;

use crate::support::{anvil::Anvil, refusal};

struct Demo {
    /// Kept for its life.
    _anvil: Anvil,
    writer: chain::Writer,
    registry: Address,
    contract: Address,
    selector: Selector,
    run: RunId,
    epochs: Vec<EpochSubmission>,
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(value[key].as_str().expect(key).trim_start_matches("0x")).expect(key)
}

/// The submission of an epoch; `range` is the tree before it, and then the tree after it.
fn submission(value: &Value, run: RunId, index: u64, range: &mut CompactRange) -> EpochSubmission {
    let proof = bytes(value, "proof");
    let (limbs, proof) = proof.split_at(12 * 32);
    let limbs: Vec<FieldElement> = limbs
        .chunks_exact(32)
        .map(|limb| FieldElement::from_be_bytes(limb.try_into().expect("32 bytes")).expect("a field element"))
        .collect();
    let digests: Vec<FieldElement> = parse(value, "digests");
    let record_hashes: Vec<Digest> = parse(value, "record_hashes");
    let peaks = range.peaks().to_vec();
    let steps = (range.size().0..).zip(digests.iter().zip(&record_hashes));
    steps.for_each(|(step, (digest, record))| range.push(step_leaf(StepIndex(step), *digest, *record)));
    assert_eq!(range.root(), parse::<Root>(value, "root_after"));
    EpochSubmission {
        run,
        epoch: EpochIndex(index),
        state_out: parse(value, "state_out"),
        digests,
        record_hashes,
        peaks,
        accumulator: limbs.try_into().expect("twelve limbs"),
        proof: proof.to_vec(),
        root_after: parse::<Root>(value, "root_after"),
    }
}

impl Demo {
    async fn new() -> Self {
        let text = include_str!("../../../testdata/anchor/demo.json");
        let vectors: Value = serde_json::from_str(text).expect("the vectors parse");
        let anvil = Anvil::start();
        let writer = anvil.writer().await;
        let plan = DeployPlan::new(writer.address(), writer.address(), DelaySecs(0), Salt([0; 32])).expect("artifacts");
        let registry = writer.deploy(&plan.registry).await.expect("registry").address;
        let contract = writer.deploy(&plan.anchor).await.expect("anchor").address;
        // The run's id names the contract of the demo that made the vectors. Today's code is put there, so that a change
        // of the contract does not need new proofs.
        let place = parse::<Address>(&vectors, "contract");
        anvil.copy_code(contract, place).await;
        let contract = place;
        let code = InitCode::verifier(bytes(&vectors, "verifier_code"), Salt([0; 32]));
        let verifier = writer.deploy(&code).await.expect("verifier");
        assert!(verifier.code_len < 24_576);
        let selector: Selector = parse(&vectors, "selector");
        writer.add_verifier(registry, selector, LogSteps(2), verifier.address).await.expect("added");
        let registration = Registration {
            salt: parse(&vectors, "salt"),
            selector,
            genesis_state: parse(&vectors, "genesis_state"),
            policy_digest: parse(&vectors, "policy"),
            parent: None,
        };
        let (run, _) = writer.register_run(contract, &registration).await.expect("registered").into_inner();
        assert_eq!(run, parse::<RunId>(&vectors, "run"));
        let submissions = vectors["submissions"].as_array().expect("submissions");
        let mut range = CompactRange::new();
        let epochs =
            submissions.iter().zip(0..).map(|(value, index)| submission(value, run, index, &mut range)).collect();
        Self { _anvil: anvil, writer, registry, contract, selector, run, epochs }
    }

    async fn refused(&self, submission: &EpochSubmission) -> Revert {
        refusal(self.writer.anchor(self.contract, submission, 0).await)
    }

    async fn size(&self) -> (u64, TreeSize) {
        let head = self.writer.client().head(self.contract, self.run).await.expect("a head").expect("registered");
        (head.counter, head.size)
    }
}

/// The verifier refused the proof: with other instances the hint that came with it is the first thing that is wrong.
fn is_wrong_proof(revert: &Revert) -> bool {
    revert.name() == Some("ProofRejected")
        && revert.arg("reason").is_some_and(|r| r.starts_with("InverseHintWrong(") || r == "ProofInvalid()")
}

#[tokio::test]
async fn real_epochs_are_anchored_and_nothing_else_is() {
    let demo = Demo::new().await;
    let honest = &demo.epochs[0];

    let mut changed = honest.clone();
    changed.digests.swap(0, 1);
    let revert = demo.refused(&changed).await;
    assert!(is_wrong_proof(&revert), "{revert}");

    let mut changed = honest.clone();
    changed.proof[40] ^= 1;
    let revert = demo.refused(&changed).await;
    assert!(is_wrong_proof(&revert), "{revert}");

    let mut changed = honest.clone();
    changed.proof.pop();
    let revert = demo.refused(&changed).await;
    assert_eq!(revert.name(), Some("ProofRejected"), "{revert}");

    let mut second_first = demo.epochs[1].clone();
    second_first.epoch = EpochIndex(0);
    second_first.peaks = Vec::new();
    let revert = demo.refused(&second_first).await;
    assert!(is_wrong_proof(&revert), "{revert}");
    assert_eq!(demo.size().await, (0, TreeSize(0)));

    for (epoch, steps) in demo.epochs.iter().zip([4, 8]) {
        let anchor = demo.writer.anchor(demo.contract, epoch, 0).await.expect("a real proof").into_inner();
        assert_eq!((anchor.root, anchor.size), (epoch.root_after, TreeSize(steps)));
        let again = demo.writer.anchor(demo.contract, epoch, 0).await.expect("repeating is safe");
        assert!(matches!(again, Outcome::Already(_)), "{again:?}");
    }
    assert_eq!(demo.size().await, (2, TreeSize(8)));

    // A right proof of the first epoch, submitted as a third.
    let mut replay = honest.clone();
    replay.epoch = EpochIndex(2);
    replay.peaks = vec![demo.epochs[1].root_after.into()];
    let revert = demo.refused(&replay).await;
    assert!(is_wrong_proof(&revert), "{revert}");
    assert_eq!(demo.size().await, (2, TreeSize(8)), "counter and size stay");
}

/// The record hashes are the submitter's word: the contract takes them, the client sees that its log has another root.
#[tokio::test]
async fn record_hashes_in_another_order_are_noticed_by_whoever_has_the_log() {
    let demo = Demo::new().await;
    let mut changed = demo.epochs[0].clone();
    changed.record_hashes.swap(0, 1);
    demo.writer.anchor(demo.contract, &changed, 0).await.expect_err("another root than the log's");
    let error = demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect_err("anchored otherwise");
    assert!(matches!(error, ChainError::AnchoredOtherwise { .. }), "{error}");
}

#[tokio::test]
async fn frozen_family_takes_no_real_proof() {
    let demo = Demo::new().await;
    demo.writer.freeze(demo.registry, demo.selector).await.expect("frozen");
    assert_eq!(demo.refused(&demo.epochs[0]).await.name(), Some("SelectorFrozen"));
    assert_eq!(demo.size().await, (0, TreeSize(0)));
}
