//! SHA-1 and SHA-256 of several messages side by side.
//!
//! One message at a time is bound by the latency of its rounds, or by instructions that are slow. Pieces and leaves do not
//! depend on each other, so that several fill what one leaves idle, and both hashes share the reading and transposition of
//! the words (docs/adr/0017). Results are those of the plain crates.
//!
//! The only unsafe code of this crate is in this module: calls of functions that need instructions, guarded by
//! [`Sixteen`], [`Eight`] and [`Two`], which exist only where they do, and registers seen as their words.

mod eight;
mod sha256;
mod sixteen;
mod standard;
mod two;

use ledger::Digest;

pub(crate) use self::eight::Eight;
pub(crate) use self::sixteen::Sixteen;
pub(crate) use self::two::Two;

/// Bytes of a block of either hash.
const BLOCK: usize = 64;

/// Pieces that are hashed from their beginning to their end, a leaf of each at a time.
pub(crate) trait Pieces<const N: usize> {
    /// Pieces from which on this pays off, the other lanes idle: all side by side take as long as about so many one after
    /// the other (docs/adr/0017).
    const MIN: usize;

    /// Continues each piece with a leaf, and gives the SHA-256 of each leaf alone.
    ///
    /// **Panics** unless all leaves have the same length, a multiple of 64 bytes.
    fn leaves(&mut self, leaves: [&[u8]; N]) -> [Digest; N];

    /// The SHA-1 of each piece.
    fn finish(self) -> [[u8; 20]; N];
}

/// The blocks of each leaf.
///
/// **Panics** unless all leaves have the same length, a multiple of 64 bytes.
fn blocks<const N: usize>(leaves: [&[u8]; N]) -> [&[[u8; BLOCK]]; N] {
    let len = leaves[0].len();
    assert!(len.is_multiple_of(BLOCK) && leaves.iter().all(|leaf| leaf.len() == len), "leaves of unequal length");
    leaves.map(|leaf| leaf.as_chunks().0)
}

/// The digest in each lane: `W` words, most significant byte first.
fn digests<const N: usize, const W: usize, const BYTES: usize>(state: &[[u32; N]; W]) -> [[u8; BYTES]; N] {
    const { assert!(BYTES == 4 * W) };
    let mut digests = [[0; BYTES]; N];
    for (lane, digest) in digests.iter_mut().enumerate() {
        for (bytes, words) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = words[lane].to_be_bytes();
        }
    }
    digests
}

#[cfg(test)]
mod tests;
