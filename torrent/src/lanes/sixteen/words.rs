//! Sixteen words in a register: from bytes, from words, and the operations of both hashes that have no instruction's name.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::LANES;
use crate::lanes::BLOCK;

/// The same word of every lane's state or message.
pub(super) type Words = crate::lanes::Words<LANES>;

/// As registers.
#[target_feature(enable = "avx512f")]
pub(super) fn load<const N: usize>(words: [Words; N]) -> [__m512i; N] {
    let mut registers = [_mm512_setzero_si512(); N];
    for (register, words) in registers.iter_mut().zip(words) {
        #[expect(unsafe_code, reason = "a register seen as its words")]
        // SAFETY: both are 64 bytes, of which every value is valid; lane i of a register is the i-th word in memory.
        let loaded = unsafe { transmute::<Words, __m512i>(words) };
        *register = loaded;
    }
    registers
}

/// As words.
#[target_feature(enable = "avx512f")]
pub(super) fn store<const N: usize>(registers: [__m512i; N]) -> [Words; N] {
    let mut words = [[0; LANES]; N];
    for (words, register) in words.iter_mut().zip(registers) {
        #[expect(unsafe_code, reason = "a register seen as its words")]
        // SAFETY: as in `load`.
        let stored = unsafe { transmute::<__m512i, Words>(register) };
        *words = stored;
    }
    words
}

/// The sixteen words of a block of each lane, read with the most significant byte first: register n has the n-th words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn transpose(blocks: [&[u8; BLOCK]; LANES]) -> [__m512i; 16] {
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [swap; LANES];
    for (row, block) in rows.iter_mut().zip(blocks) {
        #[expect(unsafe_code, reason = "a register seen as its bytes")]
        // SAFETY: both are 64 bytes, of which every value is valid.
        let loaded = unsafe { transmute::<[u8; BLOCK], __m512i>(*block) };
        *row = _mm512_shuffle_epi8(loaded, swap);
    }
    // Of each four rows, the 4×4 squares in the quarters of the registers: `squares[4q + j]` has in its quarter l the
    // words 4l + j of the rows 4q to 4q + 3.
    let mut squares = rows;
    for (rows, squares) in rows.as_chunks::<4>().0.iter().zip(squares.as_chunks_mut::<4>().0) {
        let [a, b, c, d] = *rows;
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        *squares = [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ];
    }
    // The squares themselves, by their quarters: even ones with 0x88, odd ones with 0xdd.
    let mut words = squares;
    for j in 0..4 {
        let [a, b, c, d] = [squares[j], squares[4 + j], squares[8 + j], squares[12 + j]];
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        words[j] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    words
}

/// `a + b`, modulo 2³².
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

/// The same word in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

/// `a ⊕ b ⊕ c`: the functions' `Parity`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// `Ch`: the bits of `b` where `a` has a one, those of `c` where it has none.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn choose(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

/// `Maj`: the bits that at least two have.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}
