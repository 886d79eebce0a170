//! SHA-256 of one message by the processor's instructions for its rounds.

use std::arch::x86_64::*;

use super::standard::SHA256_START;

/// State of one message, as the instructions want it, the first named word in the highest lane.
#[derive(Clone, Copy)]
pub(super) struct Sha256 {
    abef: __m128i,
    cdgh: __m128i,
}

impl Sha256 {
    /// Before the first block.
    #[target_feature(enable = "sse2")]
    pub(super) fn start() -> Self {
        let [a, b, c, d, e, f, g, h] = SHA256_START.map(u32::cast_signed);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    /// The words in their order.
    #[target_feature(enable = "sse4.1")]
    pub(super) fn words(self) -> [u32; 8] {
        let words = [
            _mm_extract_epi32::<3>(self.abef),
            _mm_extract_epi32::<2>(self.abef),
            _mm_extract_epi32::<3>(self.cdgh),
            _mm_extract_epi32::<2>(self.cdgh),
            _mm_extract_epi32::<1>(self.abef),
            _mm_extract_epi32::<0>(self.abef),
            _mm_extract_epi32::<1>(self.cdgh),
            _mm_extract_epi32::<0>(self.cdgh),
        ];
        words.map(i32::cast_unsigned)
    }

    /// The rounds 2 · `pair` and the next; the lower half of `keyed` has their words and constants added up. The halves of
    /// the state trade names.
    #[inline]
    #[target_feature(enable = "sha,sse2")]
    pub(super) fn two_rounds(&mut self, pair: usize, keyed: __m128i) {
        if pair.is_multiple_of(2) {
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, keyed);
        } else {
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, keyed);
        }
    }

    /// Both added.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn plus(self, other: Self) -> Self {
        Self { abef: _mm_add_epi32(self.abef, other.abef), cdgh: _mm_add_epi32(self.cdgh, other.cdgh) }
    }
}
