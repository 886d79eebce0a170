//! The head of a log as five lines of text.
//!
//! ```text
//! cairn/run/0x<run id>/v1
//! <size, decimal>
//! 0x<root of the tree of that size>
//! 0x<hash of the last record; of run.json if the log is empty>
//! 0x<digest of the state after the last step; the genesis state if the log is empty>
//! ```
//!
//! Each line ends in one newline. Spec: `docs/spec/log.md`, `log-checkpoint`.

use std::fmt;

use crate::ids::{Digest, FieldElement, IdError, Root, RunId, TreeSize};

/// Largest length of a checkpoint.
pub const MAX_CHECKPOINT_BYTES: usize = 512;

/// Bytes that are not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Longer than any checkpoint, or not ASCII.
    #[error("expected at most {MAX_CHECKPOINT_BYTES} bytes of ASCII, got {got} bytes")]
    NotText {
        /// Length found.
        got: usize,
    },
    /// Not five lines, each with its newline.
    #[error("expected 5 lines, each ending in a newline, got {got}")]
    Lines {
        /// Number of newlines.
        got: usize,
    },
    /// The first line is not `cairn/run/<id>/v1`.
    #[error("line 1: expected cairn/run/<run id>/v1, got {got:?}")]
    Origin {
        /// The line.
        got: String,
    },
    /// A line does not hold the value it should.
    #[error("line {line}: {source}")]
    Value {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: IdError,
    },
    /// The values are fine but spelled in another way than the canonical one.
    #[error("byte {offset} differs from the canonical text of the same checkpoint")]
    Spelling {
        /// First differing byte, counted from 0.
        offset: usize,
    },
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The run.
    pub run: RunId,
    /// Number of steps.
    pub size: TreeSize,
    /// Root of the tree over them.
    pub root: Root,
    /// Hash of the last record; SHA-256 of `run.json` for an empty log.
    pub last_record: Digest,
    /// Digest of the state after the last step.
    pub state: FieldElement,
}

impl Checkpoint {
    /// Reads a checkpoint; only its canonical text is accepted.
    ///
    /// **Errors**: every [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let not_text = CheckpointError::NotText { got: bytes.len() };
        if bytes.len() > MAX_CHECKPOINT_BYTES || !bytes.is_ascii() {
            return Err(not_text);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| not_text)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, last_record, state, ""] = lines[..] else {
            return Err(CheckpointError::Lines { got: lines.len() - 1 });
        };
        let run = origin.strip_prefix("cairn/run/").and_then(|rest| rest.strip_suffix("/v1"));
        let run = run.ok_or_else(|| CheckpointError::Origin { got: origin.to_owned() })?;
        let at = |line| move |source| CheckpointError::Value { line, source };
        let checkpoint = Self {
            run: run.parse().map_err(at(1))?,
            size: size.parse().map_err(at(2))?,
            root: root.parse().map_err(at(3))?,
            last_record: last_record.parse().map_err(at(4))?,
            state: state.parse().map_err(at(5))?,
        };
        let again = checkpoint.to_string();
        if again == text {
            return Ok(checkpoint);
        }
        let offset = again.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        Err(CheckpointError::Spelling { offset })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, size, root, last_record, state } = self;
        write!(f, "cairn/run/{run}/v1\n{size}\n{root}\n{last_record}\n{state}\n")
    }
}
