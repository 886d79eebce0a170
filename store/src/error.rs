//! What can be wrong with a run on disk.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};

use ledger::manifest::PathError;
use ledger::{
    AnchorsError, ChainError, CheckpointError, ChunkIndex, Digest, EpochError, EpochIndex, ManifestError, RecordError,
    RunError, StepIndex, TreeError, TreeSize,
};

/// A field that should have had another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Which field.
    pub field: &'static str,
    /// Value by everything else.
    pub expected: String,
    /// Value found.
    pub got: String,
}

impl Disagreement {
    /// An error unless both values are the same.
    pub(crate) fn check<T: PartialEq + Display>(field: &'static str, expected: T, got: T) -> Result<(), Self> {
        if expected == got { Ok(()) } else { Err(Self { field, expected: expected.to_string(), got: got.to_string() }) }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// A failed operation or a failed check, with the file it happened in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("{}: cannot {operation}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A file is not there.
    #[error("{}: missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is longer than any of its kind.
    #[error("{}: expected at most {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Largest accepted length.
        limit: u64,
    },
    /// A link, device or directory where a file should be, or a file that no run has.
    #[error("{}: not a file of a run", path.display())]
    Unexpected {
        /// The entry.
        path: PathBuf,
    },
    /// Another process is writing to this run.
    #[error("{}: another process is writing to this run", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory holds another run.
    #[error("{}: holds another run or another description of it", path.display())]
    OtherRun {
        /// The file `run.json`.
        path: PathBuf,
    },
    /// A failed write left this handle behind the files; open the run again.
    #[error("an earlier write failed; open the run again to recover")]
    Stale,
    /// `run.json` is not a description of a run.
    #[error("{}: {source}", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RunError,
    },
    /// The checkpoint cannot be read.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The checkpoint disagrees with the log.
    #[error("{}: {source}", path.display())]
    CheckpointDisagrees {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Disagreement,
    },
    /// The checkpoint is not the one this handle read or wrote last.
    #[error("{}: changed behind our back", path.display())]
    CheckpointMoved {
        /// The file.
        path: PathBuf,
    },
    /// A line of the log is not a record.
    #[error("{}: line {line}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        source: RecordError,
    },
    /// A line of the log does not continue the one before.
    #[error("{}: line {line}: {source}", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        source: ChainError,
    },
    /// The log has fewer lines than the checkpoint says.
    #[error("{}: expected {expected} whole lines, got {got}", path.display())]
    LogShort {
        /// The file.
        path: PathBuf,
        /// Number by the checkpoint.
        expected: TreeSize,
        /// Number found.
        got: TreeSize,
    },
    /// The log goes on behind the checkpoint, by more than an interruption can leave.
    #[error("{}: expected {expected} lines by the checkpoint, got {got}", path.display())]
    LogAhead {
        /// The file.
        path: PathBuf,
        /// Number by the checkpoint.
        expected: TreeSize,
        /// Number found.
        got: TreeSize,
    },
    /// The log goes on behind the checkpoint: an append is under way or was interrupted.
    #[error("{}: bytes follow line {size}, the last by the checkpoint (interrupted? resume the run)", path.display())]
    UncommittedTail {
        /// The file.
        path: PathBuf,
        /// Number of lines by the checkpoint.
        size: TreeSize,
    },
    /// `merkle_root.txt` has another root than the log.
    #[error("{}: {source}", path.display())]
    RootDisagrees {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Disagreement,
    },
    /// A proof is not the one that its record names.
    #[error("{}: step {step}, chunk {chunk}: SHA-256: expected {expected}, got {got}", path.display())]
    ProofDigest {
        /// The file.
        path: PathBuf,
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Digest in the record.
        expected: Digest,
        /// Digest of the file.
        got: Digest,
    },
    /// A new step cannot be recorded.
    #[error("step {step}: {source}")]
    Step {
        /// The step.
        step: StepIndex,
        /// What is wrong.
        source: RecordError,
    },
    /// A new step does not continue the log.
    #[error(transparent)]
    StepChain(#[from] ChainError),
    /// An epoch's file cannot be read, or a new epoch cannot be recorded.
    #[error("{}: {source}", path.display())]
    Epoch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: EpochError,
    },
    /// An epoch disagrees with the log.
    #[error("{}: {source}", path.display())]
    EpochDisagrees {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Disagreement,
    },
    /// An epoch covers steps that the log does not have, or lies in the tree where it cannot.
    #[error("{}: {source}", path.display())]
    EpochTree {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TreeError,
    },
    /// An epoch is missing before a later one.
    #[error("{}: epoch {expected} is missing before epoch {got}", path.display())]
    EpochGap {
        /// The directory.
        path: PathBuf,
        /// The missing epoch.
        expected: EpochIndex,
        /// The epoch found.
        got: EpochIndex,
    },
    /// `anchors.json` cannot be read, or a new anchor cannot be recorded.
    #[error("{}: {source}", path.display())]
    Anchors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AnchorsError,
    },
    /// An anchor disagrees with its epoch or with the run.
    #[error("{}: counter {counter}: {source}", path.display())]
    AnchorDisagrees {
        /// The file.
        path: PathBuf,
        /// Counter of the anchor.
        counter: u64,
        /// Where.
        source: Disagreement,
    },
    /// An anchor has no epoch.
    #[error("{}: counter {counter}: the run has {n_epochs} epochs", path.display())]
    AnchorWithoutEpoch {
        /// The file.
        path: PathBuf,
        /// Counter of the anchor.
        counter: u64,
        /// Number of epochs.
        n_epochs: u64,
    },
    /// The manifest cannot be read or made.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// A file may not be in a manifest.
    #[error("{}: {source}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name.
        source: PathError,
    },
    /// The manifest is of another run, size or root than the checkpoint.
    #[error("{}: {source}", path.display())]
    ManifestDisagrees {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Disagreement,
    },
    /// A file does not have the length or the digest that the manifest says.
    #[error("{}: {source}", path.display())]
    FileDisagrees {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Disagreement,
    },
    /// A file of the run is not in the manifest.
    #[error("{}: not in the manifest", path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// What went wrong with `path` while it was tried to `operation`.
    pub(crate) fn io<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => Self::Missing { path },
                io::ErrorKind::InvalidInput => Self::Unexpected { path },
                _ => Self::Io { operation, path, source },
            }
        }
    }
}

impl std::error::Error for Disagreement {}
