//! Capsules of the demo's run: they verify where nothing else is, and every part of them counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregator::EpochVerifyingKey;
use circuits::convert::from_fr;
use ledger::TreeSize;
use serde_json::{Value, json};
use srs::{SrsLabel, SrsSize, SrsVerifier};
use store::{Archive, ArchiveWriter};

use crate::anchoring::Demo;
use crate::deployment::{home_with_key, tool};
use crate::fetching::{first_epoch, write_manifest};
use crate::formats::{bodies, exercise};
use crate::support::{ALONE, Answer, cairn, cairn_in, cairn_within};

type Files = BTreeMap<String, Vec<u8>>;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The demo, anchored, and a home that has its epoch key.
pub struct Made {
    pub demo: Demo,
    home: tempfile::TempDir,
    scratch: tempfile::TempDir,
}

impl Made {
    pub async fn new() -> Self {
        let (demo, home) = (Demo::new().await, home_with_key());
        let scratch = tempfile::tempdir().expect("scratch space");
        let (rpc, plan) = (&demo.anvil.url, &demo.plan);
        let run = text(&demo.run);
        cairn(&["anchor", "--run", run, "--rpc", rpc, "--anvil-dev-key", "--submissions", plan]).must();
        Self { demo, home, scratch }
    }

    /// The home that has the epoch key.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// `cairn bundle --capsule`.
    pub fn capsule(&self, name: &str) -> Answer {
        let (torrent, file) = (self.path("run.torrent"), self.path(name));
        let run = ["bundle", "--run", text(&self.demo.run), "--out", text(&torrent), "--capsule", text(&file)];
        let (rpc, contract) = (&self.demo.anvil.url, self.demo.contract.to_string());
        cairn_in(self.home.path(), &[&run[..], &["--rpc", rpc, "--contract", &contract]].concat())
    }
}

/// `cairn verify --capsule` in a home that has nothing, on a machine without any network.
fn verify(file: &Path, more: &[&str]) -> Answer {
    let home = tempfile::tempdir().expect("scratch space");
    let args = [&["verify", "--capsule", text(file)], more].concat();
    let answer = cairn_within(ALONE, home.path(), &args);
    let left = std::fs::read_dir(home.path()).expect("a directory").count();
    assert_eq!(left, 0, "nothing is made or kept");
    answer
}

fn check<'a>(answer: &'a Value, name: &str) -> &'a str {
    let checks = answer["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no check {name}: {answer:#}"));
    assert_eq!(found["ok"], true, "{found}");
    found["detail"].as_str().expect("a detail")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capsule_verifies_with_nothing_but_itself() {
    let made = Made::new().await;
    let file = made.path("demo.capsule");
    let bundle = made.capsule("demo.capsule").must();
    let bytes = std::fs::read(&file).expect("a capsule");
    assert_eq!(bundle["capsule_bytes"], bytes.len());
    assert_eq!(bundle["capsule_sha256"], ledger::Digest::of(&bytes).to_string());
    // The same state gives the same bytes.
    made.capsule("again.capsule").must();
    assert_eq!(std::fs::read(made.path("again.capsule")).expect("a capsule"), bytes);
    let inside = made.demo.run.join("it.capsule");
    let contract = made.demo.contract.to_string();
    let args = ["bundle", "--run", text(&made.demo.run), "--out", text(&file), "--capsule", text(&inside), "--rpc"];
    let refused = cairn_in(made.home.path(), &[&args[..], &[&made.demo.anvil.url, "--contract", &contract]].concat());
    assert!(refused.refused(2).contains("is inside of the run's directory") && !inside.exists(), "{refused:#?}");

    // The chain and the run's directory are no more.
    let Made { demo, home, scratch } = made;
    drop((demo, home));
    let answer = verify(&file, &["--all"]).must();
    assert_eq!((&answer["steps_verified"], &answer["epochs_verified"]), (&json!(8), &json!(2)), "{answer:#}");
    assert_eq!(answer["chain_root"], answer["local_root"]);
    assert_eq!(answer["finalized"], false);
    assert_eq!((&answer["block"], &answer["block_hash"]), (&bundle["block"], &bundle["block_hash"]));
    assert!(
        check(&answer, "capsule").contains("made by this program")
            && check(&answer, "capsule").contains("development, not secure")
    );
    assert!(check(&answer, "anchored head").starts_with("epoch 2, 8 steps"));
    assert!(check(&answer, "contract sources, verifier code").contains("1 verifiers, with every number"));
    let sampled = verify(&file, &["--k", "2"]).must();
    assert_eq!(sampled["steps_verified"], 2);

    let hash = bundle["block_hash"].as_str().expect("a hash");
    verify(&file, &["--k", "0", "--block-hash", hash]).must();
    let other = format!("0x{}", "07".repeat(32));
    let refused = verify(&file, &["--k", "0", "--block-hash", &other]);
    assert!(refused.refused(1).contains("check failed: block hash: expected 0x0707"), "{refused:#?}");
    let solc = tool("solc");
    let compiled = verify(&file, &["--k", "0", "--solc", text(&solc)]).must();
    assert!(check(&compiled, "contract sources, verifier code").contains("compiled and compared"));

    let both = verify(&file, &["--rpc", "http://127.0.0.1:1", "--contract", &contract]);
    assert!(both.refused_usage().contains("--rpc"), "{both:#?}");
    let missing = verify(&scratch.path().join("no.capsule"), &[]);
    assert!(missing.refused(2).contains("is not there"), "{missing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capsule_of_what_is_not_anchored_is_not_made() {
    let made = Made::new().await;
    // The chain knows two epochs, this copy one.
    let early = made.path("early");
    first_epoch(&made.demo.run, &early);
    let root = std::fs::read_to_string(early.join("merkle_root.txt")).expect("a root");
    write_manifest(&early, TreeSize(4), root.trim_end().parse().expect("a root"));
    let (rpc, contract) = (&made.demo.anvil.url, made.demo.contract.to_string());
    let file = made.path("early.capsule");
    let args = ["bundle", "--run", text(&early), "--capsule", text(&file), "--rpc", rpc, "--contract", &contract];
    let refused = cairn_in(made.home.path(), &args);
    assert!(refused.refused(1).contains("check failed: anchored head: counter, size"), "{refused:#?}");
    assert!(!file.exists(), "what does not hold is not left behind");
}

/// A capsule's files, changed and packed again.
pub struct Forgery(Files);

impl Forgery {
    pub fn of(file: &Path) -> Self {
        let archive = Archive::open(file).expect("an archive");
        let read = |name: &str| (name.to_owned(), archive.read(name, u64::MAX).expect("a file"));
        Self(archive.paths().map(read).collect())
    }

    pub fn file(&mut self, name: &str) -> &mut Vec<u8> {
        self.0.get_mut(name).unwrap_or_else(|| panic!("{name}"))
    }

    /// Changes `capsule.json`.
    fn contents(&mut self, change: impl FnOnce(&mut Value)) {
        let bytes = self.file("capsule.json");
        let mut contents: Value = serde_json::from_slice(bytes).expect("JSON");
        change(&mut contents);
        *bytes = serde_json::to_vec(&contents).expect("JSON");
    }

    pub fn pack(&self, to: &Path) {
        let mut archive = ArchiveWriter::new(Vec::new());
        for (name, bytes) in &self.0 {
            archive.add(&name.parse().expect("a path"), bytes.len() as u64, &mut &bytes[..]).expect("written");
        }
        std::fs::write(to, archive.finish().expect("written")).expect("scratch space");
    }
}

/// Two commitments change places: a key that has every point on the curve, and its own digest.
pub fn another_epoch_key(capsule: &mut Forgery) {
    let key = capsule.file("keys/epoch_4.vk");
    let at = key.len() - 64;
    key[at..].rotate_left(32);
    let read = EpochVerifyingKey::read(&mut &key[..]).expect("a key");
    let digest = from_fr(&read.digest()).to_string();
    capsule.contents(|c| c["epochs"][0]["key"] = json!(digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_capsule_counts() {
    let made = Made::new().await;
    let (honest, forged) = (made.path("honest.capsule"), made.path("forged.capsule"));
    made.capsule("honest.capsule").must();
    let try_with = |change: &dyn Fn(&mut Forgery)| {
        let mut forgery = Forgery::of(&honest);
        change(&mut forgery);
        forgery.pack(&forged);
        verify(&forged, &["--k", "1"])
    };
    let refused = |name: &str, reason: &str, change: &dyn Fn(&mut Forgery)| {
        let answer = try_with(change);
        let said = answer.refused(1);
        assert!(said.contains(&format!("check failed: {name}")) && said.contains(reason), "{name}: {answer:#?}");
    };
    try_with(&|_| ()).must();
    // Who made it changes nothing.
    let other = format!("0x{}", "11".repeat(32));
    let answer = try_with(&|capsule| capsule.contents(|c| c["cairn"]["sha256"] = json!(other))).must();
    assert!(check(&answer, "capsule").contains("made by another program"));

    // The archive.
    refused("capsule", "run/more.bin is not a file of a capsule", &|capsule| {
        drop(capsule.0.insert("run/more.bin".to_owned(), vec![1]));
    });
    refused("capsule", "chain/proof.json is missing", &|capsule| drop(capsule.0.remove("chain/proof.json")));
    refused("capsule", "unknown field `more`", &|capsule| capsule.contents(|c| c["more"] = json!(1)));
    refused("capsule", "expected format version 1, got 2", &|capsule| capsule.contents(|c| c["v"] = json!(2)));
    let bytes = std::fs::read(&honest).expect("a capsule");
    std::fs::write(&forged, &bytes[..bytes.len() - 512]).expect("scratch space");
    assert!(verify(&forged, &[]).refused(1).contains("check failed: capsule: archive: expected"));

    // The run.
    refused("capsule", "run: expected 0x0000", &|capsule| {
        capsule.contents(|c| c["run"] = json!(format!("0x{:064x}", 7)));
    });
    refused("log", "steps.jsonl", &|capsule| capsule.file("run/steps.jsonl")[300] ^= 1);
    refused("log", "step_000003.proof", &|capsule| capsule.file("run/proofs/step_000003.proof")[9] ^= 1);
    refused("manifest", "", &|capsule| capsule.file("run/run_manifest.json")[50] ^= 1);
    refused("capsule", "size, root, manifest", &|capsule| capsule.contents(|c| c["size"] = json!(7)));

    // The keys: damaged, others of the same shape, made for another reference string.
    refused("step key", "begins with", &|capsule| capsule.file("keys/step.vk")[1] ^= 1);
    refused("step key", "", &|capsule| capsule.file("keys/step.vk")[40] ^= 1);
    refused("step key", "bytes behind it", &|capsule| capsule.file("keys/step.vk").push(0));
    refused("epoch key", "", &|capsule| capsule.file("keys/epoch_4.vk")[300] ^= 1);
    refused("epoch key", "no layout of an epoch circuit", &|capsule| {
        let key = capsule.file("keys/epoch_4.vk");
        let at = key.windows(12).position(|part| part == b"\"num_fixed\":").expect("the layout") + 12;
        key[at] = b'0';
    });
    refused("epoch proofs", "epoch 0", &another_epoch_key);
    let ptau = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/srs/powers7.ptau");
    let label: SrsLabel = "ceremony".parse().expect("a label");
    let ceremony = srs::ptau::import(&ptau, SrsSize::new(4).expect("a size"), label, &srs::silent).expect("a ceremony");
    let tau_h = hex::encode(SrsVerifier::from(&ceremony).to_bytes());
    refused("step proofs", "", &|capsule| capsule.contents(|c| c["srs"]["tau_h"] = json!(tau_h)));
    refused("step key", "tau H is a coordinate of the field's order or above", &|capsule| {
        capsule.contents(|c| c["srs"]["tau_h"] = json!("ff".repeat(128)));
    });

    // The chain.
    for name in ["chain/anchor.code", "chain/registry.code", "chain/verifier_4.code"] {
        refused("state proof", "", &|capsule| capsule.file(name)[90] ^= 1);
    }
    refused("state proof", "the capsule is of block 1 ", &|capsule| {
        capsule.contents(|c| c["block"]["number"] = json!(1))
    });
    refused("state proof", "contract 0x0101", &|capsule| {
        capsule.contents(|c| c["contract"] = json!(format!("0x{}", "01".repeat(20))));
    });
    refused("state proof", "verifier of 4 steps", &|capsule| {
        capsule.contents(|c| c["epochs"][0]["verifier"] = json!(format!("0x{}", "01".repeat(20))));
    });
    refused("state proof", "", &|capsule| {
        let mut state: Value = serde_json::from_slice(capsule.file("chain/proof.json")).expect("JSON");
        state["accounts"][0]["slots"][3]["value"] = json!("0x7");
        *capsule.file("chain/proof.json") = serde_json::to_vec(&state).expect("JSON");
    });

    // Sources and code.
    refused("contract sources", "RunAnchor.sol", &|capsule| capsule.file("contracts/src/RunAnchor.sol").push(b' '));
    refused("verifier code", "is not what the key gives", &|capsule| {
        capsule.file("contracts/verifiers/EpochVerifier4.sol").push(b' ');
    });

    // Bytes of a stranger.
    let mut capsule = Forgery::of(&honest);
    exercise(bodies::state_proof, &[capsule.file("chain/proof.json").clone()], 2_000);
}
