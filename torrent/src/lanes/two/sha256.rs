//! SHA-256 of two messages. Source: FIPS 180-4, 6.2.2.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::LANES;
use super::words::{Message, four_words};
use crate::lanes::sha256::Sha256;
use crate::lanes::standard::SHA256_K;

/// The next sixteen words.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn schedule(w: &mut Message) {
    for at in 0..4 {
        let seven_ago = _mm_alignr_epi8::<4>(w[(at + 3) % 4], w[(at + 2) % 4]);
        let old = _mm_add_epi32(_mm_sha256msg1_epu32(w[at], w[(at + 1) % 4]), seven_ago);
        w[at] = _mm_sha256msg2_epu32(old, w[(at + 3) % 4]);
    }
}

/// The rounds of sixteen words of both, four of each in turn.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn sixteen_rounds(w: &[Message; LANES], states: &mut [Sha256; LANES], constants: &[u32; 16]) {
    for (at, constants) in constants.as_chunks().0.iter().enumerate() {
        for (w, state) in w.iter().zip(&mut *states) {
            let keyed = _mm_add_epi32(w[at], four_words(constants));
            state.two_rounds(0, keyed);
            state.two_rounds(1, _mm_shuffle_epi32::<0b11_10>(keyed));
        }
    }
}

/// Takes up a block of both.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn compress(states: &mut [Sha256; LANES], message: [Message; LANES]) {
    let mut w = message;
    let mut new = *states;
    let (first, others) = SHA256_K.split_at(1);
    sixteen_rounds(&w, &mut new, &first[0]);
    // As long as nobody knows how many there are, the compiler leaves this a loop. Made one piece, it does all rounds of one
    // message before the other's, and the processor does not look as far ahead.
    for constants in black_box(others) {
        schedule(&mut w[0]);
        schedule(&mut w[1]);
        sixteen_rounds(&w, &mut new, constants);
    }
    for (state, new) in states.iter_mut().zip(new) {
        *state = state.plus(new);
    }
}
