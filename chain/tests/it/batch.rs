//! Several epochs in one transaction, what gates ask, and the circuit breaker.

use chain::{ChainError, LogSteps, Outcome};
use ledger::{FieldElement, Gate, GateRefusal, RunId, Selector, TreeSize, canonical::V1};

use crate::support::{
    refusal,
    world::{CLOSED, OPEN, World},
};

#[tokio::test]
async fn batch_anchors_several_runs_once() {
    let world = World::new().await;
    let (mut first, mut second) = (world.run(1, OPEN).await, world.run(2, OPEN).await);
    let submissions = [first.next(2), second.next(4), first.next(2), first.next(4)];
    let done = world.writer.anchor_batch(world.contract, &submissions[..2], 0).await.expect("anchored");
    assert!(done.iter().all(|outcome| matches!(outcome, Outcome::Done(_))), "{done:?}");
    // Interrupted before it was recorded: the same again, and more.
    let all = world.writer.anchor_batch(world.contract, &submissions, 0).await.expect("anchored");
    let was_there: Vec<_> = all.iter().map(Outcome::was_there).collect();
    assert_eq!(was_there, [true, true, false, false]);
    for (outcome, submission) in all.iter().zip(&submissions) {
        let (Outcome::Done(anchor) | Outcome::Already(anchor)) = outcome;
        assert_eq!((anchor.root, anchor.counter), (submission.root_after, submission.epoch.counter()));
    }
    let client = world.writer.client();
    let block = client.latest_block().await.unwrap();
    let again = world.writer.anchor_batch(world.contract, &submissions, 0).await.expect("nothing to do");
    assert!(again.iter().all(Outcome::was_there));
    assert_eq!(client.latest_block().await.unwrap(), block, "no transaction");
    for log in [&first, &second] {
        let head = client.head(world.contract, log.run).await.unwrap().unwrap();
        assert_eq!((head.root, head.size), (log.root(), log.tree.size()));
    }
}

#[tokio::test]
async fn batch_is_all_or_nothing() {
    let world = World::new().await;
    let (mut first, mut second) = (world.run(1, OPEN).await, world.run(2, CLOSED).await);
    let submissions = [first.next(2), second.next(2)];
    let revert = refusal(world.writer.anchor_batch(world.contract, &submissions, 0).await);
    assert_eq!(revert.name(), Some("ProofRejected"), "{revert}");
    assert_eq!(revert.arg("run"), Some(second.run.to_string().as_str()));
    let head = world.writer.client().head(world.contract, first.run).await.unwrap().unwrap();
    assert_eq!(head.size, TreeSize(0));
}

#[tokio::test]
async fn peaks_of_another_tree_are_refused() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    world.anchor(&mut log, 2).await;
    let honest = log.next(2);
    let mut changed = honest.clone();
    changed.peaks.swap(0, 1);
    let revert = refusal(world.writer.anchor(world.contract, &changed, 0).await);
    assert_eq!(revert.name(), Some("PeaksMismatch"), "{revert}");
    changed.peaks.truncate(1);
    let revert = refusal(world.writer.anchor(world.contract, &changed, 0).await);
    assert_eq!(revert.name(), Some("PeakCountMismatch"), "{revert}");
    assert_eq!((revert.arg("expected"), revert.arg("got")), (Some("2"), Some("1")));
    world.writer.anchor(world.contract, &honest, 0).await.expect("the right ones");
}

#[tokio::test]
async fn roots_of_the_past_belong_to_the_run() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let mut roots = Vec::new();
    for steps in [4, 2, 2, 1] {
        world.anchor(&mut log, steps).await;
        roots.push((log.tree.size(), log.root()));
    }
    let client = world.writer.client();
    for (size, root) in &roots {
        let proof = log.tree.prove_consistency(*size, log.tree.size()).expect("sizes");
        assert!(client.verify_consistency(world.contract, log.run, *root, &proof).await.unwrap(), "{size}");
        let other = roots.iter().find(|(other, _)| other != size).expect("several").1;
        assert!(!client.verify_consistency(world.contract, log.run, other, &proof).await.unwrap(), "{size}");
    }
}

#[tokio::test]
async fn gate_sees_what_the_chain_says() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let client = world.writer.client();
    let gate = Gate {
        min_steps: TreeSize(4),
        must_be_final: true,
        policies: vec![FieldElement::from(2_222)],
        selectors: vec![OPEN],
        v: V1,
    };
    let unknown = client.facts(world.contract, RunId::from(FieldElement::from(7))).await.unwrap();
    assert_eq!(gate.check(unknown.as_ref(), log.state), Err(GateRefusal::UnknownRun));
    world.anchor(&mut log, 4).await;
    let facts = client.facts(world.contract, log.run).await.unwrap();
    assert_eq!(gate.check(facts.as_ref(), log.state), Err(GateRefusal::NotFinal));
    world.writer.finalize(world.contract, log.run).await.unwrap();
    let facts = client.facts(world.contract, log.run).await.unwrap();
    assert_eq!(gate.check(facts.as_ref(), log.state), Ok(()));
    world.writer.freeze(world.registry, OPEN).await.unwrap();
    let facts = client.facts(world.contract, log.run).await.unwrap();
    assert_eq!(gate.check(facts.as_ref(), log.state), Err(GateRefusal::SelectorFrozen { selector: OPEN }));
}

/// 18 words and 4 digests, all zero but one.
fn instances(index: usize, value: [u8; 32]) -> Vec<[u8; 32]> {
    let mut words = vec![[0; 32]; 22];
    words[index] = value;
    words
}

#[tokio::test]
async fn anybody_stops_a_verifier_that_accepts_the_impossible() {
    let world = World::new().await;
    let stranger = world.anvil.writer_with(crate::support::STRANGER_KEY).await;
    let stop = |selector: Selector, words: Vec<[u8; 32]>| {
        let (stranger, registry) = (stranger.clone(), world.registry);
        async move { stranger.freeze_by_proof(registry, selector, LogSteps(2), b"proof", &words).await }
    };
    let mut two = [0; 32];
    two[31] = 2;
    let revert = refusal(stop(OPEN, instances(12, two)).await);
    assert_eq!(revert.name(), Some("NothingImpossible"), "{revert}");
    // The flag of a fresh start is a bit.
    let revert = refusal(stop(CLOSED, instances(14, two)).await);
    assert_eq!(revert.name(), Some("VerifierRefuses"), "{revert}");
    let client = world.writer.client();
    assert!(!client.is_frozen(world.registry, CLOSED).await.unwrap());
    stop(OPEN, instances(14, two)).await.expect("stopped");
    assert!(client.is_frozen(world.registry, OPEN).await.unwrap());
    let error = client.verifier_of(world.registry, OPEN, LogSteps(0)).await.expect_err("no size is left");
    assert!(
        matches!(&error, ChainError::Reverted { revert, .. } if revert.name() == Some("SelectorFrozen")),
        "{error}"
    );
}
