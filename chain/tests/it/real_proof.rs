//! Real epoch proofs on a real node: the vectors of `cargo xtask fixtures` are anchored, what differs from them is refused.
//!
//! The contract stands at the address that the run's id was made for. `contracts/test/RealProof.t.sol`
//! goes through every word of instances and proof; here are one of each kind, through the client.

use chain::{ChainError, EpochSubmission, ExpectedCode, Outcome, Revert};
use ledger::{Digest, EpochIndex, TreeSize};

use crate::support::{demo::Demo, refusal};

impl Demo {
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

#[tokio::test]
async fn gas_is_told_before_anything_is_sent() {
    let demo = Demo::new().await;
    let (client, owner) = (demo.writer.client(), demo.writer.address());
    let estimate = async |epochs: &[EpochSubmission]| client.estimate_anchor(demo.contract, owner, epochs).await;
    let revert = refusal(estimate(&demo.epochs[1..]).await);
    assert_eq!(revert.name(), Some("EpochNotNext"), "the second needs the first: {revert}");
    let first = estimate(&demo.epochs[..1]).await.expect("an estimate");
    let both = estimate(&demo.epochs).await.expect("an estimate");
    let used = demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect("anchored").into_inner().gas;
    assert!(used <= first && first < used + used / 10, "estimated {first}, used {used}");
    assert!(both > first, "one {first}, both {both}");
    assert_eq!(demo.size().await, (1, TreeSize(4)), "estimates send nothing");
}

#[tokio::test]
async fn tree_is_rebuilt_from_events_and_must_give_the_anchored_root() {
    let demo = Demo::new().await;
    let client = demo.writer.client();
    assert_eq!(client.anchor_of(demo.attestations).await.expect("an anchor"), demo.contract);
    for epoch in &demo.epochs {
        demo.writer.anchor(demo.contract, epoch, 0).await.expect("a real proof");
        let tree = client.anchored_tree(demo.contract, demo.run, 0).await.expect("events").expect("registered");
        assert_eq!(tree.root(), epoch.root_after);
    }
    let late = client.latest_block().await.expect("a block").number;
    let error = client.anchored_tree(demo.contract, demo.run, late).await.expect_err("the first event is earlier");
    assert!(matches!(error, ChainError::EventMissing { counter: 1, .. }), "{error}");
}

#[tokio::test]
async fn code_that_differs_is_found_at_its_byte() {
    let demo = Demo::new().await;
    let client = demo.writer.client();
    let runtime = demo.anvil.code(demo.verifier).await;
    let expected = ExpectedCode { what: "verifier".into(), address: demo.verifier, runtime: runtime.clone() };
    let same = client.check_code(&expected).await.expect("code");
    assert!(same.holds() && same.got == same.expected && same.got.len == runtime.len(), "{same}");
    let mut changed = runtime.clone();
    changed[77] ^= 1;
    demo.anvil.set_code(demo.verifier, &changed).await;
    let other = client.check_code(&expected).await.expect("code");
    assert_eq!(other.first_difference, Some(77));
    let text = format!("byte 77 differs; expected {} bytes with hash {}", runtime.len(), same.got.hash);
    assert!(other.to_string().contains(&text), "{other}");
    demo.anvil.set_code(demo.verifier, &runtime[..9]).await;
    assert_eq!(client.check_code(&expected).await.expect("code").first_difference, Some(9));
    demo.anvil.set_code(demo.verifier, &[]).await;
    let none = client.check_code(&expected).await.expect("code");
    assert_eq!((none.first_difference, none.got.len), (Some(0), 0));
    // keccak256 of nothing, as EXTCODEHASH of an account that exists.
    let nothing = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    assert_eq!(none.got.hash, nothing.parse::<Digest>().expect("a hash"));
}
