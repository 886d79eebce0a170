//! One function a format that strangers write: whatever the bytes, it returns, and what is accepted has one spelling.
//!
//! The fuzz targets call these with libFuzzer; `cli/tests/it/formats.rs` calls them on stable with a seeded mutator.

use std::io::Write;
use std::sync::LazyLock;

use chain::StateProof;
use circuits::convert::to_fr;
use circuits::keys::{StepProvingKey, StepVerifyingKey};
use circuits::linked::RunSecret;
use circuits::reference::{State, StepConstants};
use circuits::step::shape::StepShape;
use circuits::step::witness::{StepTag, StepWitness, instances};
use ledger::{
    AnchorLog, ChainHead, Checkpoint, FieldElement, Gate, Hyper, Manifest, Rule, SealedEpoch, SealedRecord, SealedRun,
};
use prover::weights::Opening;
use rand_core::OsRng;
use srs::{Srs, SrsCache, SrsLabel, SrsSize};
use store::{Archive, ArchiveWriter};
use torrent::bencode::{self, Limits};
use torrent::{InfohashV1, InfohashV2, Magnet, Metadata, Metainfo};

/// A run to which the records of `steps.jsonl` are chained.
const RUN: &[u8] = include_bytes!("../../testdata/anchor/run/run.json");

/// `steps.jsonl`: lines of records, each chained to the one before.
pub fn steps_jsonl(data: &[u8]) {
    let run = SealedRun::parse(RUN).expect("the committed run is one");
    let mut head = ChainHead::genesis(&run);
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(record) = SealedRecord::parse(line) else { return };
        assert_eq!(record.bytes(), line, "a record has one spelling");
        if head.extend(&record).is_err() {
            return;
        }
    }
}

/// `run.json`.
pub fn run_json(data: &[u8]) {
    if let Ok(run) = SealedRun::parse(data) {
        assert_eq!(run.bytes(), data, "a description has one spelling");
    }
}

/// `run_manifest.json`: no path leads out of the run's directory.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else { return };
    assert_eq!(manifest.encode().expect("it was parsed"), data, "a manifest has one spelling");
    for entry in manifest.files() {
        let path = std::path::Path::new(entry.path.as_str());
        let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(inside && path.is_relative(), "{} leads out", entry.path);
    }
}

/// Bencode: what is read is written the same.
pub fn bencode(data: &[u8]) {
    let limits = Limits { bytes: 1 << 20, depth: 40, values: 1 << 16 };
    if let Ok(value) = bencode::decode(data, limits) {
        assert_eq!(bencode::encode(&value), data, "a value has one spelling");
    }
}

/// `.torrent`: no path leads out of the directory, and the infohashes are those of the bytes.
pub fn torrent(data: &[u8]) {
    let Ok(torrent) = Metainfo::parse(data) else { return };
    assert_eq!(torrent.as_bytes(), data);
    let metadata = torrent.metadata();
    info(metadata.as_bytes());
    assert!(data.windows(metadata.as_bytes().len()).any(|part| part == metadata.as_bytes()));
    let root = std::path::Path::new("root");
    for file in torrent.files().files() {
        let path = file.path.below(root);
        let inside = path.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(inside && path.starts_with(root) && path != root, "{} leads out", file.path);
    }
    let link: Magnet = torrent.magnet().to_string().parse().expect("what was written is read");
    assert_eq!(link, torrent.magnet());
}

/// The info dictionary that a peer sends.
pub fn info(data: &[u8]) {
    let Ok(metadata) = Metadata::parse(data) else { return };
    assert_eq!(metadata.as_bytes(), data);
    assert_eq!(metadata.infohash_v1(), InfohashV1::of(data));
    assert_eq!(metadata.infohash_v2(), InfohashV2::of(data));
}

/// A magnet link.
pub fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(link) = text.parse::<Magnet>() else { return };
    let again: Magnet = link.to_string().parse().expect("what was written is read");
    assert_eq!(again, link);
}

/// `checkpoint`.
pub fn checkpoint(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::parse(data) {
        assert_eq!(checkpoint.to_string().as_bytes(), data, "a checkpoint has one spelling");
    }
}

/// `epochs/epoch_NNNN.json`.
pub fn epoch_json(data: &[u8]) {
    let Ok(epoch) = SealedEpoch::parse(data) else { return };
    assert_eq!(epoch.bytes(), data, "an epoch has one spelling");
    let record = epoch.record();
    assert_eq!(record.n_steps(), record.digests.len() as u64);
    assert!(record.n_steps().is_power_of_two());
    record.instances();
}

/// `anchors.json`.
pub fn anchors_json(data: &[u8]) {
    if let Ok(anchors) = AnchorLog::parse(data) {
        assert_eq!(anchors.encode().expect("it was parsed"), data, "anchors have one spelling");
    }
}

/// A gate's file.
pub fn gate_json(data: &[u8]) {
    if let Ok(gate) = Gate::parse(data) {
        assert!(gate.check(None, FieldElement::from(0)).is_err(), "an unknown run passes no gate");
    }
}

/// A capsule's container: what is opened is written the same.
pub fn archive(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("scratch space");
    file.write_all(data).expect("scratch space");
    let Ok(archive) = Archive::open(file.path()) else { return };
    let mut again = ArchiveWriter::new(Vec::new());
    for name in archive.paths() {
        let bytes = archive.read(name, data.len() as u64).expect("it is in there");
        let path = name.parse().expect("it was read");
        again.add(&path, bytes.len() as u64, &mut &bytes[..]).expect("it was read");
    }
    assert_eq!(again.finish().expect("it was read"), data, "an archive has one spelling");
}

/// Header, accounts and slots of a block.
pub fn state_proof(data: &[u8]) {
    let Ok(proof) = StateProof::parse(data) else { return };
    assert_eq!(proof.to_bytes().expect("it was read"), data, "a proof has one spelling");
    // Whether it holds or not: no panic.
    drop(proof.verify());
}

/// A step key of the small circuit, by offset and what is written there as in [`step_proof`].
pub fn step_key(data: &[u8]) {
    let step = &*STEP;
    let Some(bytes) = patched(&step.key.to_bytes(), data) else { return };
    let Ok(key) = StepVerifyingKey::from_bytes(&bytes, step.key.shape()) else { return };
    let again = StepVerifyingKey::from_bytes(&key.to_bytes(), key.shape()).expect("what was written is read");
    assert_eq!(again.digest(), key.digest());
    assert_eq!(key.digest() == step.key.digest(), key.to_bytes() == step.key.to_bytes(), "another key, another digest");
}

/// The opening of a state.
pub fn opening_json(data: &[u8]) {
    let Ok(opening) = serde_json::from_slice::<Opening>(data) else { return };
    let step = &*STEP;
    let refused = opening.check(step.srs.params(), &step.key, 1, FieldElement::from(1), vec![0; N_PARAMS]);
    assert!(refused.is_err(), "no state has the digest 1");
}

/// A `.ptau` file.
pub fn ptau(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("scratch space");
    file.write_all(data).expect("scratch space");
    let Ok(info) = srs::ptau::info(file.path()) else { return };
    assert!(info.power <= info.ceremony_power.max(info.power));
    // All of a small string: points, pairings, Lagrange bases.
    let size = SrsSize::new(info.power.min(4)).ok();
    let label = "fuzz".parse::<SrsLabel>().expect("a label");
    if let Some(size) = size {
        drop(srs::ptau::import(file.path(), size, label, &srs::silent));
    }
}

/// Parameters of the small circuit.
const N_PARAMS: usize = 5;

/// Whether a proof is accepted for the honest statement.
type Accepts = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A small circuit, an honest step and its proof.
struct Step {
    srs: Srs,
    key: StepVerifyingKey,
    accepts: Accepts,
    proof: Vec<u8>,
}

static STEP: LazyLock<Step> = LazyLock::new(|| {
    let size = SrsSize::new(10).expect("a size");
    let cache = tempfile::tempdir().expect("scratch space");
    let label = "dev".parse::<SrsLabel>().expect("a label");
    let srs = SrsCache::new(cache.path().to_owned()).get(&label, size, &srs::silent).expect("a development string");
    let shape = StepShape::at(Rule::Sgd, N_PARAMS, 10, 8).expect("the small shape exists");
    let key = StepProvingKey::generate(srs.params(), &shape).expect("a small key");
    let hyper = Hyper { beta1: 3_865_470_566, beta2: 0, eps: 0, lr: 214_748_365, weight_decay: 42_949_673 };
    let (state, gradient) = (State::fresh(vec![1 << 20; N_PARAMS]), vec![-3 << 18; N_PARAMS]);
    let (_, schedule) = state.step(Rule::Sgd, true, &hyper, &gradient).expect("in range");
    let constants = StepConstants::new(Rule::Sgd, true, &hyper, &schedule);
    let run = to_fr(FieldElement::from(1));
    let statement = instances(&StepTag { run, step: 0, chunk: 0 }, &constants);
    let witness = StepWitness::honest(&shape, constants, &state, &gradient).expect("in range");
    let secret = RunSecret([9; 32]);
    let seed = |state| secret.state_seed(&run, state).column_seed(0);
    let proof = key.prove(srs.params(), witness, &statement, (&seed(0), &seed(1)), OsRng).expect("a small proof");
    let (verifying, params) = (key.verifying_key(), srs.params().clone());
    let accepts = Box::new(move |proof: &[u8]| verifying.verify(&params, &statement, proof).is_ok());
    Step { key: key.verifying_key(), srs, accepts, proof }
});

/// A step proof. `data` is an offset of two bytes and what is written there, or a whole proof if it is as long as one:
/// nothing but the honest proof is accepted for the honest statement.
pub fn step_proof(data: &[u8]) {
    let step = &*STEP;
    let Some(proof) = patched(&step.proof, data) else { return };
    drop(step.key.points(&proof));
    let accepted = (step.accepts)(&proof);
    assert_eq!(accepted, proof == step.proof, "the honest proof and no other is accepted");
}

/// `data` is an offset of two bytes and what is written there, or all of it if it is as long; none if it is neither.
fn patched(honest: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    if data.len() >= honest.len() {
        return Some(data.to_vec());
    }
    let (at, bytes) = data.split_at_checked(2)?;
    let at = usize::from(u16::from_be_bytes([at[0], at[1]])) % honest.len();
    let mut changed = honest.to_vec();
    changed.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
    Some(changed)
}
