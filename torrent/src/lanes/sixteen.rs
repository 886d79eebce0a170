//! Sixteen messages side by side, one in each 32-bit lane of AVX-512's registers.

mod sha1;
mod sha256;
mod words;

use words::Words;

use super::standard::{SHA256_START, padding};
use super::{BLOCK, Lanes};

/// Messages side by side.
const LANES: usize = 16;

/// Shows that this machine has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sixteen(());

impl Sixteen {
    /// Looks for the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let here = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        here.then_some(Self(()))
    }
}

impl Lanes<LANES> for Sixteen {
    const MIN: usize = 6;

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn hash(self, sha1: &mut [Words; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words; 8] {
        // SAFETY: `self` was made by `Sixteen::detect`, which found them.
        unsafe { hash(sha1, leaves) }
    }

    #[expect(unsafe_code, reason = "the caller's processor may lack the instructions")]
    fn end(self, sha1: [Words; 5], bytes: u64) -> [Words; 5] {
        // SAFETY: `self` was made by `Sixteen::detect`, which found them.
        unsafe { end(sha1, bytes) }
    }
}

/// SHA-256 of each leaf, while `sha1` takes them up.
#[target_feature(enable = "avx512f,avx512bw")]
fn hash(sha1: &mut [Words; 5], leaves: &[&[[u8; BLOCK]]; LANES]) -> [Words; 8] {
    let mut v1 = words::load(*sha1);
    let mut v2 = words::load(SHA256_START.map(|word| [word; LANES]));
    for at in 0..leaves[0].len() {
        let message = words::transpose(leaves.map(|blocks| &blocks[at]));
        sha1::compress(&mut v1, message);
        sha256::compress(&mut v2, message);
    }
    *sha1 = words::store(v1);
    let bytes = (leaves[0].len() * BLOCK) as u64;
    sha256::compress(&mut v2, words::load(padding(bytes).map(|word| [word; LANES])));
    words::store(v2)
}

/// The state behind the padding of pieces of `bytes` bytes.
#[target_feature(enable = "avx512f,avx512bw")]
fn end(sha1: [Words; 5], bytes: u64) -> [Words; 5] {
    let mut v1 = words::load(sha1);
    sha1::compress(&mut v1, words::load(padding(bytes).map(|word| [word; LANES])));
    words::store(v1)
}
