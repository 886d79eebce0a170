//! Which file of a run is where.
//!
//! ```text
//! run-0x<run id>/
//!   run.json                              public description, fixed before step 0
//!   steps.jsonl                           one canonical record a line
//!   checkpoint                            size, root, last record, state
//!   merkle_root.txt                       the root, for people and scripts
//!   proofs/step_000000.proof              one chunk a step
//!   proofs/step_000000.chunk_000.proof    several
//!   epochs/epoch_0000.proof, .json
//!   anchors.json
//!   run_manifest.json
//! ```
//!
//! Names that begin with a dot (lock, temporary files) are not part of the run.

use std::path::{Path, PathBuf};

use ledger::{ChunkIndex, EpochIndex, RunId, StepIndex, manifest::MANIFEST_NAME};

/// Directory of step proofs.
pub const PROOFS_DIR: &str = "proofs";

/// Directory of epochs.
pub const EPOCHS_DIR: &str = "epochs";

/// One file of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunFile {
    /// `run.json`
    Run,
    /// `steps.jsonl`
    Steps,
    /// `checkpoint`
    Checkpoint,
    /// `merkle_root.txt`
    Root,
    /// Proof of the only chunk of a step.
    Proof(StepIndex),
    /// Proof of one of several chunks of a step.
    ChunkProof(StepIndex, ChunkIndex),
    /// Proof of an epoch.
    EpochProof(EpochIndex),
    /// Record of an epoch.
    EpochRecord(EpochIndex),
    /// `anchors.json`
    Anchors,
    /// `run_manifest.json`
    Manifest,
}

impl RunFile {
    /// The file of a chunk's proof, in a run whose steps have `n_chunks`.
    pub fn proof(step: StepIndex, chunk: ChunkIndex, n_chunks: u32) -> Self {
        if n_chunks == 1 { Self::Proof(step) } else { Self::ChunkProof(step, chunk) }
    }

    /// Path below the run's directory, with `/` between components.
    pub fn relative(self) -> String {
        match self {
            Self::Run => "run.json".to_owned(),
            Self::Steps => "steps.jsonl".to_owned(),
            Self::Checkpoint => "checkpoint".to_owned(),
            Self::Root => "merkle_root.txt".to_owned(),
            Self::Proof(step) => format!("{PROOFS_DIR}/step_{:06}.proof", step.0),
            Self::ChunkProof(step, chunk) => {
                format!("{PROOFS_DIR}/step_{:06}.chunk_{:03}.proof", step.0, chunk.0)
            }
            Self::EpochProof(epoch) => format!("{EPOCHS_DIR}/epoch_{:04}.proof", epoch.0),
            Self::EpochRecord(epoch) => format!("{EPOCHS_DIR}/epoch_{:04}.json", epoch.0),
            Self::Anchors => "anchors.json".to_owned(),
            Self::Manifest => MANIFEST_NAME.to_owned(),
        }
    }

    /// The file below the directory `run`.
    pub fn path(self, run: &Path) -> PathBuf {
        run.join(self.relative())
    }

    /// The file that `relative` names; none if a run has no such file.
    pub fn parse(relative: &str) -> Option<Self> {
        let file = Self::guess(relative)?;
        // Only one spelling of each number is a name.
        (file.relative() == relative).then_some(file)
    }

    fn guess(relative: &str) -> Option<Self> {
        let fixed = [Self::Run, Self::Steps, Self::Checkpoint, Self::Root, Self::Anchors, Self::Manifest];
        if let Some(file) = fixed.into_iter().find(|file| file.relative() == relative) {
            return Some(file);
        }
        let (dir, name) = relative.split_once('/')?;
        match dir {
            PROOFS_DIR => {
                let stem = name.strip_prefix("step_")?.strip_suffix(".proof")?;
                match stem.split_once(".chunk_") {
                    Some((step, chunk)) => Some(Self::ChunkProof(step.parse().ok()?, chunk.parse().ok()?)),
                    None => Some(Self::Proof(stem.parse().ok()?)),
                }
            }
            EPOCHS_DIR => match name.strip_prefix("epoch_")?.split_once('.')? {
                (epoch, "proof") => Some(Self::EpochProof(epoch.parse().ok()?)),
                (epoch, "json") => Some(Self::EpochRecord(epoch.parse().ok()?)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Name of a run's directory below `artifacts/` or the private directory: `run-0x<id>`.
pub fn run_dir_name(run: RunId) -> String {
    format!("run-{run}")
}
