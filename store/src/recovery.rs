//! What an interruption left, and what [`crate::RunWriter::open`] did about it.

use std::fmt;
use std::path::PathBuf;

use ledger::StepIndex;

/// A last line without its newline, which was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornLine {
    /// The line, from 1.
    pub line: u64,
    /// How many bytes there were of it.
    pub bytes: u64,
}

/// Repairs made while opening a run for writing. Nothing that was recorded is ever lost by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The run's creation had been interrupted and was finished.
    pub creation_finished: bool,
    /// Temporary files of interrupted writes were removed.
    pub removed: Vec<PathBuf>,
    /// A torn last line was cut off.
    pub torn: Option<TornLine>,
    /// A step whose line was written but not yet covered by the checkpoint was taken over.
    pub adopted: Option<StepIndex>,
    /// `merkle_root.txt` was one step behind and was written again.
    pub root_rewritten: bool,
}

impl Recovery {
    /// Whether there was nothing to repair.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.creation_finished {
            parts.push("finished an interrupted creation".to_owned());
        }
        if !self.removed.is_empty() {
            parts.push(format!("removed {} temporary files", self.removed.len()));
        }
        if let Some(TornLine { line, bytes }) = self.torn {
            parts.push(format!("cut off the torn line {line} ({bytes} bytes)"));
        }
        if let Some(step) = self.adopted {
            parts.push(format!("took over step {step}, which was recorded but not yet in the checkpoint"));
        }
        if self.root_rewritten {
            parts.push("wrote merkle_root.txt again".to_owned());
        }
        if parts.is_empty() { f.write_str("nothing to repair") } else { f.write_str(&parts.join("; ")) }
    }
}
