//! Two messages side by side, each by the processor's instructions for SHA: one's rounds run while the other's wait for
//! each other.
//!
//! No instruction of AVX is among these: see `eight` for what that costs some processors.

mod sha1;
mod sha256;
mod words;

use ledger::Digest;

use super::sha256::Sha256;
use super::standard::padding;
use super::{BLOCK, Pieces, digests};
use sha1::Sha1;

/// Messages side by side.
const LANES: usize = 2;

/// Shows that this machine has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Two(());

impl Two {
    /// Looks for the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let here = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        here.then_some(Self(()))
    }

    /// Two pieces of which nothing was hashed yet.
    pub(crate) fn pieces(self) -> TwoPieces {
        TwoPieces { sha1: [Sha1::START; LANES], bytes: 0, _here: self }
    }
}

/// The pieces of [`Two`].
pub(crate) struct TwoPieces {
    sha1: [Sha1; LANES],
    /// So far, of each piece.
    bytes: u64,
    _here: Two,
}

impl Pieces<LANES> for TwoPieces {
    const MIN: usize = 2;

    fn leaves(&mut self, leaves: [&[u8]; LANES]) -> [Digest; LANES] {
        let leaves = super::blocks(leaves);
        self.bytes += (leaves[0].len() * BLOCK) as u64;
        #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
        // SAFETY: `_here` was made by `Two::detect`, which found them.
        let roots = unsafe { hash(&mut self.sha1, &leaves) };
        digests(&roots).map(Digest)
    }

    fn finish(self) -> [[u8; 20]; LANES] {
        #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
        // SAFETY: `_here` was made by `Two::detect`, which found them.
        let ends = unsafe { end(self.sha1, self.bytes) };
        digests(&ends)
    }
}

/// SHA-256 of each leaf, while `sha1` takes them up.
#[target_feature(enable = "sha,sse4.1")]
fn hash(sha1: &mut [Sha1; LANES], leaves: &[&[[u8; BLOCK]]; LANES]) -> [[u32; LANES]; 8] {
    let mut v1 = [sha1[0].load(), sha1[1].load()];
    let mut v2 = [Sha256::start(); LANES];
    for (first, second) in leaves[0].iter().zip(leaves[1]) {
        let message = [words::load(first), words::load(second)];
        sha1::compress(&mut v1, message);
        sha256::compress(&mut v2, message);
    }
    *sha1 = [Sha1::store(v1[0]), Sha1::store(v1[1])];
    let last = words::of(padding((leaves[0].len() * BLOCK) as u64));
    sha256::compress(&mut v2, [last; LANES]);
    let states = v2.map(|state| state.words());
    std::array::from_fn(|word| states.map(|state| state[word]))
}

/// The state behind the padding of pieces of `bytes` bytes.
#[target_feature(enable = "sha,sse4.1")]
fn end(sha1: [Sha1; LANES], bytes: u64) -> [[u32; LANES]; 5] {
    let mut v1 = [sha1[0].load(), sha1[1].load()];
    sha1::compress(&mut v1, [words::of(padding(bytes)); LANES]);
    let states = v1.map(|state| Sha1::store(state).0);
    std::array::from_fn(|word| states.map(|state| state[word]))
}
