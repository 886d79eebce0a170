//! SHA-256 in sixteen lanes. Source: FIPS 180-4, 6.2.2.

use std::arch::x86_64::*;

use super::words::{add, choose, majority, splat, xor};
use crate::lanes::standard::SHA256_K;

/// Takes up a block of every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn compress(state: &mut [__m512i; 8], message: [__m512i; 16]) {
    let mut w = message;
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (sixteen, k) in SHA256_K.iter().enumerate() {
        if sixteen > 0 {
            for t in 0..16 {
                let old = add(w[t], w[(t + 9) % 16]);
                w[t] = add(add(old, sigma_0(w[(t + 1) % 16])), sigma_1(w[(t + 14) % 16]));
            }
        }
        // The variables trade names instead of values.
        macro_rules! round {
            ($t:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                $h = add(add(add($h, splat(k[$t])), w[$t]), add(choose($e, $f, $g), sum_1($e)));
                $d = add($d, $h);
                $h = add($h, add(majority($a, $b, $c), sum_0($a)));
            };
        }
        macro_rules! eight {
            ($t:expr) => {
                round!($t, a, b, c, d, e, f, g, h);
                round!($t + 1, h, a, b, c, d, e, f, g);
                round!($t + 2, g, h, a, b, c, d, e, f);
                round!($t + 3, f, g, h, a, b, c, d, e);
                round!($t + 4, e, f, g, h, a, b, c, d);
                round!($t + 5, d, e, f, g, h, a, b, c);
                round!($t + 6, c, d, e, f, g, h, a, b);
                round!($t + 7, b, c, d, e, f, g, h, a);
            };
        }
        eight!(0);
        eight!(8);
    }
    for (word, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = add(*word, new);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum_0(a: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum_1(e: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma_0(w: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<7>(w), _mm512_ror_epi32::<18>(w), _mm512_srli_epi32::<3>(w))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sigma_1(w: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<17>(w), _mm512_ror_epi32::<19>(w), _mm512_srli_epi32::<10>(w))
}
