//! The real run of `testdata/anchor` as a bundle, its events as a chain gives them, and its keys.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use audit::{AuditError, EpochCircuit, EpochVerifyingKey, Keys, StepKey, circuit::selector};
use chain::{AnchorEvent, AnchorLog, Announcement, BundleEvent, EpochEvent, Head, LogPlace, Registration};
use circuits::{keys::StepVerifyingKey, notes::step_shape};
use ledger::{Address, Digest, RunDescription, TreeSize};
use portal::index::{Batch, Index, RunEntry, Source, SourceKey};
use srs::{SrsSize, SrsVerifier};
use store::{
    ArtifactCache, CacheKey, ProofFiles, RunDir, RunWriter, VerifiedLog,
    layout::{RunFile, run_dir_name},
};

use super::history::{block, tx};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor");

/// The run as it is kept, without anchors and manifest.
pub struct Kept {
    pub dir: RunDir,
    pub log: VerifiedLog,
}

pub static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let dir = RunDir::open(Path::new(TESTDATA).join("run")).expect("a run");
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    Kept { dir, log }
});

/// Made once: it takes seconds.
static STEP_KEY: LazyLock<(StepVerifyingKey, SrsVerifier)> = LazyLock::new(|| {
    let shape = step_shape(KEPT.run()).expect("a shape");
    let srs = srs::dev::generate(SrsSize::new(shape.k).expect("a size"), &srs::silent).expect("the string");
    (StepVerifyingKey::generate(srs.params(), &shape).expect("a key"), SrsVerifier::from(&srs))
});

static EPOCH_KEY: LazyLock<Arc<EpochVerifyingKey>> = LazyLock::new(|| {
    let cache = ArtifactCache::open(TESTDATA).expect("a directory");
    let key = cache.read(&CacheKey::new("epoch_key.vk").expect("a key"), |mut source| {
        EpochVerifyingKey::read(&mut source).map_err(std::io::Error::other)
    });
    Arc::new(key.expect("the kept key").expect("it is there"))
});

/// The run's keys, and how often the step key was asked for.
#[derive(Default)]
pub struct KeptKeys {
    pub n_asked: AtomicUsize,
}

impl Keys for KeptKeys {
    fn step(&self, run: &RunDescription) -> Result<StepKey, AuditError> {
        self.n_asked.fetch_add(1, Ordering::SeqCst);
        audit::keys::check_policy(run)?;
        let (key, srs) = STEP_KEY.clone();
        audit::keys::check_step_key(run, &key)?;
        Ok(StepKey { key, srs, whole: None })
    }

    fn epoch(&self, _: &StepKey, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError> {
        assert_eq!((circuit.n_steps, circuit.wrap_k), (4, None), "the kept key is of this circuit");
        Ok(EPOCH_KEY.clone())
    }
}

impl Kept {
    pub fn run(&self) -> &RunDescription {
        self.dir.run().description()
    }

    pub fn name(&self) -> String {
        run_dir_name(self.run().run)
    }

    /// A copy with its manifest in a folder.
    pub fn put(&self, folder: &Path) -> PathBuf {
        let run = folder.join(self.name());
        for part in ["", "proofs", "epochs"] {
            fs::create_dir_all(run.join(part)).expect("scratch space");
            for entry in fs::read_dir(self.dir.path().join(part)).expect("a directory") {
                let entry = entry.expect("an entry");
                if entry.file_type().expect("a kind").is_file() {
                    fs::copy(entry.path(), run.join(part).join(entry.file_name())).expect("scratch space");
                }
            }
        }
        write_manifest(&run);
        run
    }

    pub fn source(&self) -> Source {
        Source {
            chain: self.run().identity.chain_id,
            contract: self.run().identity.contract,
            attestations: None,
            first_block: 0,
        }
    }

    fn at(&self, number: u64, event: AnchorEvent) -> AnchorLog {
        AnchorLog {
            place: LogPlace { block: block(0, number), log_index: 0, tx: tx(number) },
            run: self.run().run,
            event,
        }
    }

    pub fn registration(&self) -> Registration {
        let run = self.run();
        Registration {
            salt: run.identity.salt,
            selector: selector(run.policy.step_key_digest, None),
            genesis_state: run.genesis_state,
            policy_digest: run.policy_digest,
            parent: run.parent,
        }
    }

    pub fn registered(&self, number: u64, registration: Registration) -> AnchorLog {
        self.at(number, AnchorEvent::Registered { owner: self.run().identity.owner, registration })
    }

    pub fn anchored(&self, number: u64, epoch: usize) -> AnchorLog {
        let record = &self.log.epochs[epoch];
        let hashes = self.log.log.record_hashes(record.first_step, record.n_steps()).expect("they are there");
        self.at(
            number,
            AnchorEvent::Anchored(EpochEvent {
                run: self.run().run,
                counter: epoch as u64 + 1,
                first_step: record.first_step,
                size: record.size_after(),
                state_in: record.state_in,
                state_out: record.state_out,
                root: record.root_after,
                verifier: Address([0x0b; 20]),
                submitter: self.run().identity.owner,
                digests: record.digests.clone(),
                record_hashes: hashes.to_vec(),
                block: number,
                tx: tx(number),
            }),
        )
    }

    pub fn announced(&self, number: u64, manifest_digest: Digest) -> AnchorLog {
        let announcement = Announcement {
            size: self.log.log.size(),
            manifest_digest,
            infohash_v1: [2; 20],
            infohash_v2: Digest([3; 32]),
        };
        let announcer = self.run().identity.owner;
        self.at(number, AnchorEvent::Announced(BundleEvent { announcement, announcer, block: number, tx: tx(number) }))
    }

    /// What the contract says after so many epochs.
    pub fn head(&self, number: u64, n_epochs: usize) -> Head {
        let last = n_epochs.checked_sub(1).map(|last| &self.log.epochs[last]);
        Head {
            root: last.map_or_else(ledger::tree::empty_root, |last| last.root_after),
            state: last.map_or(self.run().genesis_state, |last| last.state_out),
            counter: n_epochs as u64,
            size: last.map_or(TreeSize(0), |last| last.size_after()),
            anchored_at: 0,
            finalized: false,
            block: block(0, number).at,
        }
    }
}

/// Writes a manifest over whatever files a run's directory has.
pub fn write_manifest(run: &Path) {
    let (mut writer, _) = RunWriter::open(run).expect("a run");
    writer.write_manifest().expect("a manifest");
}

/// Digest of a run's manifest.
pub fn manifest_of(run: &Path) -> Digest {
    Digest::of(&fs::read(RunFile::Manifest.path(run)).expect("a manifest"))
}

/// Takes events of blocks up to `to` into the index, and lets the contract confirm so many epochs.
pub async fn add(index: &Index, after: Option<u64>, to: u64, logs: Vec<AnchorLog>, n_epochs: usize) -> SourceKey {
    let source = index.source(&KEPT.source()).await.unwrap();
    let batch = Batch { after: after.map(|number| block(0, number).at), to: block(0, to), logs };
    index.apply(source, &batch).await.unwrap();
    let run = entry(index).await;
    index.confirm(run.key, block(0, to).at, Some(&KEPT.head(to, n_epochs)), false).await.unwrap();
    source
}

/// The run in an index.
pub async fn entry(index: &Index) -> RunEntry {
    let mut runs = index.runs_by_id(KEPT.run().run).await.unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}
