//! Why a key cannot be read, or a proof is refused.

use crate::accumulator::AccumulatorError;
use crate::columns::ColumnsError;

/// Why a key cannot be read, or an epoch proof is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochProofError {
    /// The layout before a key is longer than any.
    #[error("layout of {got} bytes, expected at most {limit}")]
    LayoutLength {
        /// Most bytes that are read.
        limit: u64,
        /// Bytes announced.
        got: u64,
    },
    /// The layout before a key is not one.
    #[error("layout: {0}")]
    Layout(#[source] serde_json::Error),
    /// No epoch has that many steps or chunks.
    #[error("expected 2^j steps up to 2^{limit} and at least one chunk, got {n_steps} of {n_chunks}", limit = ledger::instances::MAX_LOG_STEPS)]
    Shape {
        /// Steps.
        n_steps: usize,
        /// Chunks of each.
        n_chunks: usize,
    },
    /// No circuit of an epoch has such columns.
    #[error("no layout of an epoch circuit: {0}")]
    Columns(#[from] ColumnsError),
    /// The instances do not fit the rows that hold values.
    #[error("{got} instances, the circuit has room for {limit}")]
    Rows {
        /// Rows that hold values.
        limit: usize,
        /// Instances of the shape.
        got: usize,
    },
    /// Bytes that are not a key of these constraints.
    #[error("epoch key: {0}")]
    Key(#[from] vkey::KeyError),
    /// Wrong number of instances.
    #[error("epoch proof has {got} instances, expected {expected}")]
    Instances {
        /// Of the key.
        expected: usize,
        /// Found.
        got: usize,
    },
    /// The proof does not verify for these instances under this key.
    #[error("epoch proof refused: {0}")]
    Refused(String),
    /// Bytes behind the proof: halo2 stops reading where it ends, and each proof would have many spellings.
    #[error("epoch proof refused: {got} bytes after the proof")]
    Trailing {
        /// Bytes.
        got: usize,
    },
    /// The accumulator among the instances does not hold.
    #[error("accumulator: {0}")]
    Accumulator(#[from] AccumulatorError),
    /// Reading or writing a key failed.
    #[error("epoch key: {0}")]
    Io(#[from] std::io::Error),
}
