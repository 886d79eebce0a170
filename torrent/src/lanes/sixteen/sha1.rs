//! SHA-1 in sixteen lanes. Source: FIPS 180-4, 6.1.2.

use std::arch::x86_64::*;

use super::words::{add, choose, majority, splat, xor};
use crate::lanes::standard::SHA1_K;

/// Takes up a block of every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn compress(state: &mut [__m512i; 5], message: [__m512i; 16]) {
    let mut w = message;
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    // The variables trade names instead of values.
    macro_rules! round {
        ($t:expr, $f:ident, $k:ident, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
            if $t >= 16 {
                let old = xor(w[($t + 13) % 16], w[($t + 8) % 16], w[($t + 2) % 16]);
                w[$t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(old, w[$t % 16]));
            }
            $e = add(add($e, add($k, w[$t % 16])), add($f($b, $c, $d), _mm512_rol_epi32::<5>($a)));
            $b = _mm512_rol_epi32::<30>($b);
        };
    }
    macro_rules! five {
        ($t:expr, $f:ident, $k:ident) => {
            round!($t, $f, $k, a, b, c, d, e);
            round!($t + 1, $f, $k, e, a, b, c, d);
            round!($t + 2, $f, $k, d, e, a, b, c);
            round!($t + 3, $f, $k, c, d, e, a, b);
            round!($t + 4, $f, $k, b, c, d, e, a);
        };
    }
    macro_rules! twenty {
        ($t:expr, $f:ident, $k:expr) => {
            let k = splat($k);
            five!($t, $f, k);
            five!($t + 5, $f, k);
            five!($t + 10, $f, k);
            five!($t + 15, $f, k);
        };
    }
    twenty!(0, choose, SHA1_K[0]);
    twenty!(20, xor, SHA1_K[1]);
    twenty!(40, majority, SHA1_K[2]);
    twenty!(60, xor, SHA1_K[3]);
    for (word, new) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = add(*word, new);
    }
}
