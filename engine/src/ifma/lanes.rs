//! Arithmetic of eight residues at a time.
//!
//! A residue is held in Montgomery form with R = 2^256, as in memory, in five limbs of 52 bits. It need not be reduced:
//! each operation states its ranges in multiples of p.

use std::{arch::x86_64::*, marker::PhantomData};

use crate::words::{Modulus, negated_inverse};

/// Bits of a limb.
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;
/// R = 2^256 is four limbs and so many bits.
const LAST_BITS: u32 = 48;

/// Constants of a field.
pub(crate) trait Prime: Modulus {
    /// p in 52-bit limbs.
    const P: [u64; 5] = split(Self::MODULUS);
    /// 2p in 52-bit limbs.
    const P2: [u64; 5] = twice(Self::P);
    /// −1/p modulo 2^52.
    const INV: u64 = negated_inverse(Self::MODULUS[0]) & MASK;
}

impl<F: Modulus> Prime for F {}

const fn split(x: [u64; 4]) -> [u64; 5] {
    [
        x[0] & MASK,
        (x[0] >> 52 | x[1] << 12) & MASK,
        (x[1] >> 40 | x[2] << 24) & MASK,
        (x[2] >> 28 | x[3] << 36) & MASK,
        x[3] >> 16,
    ]
}

const fn twice(mut x: [u64; 5]) -> [u64; 5] {
    let mut i = 0;
    let mut carry = 0;
    while i < 5 {
        let doubled = 2 * x[i] + carry;
        x[i] = doubled & MASK;
        carry = doubled >> BITS;
        i += 1;
    }
    x
}

/// Eight residues modulo the prime of `F`: limb i of each in the i-th vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes<F>(pub(super) [__m512i; 5], PhantomData<F>);

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn same(x: u64) -> __m512i {
    _mm512_set1_epi64(x.cast_signed())
}

/// Passes carries on; limbs may be negative, the whole may not.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn carried(mut limbs: [__m512i; 5]) -> [__m512i; 5] {
    for i in 0..4 {
        let carry = _mm512_srai_epi64::<BITS>(limbs[i]);
        limbs[i] = _mm512_and_si512(limbs[i], same(MASK));
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], carry);
    }
    limbs
}

impl<F: Prime> Lanes<F> {
    /// The same residue in all lanes; its 64-bit limbs as in memory.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn splat(limbs: [u64; 4]) -> Self {
        let limbs = split(limbs);
        Self([same(limbs[0]), same(limbs[1]), same(limbs[2]), same(limbs[3]), same(limbs[4])], PhantomData)
    }

    /// Eight residues as they lie in memory, two in each row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn from_rows(rows: [__m512i; 4]) -> Self {
        // Limbs 0 and 1, and 2 and 3, of residues 0 to 3 and 4 to 7; then each limb of all.
        let low = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
        let high = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        let low = [_mm512_permutex2var_epi64(rows[0], low, rows[1]), _mm512_permutex2var_epi64(rows[2], low, rows[3])];
        let high =
            [_mm512_permutex2var_epi64(rows[0], high, rows[1]), _mm512_permutex2var_epi64(rows[2], high, rows[3])];
        let w = [
            _mm512_shuffle_i64x2::<0x44>(low[0], low[1]),
            _mm512_shuffle_i64x2::<0xEE>(low[0], low[1]),
            _mm512_shuffle_i64x2::<0x44>(high[0], high[1]),
            _mm512_shuffle_i64x2::<0xEE>(high[0], high[1]),
        ];
        let mask = same(MASK);
        let middle = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
        Self(
            [
                _mm512_and_si512(w[0], mask),
                middle(_mm512_srli_epi64::<52>(w[0]), _mm512_slli_epi64::<12>(w[1])),
                middle(_mm512_srli_epi64::<40>(w[1]), _mm512_slli_epi64::<24>(w[2])),
                middle(_mm512_srli_epi64::<28>(w[2]), _mm512_slli_epi64::<36>(w[3])),
                _mm512_srli_epi64::<16>(w[3]),
            ],
            PhantomData,
        )
    }

    /// The inverse of [`Self::from_rows`]; residues below 2^256.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn to_rows(self) -> [__m512i; 4] {
        let l = self.0;
        let w = [
            _mm512_or_si512(l[0], _mm512_slli_epi64::<52>(l[1])),
            _mm512_or_si512(_mm512_srli_epi64::<12>(l[1]), _mm512_slli_epi64::<40>(l[2])),
            _mm512_or_si512(_mm512_srli_epi64::<24>(l[2]), _mm512_slli_epi64::<28>(l[3])),
            _mm512_or_si512(_mm512_srli_epi64::<36>(l[3]), _mm512_slli_epi64::<16>(l[4])),
        ];
        let low = [_mm512_shuffle_i64x2::<0x44>(w[0], w[1]), _mm512_shuffle_i64x2::<0xEE>(w[0], w[1])];
        let high = [_mm512_shuffle_i64x2::<0x44>(w[2], w[3]), _mm512_shuffle_i64x2::<0xEE>(w[2], w[3])];
        let first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
        let second = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        [
            _mm512_permutex2var_epi64(low[0], first, high[0]),
            _mm512_permutex2var_epi64(low[0], second, high[0]),
            _mm512_permutex2var_epi64(low[1], first, high[1]),
            _mm512_permutex2var_epi64(low[1], second, high[1]),
        ]
    }

    /// `a·b/R`: below p + a·b/2^256, which is 1.76p for a, b < 2p, as for a < 4p, b < p. Both below 2^260.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn mul(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let p = [same(F::P[0]), same(F::P[1]), same(F::P[2]), same(F::P[3]), same(F::P[4])];
        let inv = same(F::INV);
        let zero = _mm512_setzero_si512();
        // Limb by limb of a: add its multiple of b, then the multiple of p that clears the lowest limb, and drop that.
        let mut t = [zero; 5];
        for a in &a[..4] {
            for j in 0..5 {
                t[j] = _mm512_madd52lo_epu64(t[j], *a, b[j]);
            }
            let m = _mm512_madd52lo_epu64(zero, t[0], inv);
            for j in 0..5 {
                t[j] = _mm512_madd52lo_epu64(t[j], m, p[j]);
            }
            t = [_mm512_add_epi64(t[1], _mm512_srli_epi64::<BITS>(t[0])), t[2], t[3], t[4], zero];
            for j in 0..5 {
                t[j] = _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(t[j], *a, b[j]), m, p[j]);
            }
        }
        // The last limb of R has 48 bits.
        let mut t = [t[0], t[1], t[2], t[3], t[4], zero];
        for j in 0..5 {
            t[j] = _mm512_madd52lo_epu64(t[j], a[4], b[j]);
        }
        let m = _mm512_and_si512(_mm512_madd52lo_epu64(zero, t[0], inv), same((1 << LAST_BITS) - 1));
        for j in 0..5 {
            t[j] = _mm512_madd52lo_epu64(t[j], m, p[j]);
        }
        for j in 0..5 {
            t[j + 1] = _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(t[j + 1], a[4], b[j]), m, p[j]);
        }
        let up = |x| _mm512_slli_epi64::<{ BITS - LAST_BITS }>(x);
        let lowest = _mm512_add_epi64(_mm512_srli_epi64::<LAST_BITS>(t[0]), up(t[1]));
        Self(carried([lowest, up(t[2]), up(t[3]), up(t[4]), up(t[5])]), PhantomData)
    }

    /// `a + b`, not reduced.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn plus(self, other: Self) -> Self {
        let mut limbs = self.0;
        for (a, b) in limbs.iter_mut().zip(other.0) {
            *a = _mm512_add_epi64(*a, b);
        }
        Self(carried(limbs), PhantomData)
    }

    /// `a − b + k·p`, not reduced; `k·p` is the least limbs that the caller knows to reach b.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn minus(self, other: Self, multiple: [u64; 5]) -> Self {
        let mut limbs = self.0;
        for i in 0..5 {
            limbs[i] = _mm512_sub_epi64(_mm512_add_epi64(limbs[i], same(multiple[i])), other.0[i]);
        }
        Self(carried(limbs), PhantomData)
    }

    /// The residue, less `multiple` where that is not more.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn less(self, multiple: [u64; 5]) -> Self {
        let mut limbs = self.0;
        for i in 0..5 {
            limbs[i] = _mm512_sub_epi64(limbs[i], same(multiple[i]));
        }
        let limbs = carried(limbs);
        let negative = _mm512_movepi64_mask(limbs[4]);
        Self(limbs, PhantomData).but(negative, self)
    }

    /// Canonical, from below 4p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn reduced(self) -> Self {
        self.less(F::P2).less(F::P)
    }

    /// These lanes, but where the mask is set the other's.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn but(self, mask: __mmask8, other: Self) -> Self {
        let mut limbs = self.0;
        for (a, b) in limbs.iter_mut().zip(other.0) {
            *a = _mm512_mask_blend_epi64(mask, *a, b);
        }
        Self(limbs, PhantomData)
    }

    /// Where all limbs of both are zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn both_zero(self, other: Self) -> __mmask8 {
        let mut all = _mm512_setzero_si512();
        for i in 0..5 {
            all = _mm512_or_si512(all, _mm512_or_si512(self.0[i], other.0[i]));
        }
        _mm512_testn_epi64_mask(all, all)
    }

    /// Where both have the same limbs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn equal(self, other: Self) -> __mmask8 {
        let mut difference = _mm512_setzero_si512();
        for i in 0..5 {
            difference = _mm512_or_si512(difference, _mm512_xor_si512(self.0[i], other.0[i]));
        }
        _mm512_testn_epi64_mask(difference, difference)
    }
}
