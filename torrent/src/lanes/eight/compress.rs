//! A block of both hashes in eight lanes. Source: FIPS 180-4, 6.1.2 and 6.2.2.
//!
//! The instructions for SHA-256's rounds take one message each and wait for each other; those for its schedule are slow. So
//! the rounds of some lanes run between what AVX2 does for all: of two lanes beside SHA-256's schedule, of the six others
//! beside SHA-1. Other divisions were tried and are slower.

use std::arch::x86_64::*;

use super::LANES;
use super::words::{PLACES, add, choose, majority, pairs, rotate, splat, xor};
use crate::lanes::sha256::Sha256;
use crate::lanes::standard::{SHA1_K, SHA256_K};

/// Takes up a block of every lane.
#[inline]
#[target_feature(enable = "avx2,sha")]
pub(super) fn compress(sha1: &mut [__m256i; 5], sha256: &mut [Sha256; LANES], message: [__m256i; 16]) {
    // Of each two rounds, words plus constants.
    let mut keyed = [[0; LANES]; 32];

    // SHA-256's schedule, and the rounds of two lanes.
    let mut w = message;
    let mut two = [sha256[0], sha256[1]];
    for (sixteen, k) in SHA256_K.iter().enumerate() {
        macro_rules! scheduled {
            ($t:expr) => {
                if sixteen > 0 {
                    let old = add(w[$t], w[($t + 9) % 16]);
                    w[$t] = add(add(old, sigma_0(w[($t + 1) % 16])), sigma_1(w[($t + 14) % 16]));
                }
            };
        }
        macro_rules! pair {
            ($($at:literal)*) => {$(
                scheduled!(2 * $at);
                scheduled!(2 * $at + 1);
                let pair = pairs(add(w[2 * $at], splat(k[2 * $at])), add(w[2 * $at + 1], splat(k[2 * $at + 1])));
                two[0].two_rounds($at, low(pair[PLACES[0]]));
                two[1].two_rounds($at, low(pair[PLACES[1]]));
                keyed[8 * sixteen + $at] = pair;
            )*};
        }
        pair!(0 1 2 3 4 5 6 7);
    }
    sha256[0] = sha256[0].plus(two[0]);
    sha256[1] = sha256[1].plus(two[1]);

    // SHA-1, and the rounds of the other lanes.
    let mut w = message;
    let [mut a, mut b, mut c, mut d, mut e] = *sha1;
    // The variables trade names instead of values.
    macro_rules! round {
        ($t:expr, $f:ident, $k:ident, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
            if $t >= 16 {
                let old = xor(w[($t + 13) % 16], w[($t + 8) % 16], w[($t + 2) % 16]);
                w[$t % 16] = rotate::<1, 31>(_mm256_xor_si256(old, w[$t % 16]));
            }
            $e = add(add($e, add($k, w[$t % 16])), add($f($b, $c, $d), rotate::<5, 27>($a)));
            $b = rotate::<30, 2>($b);
        };
    }
    // Five rounds of SHA-1, eight of SHA-256 in each of three lanes.
    macro_rules! five {
        ($t:expr, $f:ident, $k:ident, $three:ident, $first:expr) => {
            macro_rules! beside {
                ($pair:expr) => {
                    for (lane, state) in $three.iter_mut().enumerate() {
                        state.two_rounds($pair, low(keyed[$pair][PLACES[$first + lane]]));
                    }
                };
            }
            round!($t, $f, $k, a, b, c, d, e);
            beside!(4 * ($t % 40) / 5);
            round!($t + 1, $f, $k, e, a, b, c, d);
            beside!(4 * ($t % 40) / 5 + 1);
            round!($t + 2, $f, $k, d, e, a, b, c);
            beside!(4 * ($t % 40) / 5 + 2);
            round!($t + 3, $f, $k, c, d, e, a, b);
            beside!(4 * ($t % 40) / 5 + 3);
            round!($t + 4, $f, $k, b, c, d, e, a);
        };
    }
    macro_rules! twenty {
        ($n:literal, $f:ident, $three:ident, $first:expr) => {
            let k = splat(SHA1_K[$n]);
            five!(20 * $n, $f, k, $three, $first);
            five!(20 * $n + 5, $f, k, $three, $first);
            five!(20 * $n + 10, $f, k, $three, $first);
            five!(20 * $n + 15, $f, k, $three, $first);
        };
    }
    let mut three = [sha256[2], sha256[3], sha256[4]];
    twenty!(0, choose, three, 2);
    twenty!(1, xor, three, 2);
    for (state, new) in sha256[2..5].iter_mut().zip(three) {
        *state = state.plus(new);
    }
    let mut three = [sha256[5], sha256[6], sha256[7]];
    twenty!(2, majority, three, 5);
    twenty!(3, xor, three, 5);
    for (state, new) in sha256[5..8].iter_mut().zip(three) {
        *state = state.plus(new);
    }
    for (word, new) in sha1.iter_mut().zip([a, b, c, d, e]) {
        *word = add(*word, new);
    }
}

/// Two words, the first in the lowest lane.
#[inline]
#[target_feature(enable = "sse2")]
fn low(words: u64) -> __m128i {
    _mm_cvtsi64_si128(words.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn sigma_0(w: __m256i) -> __m256i {
    xor(rotate::<25, 7>(w), rotate::<14, 18>(w), _mm256_srli_epi32::<3>(w))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sigma_1(w: __m256i) -> __m256i {
    xor(rotate::<15, 17>(w), rotate::<13, 19>(w), _mm256_srli_epi32::<10>(w))
}
