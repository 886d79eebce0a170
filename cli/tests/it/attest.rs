//! `cairn attest`: an auditor's word from its signature to its revocation, on a real node, about a real run.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Answer, Scratch, cairn, demo::Demo, stranger_key};

/// The demo's run with its first epoch anchored, and an auditor who has no part in it.
struct Audit {
    scratch: Scratch,
    demo: Demo,
    auditor: String,
}

impl Audit {
    async fn new() -> Self {
        let (scratch, demo) = (Scratch::new(), Demo::new().await);
        demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect("a real proof");
        fs::write(scratch.path("report.txt"), "looked at everything").expect("scratch space");
        let auditor = stranger_key(&scratch);
        Self { scratch, demo, auditor }
    }

    fn sign(&self, file: &str, more: &[&str]) -> Answer {
        let (run, attestations) = (self.demo.run.to_string(), self.demo.attestations.to_string());
        let (report, out) = (self.scratch.path("report.txt"), self.scratch.path(file));
        let place = ["--run", &run, "--rpc", &self.demo.anvil.url, "--attestations", &attestations];
        let rest = ["--report", &report, "--out", &out, "--key-file", &self.auditor];
        cairn(&[&["attest", "sign"], &place[..], &rest, more].concat())
    }

    fn send(&self, verb: &str, file: &str, more: &[&str]) -> Answer {
        let file = self.scratch.path(file);
        cairn(&[&["attest", verb, "--file", &file, "--rpc", &self.demo.anvil.url], more].concat())
    }

    /// By the run's owner, who is not the auditor.
    fn publish(&self, file: &str) -> Answer {
        self.send("publish", file, &["--anvil-dev-key"])
    }

    fn list(&self) -> Value {
        let (run, attestations) = (self.demo.run.to_string(), self.demo.attestations.to_string());
        let place = ["--run", &run, "--rpc", &self.demo.anvil.url, "--attestations", &attestations];
        cairn(&[&["attest", "list"], &place[..]].concat()).must()["attestations"].clone()
    }

    fn change(&self, from: &str, to: &str, change: impl Fn(&mut Value)) {
        let text = fs::read_to_string(self.scratch.path(from)).expect("a file");
        let mut word = serde_json::from_str(&text).expect("JSON");
        change(&mut word);
        fs::write(self.scratch.path(to), word.to_string()).expect("scratch space");
    }
}

#[tokio::test]
async fn word_of_an_auditor_is_signed_published_listed_and_revoked() {
    let audit = Audit::new().await;
    assert_eq!(audit.list(), json!([]));
    let word = audit.sign("word.json", &[]).must();
    assert_eq!(word["attestation"]["steps"], 4);
    assert_eq!(word["attestation"]["root"], json!(audit.demo.epochs[0].root_after));
    assert_eq!(audit.list(), json!([]), "signing sends nothing");

    // The run goes on before the word is public: its root is one of the past, which the path shows.
    audit.demo.writer.anchor(audit.demo.contract, &audit.demo.epochs[1], 0).await.expect("a real proof");
    let sent = audit.publish("word.json").must();
    assert_eq!((&sent["action"], &sent["subject"]), (&json!("attest"), &word["id"]));
    assert!(audit.publish("word.json").refused(1).contains("AlreadyKnown("));
    let listed = &audit.list()[0];
    assert_eq!((&listed["id"], &listed["steps"], &listed["standing"]), (&word["id"], &json!(4), &json!(true)));
    assert_eq!(listed["auditor"], word["attestation"]["auditor"]);

    let reason = ["--reason", "found a bug"];
    let by_owner = audit.send("revoke", "word.json", &[&reason[..], &["--anvil-dev-key"]].concat());
    assert!(by_owner.refused(1).contains("NotSignedBy("));
    let revoke = [&reason[..], &["--key-file", &audit.auditor]].concat();
    audit.send("revoke", "word.json", &revoke).must();
    assert!(audit.send("revoke", "word.json", &revoke).refused(1).contains("AlreadyRevoked("));
    let listed = &audit.list()[0];
    assert_eq!((&listed["standing"], &listed["revoked"]), (&json!(false), &json!("found a bug")));
    assert_eq!(listed["transactions"].as_array().map(Vec::len), Some(2));

    // Revoked before it was public: it never can be.
    let early = audit.sign("early.json", &["--steps", "8"]).must();
    audit.send("revoke", "early.json", &revoke).must();
    assert!(audit.publish("early.json").refused(1).contains("AlreadyKnown("));
    let listed = audit.list();
    assert_eq!((&listed[1]["id"], &listed[1]["steps"]), (&early["id"], &Value::Null));
}

#[tokio::test]
async fn only_what_is_anchored_and_signed_becomes_public() {
    let audit = Audit::new().await;
    assert!(audit.sign("long.json", &["--steps", "5"]).refused(1).contains("expected 1 to 4 anchored steps, got 5"));
    assert!(audit.sign("none.json", &["--steps", "0"]).refused(1).contains("expected 1 to 4 anchored steps, got 0"));
    audit.sign("late.json", &["--expires-at", "1"]).must();
    assert!(audit.publish("late.json").refused(1).contains("Expired("));
    audit.sign("word.json", &[]).must();

    audit.change("word.json", "steps.json", |word| word["attestation"]["steps"] = json!(3));
    assert!(audit.publish("steps.json").refused(1).contains("attestation id"), "the id is of other words");
    audit.change("word.json", "forged.json", |word| {
        let signature = word["signature"].as_str().expect("a signature");
        let other = if signature.ends_with("1b") { "1c" } else { "1b" };
        word["signature"] = json!(format!("{}{other}", &signature[..signature.len() - 2]));
    });
    assert!(audit.publish("forged.json").refused(1).contains("NotSignedBy("));
    audit.change("word.json", "chain.json", |word| {
        let attestation: chain::Attestation =
            serde_json::from_value(word["attestation"].clone()).expect("an attestation");
        word["chain_id"] = json!(7);
        word["id"] = json!(attestation.id(ledger::ChainId(7), audit.demo.attestations));
    });
    assert!(audit.publish("chain.json").refused(2).contains("expected chain 7, got 31337"));
    audit.change("word.json", "root.json", |word| {
        let mut attestation: chain::Attestation =
            serde_json::from_value(word["attestation"].clone()).expect("an attestation");
        attestation.root = ledger::Root([7; 32]);
        word["attestation"] = json!(attestation);
        word["id"] = json!(attestation.id(ledger::ChainId(31_337), audit.demo.attestations));
    });
    assert!(audit.publish("root.json").refused(1).contains("attested root"));
    audit.change("word.json", "more.json", |word| word["more"] = json!(1));
    assert!(audit.publish("more.json").refused(2).contains("unknown field `more`"));
    assert_eq!(audit.list(), json!([]));
}
