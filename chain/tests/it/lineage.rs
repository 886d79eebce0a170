//! The end of a run, its children, and who may do what.

use chain::{Outcome, SubmitterRight};
use ledger::FieldElement;

use crate::support::{
    STRANGER_KEY,
    epochs::LocalLog,
    refusal,
    world::{OPEN, World, registration},
};

#[tokio::test]
async fn final_run_takes_no_more_epochs() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let revert = refusal(world.writer.finalize(world.contract, log.run).await);
    assert_eq!(revert.name(), Some("NothingAnchored"));
    world.anchor(&mut log, 4).await;
    assert!(!world.writer.finalize(world.contract, log.run).await.unwrap().was_there());
    assert_eq!(world.writer.finalize(world.contract, log.run).await.unwrap(), Outcome::Already(None));
    assert!(world.writer.client().head(world.contract, log.run).await.unwrap().unwrap().finalized);
    let revert = refusal(world.writer.anchor(world.contract, &log.next(4), 0).await);
    assert_eq!(revert.name(), Some("RunFinal"));
}

#[tokio::test]
async fn child_starts_from_its_parents_final_state() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    let child = registration(2, OPEN, Some((log.run, log.state)));
    let revert = refusal(world.writer.register_run(world.contract, &child).await);
    assert_eq!(revert.name(), Some("ParentNotFinal"));

    world.writer.finalize(world.contract, log.run).await.unwrap();
    let elsewhere = registration(2, OPEN, Some((log.run, FieldElement::from(1))));
    let revert = refusal(world.writer.register_run(world.contract, &elsewhere).await);
    assert_eq!(revert.name(), Some("ParentStateMismatch"));
    assert_eq!(revert.arg("got"), Some("1"));

    let (run, _) = world.writer.register_run(world.contract, &child).await.unwrap().into_inner();
    let found = world.writer.client().run(world.contract, run).await.unwrap().unwrap();
    assert_eq!(found.parent, Some(log.run));
    world.anchor(&mut LocalLog::new(run, log.state), 2).await;
}

#[tokio::test]
async fn only_owner_and_submitters_anchor() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    let stranger = world.anvil.writer_with(STRANGER_KEY).await;
    let submission = log.next(4);
    let revert = refusal(stranger.anchor(world.contract, &submission, 0).await);
    assert_eq!(revert.name(), Some("NotSubmitter"));
    assert_eq!(revert.arg("caller"), Some(stranger.address().to_string().as_str()));
    let revert = refusal(stranger.finalize(world.contract, log.run).await);
    assert_eq!(revert.name(), Some("NotOwner"));

    let set = |right| world.writer.set_submitter(world.contract, log.run, stranger.address(), right);
    set(SubmitterRight::Granted).await.unwrap();
    stranger.anchor(world.contract, &submission, 0).await.unwrap();
    set(SubmitterRight::Withdrawn).await.unwrap();
    let revert = refusal(stranger.anchor(world.contract, &log.next(4), 0).await);
    assert_eq!(revert.name(), Some("NotSubmitter"));
}

#[tokio::test]
async fn frozen_family_accepts_nothing() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    world.writer.freeze(world.registry, OPEN).await.unwrap();
    assert!(world.writer.client().is_frozen(world.registry, OPEN).await.unwrap());
    let revert = refusal(world.writer.anchor(world.contract, &log.next(4), 0).await);
    assert_eq!(revert.name(), Some("SelectorFrozen"));
    assert_eq!(revert.arg("selector"), Some(OPEN.to_string().as_str()));
    let revert = refusal(world.writer.register_run(world.contract, &registration(2, OPEN, None)).await);
    assert_eq!(revert.name(), Some("SelectorFrozen"));
    let stranger = world.anvil.writer_with(STRANGER_KEY).await;
    let revert = refusal(stranger.freeze(world.registry, OPEN).await);
    assert_eq!(revert.name(), Some("NotGuardian"));
}
