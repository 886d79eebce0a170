//! Real epoch proofs are anchored by the binary, which is killed between a transaction and its record.
//!
//! The run is the demo's whose submissions `cargo xtask fixtures` keeps, so no key is made here.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chain::{Client, DelaySecs, DeployPlan, InitCode, LogSteps, Options, Writer};
use ledger::{Address, RunId, Salt, Selector, TreeSize};
use serde_json::{Value, json};

use crate::support::{
    anvil::Anvil,
    cairn, copy,
    flaky::{Loss, relay},
    process,
};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/demo.json");
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/run");

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

/// A node with the demo's contract and verifier, and a copy of its run that is not anchored.
struct Demo {
    anvil: Anvil,
    client: Client,
    contract: Address,
    id: RunId,
    _parent: tempfile::TempDir,
    run: PathBuf,
    /// File of the submissions.
    plan: String,
}

impl Demo {
    async fn new() -> Self {
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
        let client = Client::connect(&anvil.url, Options::default()).await.expect("anvil answers");
        let (parent, run) = copy(Path::new(RUN));
        // Step proofs are of no use here and not kept.
        std::fs::create_dir(run.join("proofs")).expect("scratch space");
        let plan = parent.path().join("plan.json");
        std::fs::write(&plan, vectors.to_string()).expect("scratch space");
        let plan = plan.to_str().expect("UTF-8").to_owned();
        Self { anvil, client, contract, id: parse(&vectors, "run"), _parent: parent, run, plan }
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
        match std::fs::read(self.run.join("anchors.json")) {
            Ok(bytes) => {
                serde_json::from_slice::<Value>(&bytes).expect("JSON")["anchors"].as_array().expect("anchors").clone()
            }
            Err(_) => Vec::new(),
        }
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
