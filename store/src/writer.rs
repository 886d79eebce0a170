//! Creating and appending to a run; one writer at a time.
//!
//! A step is appended in this order, each write durable before the next begins (spec `log-append`):
//! its proofs, its line, the checkpoint, `merkle_root.txt`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::anchors::Pushed;
use ledger::canonical::V1;
use ledger::checkpoint::MAX_CHECKPOINT_BYTES;
use ledger::{
    Anchor, Checkpoint, Digest, EpochIndex, EpochInstances, EpochRecord, FieldElement, RecordError, SealedRecord,
    SealedRun, StepMeta, StepRecord, StepStatement, TreeSize,
};

use crate::dir::{RunDir, checkpoint_at, root_line};
use crate::error::{Disagreement, StoreError};
use crate::fs::{Disk, EntryKind, FileSystem, TEMPORARY_PREFIX, replace};
use crate::layout::{EPOCHS_DIR, PROOFS_DIR, RunFile, run_dir_name};
use crate::lock::WriterLock;
use crate::log::{LogIndex, Tail, scan};
use crate::recovery::{Recovery, TornLine};
use crate::verify::check_proofs;

/// What the prover knows of a step; the writer adds what ties it to the log.
#[derive(Clone, Debug)]
pub struct StepDraft {
    /// What the proofs claim.
    pub statement: StepStatement,
    /// D_t.
    pub digest: FieldElement,
    /// S, the digest of the state after this step.
    pub state_out: FieldElement,
    /// What the trainer adds.
    pub meta: StepMeta,
}

/// A step that is on disk, and the checkpoint that covers it.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The record.
    pub record: SealedRecord,
    /// The checkpoint after it.
    pub checkpoint: Checkpoint,
}

/// A run's directory, for writing. Holds the run's lock.
#[derive(Debug)]
pub struct RunWriter {
    dir: RunDir,
    log: LogIndex,
    checkpoint: Checkpoint,
    epochs: Vec<EpochRecord>,
    /// Set while a write is under way, and left set if it failed.
    stale: bool,
    _lock: WriterLock,
}

impl RunWriter {
    /// Creates `artifacts/run-<id>/` on the machine's disk, or continues it if it is there already.
    ///
    /// **Errors**: [`StoreError::OtherRun`] if the directory has another description; and as [`Self::open`].
    pub fn create(artifacts: impl AsRef<Path>, run: &SealedRun) -> Result<(Self, Recovery), StoreError> {
        Self::create_on(Arc::new(Disk), artifacts, run)
    }

    /// [`Self::create`] on another file system.
    ///
    /// **Errors**: as [`Self::create`].
    pub fn create_on(
        fs: Arc<dyn FileSystem>,
        artifacts: impl AsRef<Path>,
        run: &SealedRun,
    ) -> Result<(Self, Recovery), StoreError> {
        let root = artifacts.as_ref().join(run_dir_name(run.run()));
        fs.create_dir(&root).map_err(StoreError::io("create", &root))?;
        let lock = WriterLock::take(&root)?;
        let path = RunFile::Run.path(&root);
        match RunDir::open_on(fs.clone(), &root) {
            Ok(dir) if dir.run() == run => {}
            Ok(_) => return Err(StoreError::OtherRun { path }),
            Err(StoreError::Missing { .. }) => {
                replace(&*fs, &path, run.bytes()).map_err(StoreError::io("write", &path))?;
            }
            Err(error) => return Err(error),
        }
        Self::open_locked(fs, root, lock)
    }

    /// Opens a run on the machine's disk and repairs what an interruption left.
    ///
    /// **Errors**: [`StoreError::Locked`] if another writer has it; whatever an interruption cannot explain:
    /// [`StoreError::Record`], [`StoreError::Chain`], [`StoreError::LogShort`], [`StoreError::LogAhead`],
    /// [`StoreError::CheckpointDisagrees`], [`StoreError::RootDisagrees`], [`StoreError::ProofDigest`],
    /// [`StoreError::EpochDisagrees`] …
    pub fn open(dir: impl Into<PathBuf>) -> Result<(Self, Recovery), StoreError> {
        Self::open_on(Arc::new(Disk), dir)
    }

    /// [`Self::open`] on another file system.
    ///
    /// **Errors**: as [`Self::open`].
    pub fn open_on(fs: Arc<dyn FileSystem>, dir: impl Into<PathBuf>) -> Result<(Self, Recovery), StoreError> {
        let root = dir.into();
        let lock = WriterLock::take(&root)?;
        Self::open_locked(fs, root, lock)
    }

    fn open_locked(fs: Arc<dyn FileSystem>, root: PathBuf, lock: WriterLock) -> Result<(Self, Recovery), StoreError> {
        let dir = RunDir::open_on(fs, root)?;
        let mut recovery = Recovery::default();
        finish_creation(&dir, &mut recovery)?;
        check_directories(&dir)?;
        remove_temporary(&dir, &mut recovery)?;
        let (log, checkpoint) = repair_log(&dir, &mut recovery)?;
        let n_epochs = dir.n_epochs()?;
        let mut epochs = Vec::new();
        for epoch in (0..n_epochs).map(EpochIndex) {
            let record = dir.epoch(epoch)?.into_record();
            dir.check_epoch(&record, epoch, epochs.last(), &log)?;
            epochs.push(record);
        }
        Ok((Self { dir, log, checkpoint, epochs, stale: false, _lock: lock }, recovery))
    }

    /// The directory, for reading.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The log.
    pub fn log(&self) -> &LogIndex {
        &self.log
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The epochs, in order.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    /// Number of steps that are in an epoch.
    pub fn aggregated(&self) -> TreeSize {
        self.epochs.last().map_or(TreeSize(0), EpochRecord::size_after)
    }

    /// Appends one step: proofs, then the line, then the checkpoint.
    ///
    /// `proofs` has the bytes of each chunk's proof.
    ///
    /// **Errors**: [`StoreError::Step`] or [`StoreError::StepChain`] if the step does not continue the run, and
    /// nothing was written; [`StoreError::Io`] if a write failed, and then [`StoreError::Stale`] until the run
    /// is opened again.
    pub fn append_step(&mut self, draft: StepDraft, proofs: &[Vec<u8>]) -> Result<Appended, StoreError> {
        self.check_usable()?;
        let StepDraft { statement, digest, state_out, meta } = draft;
        let step = statement.step;
        let (expected, got) = (statement.chunks.len(), proofs.len());
        if expected != got {
            let source = RecordError::ProofCount { step, expected, got };
            return Err(StoreError::Step { step, source });
        }
        let record = StepRecord {
            digest,
            meta,
            prev: self.log.head().last_record(),
            proofs: proofs.iter().map(|proof| Digest::of(proof)).collect(),
            state_out,
            statement,
            v: V1,
        };
        let record = record.seal().map_err(|source| StoreError::Step { step, source })?;
        // The chain is checked on a copy of the head: the log itself moves only once the line is on disk.
        self.log.head().clone().extend(&record)?;

        self.stale = true;
        let fs = &*self.dir.fs;
        for ((chunk, _), proof) in record.record().proofs().zip(proofs) {
            let path = self.dir.file(RunFile::proof(step, chunk, self.dir.n_chunks()));
            replace(fs, &path, proof).map_err(StoreError::io("write", &path))?;
        }
        let path = self.dir.file(RunFile::Steps);
        let line = [record.bytes(), b"\n"].concat();
        fs.append(&path, &line).map_err(StoreError::io("append to", &path))?;
        self.log.push(&record)?;
        let next = checkpoint_at(self.dir.run(), &self.log, self.log.size())?;
        move_checkpoint(&self.dir, &self.checkpoint, &next)?;
        write_root(&self.dir, &next)?;
        self.checkpoint = next;
        self.stale = false;
        Ok(Appended { record, checkpoint: next })
    }

    /// Records an aggregated epoch: its proof, then its record.
    ///
    /// `instances` are the public inputs of `proof`; they must continue the epochs recorded so far and agree
    /// with the log. What says where the epoch is in the tree is computed here.
    ///
    /// **Errors**: [`StoreError::Epoch`], [`StoreError::EpochDisagrees`], [`StoreError::EpochTree`], and nothing
    /// was written; [`StoreError::Io`] and then [`StoreError::Stale`] as in [`Self::append_step`].
    pub fn append_epoch(&mut self, instances: &EpochInstances, proof: &[u8]) -> Result<EpochRecord, StoreError> {
        self.append(instances, proof, None)
    }

    /// The same for the proof of an epoch that was wrapped in a circuit of 2^`wrap_k` rows. All epochs of a run are wrapped alike,
    /// or none is.
    ///
    /// **Errors**: as [`Self::append_epoch`].
    pub fn append_wrapped_epoch(
        &mut self,
        instances: &EpochInstances,
        proof: &[u8],
        wrap_k: u32,
    ) -> Result<EpochRecord, StoreError> {
        self.append(instances, proof, Some(wrap_k))
    }

    fn append(
        &mut self,
        instances: &EpochInstances,
        proof: &[u8],
        wrap_k: Option<u32>,
    ) -> Result<EpochRecord, StoreError> {
        self.check_usable()?;
        let epoch = EpochIndex(self.epochs.len() as u64);
        let path = self.dir.file(RunFile::EpochRecord(epoch));
        let EpochInstances { accumulator, run, first_step, fresh, state_in, state_out, policy_digest, .. } = *instances;
        let mut record = EpochRecord {
            accumulator,
            digests: instances.digests.clone(),
            epoch,
            epoch_root: Digest::default().into(),
            first_step,
            fresh,
            policy_digest,
            proof: Digest::of(proof),
            root_after: Digest::default().into(),
            run,
            state_in,
            state_out,
            v: V1,
            wrap_k,
        };
        let in_tree = |source| StoreError::EpochTree { path: path.clone(), source };
        let tree = self.log.tree();
        record.epoch_root = tree.subtree_root(first_step, record.log_steps()).map_err(in_tree)?;
        record.root_after = tree.root_at(record.size_after()).map_err(in_tree)?;
        let sealed = record.seal().map_err(|source| StoreError::Epoch { path: path.clone(), source })?;
        self.dir.check_epoch(sealed.record(), epoch, self.epochs.last(), &self.log)?;

        self.stale = true;
        let proof_path = self.dir.file(RunFile::EpochProof(epoch));
        replace(&*self.dir.fs, &proof_path, proof).map_err(StoreError::io("write", &proof_path))?;
        replace(&*self.dir.fs, &path, sealed.bytes()).map_err(StoreError::io("write", &path))?;
        self.epochs.push(sealed.record().clone());
        self.stale = false;
        Ok(sealed.into_record())
    }

    /// Records that an epoch is on a chain. Recording the same anchor again changes nothing.
    ///
    /// **Errors**: [`StoreError::Anchors`], [`StoreError::AnchorWithoutEpoch`], [`StoreError::AnchorDisagrees`], and
    /// nothing was written; [`StoreError::Io`].
    pub fn append_anchor(&mut self, anchor: Anchor) -> Result<Pushed, StoreError> {
        self.check_usable()?;
        let path = self.dir.file(RunFile::Anchors);
        self.dir.check_anchor(&anchor, &self.epochs)?;
        let mut anchors = self.dir.anchors()?;
        let refused = |source| StoreError::Anchors { path: path.clone(), source };
        let pushed = anchors.push(anchor).map_err(refused)?;
        if pushed == Pushed::Added {
            let bytes = anchors.encode().map_err(refused)?;
            self.stale = true;
            replace(&*self.dir.fs, &path, &bytes).map_err(StoreError::io("write", &path))?;
            self.stale = false;
        }
        Ok(pushed)
    }

    pub(crate) fn check_usable(&self) -> Result<(), StoreError> {
        if self.stale { Err(StoreError::Stale) } else { Ok(()) }
    }
}

/// Creates what a new run has beside `run.json`; a no-op if it is there.
fn finish_creation(dir: &RunDir, recovery: &mut Recovery) -> Result<(), StoreError> {
    let fs = &*dir.fs;
    let exists = |file: RunFile| match fs.open(&dir.file(file)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("open", &dir.file(file))(error)),
    };
    if exists(RunFile::Root)? {
        // The last file of a creation. What is missing now was removed later and will be missed below.
        return Ok(());
    }
    // Only a log without steps can still be in creation.
    if exists(RunFile::Steps)? && !dir.read(RunFile::Steps, 1).is_ok_and(|bytes| bytes.is_empty()) {
        return Ok(());
    }
    if exists(RunFile::Checkpoint)? && dir.checkpoint()?.size != TreeSize(0) {
        return Ok(());
    }
    for name in [PROOFS_DIR, EPOCHS_DIR] {
        let path = dir.path().join(name);
        fs.create_dir(&path).map_err(StoreError::io("create", &path))?;
    }
    let checkpoint = checkpoint_at(dir.run(), &LogIndex::new(dir.run()), TreeSize(0))?;
    let files = [
        (RunFile::Steps, String::new()),
        (RunFile::Checkpoint, checkpoint.to_string()),
        (RunFile::Root, root_line(checkpoint.root)),
    ];
    for (file, text) in files {
        let path = dir.file(file);
        replace(fs, &path, text.as_bytes()).map_err(StoreError::io("write", &path))?;
    }
    recovery.creation_finished = true;
    Ok(())
}

/// Refuses a link in place of a directory: what is written there would land elsewhere.
fn check_directories(dir: &RunDir) -> Result<(), StoreError> {
    let entries = dir.fs.list(dir.path()).map_err(StoreError::io("list", dir.path()))?;
    let is_ours = |name: &str| [PROOFS_DIR, EPOCHS_DIR].contains(&name);
    match entries.iter().find(|entry| is_ours(&entry.name) && entry.kind != EntryKind::Directory) {
        Some(entry) => Err(StoreError::Unexpected { path: dir.path().join(&entry.name) }),
        None => Ok(()),
    }
}

fn remove_temporary(dir: &RunDir, recovery: &mut Recovery) -> Result<(), StoreError> {
    for parent in [dir.path().to_owned(), dir.path().join(PROOFS_DIR), dir.path().join(EPOCHS_DIR)] {
        let entries = match dir.fs.list(&parent) {
            // The run came as files alone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && parent != dir.path() => {
                dir.fs.create_dir(&parent).map_err(StoreError::io("create", &parent))?;
                continue;
            }
            entries => entries.map_err(StoreError::io("list", &parent))?,
        };
        for entry in entries {
            if entry.kind == EntryKind::File && entry.name.starts_with(TEMPORARY_PREFIX) {
                let path = parent.join(entry.name);
                dir.fs.remove(&path).map_err(StoreError::io("remove", &path))?;
                recovery.removed.push(path);
            }
        }
    }
    Ok(())
}

/// Reads the log, cuts off a torn line, takes over a step that the checkpoint does not cover yet.
fn repair_log(dir: &RunDir, recovery: &mut Recovery) -> Result<(LogIndex, Checkpoint), StoreError> {
    let covered = dir.checkpoint()?;
    let path = dir.file(RunFile::Steps);
    let source = dir.fs.open(&path).map_err(StoreError::io("open", &path))?;
    let mut last = None;
    let (log, tail) = scan(source, &path, dir.run(), None, &mut |records| {
        last = records.last().cloned();
        Ok(())
    })?;
    let ahead = match log.size().0.checked_sub(covered.size.0) {
        None => {
            return Err(StoreError::LogShort { path, expected: covered.size, got: log.size() });
        }
        Some(ahead) => ahead,
    };
    if ahead > 1 || (ahead == 1 && tail != Tail::Clean) {
        return Err(StoreError::LogAhead { path, expected: covered.size, got: log.size() });
    }
    dir.compare(&covered, &log)?;
    let root_is_behind = check_root_file(dir, &log, covered.size)?;

    if let Tail::Torn { bytes } = tail {
        dir.fs.truncate(&path, log.end()).map_err(StoreError::io("truncate", &path))?;
        recovery.torn = Some(TornLine { line: log.size().0 + 1, bytes });
    }
    let checkpoint = checkpoint_at(dir.run(), &log, log.size())?;
    if let (1, Some(record)) = (ahead, last) {
        check_proofs(dir, std::slice::from_ref(&record))?;
        move_checkpoint(dir, &covered, &checkpoint)?;
        recovery.adopted = Some(record.record().step());
    }
    if ahead == 1 || root_is_behind {
        write_root(dir, &checkpoint)?;
        recovery.root_rewritten = true;
    }
    Ok((log, checkpoint))
}

/// Whether `merkle_root.txt` is one step behind the checkpoint, where an interruption can leave it.
fn check_root_file(dir: &RunDir, log: &LogIndex, size: TreeSize) -> Result<bool, StoreError> {
    let text = dir.root_text()?;
    let is_at = |size: u64| log.tree().root_at(TreeSize(size)).is_ok_and(|root| root_line(root) == text);
    if is_at(size.0) {
        return Ok(false);
    }
    if size.0.checked_sub(1).is_some_and(is_at) {
        return Ok(true);
    }
    let expected = log.tree().root_at(size).map(|root| root.to_string()).unwrap_or_default();
    let source = Disagreement { field: "root", expected, got: text.trim_end().to_owned() };
    Err(StoreError::RootDisagrees { path: dir.file(RunFile::Root), source })
}

/// Compare-and-swap: the checkpoint on disk must be `from`.
fn move_checkpoint(dir: &RunDir, from: &Checkpoint, to: &Checkpoint) -> Result<(), StoreError> {
    let path = dir.file(RunFile::Checkpoint);
    if dir.read(RunFile::Checkpoint, MAX_CHECKPOINT_BYTES)? != from.to_string().as_bytes() {
        return Err(StoreError::CheckpointMoved { path });
    }
    replace(&*dir.fs, &path, to.to_string().as_bytes()).map_err(StoreError::io("write", &path))
}

fn write_root(dir: &RunDir, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let path = dir.file(RunFile::Root);
    let text = root_line(checkpoint.root);
    replace(&*dir.fs, &path, text.as_bytes()).map_err(StoreError::io("write", &path))
}
