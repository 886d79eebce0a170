//! Events: paging, rebuilding the log, and reorganisations.

use chain::{AnchorEvent, Announcement, BlockRef, ChainError, SubmitterRight};
use ledger::{
    Address, Digest, TreeSize,
    tree::{CompactRange, step_leaf},
};
use serde_json::json;

use crate::support::{
    STRANGER_KEY, refusal,
    world::{OPEN, World, registration},
};

#[tokio::test]
async fn events_rebuild_the_log_and_nothing_else_is_needed() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let mut foreign = world.run(2, OPEN).await;
    for n_steps in [4, 2, 2, 1] {
        world.anchor(&mut log, n_steps).await;
        world.anchor(&mut foreign, 1).await;
    }
    let events = world.writer.client().epoch_events(world.contract, log.run, 0).await.unwrap();
    assert_eq!(events.iter().map(|event| event.counter).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let mut tree = CompactRange::new();
    for event in &events {
        assert_eq!((event.run, event.first_step.0), (log.run, tree.size().0));
        for (step, (digest, record)) in (event.first_step.0..).zip(event.digests.iter().zip(&event.record_hashes)) {
            tree.push(step_leaf(ledger::StepIndex(step), *digest, *record));
        }
        assert_eq!((event.root, event.size), (tree.root(), tree.size()));
        assert_eq!(event.submitter, world.writer.address());
    }
    assert!(events.windows(2).all(|pair| pair[0].state_out == pair[1].state_in));
    assert_eq!(tree.root(), log.root());
}

#[tokio::test]
async fn events_start_at_the_asked_block() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 1).await;
    let second = world.anchor(&mut log, 1).await;
    let events = world.writer.client().epoch_events(world.contract, log.run, second.block).await.unwrap();
    assert_eq!(events.iter().map(|event| event.counter).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn announced_bundles_are_found() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let bundle = |size| Announcement {
        size: TreeSize(size),
        manifest_digest: Digest([1; 32]),
        infohash_v1: [2; 20],
        infohash_v2: Digest([3; 32]),
    };
    world.anchor(&mut log, 4).await;
    let revert = refusal(world.writer.announce(world.contract, log.run, &bundle(5)).await);
    assert_eq!(revert.name(), Some("SizeNotAnchored"));
    assert_eq!((revert.arg("anchored"), revert.arg("got")), (Some("4"), Some("5")));

    let sent = world.writer.announce(world.contract, log.run, &bundle(4)).await.unwrap();
    let found = world.writer.client().bundle_events(world.contract, log.run, 0).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].announcement, found[0].tx), (bundle(4), sent.tx));
    assert_eq!(found[0].announcer, world.writer.address());
}

#[tokio::test]
async fn head_follows_a_reorganisation_and_the_epoch_is_anchored_again() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    let client = world.writer.client();
    let kept = client.head(world.contract, log.run).await.unwrap().unwrap();

    let snapshot = world.anvil.request("evm_snapshot", json!([])).await;
    let submission = log.next(4);
    world.writer.anchor(world.contract, &submission, 0).await.unwrap();
    let lost = client.head(world.contract, log.run).await.unwrap().unwrap();
    assert_eq!((lost.counter, lost.root), (2, log.root()));
    assert_eq!(world.anvil.request("evm_revert", json!([snapshot])).await, true);

    let now = client.head(world.contract, log.run).await.unwrap().unwrap();
    assert_eq!((now.counter, now.root, now.state), (1, kept.root, kept.state));
    // What was read at the vanished block is not silently answered from another history.
    let error = client.head_at(world.contract, log.run, lost.block).await.unwrap_err();
    assert!(matches!(error, ChainError::Rpc { operation: "head", .. }), "{error}");

    let again = world.writer.anchor(world.contract, &submission, 0).await.unwrap();
    assert!(!again.was_there());
    assert_eq!(again.into_inner().root, log.root());
}

#[tokio::test]
async fn everything_that_a_contract_said_comes_in_order_with_its_place() {
    let world = World::new().await;
    let (writer, client) = (&world.writer, world.writer.client());
    let mut log = world.run(1, OPEN).await;
    let run = log.run;
    world.anchor(&mut log, 4).await;
    let announcement = Announcement {
        size: TreeSize(4),
        manifest_digest: Digest([1; 32]),
        infohash_v1: [2; 20],
        infohash_v2: Digest([3; 32]),
    };
    writer.announce(world.contract, run, &announcement).await.unwrap();
    let friend = Address([0x77; 20]);
    for right in [SubmitterRight::Granted, SubmitterRight::Withdrawn] {
        writer.set_submitter(world.contract, run, friend, right).await.unwrap();
    }
    writer.finalize(world.contract, run).await.unwrap();
    let stranger = world.anvil.writer_with(STRANGER_KEY).await;
    writer.offer_run(world.contract, run, Some(stranger.address())).await.unwrap();
    stranger.accept_run(world.contract, run).await.unwrap();

    let newest = client.latest_block().await.unwrap();
    let logs = client.anchor_logs(world.contract, None, 0, newest).await.unwrap();
    assert!(logs.iter().all(|log| log.run == run));
    let places: Vec<_> = logs.iter().map(|log| (log.place.block.at.number, log.place.log_index)).collect();
    assert!(places.is_sorted() && places.len() == 8, "{places:?}");
    for log in &logs {
        let block = client.block(log.place.block.at.number).await.unwrap();
        assert_eq!(block, Some(log.place.block), "{log:?}");
    }
    let (owner, next) = (writer.address(), stranger.address());
    let epoch = client.epoch_event(world.contract, run, 1, 0).await.unwrap().unwrap();
    let bundle = client.bundle_events(world.contract, run, 0).await.unwrap()[0];
    let (size, state, root) = (TreeSize(4), log.state, log.root());
    let events: Vec<_> = logs.into_iter().map(|log| log.event).collect();
    assert_eq!(
        events,
        [
            AnchorEvent::Registered { owner, registration: registration(1, OPEN, None) },
            AnchorEvent::Anchored(epoch),
            AnchorEvent::Announced(bundle),
            AnchorEvent::SubmitterSet { owner, submitter: friend, right: SubmitterRight::Granted },
            AnchorEvent::SubmitterSet { owner, submitter: friend, right: SubmitterRight::Withdrawn },
            AnchorEvent::Finalized { counter: 1, size, state, root },
            AnchorEvent::OwnerProposed { from: owner, to: next },
            AnchorEvent::OwnerChanged { from: owner, to: next },
        ]
    );
}

#[tokio::test]
async fn events_up_to_a_block_that_vanished_are_refused() {
    let world = World::new().await;
    let client = world.writer.client();
    let snapshot = world.anvil.request("evm_snapshot", json!([])).await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    let lost = client.latest_block().await.unwrap();
    assert_eq!(client.anchor_logs(world.contract, None, 0, lost).await.unwrap().len(), 2);

    assert_eq!(world.anvil.request("evm_revert", json!([snapshot])).await, true);
    let refusal = client.anchor_logs(world.contract, None, 0, lost).await.unwrap_err();
    assert!(
        matches!(refusal, ChainError::Reorganised { block, expected, got: None, .. }
            if (block, expected) == (lost.number, lost.hash)),
        "{refusal}"
    );
    // Another block at its height.
    world.run(2, OPEN).await;
    world.run(3, OPEN).await;
    let now = client.latest_block().await.unwrap();
    let BlockRef { number, hash } = lost;
    assert_eq!(now.number, number);
    let refusal = client.anchor_logs(world.contract, None, 0, lost).await.unwrap_err();
    assert!(
        matches!(refusal, ChainError::Reorganised { block, expected, got: Some(got), .. }
            if (block, expected, got) == (number, hash, now.hash)),
        "{refusal}"
    );
}
