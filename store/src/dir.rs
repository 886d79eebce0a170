//! Reading a run. Readers take no lock: what the checkpoint covers never changes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::run::MAX_RUN_BYTES;
use ledger::{
    AnchorLog, Checkpoint, ChunkIndex, EpochIndex, Manifest, Root, SealedEpoch, SealedRecord, SealedRun, StepIndex,
    anchors::MAX_ANCHORS_BYTES, checkpoint::MAX_CHECKPOINT_BYTES, epoch::MAX_EPOCH_BYTES, manifest::MAX_MANIFEST_BYTES,
};

use crate::error::{Disagreement, StoreError};
use crate::fs::{Disk, Entry, EntryKind, FileSystem};
use crate::layout::{EPOCHS_DIR, RunFile};
use crate::log::{LogIndex, Tail, scan};

/// Largest length of a proof file.
pub const MAX_PROOF_BYTES: usize = 64 << 20;

/// A run's directory, for reading.
#[derive(Clone)]
pub struct RunDir {
    pub(crate) fs: Arc<dyn FileSystem>,
    root: PathBuf,
    run: SealedRun,
}

impl std::fmt::Debug for RunDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunDir").field("root", &self.root).field("run", &self.run.run()).finish_non_exhaustive()
    }
}

impl RunDir {
    /// Opens the directory of a run on the machine's disk.
    ///
    /// **Errors**: [`StoreError::Missing`] or [`StoreError::Run`] if `run.json` is not there or not valid.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(Disk), dir)
    }

    /// Opens the directory of a run on another file system.
    ///
    /// **Errors**: as [`Self::open`].
    pub fn open_on(fs: Arc<dyn FileSystem>, dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = dir.into();
        let path = RunFile::Run.path(&root);
        let bytes = read(&*fs, &path, MAX_RUN_BYTES)?;
        let run = SealedRun::parse(&bytes).map_err(|source| StoreError::Run { path, source })?;
        Ok(Self { fs, root, run })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The public description.
    pub fn run(&self) -> &SealedRun {
        &self.run
    }

    /// Path of one of the run's files.
    pub fn file(&self, file: RunFile) -> PathBuf {
        file.path(&self.root)
    }

    /// The checkpoint.
    ///
    /// **Errors**: [`StoreError::Checkpoint`]; [`StoreError::CheckpointDisagrees`] if it is of another run.
    pub fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let path = self.file(RunFile::Checkpoint);
        let bytes = self.read(RunFile::Checkpoint, MAX_CHECKPOINT_BYTES)?;
        let checkpoint =
            Checkpoint::parse(&bytes).map_err(|source| StoreError::Checkpoint { path: path.clone(), source })?;
        Disagreement::check("run", self.run.run(), checkpoint.run)
            .map_err(|source| StoreError::CheckpointDisagrees { path, source })?;
        Ok(checkpoint)
    }

    /// The log up to the checkpoint, checked: canonical records, hash chain, links, policy, and the
    /// checkpoint's root, last record and state.
    ///
    /// **Errors**: [`StoreError::Record`], [`StoreError::Chain`], [`StoreError::LogShort`],
    /// [`StoreError::CheckpointDisagrees`].
    pub fn log(&self) -> Result<LogIndex, StoreError> {
        let checkpoint = self.checkpoint()?;
        Ok(self.scan_to(&checkpoint, &mut |_| Ok(()))?.0)
    }

    /// Calls `visit` with every record up to the checkpoint, in order and in batches, and returns the index.
    ///
    /// **Errors**: as [`Self::log`], or what `visit` returns.
    pub fn visit_records(
        &self,
        visit: &mut dyn FnMut(&[SealedRecord]) -> Result<(), StoreError>,
    ) -> Result<LogIndex, StoreError> {
        let checkpoint = self.checkpoint()?;
        Ok(self.scan_to(&checkpoint, visit)?.0)
    }

    /// The record of one step of a log that was read before.
    ///
    /// **Errors**: [`StoreError::LogShort`] if the log has no such step; [`StoreError::Record`];
    /// [`StoreError::CheckpointDisagrees`] if the line is not the one that was read before.
    pub fn record(&self, log: &LogIndex, step: StepIndex) -> Result<SealedRecord, StoreError> {
        let path = self.file(RunFile::Steps);
        let Some(((offset, len), hash)) = log.span(step).zip(log.record_hash(step)) else {
            let expected = ledger::TreeSize(step.0.saturating_add(1));
            return Err(StoreError::LogShort { path, expected, got: log.size() });
        };
        let line = self.fs.read_at(&path, offset, len).map_err(StoreError::io("read", &path))?;
        let record = SealedRecord::parse(&line).map_err(|source| {
            let line = step.0.saturating_add(1);
            StoreError::Record { path: path.clone(), line, source }
        })?;
        Disagreement::check("record hash", hash, record.hash())
            .map_err(|source| StoreError::CheckpointDisagrees { path, source })?;
        Ok(record)
    }

    /// Proof bytes of one chunk of a step; the caller compares their digest with the record's.
    ///
    /// **Errors**: [`StoreError::Missing`], [`StoreError::TooLong`].
    pub fn proof(&self, step: StepIndex, chunk: ChunkIndex) -> Result<Vec<u8>, StoreError> {
        self.read(RunFile::proof(step, chunk, self.n_chunks()), MAX_PROOF_BYTES)
    }

    /// Number of epochs, from the names in `epochs/`.
    ///
    /// **Errors**: [`StoreError::EpochGap`] if one is missing before a later one.
    pub fn n_epochs(&self) -> Result<u64, StoreError> {
        let dir = self.root.join(EPOCHS_DIR);
        let entries = self.list(EPOCHS_DIR)?;
        let mut found: Vec<EpochIndex> = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::File)
            .filter_map(|entry| match RunFile::parse(&format!("{EPOCHS_DIR}/{}", entry.name)) {
                Some(RunFile::EpochRecord(epoch)) => Some(epoch),
                _ => None,
            })
            .collect();
        found.sort();
        for (expected, got) in (0..).map(EpochIndex).zip(&found) {
            if expected != *got {
                return Err(StoreError::EpochGap { path: dir, expected, got: *got });
            }
        }
        Ok(found.len() as u64)
    }

    /// The record of an epoch, checked in itself.
    ///
    /// **Errors**: [`StoreError::Missing`], [`StoreError::Epoch`].
    pub fn epoch(&self, epoch: EpochIndex) -> Result<SealedEpoch, StoreError> {
        let file = RunFile::EpochRecord(epoch);
        let bytes = self.read(file, MAX_EPOCH_BYTES)?;
        SealedEpoch::parse(&bytes).map_err(|source| StoreError::Epoch { path: self.file(file), source })
    }

    /// Proof bytes of an epoch; the caller compares their digest with the record's.
    ///
    /// **Errors**: [`StoreError::Missing`], [`StoreError::TooLong`].
    pub fn epoch_proof(&self, epoch: EpochIndex) -> Result<Vec<u8>, StoreError> {
        self.read(RunFile::EpochProof(epoch), MAX_PROOF_BYTES)
    }

    /// The anchors; none if there is no `anchors.json` yet.
    ///
    /// **Errors**: [`StoreError::Anchors`]; [`StoreError::AnchorDisagrees`] if they are of another run.
    pub fn anchors(&self) -> Result<AnchorLog, StoreError> {
        let path = self.file(RunFile::Anchors);
        let bytes = match self.read(RunFile::Anchors, MAX_ANCHORS_BYTES) {
            Err(StoreError::Missing { .. }) => return Ok(AnchorLog::new(self.run.run())),
            bytes => bytes?,
        };
        let anchors = AnchorLog::parse(&bytes).map_err(|source| StoreError::Anchors { path: path.clone(), source })?;
        Disagreement::check("run", self.run.run(), anchors.run()).map_err(|source| StoreError::AnchorDisagrees {
            path,
            counter: 0,
            source,
        })?;
        Ok(anchors)
    }

    /// The manifest.
    ///
    /// **Errors**: [`StoreError::Missing`], [`StoreError::Manifest`].
    pub fn manifest(&self) -> Result<Manifest, StoreError> {
        let bytes = self.read(RunFile::Manifest, MAX_MANIFEST_BYTES)?;
        let path = self.file(RunFile::Manifest);
        Manifest::parse(&bytes).map_err(|source| StoreError::Manifest { path, source })
    }

    /// The entries of a folder of the run, or of its directory if `folder` is empty. A folder that is not there has none:
    /// what travels as files alone, as in a torrent, leaves empty folders behind.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let dir = if folder.is_empty() { self.root.clone() } else { self.root.join(folder) };
        match self.fs.list(&dir) {
            Err(error) if !folder.is_empty() && error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries.map_err(StoreError::io("list", &dir)),
        }
    }

    pub(crate) fn n_chunks(&self) -> u32 {
        self.run.description().policy.n_chunks
    }

    pub(crate) fn read(&self, file: RunFile, limit: usize) -> Result<Vec<u8>, StoreError> {
        read(&*self.fs, &self.file(file), limit)
    }

    /// Reads the lines that `checkpoint` covers and compares it with them.
    pub(crate) fn scan_to(
        &self,
        checkpoint: &Checkpoint,
        visit: &mut dyn FnMut(&[SealedRecord]) -> Result<(), StoreError>,
    ) -> Result<(LogIndex, Tail), StoreError> {
        let path = self.file(RunFile::Steps);
        let source = self.fs.open(&path).map_err(StoreError::io("open", &path))?;
        let (index, tail) = scan(source, &path, &self.run, Some(checkpoint.size), visit)?;
        if index.size() < checkpoint.size {
            return Err(StoreError::LogShort { path, expected: checkpoint.size, got: index.size() });
        }
        self.compare(checkpoint, &index)?;
        Ok((index, tail))
    }

    /// Compares a checkpoint with a log that has at least its size.
    pub(crate) fn compare(&self, checkpoint: &Checkpoint, log: &LogIndex) -> Result<(), StoreError> {
        let expected = checkpoint_at(&self.run, log, checkpoint.size)?;
        let compared = Disagreement::check("root", expected.root, checkpoint.root)
            .and_then(|()| Disagreement::check("last record", expected.last_record, checkpoint.last_record))
            .and_then(|()| Disagreement::check("state", expected.state, checkpoint.state));
        let path = self.file(RunFile::Checkpoint);
        compared.map_err(|source| StoreError::CheckpointDisagrees { path, source })
    }

    /// The text of `merkle_root.txt`, cut where it is longer than a root.
    pub(crate) fn root_text(&self) -> Result<String, StoreError> {
        let bytes = self.read(RunFile::Root, 1024)?;
        Ok(String::from_utf8_lossy(&bytes).chars().take(100).collect())
    }
}

/// The checkpoint that a log has at one of its sizes.
pub(crate) fn checkpoint_at(run: &SealedRun, log: &LogIndex, size: ledger::TreeSize) -> Result<Checkpoint, StoreError> {
    let last = size.0.checked_sub(1).map(StepIndex);
    let last_record = last.map_or(Some(run.digest()), |last| log.record_hash(last));
    let found = log.tree().root_at(size).ok().zip(last_record).zip(log.state_before(size.next_step()));
    let Some(((root, last_record), state)) = found else {
        let path = PathBuf::from(RunFile::Steps.relative());
        return Err(StoreError::LogShort { path, expected: size, got: log.size() });
    };
    Ok(Checkpoint { run: run.run(), size, root, last_record, state })
}

/// The whole text of `merkle_root.txt`.
pub(crate) fn root_line(root: Root) -> String {
    format!("{root}\n")
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(fs: &dyn FileSystem, path: &Path, limit: usize) -> Result<Vec<u8>, StoreError> {
    let source = fs.open(path).map_err(StoreError::io("open", path))?;
    let mut bytes = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() > limit {
        return Err(StoreError::TooLong { path: path.to_owned(), limit: limit as u64 });
    }
    Ok(bytes)
}
