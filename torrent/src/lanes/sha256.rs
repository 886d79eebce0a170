//! SHA-256 in sixteen lanes. Source: FIPS 180-4, 4.2.2, 5.3.3 and 6.2.2.

use std::arch::x86_64::*;

use super::words::{add, choose, majority, splat, xor};

/// State before the first block.
pub(super) const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Constants of the rounds, sixteen a line.
#[rustfmt::skip]
const K: [[u32; 16]; 4] = [
    [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
];

/// Takes up a block of every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn compress(state: &mut [__m512i; 8], message: [__m512i; 16]) {
    let mut w = message;
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (sixteen, k) in K.iter().enumerate() {
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
