//! SHA-1 of two messages. Source: FIPS 180-4, 6.1.2.

use std::arch::x86_64::*;

use super::LANES;
use super::words::Message;
use crate::lanes::Words;

/// State of one message, as the instructions want it, the first named word in the highest lane.
#[derive(Clone, Copy)]
pub(super) struct State {
    abcd: __m128i,
    /// Word e in the highest lane, nothing in the others.
    e: __m128i,
}

/// As registers.
#[target_feature(enable = "sse2")]
pub(super) fn load(words: [Words<LANES>; 5]) -> [State; LANES] {
    std::array::from_fn(|lane| {
        let [a, b, c, d, e] = words.map(|word| word[lane].cast_signed());
        State { abcd: _mm_set_epi32(a, b, c, d), e: _mm_set_epi32(e, 0, 0, 0) }
    })
}

/// As words.
#[target_feature(enable = "sse4.1")]
pub(super) fn store(states: [State; LANES]) -> [Words<LANES>; 5] {
    let words = states.map(|state| {
        [
            _mm_extract_epi32::<3>(state.abcd),
            _mm_extract_epi32::<2>(state.abcd),
            _mm_extract_epi32::<1>(state.abcd),
            _mm_extract_epi32::<0>(state.abcd),
            _mm_extract_epi32::<3>(state.e),
        ]
    });
    std::array::from_fn(|word| words.map(|lane| lane[word].cast_unsigned()))
}

/// Takes up a block of both.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn compress(states: &mut [State; LANES], message: [Message; LANES]) {
    // The instructions want the first word in the highest lane.
    let mut w = message;
    for words in w.as_flattened_mut() {
        *words = _mm_shuffle_epi32::<0b00_01_10_11>(*words);
    }
    // Behind four rounds, word e is what a was before them, rotated.
    let mut new = *states;
    macro_rules! four {
        ($t:literal, $next_e:ident, $f:literal) => {
            for (w, state) in w.iter_mut().zip(&mut new) {
                if $t >= 4 {
                    let old = _mm_sha1msg1_epu32(w[$t % 4], w[($t + 1) % 4]);
                    w[$t % 4] = _mm_sha1msg2_epu32(_mm_xor_si128(old, w[($t + 2) % 4]), w[($t + 3) % 4]);
                }
                let keyed = $next_e(state.e, w[$t % 4]);
                *state = State { abcd: _mm_sha1rnds4_epu32::<$f>(state.abcd, keyed), e: state.abcd };
            }
        };
    }
    macro_rules! twenty {
        ($($t:literal)*, $f:literal) => {$( four!($t, _mm_sha1nexte_epu32, $f); )*};
    }
    four!(0, _mm_add_epi32, 0);
    twenty!(1 2 3 4, 0);
    twenty!(5 6 7 8 9, 1);
    twenty!(10 11 12 13 14, 2);
    twenty!(15 16 17 18 19, 3);
    for (state, new) in states.iter_mut().zip(new) {
        let e = _mm_sha1nexte_epu32(new.e, state.e);
        *state = State { abcd: _mm_add_epi32(state.abcd, new.abcd), e };
    }
}
