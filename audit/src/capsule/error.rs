//! Why a file is not a capsule.

use std::fmt::Display;

use ledger::CanonicalError;

/// A file that is not a capsule, or whose parts disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapsuleError {
    /// `capsule.json` is not canonical.
    #[error("capsule.json: {0}")]
    Contents(CanonicalError),
    /// A file that no capsule has.
    #[error("{path} is not a file of a capsule")]
    Unexpected {
        /// Its path.
        path: String,
    },
    /// A file that every capsule of these contents has is missing.
    #[error("{path} is missing")]
    Missing {
        /// Its path.
        path: String,
    },
    /// A part disagrees with `capsule.json`.
    #[error("{what}: expected {expected}, got {got}")]
    Differs {
        /// The part.
        what: &'static str,
        /// By `capsule.json`.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The point of the reference string cannot be read.
    #[error("tau_h: {reason}")]
    Tau {
        /// What is wrong with it.
        reason: String,
    },
    /// The run is for another contract than the capsule.
    #[error("the run is for chain {} contract {}, the capsule for chain {} contract {}", .run.0, .run.1, .capsule.0, .capsule.1)]
    Place {
        /// The run's.
        run: (ledger::ChainId, ledger::Address),
        /// The capsule's.
        capsule: (ledger::ChainId, ledger::Address),
    },
    /// The header is of another block.
    #[error("the capsule is of block {} {}, its header of {} {}", .expected.0, .expected.1, .got.0, .got.1)]
    Block {
        /// By `capsule.json`.
        expected: (u64, ledger::Digest),
        /// By the header.
        got: (u64, ledger::Digest),
    },
    /// A verifier is not the registry's.
    #[error("verifier of {n_steps} steps: the capsule says {expected}, the registry {got:?}")]
    Verifier {
        /// Steps of its epochs.
        n_steps: u64,
        /// By `capsule.json`.
        expected: ledger::Address,
        /// The registry's.
        got: Option<ledger::Address>,
    },
    /// A source is not that of this version.
    #[error("{path}: not that of cairn {ours}; the capsule is of {theirs}")]
    Source {
        /// The source.
        path: String,
        /// This version.
        ours: &'static str,
        /// The capsule's.
        theirs: String,
    },
    /// There is no key for epochs of this size.
    #[error("the capsule has no key of this size")]
    NoKey,
    /// A key of epochs.
    #[error("{n_steps} steps: {reason}")]
    EpochKey {
        /// Steps of the epochs.
        n_steps: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The code of a verifier.
    #[error("epochs of {n_steps} steps: {reason}")]
    Code {
        /// Steps of the epochs.
        n_steps: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl CapsuleError {
    /// `expected == got`, or the difference.
    pub(crate) fn same<T: PartialEq + Display>(what: &'static str, expected: &T, got: &T) -> Result<(), Self> {
        if expected == got {
            Ok(())
        } else {
            Err(Self::Differs { what, expected: expected.to_string(), got: got.to_string() })
        }
    }
}
