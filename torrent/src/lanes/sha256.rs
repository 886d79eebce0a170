//! SHA-256 in sixteen lanes. Source: FIPS 180-4, 4.2.2, 5.3.3 and 6.2.2.

use std::arch::x86_64::*;

use super::words::{add, choose, majority, splat, xor};

/// State before the first block.
pub(super) const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Constants of the rounds, sixteen for each time that the message is scheduled.
#[rustfmt::skip]
const K: [[u32; 16]; 4] = [
    [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    ],
    [
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    ],
    [
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    ],
    [
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ],
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
