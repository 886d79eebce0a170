//! Eight messages side by side: SHA-1 and the schedule of SHA-256 in the 32-bit lanes of AVX2's registers, the rounds of
//! SHA-256 by the processor's instructions for them.
//!
//! These instructions stand among those of AVX2, of which some processors (Zen 3) make a switch of 130 to 200 cycles each
//! time; there this kernel is fifty times slower than on others, and is not chosen ([`crate::Kernel::fastest`]).

mod compress;
mod words;

use std::arch::x86_64::*;

use compress::compress;
use words::Words;

use super::sha256::Sha256;
use super::standard::padding;
use super::{BLOCK, Lanes};

/// Messages side by side.
const LANES: usize = 8;

/// Shows that this machine has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eight(());

impl Eight {
    /// Looks for the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let here = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("sha");
        here.then_some(Self(()))
    }
}

impl Lanes<LANES> for Eight {
    const MIN: usize = 5;

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn hash(self, sha1: &mut [Words; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words; 8] {
        // SAFETY: `self` was made by `Eight::detect`, which found them.
        unsafe { hash(sha1, leaves) }
    }

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn end(self, sha1: [Words; 5], bytes: u64) -> [Words; 5] {
        // SAFETY: `self` was made by `Eight::detect`, which found them.
        unsafe { end(sha1, bytes) }
    }
}

/// SHA-256 of each leaf, while `sha1` takes them up.
#[target_feature(enable = "avx2,sha")]
fn hash(sha1: &mut [Words; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words; 8] {
    let mut v1 = words::load(*sha1);
    let mut v2 = [Sha256::start(); LANES];
    for at in 0..leaves[0].len() {
        let mut blocks = [&leaves[0][at]; LANES];
        for (block, leaf) in blocks.iter_mut().zip(leaves) {
            *block = &leaf[at];
        }
        compress(&mut v1, &mut v2, words::transpose(blocks));
    }
    *sha1 = words::store(v1);
    // SHA-1 goes on with the next leaf, and what it makes of this one's padding is dropped.
    compress(&mut v1, &mut v2, padded((leaves[0].len() * BLOCK) as u64));
    let states = v2.map(|state| state.words());
    std::array::from_fn(|word| states.map(|state| state[word]))
}

/// The state behind the padding of pieces of `bytes` bytes.
#[target_feature(enable = "avx2,sha")]
fn end(sha1: [Words; 5], bytes: u64) -> [Words; 5] {
    let mut v1 = words::load(sha1);
    // What SHA-256 makes of it is dropped.
    compress(&mut v1, &mut [Sha256::start(); LANES], padded(bytes));
    words::store(v1)
}

/// The last block of messages of `bytes` bytes.
#[target_feature(enable = "avx2")]
fn padded(bytes: u64) -> [__m256i; 16] {
    padding(bytes).map(|word| words::splat(word))
}
