//! SHA-1 and SHA-256 of sixteen messages side by side, one in each 32-bit lane of AVX-512's registers.
//!
//! One message at a time is bound by the latency of its rounds, even with the processor's instructions for SHA. Pieces and
//! leaves do not depend on each other, so that sixteen fill what one leaves idle, and both hashes share the reading and
//! transposition of the words (docs/adr/0017). Results are those of the plain crates.
//!
//! The only unsafe code of this crate is in this module: calls of functions that need the instructions, guarded by
//! [`Lanes`], which exists only where they do, and a register seen as its words (`words`).

mod sha1;
mod sha256;
mod words;

use std::sync::OnceLock;

use ledger::Digest;
use words::Words;

/// Messages side by side.
pub(crate) const LANES: usize = 16;

/// Bytes of a block of either hash.
const BLOCK: usize = 64;

/// Shows that this machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes(());

/// Pieces that are hashed from their beginning to their end, a leaf of each at a time.
pub(crate) struct Pieces {
    sha1: [Words; 5],
    /// So far, of each piece.
    bytes: u64,
    _lanes: Lanes,
}

impl Lanes {
    /// Looks once. The environment variable `CAIRN_PORTABLE`, set to anything, keeps to the portable code.
    pub(crate) fn detect() -> Option<Self> {
        static FOUND: OnceLock<Option<Lanes>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let here = std::env::var_os("CAIRN_PORTABLE").is_none()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw");
            here.then_some(Self(()))
        })
    }

    /// Sixteen pieces of which nothing was hashed yet.
    pub(crate) fn pieces(self) -> Pieces {
        Pieces { sha1: sha1::START.map(|word| [word; LANES]), bytes: 0, _lanes: self }
    }
}

impl Pieces {
    /// Continues each piece with a leaf, and gives the SHA-256 of each leaf alone.
    ///
    /// **Panics** unless all leaves have the same length, a multiple of 64 bytes.
    pub(crate) fn leaves(&mut self, leaves: [&[u8]; LANES]) -> [Digest; LANES] {
        let len = leaves[0].len();
        assert!(len.is_multiple_of(BLOCK) && leaves.iter().all(|leaf| leaf.len() == len), "leaves of unequal length");
        self.bytes += len as u64;
        #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
        // SAFETY: `_lanes` was made by `Lanes::detect`, which found them.
        let roots = unsafe { hash(&mut self.sha1, &leaves) };
        lanes_of(&roots).map(Digest)
    }

    /// The SHA-1 of each piece.
    pub(crate) fn finish(self) -> [[u8; 20]; LANES] {
        #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
        // SAFETY: `_lanes` was made by `Lanes::detect`, which found them.
        let ends = unsafe { end(self.sha1, self.bytes) };
        lanes_of(&ends)
    }
}

/// SHA-256 of each leaf, while `sha1` takes them up.
#[target_feature(enable = "avx512f,avx512bw")]
fn hash(sha1: &mut [Words; 5], leaves: &[&[u8]; LANES]) -> [Words; 8] {
    let mut v1 = words::load(*sha1);
    let mut v2 = words::load(sha256::START.map(|word| [word; LANES]));
    let leaves = leaves.map(|leaf| leaf.as_chunks::<BLOCK>().0);
    for at in 0..leaves[0].len() {
        let message = words::transpose(leaves.map(|blocks| &blocks[at]));
        sha1::compress(&mut v1, message);
        sha256::compress(&mut v2, message);
    }
    *sha1 = words::store(v1);
    sha256::compress(&mut v2, words::load(padding(leaves[0].len() as u64 * BLOCK as u64)));
    words::store(v2)
}

/// The state behind the padding of pieces of `bytes` bytes.
#[target_feature(enable = "avx512f,avx512bw")]
fn end(sha1: [Words; 5], bytes: u64) -> [Words; 5] {
    let mut v1 = words::load(sha1);
    sha1::compress(&mut v1, words::load(padding(bytes)));
    words::store(v1)
}

/// The last block of messages of `bytes` bytes, a multiple of 64: a one, zeros, and the number of bits (FIPS 180-4, 5.1.1).
fn padding(bytes: u64) -> [Words; 16] {
    let bits = 8 * bytes;
    let mut block = [[0; LANES]; 16];
    (block[0], block[14], block[15]) = ([1 << 31; LANES], [(bits >> 32) as u32; LANES], [bits as u32; LANES]);
    block
}

/// The digest in each lane: `W` words, most significant byte first.
fn lanes_of<const W: usize, const BYTES: usize>(state: &[Words; W]) -> [[u8; BYTES]; LANES] {
    const { assert!(BYTES == 4 * W) };
    let mut digests = [[0; BYTES]; LANES];
    for (lane, digest) in digests.iter_mut().enumerate() {
        for (bytes, words) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = words[lane].to_be_bytes();
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use ::sha1::{Digest as _, Sha1};
    use proptest::prelude::*;

    use super::*;

    /// SHA-1 of each piece, and SHA-256 of their leaves, one after the other.
    type Hashes = ([[u8; 20]; LANES], Vec<[Digest; LANES]>);

    /// Both hashes of sixteen pieces of `n_leaves` leaves each; none where the processor lacks the instructions.
    fn hashed(pieces: &[Vec<u8>; LANES], n_leaves: usize) -> Option<Hashes> {
        let mut hasher = Lanes::detect()?.pieces();
        let leaf = pieces[0].len() / n_leaves;
        let at = |n: usize| std::array::from_fn(|lane| &pieces[lane][n * leaf..(n + 1) * leaf]);
        let leaves = (0..n_leaves).map(|n| hasher.leaves(at(n))).collect();
        Some((hasher.finish(), leaves))
    }

    #[test]
    fn a_million_letters_have_the_standards_digests() {
        // NIST, "Example values": one million repetitions of `a` (15,625 blocks).
        let Some((v1, v2)) = hashed(&std::array::from_fn(|_| vec![b'a'; 1_000_000]), 1) else { return };
        let v1_expected = "34aa973cd4c4daa4f61eeb2bdbad27316534016f";
        let v2_expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(v1.iter().all(|digest| hex(digest) == v1_expected), "{v1:02x?}");
        assert!(v2[0].iter().all(|digest| hex(digest.as_bytes()) == v2_expected), "{v2:?}");
    }

    #[test]
    fn no_bytes_have_the_digests_of_no_bytes() {
        let Some((v1, v2)) = hashed(&std::array::from_fn(|_| Vec::new()), 1) else { return };
        assert_eq!(v1, [<[u8; 20]>::from(Sha1::digest(b"")); LANES]);
        assert_eq!(v2, [[Digest::of(b""); LANES]]);
    }

    #[test]
    #[should_panic = "leaves of unequal length"]
    fn leaves_of_unequal_length_are_refused() {
        let Some(lanes) = Lanes::detect() else { panic!("leaves of unequal length cannot be given here") };
        let (long, short) = ([0; 128], [0; 64]);
        lanes.pieces().leaves(std::array::from_fn(|lane| if lane == 9 { &short[..] } else { &long[..] }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        #[test]
        fn every_lane_has_the_digests_of_the_plain_crates(seed: u64, blocks in 1..20_usize, n_leaves in 1..4_usize) {
            let len = blocks * BLOCK * n_leaves;
            // Different in every lane and at every place.
            let spread = |at: usize| (seed ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            let piece = |lane: usize| (0..len).map(|at| spread(lane * 0x1_0001 + at) as u8).collect::<Vec<_>>();
            let pieces = std::array::from_fn(piece);
            if let Some((v1, v2)) = hashed(&pieces, n_leaves) {
                for lane in 0..LANES {
                    prop_assert_eq!(v1[lane], <[u8; 20]>::from(Sha1::digest(&pieces[lane])));
                    for (leaf, bytes) in v2.iter().zip(pieces[lane].chunks(blocks * BLOCK)) {
                        prop_assert_eq!(leaf[lane], Digest::of(bytes));
                    }
                }
            }
        }
    }
}
