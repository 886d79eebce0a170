//! What a visitor's browser verifies, in a real Chromium with a real node: `browser.mjs` drives it.

use std::path::{Path, PathBuf};
use std::process::Command;

use audit::evidence::StepEvidence;
use audit::{Capsule, EpochCircuit, Keys, StepKey};
use circuits::keys::StepVerifyingKey;
use circuits::notes::step_shape;
use ledger::{StepIndex, TreeSize};
use serde_json::{Value, json};
use srs::{SrsSize, SrsVerifier};
use store::{ProofFiles, RunDir};

use crate::capsule::{Forgery, Made, another_epoch_key};
use crate::openings::{nudge, open};
use crate::support::Scratch;

pub fn cache() -> PathBuf {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| repo.join(".cache"), PathBuf::from);
    std::fs::canonicalize(cache).expect("run `cargo xtask setup` first")
}

/// What `cargo xtask island` made.
pub fn island() -> PathBuf {
    let island = cache().join("island");
    assert!(island.join("island_bg.wasm").is_file(), "run `cargo xtask island` first");
    island
}

/// What a script needs to start Chromium: `xtask/tools/chromium.mjs`.
pub fn chromium() -> Value {
    let modules =
        std::env::var_os("CAIRN_NODE_MODULES").map_or_else(|| cache().join("tools/node_modules"), PathBuf::from);
    json!({ "modules": modules.parent().expect("a folder"), "chromium": "/usr/bin/chromium" })
}

/// Runs a script of this folder on its scenario; returns the JSON lines that it printed, and whether it exited with 0.
pub fn run_script(name: &str, scenario: &Path) -> (Vec<Value>, bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name);
    let output = Command::new("node").arg(script).arg(scenario).output().expect("Node.js is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    (said, output.status.success())
}

/// A folder that the browser gets files of, and what is tried with them.
struct Site {
    files: tempfile::TempDir,
    cases: Vec<Value>,
}

impl Site {
    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.files.path().join(name), bytes).expect("scratch space");
    }

    /// One step: what a portal would serve, changed.
    fn step(&mut self, name: &str, evidence: &StepEvidence, rpc: &str, expected: Value) {
        let file = format!("step{}.json", self.cases.len());
        self.put(&file, &evidence.to_json().expect("JSON"));
        let run = evidence.run().expect("a run").run.to_string();
        let data = json!({ "evidence": format!("/files/{file}"), "run": run, "step": evidence.inclusion.index });
        let inputs = json!({ "rpc": { "text": rpc } });
        self.case(name, json!({ "island": "step", "data": data, "inputs": inputs }), expected);
    }

    fn case(&mut self, name: &str, case: Value, expected: Value) {
        let mut case = case;
        let fields = case.as_object_mut().expect("an object");
        fields.insert("name".to_owned(), json!(name));
        fields.extend(expected.as_object().expect("an object").clone());
        self.cases.push(case);
    }

    /// Runs Chromium; returns what it said of each case.
    fn visit(self) -> Vec<Value> {
        let mut scenario = chromium();
        scenario["island"] = json!(island());
        scenario["files"] = json!(self.files.path());
        scenario["cases"] = json!(self.cases);
        self.put("scenario.json", scenario.to_string().as_bytes());
        let (said, succeeded) = run_script("browser.mjs", &self.files.path().join("scenario.json"));
        for case in &said {
            println!("{}: {}", case["case"], case["verdict"]);
        }
        let wrong: Vec<&Value> = said.iter().filter(|case| !case["problem"].is_null()).collect();
        assert!(wrong.is_empty() && succeeded, "{wrong:#?}");
        said
    }
}

/// A node that nobody runs.
const NOBODY: &str = "http://127.0.0.1:9";

fn changed(evidence: &StepEvidence, change: impl FnOnce(&mut StepEvidence)) -> StepEvidence {
    let mut evidence = evidence.clone();
    change(&mut evidence);
    evidence
}

/// Changes one digit in the middle of a hex text.
fn flip(text: &mut String, at: usize) {
    let other = if &text[at..=at] == "0" { "1" } else { "0" };
    text.replace_range(at..=at, other);
}

/// The first epoch's evidence of step 5, and everything that can be wrong with it.
fn steps(site: &mut Site, made: &Made, capsule: &Path) {
    let (dir, capsule) = (RunDir::open(&made.demo.run).expect("a run"), Capsule::open(capsule).expect("a capsule"));
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    let key = capsule.step(dir.run().description()).expect("the key");
    let of = |step, size, earlier: &[TreeSize]| {
        let epoch_key = |circuit: &EpochCircuit| capsule.epoch(&key, circuit);
        StepEvidence::of(&dir, &log, (StepIndex(step), TreeSize(size)), earlier, &key, epoch_key).expect("evidence")
    };
    let (honest, rpc) = (of(5, 8, &[TreeSize(4)]), made.demo.anvil.url.as_str());
    let all = [
        "record hash",
        "leaf",
        "registration on chain",
        "root on chain",
        "inclusion",
        "consistency with earlier roots",
        "step proof",
        "link to the step before",
        "link to the step behind",
        "epoch",
        "epoch key",
        "epoch proof",
    ];
    site.step("step", &honest, rpc, json!({ "state": "holds", "passed": all, "uncovered": [] }));
    let first = of(0, 8, &[]);
    site.step("first step", &first, rpc, json!({ "state": "holds", "passed": ["link to the step before"] }));
    let without = json!(["registration on chain", "root on chain", "epoch key"]);
    site.step("no node", &honest, "", json!({ "state": "holds", "uncovered": without }));
    site.step("nobody's node", &honest, NOBODY, json!({ "state": "unknown" }));

    let mut bad = |name: &str, evidence: StepEvidence, check: &str, reason: &str| {
        site.step(name, &evidence, rpc, json!({ "state": "fails", "failed": check, "reason": reason }));
    };
    let proof = changed(&honest, |e| flip(&mut e.proofs[0], 6000));
    bad("tampered proof", proof, "step proof", "step 5, chunk 0");
    let swapped = changed(&honest, |e| e.proofs = of(4, 8, &[]).proofs);
    bad("another step's proof", swapped, "step proof", "the proof commits to another input than the statement");
    let record = changed(&honest, |e| {
        let state = dir.record(&log.log, StepIndex(5)).expect("a record").record().state_out.to_string();
        e.record = e.record.replace(&state, &dir.run().description().genesis_state.to_string());
        e.after = None;
    });
    bad("changed record", record, "record hash", "step 5: state after is");
    let behind = changed(&honest, |e| e.after = of(6, 8, &[]).after);
    bad("a step left out", behind, "run.json, records", "previous record's hash");
    bad("another root", of(1, 4, &[]), "root on chain", "anchored steps: expected 8, got 4");
    let root = changed(&honest, |e| e.root = e.earlier[0].root);
    bad("a root the chain has not", root, "root on chain", "8 steps: the chain has root");
    let path = changed(&honest, |e| e.inclusion.path.swap(0, 1));
    bad("another path", path, "inclusion", "");
    let earlier = changed(&honest, |e| e.earlier[0].root = e.root);
    bad("a root that is not extended", earlier, "consistency with earlier roots", "");
    let key = changed(&honest, |e| flip(&mut e.step_key, 200));
    bad("another key", key, "step key", "");

    let proof = changed(&honest, |e| flip(e.epoch_proof.as_mut().expect("a proof"), 3001));
    bad("tampered epoch proof", proof, "epoch proof", "epoch 1: epoch proof refused");
    let other = changed(&honest, |e| e.epoch_proof = of(1, 4, &[]).epoch_proof);
    bad("another epoch's proof", other, "epoch proof", "epoch 1: epoch proof refused");
    let other = changed(&honest, |e| e.epoch_key = Some(another_key(e)));
    let reason = "the registered verifier is of another key: its code does not have 0x";
    bad("an epoch key of another circuit", other.clone(), "epoch key", reason);
    let expected = json!({ "state": "fails", "failed": "epoch proof", "reason": "epoch 1: epoch proof refused" });
    site.step("an epoch key of another circuit, no node", &other, "", expected);
}

/// A key with the columns of the evidence's, and two of its commitments exchanged: that of another circuit.
fn another_key(evidence: &StepEvidence) -> String {
    let mut key = hex::decode(evidence.epoch_key.as_deref().expect("a key")).expect("hex");
    let at = key.len() - 64;
    key[at..].rotate_left(32);
    hex::encode(key)
}

/// Weights of a small run that no chain knows.
fn weights(site: &mut Site) {
    let scratch = Scratch::new();
    let run = scratch.trained(60, &[]);
    let (weights, opening) = open(&scratch, &run, 3);
    let dir = RunDir::open(&run).expect("a run");
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    let shape = step_shape(dir.run().description()).expect("a shape");
    let srs = srs::dev::generate(SrsSize::new(shape.k).expect("a size"), &srs::silent).expect("the string");
    let key = StepVerifyingKey::generate(srs.params(), &shape).expect("a key");
    let key = StepKey { key, srs: SrsVerifier::from(&srs), whole: None };
    let none = |_: &EpochCircuit| panic!("no step of this run is in an epoch");
    let evidence = StepEvidence::of(&dir, &log, (StepIndex(2), log.log.size()), &[], &key, none).expect("evidence");
    site.put("weights.json", &evidence.to_json().expect("JSON"));
    site.put("right.safetensors", &std::fs::read(&weights).expect("weights"));
    site.put("opening.json", &std::fs::read(&opening).expect("an opening"));
    nudge(&weights, 1.0 / f64::from(1 << 24));
    site.put("wrong.safetensors", &std::fs::read(&weights).expect("weights"));
    let case = |file: &str| {
        let data = json!({ "evidence": "/files/weights.json", "run": dir.run().run().to_string() });
        let inputs = json!({ "weights": { "file": file }, "opening": { "file": "opening.json" } });
        json!({ "island": "weights", "data": data, "inputs": inputs })
    };
    site.case(
        "the weights",
        case("right.safetensors"),
        json!({ "state": "holds", "passed": ["inclusion", "weights"] }),
    );
    let wrong = json!({ "state": "fails", "failed": "weights", "reason": "these are not the weights at state 3" });
    site.case("one weight by one unit", case("wrong.safetensors"), wrong);
    let none = json!({ "state": "fails", "failed": "weights file", "reason": "weights" });
    site.case("no weights", case("opening.json"), none);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_makes_the_checks_and_says_what_is_wrong() {
    let made = Made::new().await;
    let file = made.path("demo.capsule");
    made.capsule("demo.capsule").must();
    let mut site = Site { files: tempfile::tempdir().expect("scratch space"), cases: Vec::new() };
    steps(&mut site, &made, &file);
    weights(&mut site);
    site.put("demo.capsule", &std::fs::read(&file).expect("a capsule"));
    let mut forgery = Forgery::of(&file);
    forgery.file("run/proofs/step_000003.proof")[3000] ^= 1;
    forgery.pack(&site.files.path().join("forged.capsule"));
    let case = |file: &str| json!({ "island": "capsule", "offline": true, "inputs": { "capsule": { "file": file } } });
    let log = "log, records, proof files, tree, epochs";
    let passed = [log, "step proofs", "epoch proofs", "state proof", "anchored head", "epoch keys"];
    let uncovered = ["verifier code"];
    site.case("capsule", case("demo.capsule"), json!({ "state": "holds", "passed": passed, "uncovered": uncovered }));
    let reason = "step_000003.proof";
    let forged = json!({ "state": "fails", "failed": passed[0], "reason": reason });
    site.case("forged capsule", case("forged.capsule"), forged);
    let mut forgery = Forgery::of(&file);
    another_epoch_key(&mut forgery);
    forgery.pack(&site.files.path().join("other_key.capsule"));
    let forged = json!({ "state": "fails", "failed": "epoch proofs", "reason": "epoch 0: epoch proof refused" });
    site.case("capsule with another epoch key", case("other_key.capsule"), forged);
    let n_cases = site.cases.len();
    let said = site.visit();
    assert_eq!(said.len(), n_cases);
    for (case, check) in [("step", "epoch proof"), ("capsule", "epoch proofs")] {
        let lines = said.iter().find(|said| said["case"] == case).expect("a case")["lines"].as_array().expect("lines");
        let line = lines.iter().find(|line| line["check"] == check).expect("a line");
        println!("{case}: {check} in Chromium: {} ms", line["ms"]);
    }
}
