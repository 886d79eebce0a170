//! Two messages side by side, each by the processor's instructions for SHA: one's rounds run while the other's wait for
//! each other.
//!
//! No instruction of AVX is among these: see `eight` for what that costs some processors.

mod sha1;
mod sha256;
mod words;

use super::sha256::Sha256;
use super::standard::padding;
use super::{BLOCK, Lanes, Words};

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
}

impl Lanes<LANES> for Two {
    const MIN: usize = 2;

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn hash(self, sha1: &mut [Words<LANES>; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words<LANES>; 8] {
        // SAFETY: `self` was made by `Two::detect`, which found them.
        unsafe { hash(sha1, leaves) }
    }

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn end(self, sha1: [Words<LANES>; 5], bytes: u64) -> [Words<LANES>; 5] {
        // SAFETY: `self` was made by `Two::detect`, which found them.
        unsafe { end(sha1, bytes) }
    }
}

/// SHA-256 of each leaf, while `sha1` takes them up.
#[target_feature(enable = "sha,sse4.1")]
fn hash(sha1: &mut [Words<LANES>; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words<LANES>; 8] {
    let mut v1 = sha1::load(*sha1);
    let mut v2 = [Sha256::start(); LANES];
    for (first, second) in leaves[0].iter().zip(leaves[1]) {
        let message = [words::load(first), words::load(second)];
        sha1::compress(&mut v1, message);
        sha256::compress(&mut v2, message);
    }
    *sha1 = sha1::store(v1);
    let last = words::of(padding((leaves[0].len() * BLOCK) as u64));
    sha256::compress(&mut v2, [last; LANES]);
    let states = v2.map(|state| state.words());
    std::array::from_fn(|word| states.map(|state| state[word]))
}

/// The state behind the padding of pieces of `bytes` bytes.
#[target_feature(enable = "sha,sse4.1")]
fn end(sha1: [Words<LANES>; 5], bytes: u64) -> [Words<LANES>; 5] {
    let mut v1 = sha1::load(sha1);
    sha1::compress(&mut v1, [words::of(padding(bytes)); LANES]);
    sha1::store(v1)
}
