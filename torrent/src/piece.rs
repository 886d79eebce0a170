//! How long pieces are.

use std::fmt;

/// Length of a block, the leaf of a file's tree (BEP 52).
pub const BLOCK_BYTES: u32 = 16 << 10;

/// Longest piece that this crate writes: what every client takes.
const MAX_WRITTEN: u32 = 16 << 20;

/// Longest piece that is accepted from others.
const MAX_READ: u32 = 256 << 20;

/// The rule lets pieces grow when the files have more bytes than this many pieces.
const TARGET_PIECES: u64 = 1 << 15;

/// A piece length that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("piece length: expected a power of two from {BLOCK_BYTES} to {MAX_READ}, got {got}")]
pub struct PieceLengthError {
    /// Value found.
    pub got: i64,
}

/// Bytes of a piece: a power of two, at least a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceLength(u32);

impl PieceLength {
    /// Checks a length.
    ///
    /// **Errors**: [`PieceLengthError`] unless it is a power of two from 16 KiB to 256 MiB.
    pub fn new(bytes: i64) -> Result<Self, PieceLengthError> {
        let error = PieceLengthError { got: bytes };
        let bytes = u32::try_from(bytes).map_err(|_| error)?;
        let fits = bytes.is_power_of_two() && (BLOCK_BYTES..=MAX_READ).contains(&bytes);
        if fits { Ok(Self(bytes)) } else { Err(error) }
    }

    /// The rule of bundles: the smallest piece with which `total` bytes without padding make at most 2^15 pieces, from
    /// 16 KiB to 16 MiB. Spec `bundle-piece-length`.
    ///
    /// Padding does not count: a run has many files shorter than a block, and longer pieces would only pad them more.
    pub fn for_total(total: u64) -> Self {
        let needed = total.div_ceil(TARGET_PIECES).min(u64::from(MAX_WRITTEN)) as u32;
        Self(needed.next_power_of_two().max(BLOCK_BYTES))
    }

    /// The number of bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// Pieces of a file with `len` bytes that begins a piece.
    pub fn pieces(self, len: u64) -> u64 {
        len.div_ceil(u64::from(self.0))
    }

    /// Zero bytes behind `len` bytes up to the next piece.
    pub(crate) fn pad(self, len: u64) -> u64 {
        len.next_multiple_of(u64::from(self.0)) - len
    }

    /// Levels of a tree between a block and a piece.
    pub(crate) fn height(self) -> u32 {
        (self.0 / BLOCK_BYTES).ilog2()
    }
}

impl fmt::Display for PieceLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
