//! Attestations: read from the contract beside the anchor, gone with the block that holds them, and shown as text.

use std::time::Duration;

use chain::{Attestation, DelaySecs};
use ledger::{Address, Digest, Salt, TreeSize};
use portal::{
    follow::{Contracts, Follower, Options, Round},
    index::Index,
};
use serde_json::json;

use crate::{
    serving::{app, get},
    support::{
        database::on_each,
        world::{OPEN, World, plan},
    },
};

async fn follower(world: &World, attestations: Option<Address>, index: &Index) -> Follower {
    let pause = Duration::from_millis(5);
    let options = Options { poll: pause, backoff: pause, max_backoff: pause, ..Options::default() };
    let contracts = Contracts { anchor: world.contract, attestations, first_block: 0 };
    let follower = Follower::new(world.writer.client().clone(), index.clone(), contracts, options).await.unwrap();
    level(&follower).await;
    follower
}

async fn level(follower: &Follower) {
    for _ in 0..100 {
        if matches!(follower.round().await.unwrap(), Round::Level { .. }) {
            return;
        }
    }
    panic!("it does not reach the newest block");
}

#[tokio::test]
async fn an_auditors_word_is_shown_until_it_is_taken_back_and_again_if_that_is_undone() {
    on_each(async |index| {
        let world = World::new().await;
        let contract = world.writer.deploy(&plan(&world.writer, DelaySecs(0)).attestations).await.unwrap().address;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 4).await;
        let auditor = world.writer.address();
        let said = Attestation {
            auditor,
            run: log.run,
            steps: TreeSize(4),
            root: log.root(),
            report: Digest::of(b"report"),
            expires_at: None,
            salt: Salt([1; 32]),
        };
        let proof = log.tree.prove_consistency(TreeSize(4), TreeSize(4)).unwrap();
        world.writer.attest(contract, &said, &proof, &[]).await.unwrap();

        // Without that contract the portal says nothing of auditors; with it, all is read again.
        follower(&world, None, index).await;
        let address = format!("/api/v1/runs/{}/attestations", log.run);
        assert_eq!(get(&app(index), &address).await.json(), json!({ "attestations": [] }));
        let follower = follower(&world, Some(contract), index).await;
        let shown = get(&app(index), &address).await.json()["attestations"][0].clone();
        assert_eq!(shown["attestation"], said.id(world.writer.client().chain(), contract).to_string());
        assert_eq!((&shown["stands"], &shown["steps"], &shown["revoked"]), (&json!(true), &json!(4), &json!(null)));
        let found =
            get(&app(index), &format!("/api/v1/runs?q={}", shown["attestation"].as_str().unwrap())).await.json();
        assert_eq!(found["runs"][0]["run"], log.run.to_string());

        let snapshot = world.anvil.request("evm_snapshot", json!([])).await;
        let hostile = "<script>alert(1)</script>\0";
        world.writer.revoke(contract, &said, hostile, &[]).await.unwrap();
        level(&follower).await;
        let shown = get(&app(index), &address).await.json()["attestations"][0].clone();
        assert_eq!((&shown["stands"], &shown["revoked"]), (&json!(false), &json!("<script>alert(1)</script>")));
        let page = get(&app(index), &format!("/runs/{}", log.run)).await;
        assert!(page.text().contains("&lt;script&gt;alert(1)") && !page.text().contains("<script>alert(1)"));

        world.anvil.request("evm_revert", json!([snapshot])).await;
        world.anvil.request("anvil_mine", json!(["0x3"])).await;
        level(&follower).await;
        let shown = get(&app(index), &address).await.json()["attestations"][0].clone();
        assert_eq!((&shown["stands"], &shown["revoked"]), (&json!(true), &json!(null)));
    })
    .await;
}
