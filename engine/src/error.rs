//! What can go wrong.

use halo2_proofs::plonk::Error as PlonkError;

use crate::memory::MemoryLimit;
use crate::watch::Phase;

/// Failures of key preparation and proving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The constraint system uses something this engine does not evaluate.
    #[error("constraint system not supported: {0}")]
    Unsupported(String),
    /// The SRS has another size than the key.
    #[error("srs has k = {got}, the key needs k = {expected}")]
    SrsSize {
        /// k of the key.
        expected: u32,
        /// k of the SRS.
        got: u32,
    },
    /// The prepared key was made from another proving key.
    #[error("the prepared key belongs to another proving key")]
    KeyMismatch,
    /// A stored key of another format.
    #[error("key file begins with {got:?}, expected {expected:?}")]
    KeyFile {
        /// Format and version.
        expected: [u8; 8],
        /// The first bytes.
        got: [u8; 8],
    },
    /// A stored key that is shorter or longer than keys of its circuit.
    #[error("stored key has {got} bytes, expected {expected}")]
    KeyLength {
        /// Of the circuit's key; at least so many, if the key ends before its columns begin.
        expected: u64,
        /// Found.
        got: u64,
    },
    /// No way of making the proof stays within the limit.
    #[error("a proof takes {need} bytes at least, the memory limit is {limit}")]
    Memory {
        /// What was allowed.
        limit: MemoryLimit,
        /// What the way with the least memory takes.
        need: u64,
    },
    /// A stored key that is damaged, or another circuit's.
    #[error("stored key: {0}")]
    Key(#[from] vkey::KeyError),
    /// The SRS could not be read.
    #[error("srs: {0}")]
    Srs(String),
    /// Another number of instance columns than the circuit has.
    #[error("{got} instance columns, the circuit has {expected}")]
    InstanceColumns {
        /// Columns of the circuit.
        expected: usize,
        /// Columns given.
        got: usize,
    },
    /// An instance column does not fit the usable rows.
    #[error("instance column {column} has {got} values, {expected} rows are usable")]
    InstanceTooLong {
        /// Which column.
        column: usize,
        /// Usable rows.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The circuit assigned a cell outside the columns or usable rows.
    #[error("advice column {column}, row {row}: no such cell ({rows} rows are usable)")]
    NoSuchCell {
        /// Which column.
        column: usize,
        /// Which row.
        row: usize,
        /// Usable rows.
        rows: usize,
    },
    /// The circuit assigned an unknown value in the phase the column belongs to. Cells are write-only here: a circuit that
    /// computes a value from `AssignedCell::value` has to be proved with the library.
    #[error("advice column {column}, row {row}: the value is unknown in the column's phase")]
    UnknownValue {
        /// Which column.
        column: usize,
        /// Which row.
        row: usize,
    },
    /// A looked-up value is not in the table.
    #[error("lookup {lookup}: the inputs are not all in the table")]
    NotInTable {
        /// Which lookup argument.
        lookup: usize,
    },
    /// Whoever watches the proof ended it.
    #[error("cancelled before {before:?}")]
    Cancelled {
        /// What would have come next.
        before: Phase,
    },
    /// The circuit's synthesis failed.
    #[error("synthesis: {0}")]
    Synthesis(#[from] PlonkError),
    /// The transcript refused a point or scalar (a point at infinity, for one).
    #[error("transcript: {0}")]
    Transcript(#[from] std::io::Error),
}
