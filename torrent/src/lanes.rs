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
use standard::SHA1_START;

pub(crate) use self::eight::Eight;
pub(crate) use self::sixteen::Sixteen;
pub(crate) use self::two::Two;

/// Bytes of a block of either hash.
const BLOCK: usize = 64;

/// The same word of every message's state.
type Words<const N: usize> = [u32; N];

/// Code for `N` messages side by side. A value of it shows that this machine has the instructions.
pub(crate) trait Lanes<const N: usize>: Copy {
    /// Pieces from which on this pays off, the other lanes idle: all side by side take as long as about so many one after
    /// the other (docs/adr/0017).
    const MIN: usize;

    /// SHA-256 of each leaf, while the states of `sha1` take them up.
    fn hash(self, sha1: &mut [Words<N>; 5], leaves: &[&[[u8; BLOCK]]; N]) -> [Words<N>; 8];

    /// The states of `sha1` behind the padding of pieces of `bytes` bytes.
    fn end(self, sha1: [Words<N>; 5], bytes: u64) -> [Words<N>; 5];

    /// Pieces of which nothing was hashed yet.
    fn pieces(self) -> Pieces<Self, N> {
        Pieces { sha1: SHA1_START.map(|word| [word; N]), bytes: 0, lanes: self }
    }
}

/// Pieces that are hashed from their beginning to their end, a leaf of each at a time.
pub(crate) struct Pieces<L, const N: usize> {
    sha1: [Words<N>; 5],
    /// So far, of each piece.
    bytes: u64,
    lanes: L,
}

impl<L: Lanes<N>, const N: usize> Pieces<L, N> {
    /// Continues each piece with a leaf, and gives the SHA-256 of each leaf alone.
    ///
    /// **Panics** unless all leaves have the same length, a multiple of 64 bytes.
    pub(crate) fn leaves(&mut self, leaves: [&[u8]; N]) -> [Digest; N] {
        let leaves = blocks(leaves);
        self.bytes += (leaves[0].len() * BLOCK) as u64;
        digests(&self.lanes.hash(&mut self.sha1, &leaves)).map(Digest)
    }

    /// The SHA-1 of each piece.
    pub(crate) fn finish(self) -> [[u8; 20]; N] {
        digests(&self.lanes.end(self.sha1, self.bytes))
    }
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
fn digests<const N: usize, const W: usize, const BYTES: usize>(state: &[Words<N>; W]) -> [[u8; BYTES]; N] {
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
