//! Sixteen words of a message in four registers, the first in the lowest lane.

use std::arch::x86_64::*;
use std::mem::transmute;

use crate::lanes::BLOCK;

/// A block of one message.
pub(super) type Message = [__m128i; 4];

/// A block, each word read with the most significant byte first.
#[inline]
#[target_feature(enable = "ssse3")]
pub(super) fn load(block: &[u8; BLOCK]) -> Message {
    let swap = _mm_set_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut words = [swap; 4];
    for (words, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        #[expect(unsafe_code, reason = "a register seen as its bytes")]
        // SAFETY: both are 16 bytes, of which every value is valid.
        let loaded = unsafe { transmute::<[u8; 16], __m128i>(*bytes) };
        *words = _mm_shuffle_epi8(loaded, swap);
    }
    words
}

/// Words as registers.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn of(words: [u32; 16]) -> Message {
    let mut registers = [_mm_setzero_si128(); 4];
    for (register, four) in registers.iter_mut().zip(words.as_chunks().0) {
        *register = four_words(four);
    }
    registers
}

/// Four words in a register.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn four_words(words: &[u32; 4]) -> __m128i {
    let [a, b, c, d] = words.map(u32::cast_signed);
    _mm_setr_epi32(a, b, c, d)
}
