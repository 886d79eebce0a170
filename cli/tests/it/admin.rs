//! `cairn admin` and `cairn registry` on a real node: roles, hand-overs, and stopping a circuit family.

use chain::{InitCode, LogSteps};
use ledger::{Salt, Selector, TreeSize};
use serde_json::json;

use crate::support::{Answer, Scratch, cairn, demo::Demo, stranger_key};

/// A demo run with its first epoch anchored, a stranger, and both as command lines.
struct World {
    scratch: Scratch,
    demo: Demo,
    stranger: String,
}

impl World {
    async fn new() -> Self {
        let (scratch, demo) = (Scratch::new(), Demo::new().await);
        demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect("a real proof");
        let stranger = stranger_key(&scratch);
        Self { scratch, demo, stranger }
    }

    fn call(&self, command: &[&str], run: bool, signer: &[&str]) -> Answer {
        let (contract, id) = (self.demo.contract.to_string(), self.demo.run.to_string());
        let mut args = [command, &["--rpc", &self.demo.anvil.url, "--contract", &contract], signer].concat();
        if run {
            args.extend(["--run", &id]);
        }
        cairn(&args)
    }

    /// `cairn admin …` by the owner.
    fn owner(&self, args: &[&str]) -> Answer {
        self.call(&[&["admin"], args].concat(), true, &["--anvil-dev-key"])
    }

    /// `cairn admin …` by the stranger.
    fn other(&self, args: &[&str]) -> Answer {
        self.call(&[&["admin"], args].concat(), true, &["--key-file", &self.stranger])
    }

    /// `cairn registry …` by owner and guardian.
    fn guardian(&self, args: &[&str]) -> Answer {
        self.call(&[&["registry"], args].concat(), false, &["--anvil-dev-key"])
    }

    /// `cairn registry …` by the stranger.
    fn nobody(&self, args: &[&str]) -> Answer {
        self.call(&[&["registry"], args].concat(), false, &["--key-file", &self.stranger])
    }
}

#[tokio::test]
async fn run_is_announced_by_its_submitters_and_handed_over_in_two_steps() {
    let world = World::new().await;
    let (manifest, v1, v2) = (format!("0x{}", "11".repeat(32)), "22".repeat(20), format!("0x{}", "33".repeat(32)));
    let announce = |size| {
        let hashes = ["--manifest-digest", &manifest, "--infohash-v1", &v1, "--infohash-v2", &v2];
        [&["announce", "--size", size], &hashes[..]].concat()
    };
    assert!(world.owner(&announce("8")).refused(1).contains("SizeNotAnchored("), "only 4 steps are anchored");
    assert!(world.other(&announce("4")).refused(1).contains("NotSubmitter("));

    let client = world.demo.writer.client();
    let account = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
    let submitter = |right: &'static str| ["submitter", "--account", account, right];
    assert!(world.other(&submitter("--allow")).refused(1).contains("NotOwner("));
    world.owner(&submitter("--allow")).must();
    let sent = world.other(&announce("4")).must();
    assert_eq!((&sent["action"], &sent["sender"]), (&json!("announce"), &json!(account)));
    let events = client.bundle_events(world.demo.contract, world.demo.run, 0).await.expect("events");
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].announcement.size, events[0].announcement.infohash_v1), (TreeSize(4), [0x22; 20]));
    assert_eq!(sent["transaction"], json!(events[0].tx));
    world.owner(&submitter("--forbid")).must();
    assert!(world.other(&announce("4")).refused(1).contains("NotSubmitter("));

    assert!(world.other(&["accept"]).refused(1).contains("NotPendingOwner("));
    world.owner(&["offer", "--to", account]).must();
    world.owner(&["offer", "--withdraw"]).must();
    assert!(world.other(&["accept"]).refused(1).contains("NotPendingOwner("));
    world.owner(&["offer", "--to", account]).must();
    world.other(&["accept"]).must();
    let run = client.run(world.demo.contract, world.demo.run).await.expect("an answer").expect("registered");
    assert_eq!(run.owner.to_string(), account);
    assert!(world.owner(&["finalize"]).refused(1).contains("NotOwner("));
    world.other(&["finalize"]).must();
    assert_eq!(world.owner(&["offer"]).code, Some(2), "neither --to nor --withdraw");
}

#[tokio::test]
async fn registry_is_shown_handed_over_and_stopped_by_its_guardian_only() {
    let world = World::new().await;
    let selector = world.demo.selector.to_string();
    let shown = world.call(&["registry", "show", "--selector", &selector], false, &[]).must();
    let owner = json!(world.demo.writer.address());
    assert_eq!((&shown["owner"], &shown["guardian"], &shown["frozen"]), (&owner, &owner, &json!(false)));
    let verifier = &shown["verifiers"][0];
    assert_eq!((&verifier["epoch_size"], &verifier["address"]), (&json!(4), &json!(world.demo.verifier)));

    let family = ["--selector", selector.as_str()];
    let freeze = [&["freeze"], &family[..]].concat();
    assert!(world.nobody(&freeze).refused(1).contains("NotGuardian("));
    let cancel = [&["cancel", "--epoch-size", "2"], &family[..]].concat();
    assert!(world.guardian(&cancel).refused(1).contains("NoProposal("));
    let three = [&["cancel", "--epoch-size", "3"], &family[..]].concat();
    assert!(world.guardian(&three).refused_usage().contains("power of two"));

    let account = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
    assert!(world.nobody(&["accept"]).refused(1).contains("NotPendingRegistryOwner("));
    world.guardian(&["offer", "--to", account]).must();
    let shown = world.call(&["registry", "show"], false, &[]).must();
    assert_eq!(shown["pending_owner"], account);
    world.nobody(&["accept"]).must();
    assert!(world.guardian(&["offer", "--withdraw"]).refused(1).contains("NotRegistryOwner("));
    let offer = ["offer", "--role", "guardian", "--to", account];
    assert!(world.nobody(&offer).refused(1).contains("NotGuardian("), "not even the owner");
    let accept = ["accept", "--role", "guardian"];
    assert!(world.nobody(&accept).refused(1).contains("NotPendingGuardian("));
    world.guardian(&offer).must();
    let shown = world.call(&["registry", "show"], false, &[]).must();
    assert_eq!((&shown["guardian"], &shown["pending_guardian"]), (&owner, &json!(account)));
    world.nobody(&accept).must();
    world.nobody(&freeze).must();
    let shown = world.call(&["registry", "show", "--selector", &selector], false, &[]).must();
    assert_eq!((&shown["guardian"], &shown["frozen"]), (&json!(account), &json!(true)));
    assert_eq!(shown["verifiers"], json!([]), "what is stopped is not handed out");
}

/// TEST ONLY: creation code of a contract that answers true to everything.
const ACCEPT_ALL: [u8; 17] =
    [0x67, 0x60, 0x01, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3, 0x60, 0x00, 0x52, 0x60, 0x08, 0x60, 0x18, 0xf3];

#[tokio::test]
async fn anybody_stops_a_broken_verifier_and_nobody_an_honest_one() {
    let world = World::new().await;
    let demo = &world.demo;
    let broken = Selector([0xad, 0xa0, 0, 1]);
    let code = demo.writer.deploy(&InitCode::verifier(ACCEPT_ALL.to_vec(), Salt([1; 32]))).await.expect("deployed");
    demo.writer.add_verifier(demo.registry, broken, LogSteps(2), code.address).await.expect("added");
    let file = world.scratch.path("evidence.json");
    let evidence = |index: usize, value: &str| {
        let mut words = vec![format!("0x{}", "00".repeat(32)); 22];
        words[index] = format!("0x{value:0>64}");
        std::fs::write(&file, json!({ "instances": words, "proof": "0x00" }).to_string()).expect("scratch space");
    };
    let prove = |selector: Selector| {
        let selector = selector.to_string();
        world.nobody(&["prove-broken", "--selector", &selector, "--epoch-size", "4", "--evidence", &file])
    };
    // A run id may be 2; the flag of a fresh start is a bit.
    evidence(12, "2");
    assert!(prove(broken).refused(1).contains("NothingImpossible("));
    evidence(14, "2");
    assert!(prove(demo.selector).refused(1).contains("VerifierRefuses("), "the real verifier is not fooled");
    prove(broken).must();
    assert!(prove(broken).refused(1).contains("SelectorFrozen("));
    let client = demo.writer.client();
    assert!(client.is_frozen(demo.registry, broken).await.expect("an answer"));
    assert!(!client.is_frozen(demo.registry, demo.selector).await.expect("an answer"));
    for text in
        ["{\"instances\": [], \"proof\": \"0x\", \"more\": 1}", "{\"instances\": [\"0x1\"], \"proof\": \"0x\"}", "["]
    {
        std::fs::write(&file, text).expect("scratch space");
        assert!(prove(demo.selector).refused(2).contains("evidence.json"), "{text}");
    }
}
