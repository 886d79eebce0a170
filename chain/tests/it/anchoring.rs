//! Anchoring: the chain's head equals the log's, and repeating is safe.

use chain::{ChainError, Outcome};
use ledger::{Digest, EpochIndex, FieldElement, Root, TreeSize, tree::empty_root};

use crate::support::{
    refusal,
    world::{CLOSED, OPEN, World, registration},
};

#[tokio::test]
async fn registering_binds_what_was_given() {
    let world = World::new().await;
    let log = world.run(1, OPEN).await;
    let wanted = registration(1, OPEN, None);
    let found = world.writer.client().run(world.contract, log.run).await.unwrap().unwrap();
    assert_eq!(found.owner, world.writer.address());
    assert_eq!(found.selector, OPEN);
    assert_eq!(found.genesis_state, wanted.genesis_state);
    assert_eq!(found.policy_digest, wanted.policy_digest);
    assert_eq!(found.parent, None);
    let head = world.writer.client().head(world.contract, log.run).await.unwrap().unwrap();
    assert_eq!((head.counter, head.size, head.state), (0, TreeSize(0), wanted.genesis_state));
    assert_eq!(head.root, empty_root());
}

#[tokio::test]
async fn registering_twice_is_one_registration() {
    let world = World::new().await;
    let log = world.run(1, OPEN).await;
    let again = world.writer.register_run(world.contract, &registration(1, OPEN, None)).await.unwrap();
    assert_eq!(again, Outcome::Already((log.run, None)));
    let mut other = registration(1, OPEN, None);
    other.policy_digest = FieldElement::from(3);
    let error = world.writer.register_run(world.contract, &other).await.unwrap_err();
    assert!(matches!(error, ChainError::RegisteredOtherwise { what: "policy", .. }), "{error}");
}

#[tokio::test]
async fn head_equals_the_local_log_over_epochs_of_all_sizes() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    for (n_steps, counter) in [4, 4, 2, 1, 1].into_iter().zip(1..) {
        let anchor = world.anchor(&mut log, n_steps).await;
        assert_eq!((anchor.counter, anchor.root, anchor.state), (counter, log.root(), log.state));
        assert!(anchor.gas > 21_000);
        let head = world.writer.client().head(world.contract, log.run).await.unwrap().unwrap();
        assert_eq!((head.counter, head.root, head.state), (counter, log.root(), log.state));
        assert_eq!(head.size, log.tree.size());
        assert!(!head.finalized && head.anchored_at > 0);
    }
}

#[tokio::test]
async fn anchoring_after_a_lost_record_reports_the_first_transaction() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let submission = log.next(4);
    let first = world.writer.anchor(world.contract, &submission, 0).await.unwrap();
    assert!(!first.was_there());
    // The process ended before it could write anchors.json; a new one starts over.
    let writer = world.anvil.writer().await;
    let block = writer.client().latest_block().await.unwrap();
    let second = writer.anchor(world.contract, &submission, 0).await.unwrap();
    assert!(second.was_there());
    assert_eq!(second.into_inner(), first.into_inner());
    assert_eq!(writer.client().latest_block().await.unwrap(), block);
}

/// One way to alter an epoch.
type Change = fn(&mut chain::EpochSubmission);

#[tokio::test]
async fn other_content_at_an_anchored_counter_is_refused() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let submission = log.next(4);
    world.writer.anchor(world.contract, &submission, 0).await.unwrap();
    let changes: [(&str, Change); 5] = [
        ("state", |epoch| epoch.state_out = FieldElement::from(1)),
        ("number of steps", |epoch| epoch.digests.truncate(2)),
        ("statement digest", |epoch| epoch.digests[3] = FieldElement::from(1)),
        ("record hash", |epoch| epoch.record_hashes.swap(0, 1)),
        ("root", |epoch| epoch.root_after = Root([1; 32])),
    ];
    for (what, change) in changes {
        let mut other = submission.clone();
        change(&mut other);
        let error = world.writer.anchor(world.contract, &other, 0).await.unwrap_err();
        assert!(
            matches!(error, ChainError::AnchoredOtherwise { what: got, counter: 1, .. } if got == what),
            "{what}: {error}"
        );
    }
}

#[tokio::test]
async fn anchored_epoch_that_no_event_tells_of_is_an_error() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let submission = log.next(4);
    world.writer.anchor(world.contract, &submission, 0).await.unwrap();
    let beyond = world.writer.client().latest_block().await.unwrap().number + 1;
    let error = world.writer.anchor(world.contract, &submission, beyond).await.unwrap_err();
    assert!(
        matches!(error, ChainError::EventMissing { counter: 1, from_block, .. } if from_block == beyond),
        "{error}"
    );
}

#[tokio::test]
async fn skipped_epoch_is_refused() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    log.next(4);
    let revert = refusal(world.writer.anchor(world.contract, &log.next(4), 0).await);
    assert_eq!(revert.name(), Some("EpochNotNext"));
    assert_eq!((revert.arg("expected"), revert.arg("got")), (Some("1"), Some("2")));
}

#[tokio::test]
async fn replayed_epoch_under_the_next_counter_is_bound_to_other_steps() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let first = log.next(4);
    world.writer.anchor(world.contract, &first, 0).await.unwrap();
    let mut replay = first.clone();
    replay.epoch = EpochIndex(1);
    let revert = refusal(world.writer.anchor(world.contract, &replay, 0).await);
    assert_eq!(revert.name(), Some("PeakCountMismatch"), "the peaks of an empty run");
    replay.peaks = log.next(4).peaks;
    // The test-only verifier takes it (a real one refuses the instances: contracts/test/RunAnchorBinding.t.sol), but
    // the contract takes the steps' numbers from storage, so the root cannot be that of the replayed log.
    let error = world.writer.anchor(world.contract, &replay, 0).await.unwrap_err();
    assert!(matches!(error, ChainError::AnchoredOtherwise { what: "root", counter: 2, .. }), "{error}");
}

#[tokio::test]
async fn refused_proof_changes_nothing() {
    let world = World::new().await;
    let mut log = world.run(1, CLOSED).await;
    let before = world.writer.client().head(world.contract, log.run).await.unwrap().unwrap();
    let revert = refusal(world.writer.anchor(world.contract, &log.next(4), 0).await);
    assert_eq!(revert.name(), Some("ProofRejected"));
    assert_eq!(revert.arg("run"), Some(log.run.to_string().as_str()));
    assert_eq!(revert.arg("epoch"), Some("1"));
    assert_eq!(revert.arg("reason"), Some("no reason given"), "the test-only verifier reverts without data");
    let after = world.writer.client().head(world.contract, log.run).await.unwrap().unwrap();
    assert_eq!((after.counter, after.root, after.state), (before.counter, before.root, before.state));
}

#[tokio::test]
async fn contract_finds_every_step_and_no_other() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let (first, second) = (log.next(4), log.next(2));
    for epoch in [&first, &second] {
        world.writer.anchor(world.contract, epoch, 0).await.unwrap();
    }
    let digests = [first.digests, second.digests].concat();
    let records = [first.record_hashes, second.record_hashes].concat();
    for (step, (digest, record)) in (0..).map(ledger::StepIndex).zip(digests.into_iter().zip(records)) {
        let proof = log.tree.prove_inclusion(step, log.tree.size()).unwrap();
        let client = world.writer.client();
        let ask = |record: Digest| {
            let path = proof.path.clone();
            async move { client.verify_inclusion(world.contract, log.run, step, digest, record, &path).await.unwrap() }
        };
        assert!(ask(record).await, "step {step}");
        assert!(!ask(Digest([0; 32])).await, "step {step} with another record");
    }
}
