//! A run with made-up proofs, driven to its end from wherever it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::canonical::V1;
use ledger::*;
use store::{Disk, FileSystem, RunDir, RunWriter, StepDraft, StoreError};

/// A digest that differs for every label.
pub fn digest(label: &str) -> Digest {
    Digest::of(label.as_bytes())
}

/// A field element that differs for every label.
pub fn element(label: &str) -> FieldElement {
    FieldElement::from_digest(digest(label))
}

/// Bytes in the range of a point; not on the curve, which nothing here checks.
pub fn point(label: &str) -> CurvePoint {
    let (x, y) = (element(&format!("{label} x")), element(&format!("{label} y")));
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(x.as_bytes());
    bytes[32..].copy_from_slice(y.as_bytes());
    CurvePoint::from_bytes(bytes).expect("coordinates below 2^253 are below q")
}

/// A run with `n_chunks` chunks a step and epochs of 4; `salt` tells runs apart.
pub fn run(n_chunks: u32, salt: u8) -> SealedRun {
    let layout = Layout::contiguous([("w", vec![3, 4]), ("b", vec![3])]).expect("a valid layout");
    let identity = RunIdentity {
        chain_id: ChainId(31337),
        contract: Address([1; 20]),
        owner: Address([2; 20]),
        salt: Salt([salt; 32]),
    };
    let description = RunDescription {
        dataset: None,
        epoch_len: EpochLen::from_log(2).expect("4 steps"),
        genesis_state: element("state -1"),
        identity,
        notes: BTreeMap::new(),
        parent: None,
        policy: Policy {
            beta1: 1,
            beta2: 2,
            eps: 3,
            format: NumberFormat::Q24,
            layout_digest: layout.digest().expect("small numbers"),
            lr_max: 100,
            n_chunks,
            n_params: 15,
            rule: Rule::AdamW,
            step_key_digest: element("step key"),
            weight_decay: 0,
        },
        layout,
        policy_digest: element("policy"),
        run: identity.run_id(),
        srs: SrsLabel::development(digest("srs")),
        v: V1,
    };
    description.seal().expect("a valid description")
}

/// The honest continuation of `head`. `attempt` changes the proof bytes, as blinding does.
pub fn draft(run: &SealedRun, head: &ChainHead, attempt: u32) -> (StepDraft, Vec<Vec<u8>>) {
    let Policy { beta1, beta2, eps, weight_decay, lr_max, n_chunks, .. } = run.description().policy;
    let step = head.next_step();
    let commitments = |chunk: usize| ChunkCommitments {
        gradient: point(&format!("gradient {step} {chunk}")),
        input: head.outputs().map_or(point(&format!("genesis {chunk}")), |outputs| outputs[chunk]),
        output: point(&format!("output {step} {chunk}")),
    };
    let draft = StepDraft {
        statement: StepStatement {
            chunks: (0..n_chunks as usize).map(commitments).collect(),
            fresh: head.next_is_fresh(),
            hyper: Hyper { beta1, beta2, eps, lr: lr_max, weight_decay },
            run: run.run(),
            schedule: Schedule { a: 6, c: 7, p1: 8, p2: 9 },
            step,
        },
        digest: element(&format!("D {step}")),
        state_out: element(&format!("state {step}")),
        meta: StepMeta { loss: Some(Decimal::from_f64(0.5).expect("finite")), ..StepMeta::default() },
    };
    let proof = |chunk| format!("proof {step} {chunk} attempt {attempt}").into_bytes();
    (draft, (0..n_chunks).map(proof).collect())
}

/// The instances of the next epoch of four steps.
pub fn instances(writer: &RunWriter) -> EpochInstances {
    let first_step = writer.aggregated().next_step();
    let log = writer.log();
    let run = writer.dir().run().description();
    EpochInstances {
        accumulator: std::array::from_fn(|limb| element(&format!("limb {limb} {first_step}"))),
        run: run.run,
        first_step,
        fresh: first_step == StepIndex(0),
        state_in: log.state_before(first_step).expect("in the log"),
        state_out: log.state_after(StepIndex(first_step.0 + 3)).expect("in the log"),
        policy_digest: run.policy_digest,
        digests: log.digests(first_step, 4).expect("in the log").to_vec(),
    }
}

/// The anchor of an epoch.
pub fn anchor(run: &SealedRun, epoch: &EpochRecord) -> Anchor {
    let identity = run.description().identity;
    Anchor {
        block: 100 + epoch.epoch.0,
        chain_id: identity.chain_id,
        contract: identity.contract,
        counter: epoch.epoch.counter(),
        gas: 400_000,
        root: epoch.root_after,
        size: epoch.size_after(),
        state: epoch.state_out,
        tx: TxHash([7; 32]),
    }
}

/// How far a [`drive`] got for sure: what it was told is on disk.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    pub lines: Vec<Vec<u8>>,
    pub epochs: usize,
    pub anchors: usize,
}

/// Creates or continues a run until it has `steps` steps, all full epochs, their anchors and a manifest.
pub fn drive_on(
    fs: Arc<dyn FileSystem>,
    artifacts: &Path,
    run: &SealedRun,
    steps: u64,
    attempt: u32,
    announced: &mut Announced,
) -> Result<(), StoreError> {
    let (mut writer, _) = RunWriter::create_on(fs, artifacts, run)?;
    while writer.log().size().0 < steps {
        let (draft, proofs) = draft(run, writer.log().head(), attempt);
        let appended = writer.append_step(draft, &proofs)?;
        announced.lines.push(appended.record.bytes().to_vec());
    }
    while writer.aggregated().0 + 4 <= steps {
        let proof = format!("epoch proof {} attempt {attempt}", writer.epochs().len());
        let instances = instances(&writer);
        writer.append_epoch(&instances, proof.as_bytes())?;
        announced.epochs = writer.epochs().len();
    }
    for epoch in writer.epochs().to_vec() {
        writer.append_anchor(anchor(run, &epoch))?;
        announced.anchors = epoch.epoch.counter() as usize;
    }
    writer.write_manifest()?;
    Ok(())
}

/// A finished run in a directory of its own.
pub struct Finished {
    pub temp: tempfile::TempDir,
    pub run: SealedRun,
}

impl Finished {
    pub fn new(n_chunks: u32, steps: u64) -> Self {
        let temp = tempdir();
        let run = run(n_chunks, 1);
        let artifacts = temp.path().join("artifacts");
        drive_on(Arc::new(Disk), &artifacts, &run, steps, 0, &mut Announced::default()).expect("a healthy disk");
        Self { temp, run }
    }

    pub fn path(&self) -> PathBuf {
        self.temp.path().join("artifacts").join(store::layout::run_dir_name(self.run.run()))
    }

    pub fn file(&self, relative: &str) -> PathBuf {
        self.path().join(relative)
    }

    pub fn read(&self, relative: &str) -> Vec<u8> {
        std::fs::read(self.file(relative)).expect("a file of the run")
    }

    pub fn write(&self, relative: &str, bytes: &[u8]) {
        std::fs::write(self.file(relative), bytes).expect("a healthy disk");
    }

    pub fn open(&self) -> RunDir {
        RunDir::open(self.path()).expect("a valid description")
    }
}

/// A scratch directory, in memory if there is such a place: these tests write and sync a lot.
pub fn tempdir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a scratch directory")
}
