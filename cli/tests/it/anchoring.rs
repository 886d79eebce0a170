//! Real epoch proofs are anchored by the binary, which is killed between a transaction and its record.
//!
//! The runs are those whose submissions `cargo xtask fixtures` keeps, so no key is made here.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chain::{Client, DelaySecs, DeployPlan, InitCode, LogSteps, Options, Registration, Writer};
use ledger::{Address, RunId, Salt, Selector, TreeSize};
use serde_json::{Value, json};

use crate::support::{
    Scratch,
    anvil::Anvil,
    cairn, copy,
    flaky::{Loss, relay},
    process, stranger_key,
};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/demo.json");
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/run");
/// Another run of the same owner for the same contract, of one epoch.
const SECOND_VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/second.json");
const SECOND_RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/second");

fn parse<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

/// The kept submissions; those of before peaks were submitted get theirs, the root over the epoch before.
fn vectors() -> Value {
    let mut vectors: Value = serde_json::from_slice(&std::fs::read(VECTORS).expect("the vectors")).expect("JSON");
    let before = vectors["submissions"][0]["root_after"].clone();
    vectors["submissions"][0]["peaks"] = json!([]);
    vectors["submissions"][1]["peaks"] = json!([before]);
    vectors
}

/// A copy of a kept run.
fn unanchored(run: &str) -> (tempfile::TempDir, PathBuf) {
    let (parent, run) = copy(Path::new(run));
    // Not kept of every run.
    std::fs::create_dir_all(run.join("proofs")).expect("scratch space");
    (parent, run)
}

/// Anchors in a run's directory.
fn recorded(run: &Path) -> Vec<Value> {
    match std::fs::read(run.join("anchors.json")) {
        Ok(bytes) => {
            serde_json::from_slice::<Value>(&bytes).expect("JSON")["anchors"].as_array().expect("anchors").clone()
        }
        Err(_) => Vec::new(),
    }
}

/// A node with the demo's contract and verifier, and a copy of its run that is not anchored.
pub struct Demo {
    pub anvil: Anvil,
    client: Client,
    registration: Registration,
    pub contract: Address,
    pub id: RunId,
    _parent: tempfile::TempDir,
    pub run: PathBuf,
    /// File of the submissions.
    pub plan: String,
}

impl Demo {
    pub async fn new() -> Self {
        let vectors = vectors();
        let anvil = Anvil::start();
        let writer: Writer = anvil.writer().await;
        let plan = DeployPlan::new(writer.address(), writer.address(), DelaySecs(0), Salt([0; 32])).expect("artifacts");
        let registry = writer.deploy(&plan.registry).await.expect("registry").address;
        let deployed = writer.deploy(&plan.anchor).await.expect("anchor").address;
        // The run's id names the contract of the demo; today's code is put there.
        let contract: Address = parse(&vectors, "contract");
        anvil.copy_code(deployed, contract).await;
        let code = hex::decode(vectors["verifier_code"].as_str().expect("code").trim_start_matches("0x")).expect("hex");
        let verifier = writer.deploy(&InitCode::verifier(code, Salt([0; 32]))).await.expect("verifier").address;
        let selector: Selector = parse(&vectors, "selector");
        writer.add_verifier(registry, selector, LogSteps(2), verifier).await.expect("added");
        let registration = Registration {
            salt: parse(&vectors, "salt"),
            selector,
            genesis_state: parse(&vectors, "genesis_state"),
            policy_digest: parse(&vectors, "policy"),
            parent: None,
        };
        let client = Client::connect(&anvil.url, Options::default()).await.expect("anvil answers");
        let (parent, run) = unanchored(RUN);
        let plan = parent.path().join("plan.json");
        std::fs::write(&plan, vectors.to_string()).expect("scratch space");
        let plan = plan.to_str().expect("UTF-8").to_owned();
        Self { anvil, client, registration, contract, id: parse(&vectors, "run"), _parent: parent, run, plan }
    }

    /// Registers another run like this one, which never has an epoch.
    pub async fn register_another(&self, salt: u8) -> RunId {
        let registration = Registration { salt: Salt([salt; 32]), ..self.registration };
        let writer = self.anvil.writer().await;
        writer.register_run(self.contract, &registration).await.expect("registered").into_inner().0
    }

    fn args<'a>(&'a self, rpc: &'a str) -> Vec<&'a str> {
        let run = self.run.to_str().expect("UTF-8");
        vec!["anchor", "--run", run, "--rpc", rpc, "--anvil-dev-key", "--submissions", &self.plan]
    }

    /// Epochs and steps that the contract counts.
    async fn counted(&self) -> (u64, TreeSize) {
        let head = self.client.head(self.contract, self.id).await.expect("a head");
        head.map_or((0, TreeSize(0)), |head| (head.counter, head.size))
    }

    /// Transactions of the account.
    async fn sent(&self) -> u64 {
        let owner = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
        let count = self.anvil.request("eth_getTransactionCount", json!([owner, "latest"])).await;
        let count = count.as_str().expect("a number").trim_start_matches("0x").to_owned();
        u64::from_str_radix(&count, 16).expect("a number")
    }

    /// Anchors in the run's directory.
    fn recorded(&self) -> Vec<Value> {
        recorded(&self.run)
    }
}

/// The answer of one message of the anchoring is lost and the process is killed meanwhile: the chain has the epoch, the
/// directory does not know.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_transaction_and_record_anchors_nothing_twice() {
    let demo = Demo::new().await;
    let before = demo.sent().await;
    // The receipt is lost first: later, that of the anchored epoch is asked for before anything is sent.
    for (method, epochs) in [("eth_getTransactionReceipt", 1), ("eth_sendRawTransaction", 2)] {
        // Registered first, so that the lost message is that of an epoch.
        if epochs == 1 {
            let no_epochs = demo.run.join("epochs");
            let aside = demo.run.with_extension("aside");
            std::fs::rename(&no_epochs, &aside).expect("scratch space");
            std::fs::create_dir(&no_epochs).expect("scratch space");
            cairn(&demo.args(&demo.anvil.url)).must();
            std::fs::remove_dir(&no_epochs).expect("scratch space");
            std::fs::rename(&aside, &no_epochs).expect("scratch space");
            assert_eq!((demo.counted().await, demo.sent().await), ((0, TreeSize(0)), before + 1));
        }
        let (rpc, seen) = relay(&demo.anvil.url, method, Loss::Answer, usize::MAX).await;
        let mut child = process(&demo.args(&rpc)).spawn().expect("cairn starts");
        let start = Instant::now();
        while seen.load(Ordering::SeqCst) == 0 || demo.counted().await.0 < epochs {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing was sent");
            assert!(child.try_wait().expect("a process").is_none(), "ended before it was killed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // SIGKILL: nothing can be cleaned up.
        child.kill().expect("killed");
        child.wait().expect("a process");
        assert_eq!(demo.counted().await, (epochs, TreeSize(4 * epochs)), "{method}");
        assert_eq!(demo.recorded().len() as u64, epochs - 1, "{method}: nothing is recorded before the receipt");
    }

    let answer = cairn(&demo.args(&demo.anvil.url)).must();
    assert_eq!((&answer["anchored"], &answer["steps"]), (&json!(2), &json!(8)), "{answer:#}");
    assert!(answer["register_gas"].is_null(), "{answer:#}");
    assert_eq!(demo.counted().await, (2, TreeSize(8)));
    assert_eq!(demo.sent().await, before + 3, "one registration and two epochs");
    let recorded = demo.recorded();
    assert_eq!(recorded.len(), 2);
    let sent: Vec<&Value> = recorded.iter().map(|anchor| &anchor["tx"]).collect();
    assert_eq!(sent, answer["transactions"].as_array().expect("transactions").iter().collect::<Vec<_>>());

    // Once more: nothing is sent, nothing changes.
    cairn(&[&demo.args(&demo.anvil.url)[..], &["--finalize"]].concat()).must();
    assert_eq!((demo.recorded(), demo.sent().await), (recorded, before + 4), "only the end is new");
}

/// Submissions of another run, or changed ones, are refused before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn submissions_that_are_not_the_logs_are_refused() {
    let demo = Demo::new().await;
    let before = demo.sent().await;
    let scratch = tempfile::tempdir().expect("scratch space");
    let file = scratch.path().join("plan.json");
    let vectors = vectors();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut vectors = vectors.clone();
        change(&mut vectors);
        std::fs::write(&file, vectors.to_string()).expect("scratch space");
        let mut args = demo.args(&demo.anvil.url);
        *args.last_mut().expect("the file") = file.to_str().expect("UTF-8");
        cairn(&args)
    };
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 6] = [
        (|v| v["run"] = v["policy"].clone(), "submissions: run: expected 0x"),
        (|v| v["submissions"][0]["proof"] = "0x00".into(), "submissions: epoch 0: accumulator"),
        (|v| v["submissions"][0]["digests"][1] = v["policy"].clone(), "submissions: epoch 0: digests"),
        (|v| v["submissions"][0]["state_out"] = v["policy"].clone(), "submissions: epoch 0: state_out"),
        (|v| v["submissions"][0]["record_hashes"][3] = v["run"].clone(), "submissions: epoch 0: record_hashes"),
        (|v| v["submissions"] = json!([]), "submissions: epoch 0 of the log is not there"),
    ];
    for (change, word) in changes {
        let answer = with(&change);
        assert_eq!(answer.code, Some(1), "{answer:#?}");
        assert!(answer.stderr.contains(word), "{word}: {answer:#?}");
    }
    assert_eq!(demo.counted().await, (0, TreeSize(0)));
    assert!(demo.sent().await <= before + 1, "nothing but the registration");

    // What only the verifier can tell: a proof that is not one.
    let answer = with(&|v| {
        let proof = v["submissions"][0]["proof"].as_str().expect("a proof");
        let (head, last) = proof.split_at(proof.len() - 1);
        v["submissions"][0]["proof"] = format!("{head}{}", if last == "0" { "1" } else { "0" }).into();
    });
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stderr.contains("ProofRejected"), "{answer:#?}");
    assert!(demo.recorded().is_empty());
}

/// The demo's node, and a second run beside the demo's.
struct Two {
    demo: Demo,
    id: RunId,
    _parent: tempfile::TempDir,
    run: PathBuf,
    /// File of the submissions of both.
    plan: String,
}

impl Two {
    async fn new() -> Self {
        let demo = Demo::new().await;
        let second: Value = serde_json::from_slice(&std::fs::read(SECOND_VECTORS).expect("the vectors")).expect("JSON");
        let id = parse(&second, "run");
        let (parent, run) = unanchored(SECOND_RUN);
        let plan = parent.path().join("plan.json");
        std::fs::write(&plan, json!({"runs": [vectors(), second]}).to_string()).expect("scratch space");
        let plan = plan.to_str().expect("UTF-8").to_owned();
        Self { demo, id, _parent: parent, run, plan }
    }

    fn args<'a>(&'a self, rpc: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let (first, second) = (self.demo.run.to_str().expect("UTF-8"), self.run.to_str().expect("UTF-8"));
        let args = ["anchor", "--run", first, "--run", second, "--rpc", rpc, "--submissions", &self.plan];
        [&args[..], more].concat()
    }

    /// Epochs that the contract counts of both.
    async fn counted(&self) -> (u64, u64) {
        let head = self.demo.client.head(self.demo.contract, self.id).await.expect("a head");
        (self.demo.counted().await.0, head.map_or(0, |head| head.counter))
    }
}

const DEV: &str = "--anvil-dev-key";

#[tokio::test(flavor = "multi_thread")]
async fn several_runs_are_anchored_in_one_transaction() {
    let two = Two::new().await;
    let (url, before) = (two.demo.anvil.url.as_str(), two.demo.sent().await);
    let plan = cairn(&two.args(url, &["--dry-run"])).must();
    assert!(plan["gas_of_rest"].is_null(), "nothing is registered: {plan:#}");

    let answer = cairn(&two.args(url, &[DEV])).must();
    assert_eq!(two.counted().await, (2, 1));
    assert_eq!(two.demo.sent().await, before + 3, "two registrations, one transaction for all epochs");
    assert_eq!(answer["transactions"].as_array().map(Vec::len), Some(3), "{answer:#}");
    let anchored = answer["transactions"][2].clone();
    for (position, (run, epochs)) in [(&two.demo.run, 2), (&two.run, 1)].into_iter().enumerate() {
        let (anchors, report) = (recorded(run), &answer["runs"][position]);
        assert_eq!((anchors.len(), &report["anchored"]), (epochs, &json!(epochs)), "{answer:#}");
        assert!(anchors.iter().all(|anchor| anchor["tx"] == anchored), "{anchors:#?}");
        assert_eq!(report["transactions"].as_array().map(Vec::len), Some(2), "{report:#}");
        let gas: Vec<u64> = report["anchor_gas"].as_array().expect("gas").iter().filter_map(Value::as_u64).collect();
        println!("{epochs} of 3 epochs in one transaction of {gas:?} gas");
        assert!(gas.iter().all(|gas| Some(*gas) == answer["runs"][0]["anchor_gas"][0].as_u64()), "{answer:#}");
    }

    let again = cairn(&two.args(url, &[DEV])).must();
    assert_eq!(two.demo.sent().await, before + 3, "nothing is left to do");
    assert_eq!(again["transactions"], json!([anchored]));
}

/// The transaction of both runs is mined, its receipt is lost, and the process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn batch_that_was_killed_before_its_record_is_recorded_and_not_sent_again() {
    let two = Two::new().await;
    let before = two.demo.sent().await;
    // Without their epochs both are registered, and nothing else is done.
    for run in [&two.demo.run, &two.run] {
        std::fs::rename(run.join("epochs"), run.with_extension("aside")).expect("scratch space");
        std::fs::create_dir(run.join("epochs")).expect("scratch space");
    }
    cairn(&two.args(&two.demo.anvil.url, &[DEV])).must();
    for run in [&two.demo.run, &two.run] {
        std::fs::remove_dir(run.join("epochs")).expect("scratch space");
        std::fs::rename(run.with_extension("aside"), run.join("epochs")).expect("scratch space");
    }
    assert_eq!((two.counted().await, two.demo.sent().await), ((0, 0), before + 2));
    // Now the gas of all that is left is known.
    let plan = cairn(&two.args(&two.demo.anvil.url, &["--dry-run"])).must();
    let gas = |value: &Value| value["gas_of_rest"].as_u64().expect("registered");
    let apart: u64 = plan["runs"].as_array().expect("runs").iter().map(gas).sum();
    assert!(gas(&plan) + 10_000 < apart, "one base instead of two: {} and {apart}", gas(&plan));

    let (rpc, seen) = relay(&two.demo.anvil.url, "eth_getTransactionReceipt", Loss::Answer, usize::MAX).await;
    let mut child = process(&two.args(&rpc, &[DEV])).spawn().expect("cairn starts");
    let start = Instant::now();
    while seen.load(Ordering::SeqCst) == 0 || two.counted().await != (2, 1) {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was sent");
        assert!(child.try_wait().expect("a process").is_none(), "ended before it was killed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().expect("killed");
    child.wait().expect("a process");
    assert_eq!(recorded(&two.demo.run).len() + recorded(&two.run).len(), 0);

    let answer = cairn(&two.args(&two.demo.anvil.url, &[DEV, "--finalize"])).must();
    assert_eq!((recorded(&two.demo.run).len(), recorded(&two.run).len()), (2, 1));
    assert_eq!(two.demo.sent().await, before + 5, "two registrations, all epochs, two ends");
    assert!(answer["runs"].as_array().expect("runs").iter().all(|run| run["finalized"] == true), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_with_a_wrong_proof_anchors_nothing() {
    let two = Two::new().await;
    let mut plans: Value = serde_json::from_slice(&std::fs::read(&two.plan).expect("the plan")).expect("JSON");
    let proof = plans["runs"][1]["submissions"][0]["proof"].as_str().expect("a proof").to_owned();
    let (head, last) = proof.split_at(proof.len() - 1);
    plans["runs"][1]["submissions"][0]["proof"] = format!("{head}{}", if last == "0" { "1" } else { "0" }).into();
    std::fs::write(&two.plan, plans.to_string()).expect("scratch space");
    let answer = cairn(&two.args(&two.demo.anvil.url, &[DEV]));
    let line = answer.refused(1);
    assert!(line.contains("ProofRejected(") && line.contains(&two.id.to_string()), "{line}");
    assert_eq!((two.counted().await, recorded(&two.demo.run).len()), ((0, 0), 0));
    // One by one, the first run's epochs are anchored before the wrong one is refused.
    let answer = cairn(&two.args(&two.demo.anvil.url, &[DEV, "--batch", "1"]));
    assert!(answer.refused(1).contains("ProofRejected("), "{answer:#?}");
    assert_eq!((two.counted().await, recorded(&two.demo.run).len()), ((2, 0), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_of_one_run_share_a_transaction_when_asked() {
    let demo = Demo::new().await;
    let before = demo.sent().await;
    let answer = cairn(&[&demo.args(&demo.anvil.url)[..], &["--batch", "2"]].concat()).must();
    assert_eq!((demo.counted().await, demo.sent().await), ((2, TreeSize(8)), before + 2));
    assert_eq!(answer["transactions"].as_array().map(Vec::len), Some(2), "{answer:#}");
    assert_eq!(answer["anchor_gas"][0], answer["anchor_gas"][1]);

    let run = demo.run.to_str().expect("UTF-8");
    let twice = cairn(&["anchor", "--run", run, "--run", run, "--rpc", &demo.anvil.url, DEV]);
    assert!(twice.refused(2).contains("is given twice"), "{twice:#?}");
    for size in ["0", "33"] {
        let answer = cairn(&[&demo.args(&demo.anvil.url)[..], &["--batch", size]].concat());
        assert!(answer.refused_usage().contains("1..=32"), "{answer:#?}");
    }
}

/// Who may anchor a registered run is for the contract to say; who may register it is in its id.
#[tokio::test(flavor = "multi_thread")]
async fn submitter_anchors_a_registered_run_of_another_owner() {
    let (demo, scratch) = (Demo::new().await, Scratch::new());
    let (run, url, key) = (demo.run.to_str().expect("UTF-8"), demo.anvil.url.as_str(), stranger_key(&scratch));
    let by_stranger = ["anchor", "--run", run, "--rpc", url, "--submissions", &demo.plan, "--key-file", &key];
    assert!(cairn(&by_stranger).refused(1).contains("check failed: run identity"), "not registered yet");
    // Its owner registers it, and anchors the first epoch only.
    let last = demo.run.join("epochs/epoch_0001.json");
    let aside = demo.run.with_extension("aside");
    std::fs::rename(&last, &aside).expect("scratch space");
    cairn(&demo.args(url)).must();
    std::fs::rename(&aside, &last).expect("scratch space");
    assert_eq!(demo.counted().await.0, 1);

    assert!(cairn(&by_stranger).refused(1).contains("NotSubmitter("));
    let account = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
    cairn(&["admin", "submitter", "--run", run, "--rpc", url, DEV, "--account", account, "--allow"]).must();
    let answer = cairn(&by_stranger).must();
    assert_eq!((demo.counted().await.0, &answer["anchored"]), (2, &json!(2)));
}
