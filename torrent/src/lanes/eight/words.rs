//! Eight words in a register: from bytes, from words, and the operations of both hashes that have no instruction's name.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::LANES;
use crate::lanes::BLOCK;

/// The same word of every lane's state or message.
pub(super) type Words = crate::lanes::Words<LANES>;

/// As registers.
#[target_feature(enable = "avx2")]
pub(super) fn load<const N: usize>(words: [Words; N]) -> [__m256i; N] {
    let mut registers = [_mm256_setzero_si256(); N];
    for (register, words) in registers.iter_mut().zip(words) {
        #[expect(unsafe_code, reason = "a register seen as its words")]
        // SAFETY: both are 32 bytes, of which every value is valid; lane i of a register is the i-th word in memory.
        let loaded = unsafe { transmute::<Words, __m256i>(words) };
        *register = loaded;
    }
    registers
}

/// As words.
#[target_feature(enable = "avx2")]
pub(super) fn store<const N: usize>(registers: [__m256i; N]) -> [Words; N] {
    let mut words = [[0; LANES]; N];
    for (words, register) in words.iter_mut().zip(registers) {
        #[expect(unsafe_code, reason = "a register seen as its words")]
        // SAFETY: as in `load`.
        let stored = unsafe { transmute::<__m256i, Words>(register) };
        *words = stored;
    }
    words
}

/// Two words that follow each other, `first` in the lower half, of each lane; in the order that [`PLACES`] gives.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pairs(first: __m256i, second: __m256i) -> [u64; LANES] {
    let halves = [_mm256_unpacklo_epi32(first, second), _mm256_unpackhi_epi32(first, second)];
    #[expect(unsafe_code, reason = "two registers seen as their halves")]
    // SAFETY: both are 64 bytes, of which every value is valid; x86 has the lower word first in memory.
    let pairs = unsafe { transmute::<[__m256i; 2], [u64; LANES]>(halves) };
    pairs
}

/// Where [`pairs`] has those of each lane: the instructions work on the halves of registers apart.
pub(super) const PLACES: [usize; LANES] = [0, 1, 4, 5, 2, 3, 6, 7];

/// The sixteen words of a block of each lane, read with the most significant byte first: register n has the n-th words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(blocks: [&[u8; BLOCK]; LANES]) -> [__m256i; 16] {
    let swap = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203));
    let mut words = [swap; 16];
    for (half, words) in words.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut rows = [swap; LANES];
        for (row, block) in rows.iter_mut().zip(blocks) {
            #[expect(unsafe_code, reason = "a register seen as its bytes")]
            // SAFETY: both are 32 bytes, of which every value is valid.
            let loaded = unsafe { transmute::<[u8; BLOCK / 2], __m256i>(block.as_chunks().0[half]) };
            *row = _mm256_shuffle_epi8(loaded, swap);
        }
        // Of each four rows, the 4×4 squares in the halves of the registers: `squares[4q + j]` has in its half l the words
        // 4l + j of the rows 4q to 4q + 3.
        let mut squares = rows;
        for (rows, squares) in rows.as_chunks::<4>().0.iter().zip(squares.as_chunks_mut::<4>().0) {
            let [a, b, c, d] = *rows;
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            *squares = [
                _mm256_unpacklo_epi64(ab_low, cd_low),
                _mm256_unpackhi_epi64(ab_low, cd_low),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ];
        }
        for j in 0..4 {
            words[j] = _mm256_permute2x128_si256::<0x20>(squares[j], squares[4 + j]);
            words[4 + j] = _mm256_permute2x128_si256::<0x31>(squares[j], squares[4 + j]);
        }
    }
    words
}

/// `a + b`, modulo 2³².
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

/// The same word in every lane.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

/// Rotation to the left by `N`; `REST` is 32 − `N`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rotate<const N: i32, const REST: i32>(a: __m256i) -> __m256i {
    const { assert!(N + REST == 32) };
    _mm256_or_si256(_mm256_slli_epi32::<N>(a), _mm256_srli_epi32::<REST>(a))
}

/// `a ⊕ b ⊕ c`: the functions' `Parity`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn xor(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// `Ch`: the bits of `b` where `a` has a one, those of `c` where it has none.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn choose(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(c, _mm256_and_si256(a, _mm256_xor_si256(b, c)))
}

/// `Maj`: the bits that at least two have.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}
