//! The follower against real nodes: what the index says is what the contracts say.

use std::time::Duration;

use chain::{Announcement, Client, SubmitterRight};
use ledger::{Address, Digest, RunId, TreeSize};
use portal::{
    follow::{Contracts, FollowError, Follower, Options, Round},
    index::{Batch, Index, RunEntry, Standing},
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{
    anvil::{Anvil, quick},
    database::on_each,
    flaky::{Loss, relay},
    world::{OPEN, World},
};

/// Small pages, no pauses.
fn options() -> Options {
    let pause = Duration::from_millis(5);
    Options {
        page: 4,
        overlap: 2,
        n_heads: 8,
        n_again: 1,
        n_receipts: 8,
        poll: pause,
        backoff: pause,
        max_backoff: pause,
    }
}

async fn follower(world: &World, index: &Index) -> Follower {
    let client = world.writer.client().clone();
    Follower::new(client, index.clone(), Contracts::anchor(world.contract, 0), options()).await.unwrap()
}

/// Rounds until the index is level with the node; how many runs were confirmed in the last one, and the rounds before it.
async fn level(follower: &Follower) -> (usize, Vec<Round>) {
    let mut before = Vec::new();
    loop {
        match follower.round().await.unwrap() {
            Round::Level { n_confirmed, .. } => return (n_confirmed, before),
            round => before.push(round),
        }
        assert!(before.len() < 100, "{before:?}");
    }
}

async fn entry(index: &Index, run: RunId) -> RunEntry {
    let mut runs = index.runs_by_id(run).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

/// The index and the contract say the same of a run.
async fn assert_same(world: &World, index: &Index, run: RunId) {
    let (client, entry) = (world.writer.client(), entry(index, run).await);
    let head = client.head(world.contract, run).await.unwrap().unwrap();
    assert_eq!((entry.counter, entry.size, entry.root), (head.counter, head.size, head.root));
    assert_eq!((entry.state, entry.finalized), (head.state, head.finalized));
    let bound = client.run(world.contract, run).await.unwrap().unwrap();
    assert_eq!((entry.owner, entry.registration.policy_digest), (bound.owner, bound.policy_digest));
    assert!(matches!(entry.standing, Standing::Anchored { .. }), "{:?}", entry.standing);
    assert_eq!(index.tree(entry.key, entry.size).await.unwrap().root(), head.root);
}

#[tokio::test]
async fn what_was_there_and_what_comes_is_indexed() {
    let world = World::new().await;
    let (mut one, mut two) = (world.run(1, OPEN).await, world.run(2, OPEN).await);
    world.anchor(&mut one, 4).await;
    world.anchor(&mut two, 2).await;
    on_each(async |index| {
        let follower = follower(&world, index).await;
        let (n_confirmed, before) = level(&follower).await;
        assert_eq!(n_confirmed, 2);
        assert!(before.len() > 1, "it took several pages: {before:?}");
        // What the first epoch's transaction cost, by its receipt.
        let epoch = index.epochs(entry(index, one.run).await.key, 0, 1).await.unwrap().remove(0);
        let receipt = world.anvil.request("eth_getTransactionReceipt", json!([epoch.tx.to_string()])).await;
        let gas = epoch.gas.map(|gas| format!("{gas:#x}"));
        assert_eq!(gas.as_deref(), receipt["gasUsed"].as_str());
        assert_eq!(index.open_receipts(follower.source(), 9).await.unwrap(), [], "each is asked for once");
        world.anchor(&mut one, 4).await;
        let announcement = Announcement {
            size: TreeSize(4),
            manifest_digest: Digest([1; 32]),
            infohash_v1: [2; 20],
            infohash_v2: Digest([3; 32]),
        };
        world.writer.announce(world.contract, one.run, &announcement).await.unwrap();
        let friend = Address([0x77; 20]);
        world.writer.set_submitter(world.contract, one.run, friend, SubmitterRight::Granted).await.unwrap();
        level(&follower).await;
        for run in [one.run, two.run] {
            assert_same(&world, index, run).await;
        }
        let bundles = index.bundles(entry(index, one.run).await.key, 10).await.unwrap();
        assert_eq!(bundles[0].announcement, announcement);
        assert_eq!(follower.round().await.unwrap(), {
            let at = index.position(follower.source()).await.unwrap().unwrap();
            Round::Level { at, n_events: 0, n_confirmed: 0 }
        });
    })
    .await;
}

#[tokio::test]
async fn a_reorganisation_takes_epochs_back_and_brings_others() {
    on_each(async |index| {
        let world = World::new().await;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 4).await;
        let follower = follower(&world, index).await;
        level(&follower).await;
        let kept = entry(index, log.run).await;

        let snapshot = world.anvil.request("evm_snapshot", json!([])).await;
        world.anchor(&mut log, 4).await;
        let late = world.run(2, OPEN).await;
        level(&follower).await;
        let lost = entry(index, log.run).await;
        assert_eq!((lost.counter, index.runs(None, 10).await.unwrap().len()), (2, 2));

        assert_eq!(world.anvil.request("evm_revert", json!([snapshot])).await, true);
        // The other branch: a longer one, in which the run went on otherwise.
        world.anvil.request("anvil_mine", json!(["0x2"])).await;
        let mut other = crate::support::epochs::LocalLog::new(log.run, kept.registration.genesis_state);
        other.next(4);
        let submission = other.next(2);
        world.writer.anchor(world.contract, &submission, 0).await.unwrap();
        let round = follower.round().await.unwrap();
        assert!(matches!(round, Round::RolledBack { n_events: 2, to: Some(_), .. }), "{round:?}");
        assert_eq!(entry(index, log.run).await.root, kept.root, "nothing of the lost branch is shown any more");
        level(&follower).await;
        assert_same(&world, index, log.run).await;
        assert_ne!(entry(index, log.run).await.root, lost.root);
        assert_eq!(index.runs_by_id(late.run).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_chain_that_became_shorter_takes_runs_along() {
    on_each(async |index| {
        let world = World::new().await;
        let start = world.anvil.request("evm_snapshot", json!([])).await;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 4).await;
        let follower = follower(&world, index).await;
        level(&follower).await;
        assert_eq!(world.anvil.request("evm_revert", json!([start])).await, true);
        level(&follower).await;
        assert_eq!(index.runs(None, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn events_that_a_node_left_out_are_read_again() {
    on_each(async |index| {
        let world = World::new().await;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 1).await;
        let follower = follower(&world, index).await;
        level(&follower).await;
        // Six blocks whose events the node did not know when it was asked: more than the overlap.
        let after = index.position(follower.source()).await.unwrap();
        for _ in 0..6 {
            world.anchor(&mut log, 1).await;
        }
        let newest = world.writer.client().latest_block().await.unwrap();
        let to = world.writer.client().block(newest.number).await.unwrap().unwrap();
        index.apply(follower.source(), &Batch { after, to, logs: vec![] }).await.unwrap();
        assert_eq!(level(&follower).await.0, 0, "nothing in the index says that something is missing");
        assert_eq!(entry(index, log.run).await.counter, 1);
        // The head is asked for again at some new block.
        world.anvil.request("anvil_mine", json!(["0x4"])).await;
        level(&follower).await;
        assert_same(&world, index, log.run).await;
    })
    .await;
}

#[tokio::test]
async fn lost_messages_do_not_lose_events() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 2).await;
    for method in ["eth_getLogs", "eth_getBlockByNumber", "eth_call"] {
        on_each(async |index| {
            let (url, seen) = relay(&world.anvil.url, method, Loss::Answer, 2).await;
            let client = Client::connect(&url, chain::Options { attempts: 1, ..quick() }).await.unwrap();
            let follower =
                Follower::new(client, index.clone(), Contracts::anchor(world.contract, 0), options()).await.unwrap();
            let mut n_failed = 0;
            loop {
                match follower.round().await {
                    Ok(Round::Level { .. }) => break,
                    Ok(_) => {}
                    Err(error) => {
                        assert!(matches!(error, FollowError::Chain(chain::ChainError::Unreachable { .. })), "{error}");
                        n_failed += 1;
                    }
                }
            }
            assert_eq!(n_failed, 2, "{method}");
            assert!(seen.load(std::sync::atomic::Ordering::SeqCst) > 2);
            assert_same(&world, index, log.run).await;
        })
        .await;
    }
}

#[tokio::test]
async fn several_chains_and_contracts_share_an_index_and_it_can_be_made_again() {
    on_each(async |index| {
        let mut worlds = Vec::new();
        for _ in 0..2 {
            let world = World::new().await;
            let mut log = world.run(1, OPEN).await;
            world.anchor(&mut log, 4).await;
            worlds.push((world, log));
        }
        // Two nodes of one chain id would be one source; a second contract of the first world is another.
        let (world, log) = &worlds[0];
        let second = Address([0x99; 20]);
        world.anvil.copy_code(world.contract, second).await;
        let client = world.writer.client().clone();
        let first = follower(world, index).await;
        let empty = Follower::new(client, index.clone(), Contracts::anchor(second, 0), options()).await.unwrap();
        level(&first).await;
        level(&empty).await;
        assert_eq!(index.sources().await.unwrap().len(), 2);
        assert_same(world, index, log.run).await;

        let before = entry(index, log.run).await;
        index.forget(before.chain, before.contract).await.unwrap();
        assert_eq!(index.runs_by_id(log.run).await.unwrap(), []);
        level(&follower(world, index).await).await;
        let again = entry(index, log.run).await;
        assert_eq!(RunEntry { key: before.key, ..again }, before);
    })
    .await;
}

#[tokio::test]
async fn it_goes_on_after_failures_until_it_is_stopped() {
    on_each(async |index| {
        let world = World::new().await;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 4).await;
        let (url, _) = relay(&world.anvil.url, "eth_getLogs", Loss::Request, 3).await;
        let client = Client::connect(&url, chain::Options { attempts: 1, ..quick() }).await.unwrap();
        let follower =
            Follower::new(client, index.clone(), Contracts::anchor(world.contract, 0), options()).await.unwrap();
        let mut health = follower.health();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move { follower.run(async { drop(stopped.await) }).await });
        let failed = health.wait_for(|health| health.n_failures == 3).await.unwrap().clone();
        assert!(failed.error.is_some_and(|error| error.starts_with("events: node ")));
        health.wait_for(|health| health.level_at.is_some() && health.n_failures == 0).await.unwrap();
        assert_same(&world, index, log.run).await;
        stop.send(()).unwrap();
        running.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_contract_of_the_future_is_waited_for() {
    on_each(async |index| {
        let anvil = Anvil::start();
        let client = anvil.client().await;
        let follower =
            Follower::new(client, index.clone(), Contracts::anchor(Address([1; 20]), 3), options()).await.unwrap();
        let error = follower.round().await.unwrap_err();
        assert!(matches!(error, FollowError::NotYet { newest: 0, first: 3, .. }), "{error}");
        anvil.request("anvil_mine", json!(["0x5"])).await;
        let (n_confirmed, _) = level(&follower).await;
        assert_eq!(n_confirmed, 0);
        assert_eq!(index.position(follower.source()).await.unwrap().unwrap().number, 5);
    })
    .await;
}
