//! Bundles that passed every check, opened when something of them is asked for.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use audit::{
    AuditError, EpochCircuit, EpochVerifyingKey, Facts, StepKey, evidence::EarlierRoot, evidence::StepEvidence,
};
use ledger::{
    ArtifactPath, Digest, Manifest, MerkleTree, RunDescription, SealedRecord, StepIndex, TreeError, TreeSize,
    manifest::MANIFEST_NAME,
};
use store::{Disk, FileSystem, ProofFiles, RunDir, StoreError, VerifiedLog, layout::RunFile};
use tokio::{sync::Mutex as AsyncMutex, task, task::JoinError};

use super::{Fetches, SharedKeys, Traffic, Uploads, torrent::TorrentFile};
use crate::index::RunKey;

/// Bundles that are kept open: their logs' hashes are in memory.
const MAX_OPEN: usize = 16;

/// Why something of a bundle cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The files cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or evidence could not be made.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A proof of the tree could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Reading broke off.
    #[error("reading broke off: {0}")]
    Task(#[from] JoinError),
    /// The file cannot be read.
    #[error("{name}: {source}")]
    Io {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The files cannot be made a torrent.
    #[error("torrent: {reason}")]
    Torrent {
        /// Why.
        reason: String,
    },
    /// The file is another than when it was checked.
    #[error("{name}: SHA-256: expected {expected}, got {got}")]
    Changed {
        /// The file.
        name: String,
        /// By the manifest.
        expected: Digest,
        /// Of the file.
        got: Digest,
    },
}

/// Bundles that passed.
pub struct Shelf {
    keys: SharedKeys,
    inner: Mutex<Inner>,
    /// One is opened at a time.
    opening: AsyncMutex<()>,
    uploads: Option<Uploads>,
    fetches: Option<Arc<Fetches>>,
    traffic: OnceLock<Arc<Traffic>>,
}

#[derive(Default)]
struct Inner {
    here: BTreeMap<String, Here>,
    /// The last used one last.
    open: Vec<Arc<OpenBundle>>,
}

/// Where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Here {
    run: RunKey,
    path: PathBuf,
    manifest: Digest,
}

/// A bundle that passed, with what is needed to answer from it.
pub struct OpenBundle {
    here: Here,
    dir: RunDir,
    manifest: Manifest,
    /// Bytes of `run_manifest.json`.
    manifest_len: u64,
    log: VerifiedLog,
    kept: Mutex<KeptKeys>,
    torrent: Mutex<Option<Arc<TorrentFile>>>,
    keys: SharedKeys,
}

/// Keys that were asked for, without the reference string they were made with.
#[derive(Default)]
struct KeptKeys {
    step: Option<Arc<StepKey>>,
    epochs: BTreeMap<EpochCircuit, Arc<EpochVerifyingKey>>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Which.
    pub file: RunFile,
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its length.
    pub len: u64,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    pub(super) fn new(keys: SharedKeys, uploads: Option<Uploads>, fetches: Option<Arc<Fetches>>) -> Self {
        Self {
            keys,
            inner: Mutex::default(),
            opening: AsyncMutex::default(),
            uploads,
            fetches,
            traffic: OnceLock::new(),
        }
    }

    /// What was fetched; none if nothing is.
    pub fn fetches(&self) -> Option<&Fetches> {
        self.fetches.as_deref()
    }

    /// What takes uploads; none if none are taken.
    pub fn uploads(&self) -> Option<&Uploads> {
        self.uploads.as_ref()
    }

    /// What was exchanged with a store; none if there is none.
    pub fn traffic(&self) -> Option<&Traffic> {
        self.traffic.get().map(|traffic| &**traffic)
    }

    pub(super) fn count(&self, traffic: Arc<Traffic>) {
        self.traffic.get_or_init(|| traffic);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a bundle that passed.
    pub(super) fn put(&self, name: &str, run: RunKey, path: &Path, manifest: Digest, facts: Option<Facts>) {
        let here = Here { run, path: path.to_owned(), manifest };
        // Files that are served are read as long as connections are open, so not by the queue's disk.
        let opened = facts.and_then(|facts| {
            let dir = RunDir::open(path).ok()?;
            let key = StepKey { whole: None, ..facts.step };
            let len = facts.files.manifest.encode().ok()?.len() as u64;
            Some(self.bundle(here.clone(), dir, (facts.files.manifest, len), facts.log, Some(key)))
        });
        let mut inner = self.inner();
        inner.here.insert(name.to_owned(), here);
        if let Some(opened) = opened {
            inner.keep(opened);
        }
    }

    /// Takes a bundle away.
    pub(super) fn remove(&self, name: &str) {
        let mut inner = self.inner();
        if let Some(gone) = inner.here.remove(name) {
            inner.open.retain(|open| open.here != gone);
        }
    }

    fn bundle(
        &self,
        here: Here,
        dir: RunDir,
        (manifest, manifest_len): (Manifest, u64),
        log: VerifiedLog,
        key: Option<StepKey>,
    ) -> Arc<OpenBundle> {
        let kept = Mutex::new(KeptKeys { step: key.map(Arc::new), epochs: BTreeMap::new() });
        Arc::new(OpenBundle {
            here,
            dir,
            manifest,
            manifest_len,
            log,
            kept,
            torrent: Mutex::default(),
            keys: self.keys.clone(),
        })
    }

    /// The bundle of a run that passed; none if there is none.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read any more.
    pub async fn of(self: &Arc<Self>, run: RunKey) -> Result<Option<Arc<OpenBundle>>, ShelfError> {
        let _one = self.opening.lock().await;
        let here = {
            let mut inner = self.inner();
            let Some(here) = inner.here.values().find(|here| here.run == run).cloned() else { return Ok(None) };
            if let Some(at) = inner.open.iter().position(|open| open.here == here) {
                let open = inner.open.remove(at);
                inner.open.push(open.clone());
                return Ok(Some(open));
            }
            here
        };
        let shelf = self.clone();
        let opened = task::spawn_blocking(move || shelf.open(here)).await??;
        self.inner().keep(opened.clone());
        Ok(Some(opened))
    }

    fn open(&self, here: Here) -> Result<Arc<OpenBundle>, ShelfError> {
        let dir = RunDir::open(&here.path)?;
        let manifest = dir.manifest()?;
        let encoded = manifest.encode().map_err(|source| StoreError::Manifest { path: here.path.clone(), source })?;
        let got = Digest::of(&encoded);
        if got != here.manifest {
            return Err(ShelfError::Changed { name: MANIFEST_NAME.to_owned(), expected: here.manifest, got });
        }
        let log = dir.verify_log(ProofFiles::Skip)?;
        Ok(self.bundle(here, dir, (manifest, encoded.len() as u64), log, None))
    }
}

impl Inner {
    fn keep(&mut self, opened: Arc<OpenBundle>) {
        self.open.retain(|open| open.here != opened.here);
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(opened);
    }
}

impl fmt::Debug for OpenBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBundle").field("here", &self.here).finish_non_exhaustive()
    }
}

impl OpenBundle {
    /// Digest of its manifest.
    pub fn manifest(&self) -> Digest {
        self.here.manifest
    }

    /// Its files.
    pub fn files(&self) -> &Manifest {
        &self.manifest
    }

    /// Its log.
    pub fn log(&self) -> &VerifiedLog {
        &self.log
    }

    /// The run's description.
    pub fn run(&self) -> &RunDescription {
        self.dir.run().description()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its `.torrent`. The first time all files are hashed.
    ///
    /// # Errors
    /// [`ShelfError::Torrent`].
    pub fn torrent(&self) -> Result<Arc<TorrentFile>, ShelfError> {
        let mut kept = self.torrent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(torrent) = &*kept {
            return Ok(torrent.clone());
        }
        let made = Arc::new(TorrentFile::of(self, self.manifest_len)?);
        *kept = Some(made.clone());
        Ok(made)
    }

    /// The record of a step.
    ///
    /// # Errors
    /// [`ShelfError::Store`].
    pub fn record(&self, step: StepIndex) -> Result<SealedRecord, ShelfError> {
        Ok(self.dir.record(&self.log.log, step)?)
    }

    /// A file that the manifest lists, or the manifest; none of any other name.
    pub fn file(&self, name: &str) -> Option<BundleFile> {
        let file = RunFile::parse(name)?;
        let path = self.dir.file(file);
        if file == RunFile::Manifest {
            return Some(BundleFile { file, path, sha256: self.here.manifest, len: self.manifest_len });
        }
        let entry = self.manifest.find(&name.parse::<ArtifactPath>().ok()?)?;
        Some(BundleFile { file, path, sha256: entry.sha256, len: entry.len })
    }

    /// Evidence of a step under the root over all leaves of `tree`, which is the chain's: it may be of more steps than the
    /// bundle has. Making the key takes seconds.
    ///
    /// # Errors
    /// [`ShelfError`].
    pub fn evidence(
        &self,
        step: StepIndex,
        tree: &MerkleTree,
        earlier: &[TreeSize],
    ) -> Result<StepEvidence, ShelfError> {
        let key = self.step_key()?;
        let of = (step, self.log.log.size());
        let epoch_key = |circuit: &EpochCircuit| self.epoch_key(circuit);
        let mut evidence = StepEvidence::of(&self.dir, &self.log, of, &[], &key, epoch_key)?;
        let size = tree.size();
        (evidence.root, evidence.inclusion) = (tree.root(), tree.prove_inclusion(step, size)?);
        for old in earlier {
            let proof = tree.prove_consistency(*old, size)?;
            evidence.earlier.push(EarlierRoot { root: tree.root_at(*old)?, proof });
        }
        Ok(evidence)
    }

    fn step_key(&self) -> Result<Arc<StepKey>, ShelfError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &kept.step {
            return Ok(key.clone());
        }
        let made = Arc::new(StepKey { whole: None, ..self.keys.step(self.run())? });
        kept.step = Some(made.clone());
        Ok(made)
    }

    /// The key of the bundle's epochs of a circuit: one that the check of the bundle left in the cache, read with the step key and
    /// its reference string.
    fn epoch_key(&self, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.epochs.get(circuit) {
            return Ok(key.clone());
        }
        let made = self.keys.epoch(&self.keys.step(self.run())?, circuit)?;
        kept.epochs.insert(circuit.clone(), made.clone());
        Ok(made)
    }
}

impl BundleFile {
    /// Opens the file. Neither it nor the folder that it is in may be a link by now.
    ///
    /// # Errors
    /// [`ShelfError::Io`].
    pub fn open(&self) -> Result<Box<dyn Read + Send>, ShelfError> {
        let failed = |source| ShelfError::Io { name: self.name(), source };
        let above = self.path.parent().unwrap_or(Path::new("."));
        if !fs::symlink_metadata(above).map_err(failed)?.is_dir() {
            return Err(failed(io::Error::other("the folder is not a directory any more")));
        }
        Disk.open(&self.path).map_err(failed)
    }

    /// The whole file, if it is what the manifest says.
    ///
    /// # Errors
    /// [`ShelfError::Io`], [`ShelfError::Changed`].
    pub fn read(&self) -> Result<Vec<u8>, ShelfError> {
        let mut bytes = Vec::new();
        let source = self.open()?;
        source
            .take(self.len.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| ShelfError::Io { name: self.name(), source })?;
        let got = Digest::of(&bytes);
        if got == self.sha256 {
            Ok(bytes)
        } else {
            Err(ShelfError::Changed { name: self.name(), expected: self.sha256, got })
        }
    }

    /// Its name in the bundle.
    pub fn name(&self) -> String {
        self.file.relative()
    }
}
