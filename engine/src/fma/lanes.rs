//! Arithmetic of eight residues at a time.
//!
//! A residue is held in Montgomery form with R = 2^256, as in memory, as a number v, not the least one, in five digits:
//! v = Σ d_i·2^{51i}, each d_i a double that is an integer. Two bounds are kept: *units* u with |d_i| ≤ u·(2^50 + 2^13) for
//! i < 4, and the size, |v| in multiples of p, which bounds d_4. All operations are exact within the bounds they state.

use std::{
    arch::{asm, x86_64::*},
    marker::PhantomData,
    mem::MaybeUninit,
};

use halo2_proofs::halo2curves::{bn256::Fr, ff::PrimeField};

use super::constants::{CARRIED, Digits, EXPONENT, MASK, NEAR_ONE, NEAR_TOP, Row, balanced};
use super::layout::{self, BITS, DIGITS};
use crate::words::limbs;

/// The digits of four residues, then of four others.
type Digits8 = [[__m256d; DIGITS]; 2];

/// Eight residues modulo the prime of `F`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Lanes<F>(Digits8, PhantomData<F>);

/// Sign bits of eight lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs([__m256d; 2]);

impl Signs {
    /// Set where the highest bit of a number is.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new(of: [u32; 8]) -> Self {
        let half = |first: usize| {
            let high = |lane: usize| i64::from(of[first + lane].cast_signed() >> 31) << 63;
            _mm256_castsi256_pd(_mm256_setr_epi64x(high(0), high(1), high(2), high(3)))
        };
        Self([half(0), half(4)])
    }
}

#[cfg(test)]
impl<F> Lanes<F> {
    /// Lanes with these digits, the i-th of lane l at `[l][i]`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn of_digits(digits: [[f64; DIGITS]; 8]) -> Self {
        let of = |half: usize, i: usize| {
            let d = |lane: usize| digits[4 * half + lane][i];
            _mm256_setr_pd(d(0), d(1), d(2), d(3))
        };
        Self(std::array::from_fn(|half| std::array::from_fn(|i| of(half, i))), PhantomData)
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn same(x: f64) -> __m256d {
    _mm256_set1_pd(x)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn bits(x: u64) -> __m256i {
    _mm256_set1_epi64x(x.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn row(row: &Row) -> __m256d {
    same(f64::from_bits(row[0]))
}

/// All bits of the lanes that the lowest four bits of a mask say.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn chosen(mask: u8) -> __m256d {
    let lanes = _mm256_setr_epi64x(1, 2, 4, 8);
    let here = _mm256_and_si256(_mm256_set1_epi64x(i64::from(mask)), lanes);
    _mm256_castsi256_pd(_mm256_cmpeq_epi64(here, lanes))
}

/// Digits as integers of 51 bits, the last without a bound, from words.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn split(w: [__m256i; 4]) -> [__m256i; DIGITS] {
    let mask = bits(MASK);
    let middle = |low, high| _mm256_and_si256(_mm256_or_si256(low, high), mask);
    [
        _mm256_and_si256(w[0], mask),
        middle(_mm256_srli_epi64::<51>(w[0]), _mm256_slli_epi64::<13>(w[1])),
        middle(_mm256_srli_epi64::<38>(w[1]), _mm256_slli_epi64::<26>(w[2])),
        middle(_mm256_srli_epi64::<25>(w[2]), _mm256_slli_epi64::<39>(w[3])),
        _mm256_srli_epi64::<12>(w[3]),
    ]
}

/// The inverse of [`split`].
#[inline]
#[target_feature(enable = "avx2,fma")]
fn joined(d: [__m256i; DIGITS]) -> [__m256i; 4] {
    [
        _mm256_or_si256(d[0], _mm256_slli_epi64::<51>(d[1])),
        _mm256_or_si256(_mm256_srli_epi64::<13>(d[1]), _mm256_slli_epi64::<38>(d[2])),
        _mm256_or_si256(_mm256_srli_epi64::<26>(d[2]), _mm256_slli_epi64::<25>(d[3])),
        _mm256_or_si256(_mm256_srli_epi64::<39>(d[3]), _mm256_slli_epi64::<12>(d[4])),
    ]
}

/// Word i of all four instead of the words of the i-th, or back.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transposed(r: [__m256i; 4]) -> [__m256i; 4] {
    let low = [_mm256_unpacklo_epi64(r[0], r[1]), _mm256_unpacklo_epi64(r[2], r[3])];
    let high = [_mm256_unpackhi_epi64(r[0], r[1]), _mm256_unpackhi_epi64(r[2], r[3])];
    [
        _mm256_permute2x128_si256::<0x20>(low[0], low[1]),
        _mm256_permute2x128_si256::<0x20>(high[0], high[1]),
        _mm256_permute2x128_si256::<0x31>(low[0], low[1]),
        _mm256_permute2x128_si256::<0x31>(high[0], high[1]),
    ]
}

/// Passes carries on, by one digit: units become 1.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn tidied(mut d: [__m256d; DIGITS]) -> [__m256d; DIGITS] {
    let near = same(NEAR_TOP);
    let mut carried = [same(0.0); DIGITS];
    for i in 0..DIGITS - 1 {
        carried[i] = _mm256_sub_pd(_mm256_add_pd(d[i], near), near);
        d[i] = _mm256_sub_pd(d[i], carried[i]);
    }
    let down = same(1.0 / (1_u64 << BITS) as f64);
    for i in 0..DIGITS - 1 {
        d[i + 1] = _mm256_fmadd_pd(carried[i], down, d[i + 1]);
    }
    d
}

/// Writes twice the product of `a` and `b`, which are not where the result goes, divided by R.
///
/// # Safety
/// `out` must be good for writing.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "assembly")]
unsafe fn product(a: &Digits8, b: &Digits8, out: *mut Digits8, constants: &[Row; layout::COUNT]) {
    let mut scratch = MaybeUninit::<[__m256d; 2 * (DIGITS + 1)]>::uninit();
    // SAFETY: the code reads the operands and the table, and writes the scratch space and the result, all of it (every
    // address in it is one of these registers and an offset within); it needs no stack and leaves flags alone. The
    // instructions are those of the features above, and all vector registers are named.
    unsafe {
        asm!(
            include_str!(concat!(env!("OUT_DIR"), "/product.s")),
            in("rdi") a,
            in("rsi") b,
            in("rdx") out,
            in("rcx") constants,
            in("r8") scratch.as_mut_ptr(),
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack, preserves_flags),
        );
    }
}

impl Lanes<Fr> {
    /// Half of an element in all lanes, as factors of [`Self::twice_times`] are held. 1 unit, size 1.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn half(x: &Fr) -> Self {
        Self::splat(limbs(&(*x * Fr::TWO_INV)))
    }
}

impl<F: Digits> Lanes<F> {
    /// Zero.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn zero() -> Self {
        Self([[same(0.0); DIGITS]; 2], PhantomData)
    }

    /// The same residue in all lanes; its 64-bit limbs as in memory. 1 unit, size 1.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn splat(limbs: [u64; 4]) -> Self {
        let mut out = Self::zero();
        for (i, digit) in balanced(limbs).into_iter().enumerate() {
            (out.0[0][i], out.0[1][i]) = (same(digit as f64), same(digit as f64));
        }
        out
    }

    /// Eight residues as they lie in memory, one in each row. 2 units, no digit negative; size 1.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn from_rows(rows: [[__m256i; 4]; 2]) -> Self {
        let mut out = Self::zero();
        for h in 0..2 {
            let digits = split(transposed(rows[h]));
            for i in 0..DIGITS {
                let raised = _mm256_castsi256_pd(_mm256_or_si256(digits[i], bits(EXPONENT)));
                out.0[h][i] = _mm256_sub_pd(raised, same(f64::from_bits(EXPONENT)));
            }
        }
        out
    }

    /// The inverse of [`Self::from_rows`], reduced; the residues must be [settled](Self::settled).
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn to_rows(self) -> [[__m256i; 4]; 2] {
        let mask = bits(MASK);
        let modulus = &F::constants().modulus;
        let mut out = [[_mm256_setzero_si256(); 4]; 2];
        for h in 0..2 {
            let mut d = [_mm256_setzero_si256(); DIGITS];
            for i in 0..DIGITS {
                let raised = if i < DIGITS - 1 { 1 << 62 } else { 0_u64 };
                let lowered = if i == 0 { 0 } else { CARRIED };
                let integer = _mm256_castpd_si256(_mm256_add_pd(self.0[h][i], same(NEAR_ONE)));
                d[i] = _mm256_add_epi64(integer, bits(raised.wrapping_sub(lowered).wrapping_sub(NEAR_ONE.to_bits())));
            }
            for i in 0..DIGITS - 1 {
                d[i + 1] = _mm256_add_epi64(d[i + 1], _mm256_srli_epi64::<51>(d[i]));
                d[i] = _mm256_and_si256(d[i], mask);
            }
            // The sign of the last digit is that of the number.
            let negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), d[DIGITS - 1]);
            for i in 0..DIGITS {
                d[i] = _mm256_add_epi64(d[i], _mm256_and_si256(bits(modulus[i][0]), negative));
            }
            for i in 0..DIGITS - 1 {
                d[i + 1] = _mm256_add_epi64(d[i + 1], _mm256_srli_epi64::<51>(d[i]));
                d[i] = _mm256_and_si256(d[i], mask);
            }
            out[h] = transposed(joined(d));
        }
        out
    }

    /// `2·a·b/R`: 1 unit, size 0.51 + 0.38 times the product of the sizes. Of the operands' units the product is at most 3, of
    /// the units of one and the size of the other 5, of their sizes 5: no product of two digits is above 2^102, and no last digit of
    /// a result above 2^51.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "a result that is written by assembly")]
    pub(super) fn twice_times(&self, other: &Self) -> Self {
        let mut out = MaybeUninit::<Self>::uninit();
        // SAFETY: the layout of a result is that of an operand, and all of it is written.
        unsafe {
            product(&self.0, &other.0, out.as_mut_ptr().cast(), &F::constants().product);
            out.assume_init()
        }
    }

    /// [`Self::twice_times`], written where it belongs.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "a result that is written by assembly")]
    pub(super) fn twice_times_to(&self, other: &Self, out: &mut Self) {
        // SAFETY: the layout of a result is that of an operand; what is borrowed for writing is no operand.
        unsafe { product(&self.0, &other.0, &raw mut out.0, &F::constants().product) };
    }

    /// Writes these lanes where they belong, vector by vector.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn copy_to(&self, out: &mut Self) {
        for h in 0..2 {
            for i in 0..DIGITS {
                out.0[h][i] = self.0[h][i];
            }
        }
    }

    /// `a + b`: units and sizes add up.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut out = *self;
        for h in 0..2 {
            for i in 0..DIGITS {
                out.0[h][i] = _mm256_add_pd(self.0[h][i], other.0[h][i]);
            }
        }
        out
    }

    /// `a − b`: units and sizes add up; for digits that are not negative, those of the larger.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut out = *self;
        for h in 0..2 {
            for i in 0..DIGITS {
                out.0[h][i] = _mm256_sub_pd(self.0[h][i], other.0[h][i]);
            }
        }
        out
    }

    /// `factors[0]·a + factors[1]·b`, for powers of two: units and sizes, so often, add up; for digits that are not negative and
    /// factors of different signs, those of the larger.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn combined(&self, other: &Self, factors: [f64; 2]) -> Self {
        let [x, y] = [same(factors[0]), same(factors[1])];
        let mut out = *self;
        for h in 0..2 {
            for i in 0..DIGITS {
                out.0[h][i] = _mm256_fmadd_pd(other.0[h][i], y, _mm256_mul_pd(self.0[h][i], x));
            }
        }
        out
    }

    /// The same with 1 unit, from at most 8.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn tidy(&self) -> Self {
        let mut out = *self;
        for digits in &mut out.0 {
            *digits = tidied(*digits);
        }
        out
    }

    /// The same residue with 1 unit and size 0.51. Units and size add up to 7.4 at most.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn settled(&self) -> Self {
        let constants = F::constants();
        let mut out = *self;
        for digits in &mut out.0 {
            let near = same(NEAR_ONE);
            let quotient = _mm256_fmadd_pd(digits[DIGITS - 1], same(constants.quotient), near);
            let quotient = _mm256_sub_pd(quotient, near);
            for i in 0..DIGITS {
                digits[i] = _mm256_fnmadd_pd(quotient, row(&constants.product[layout::P + i]), digits[i]);
            }
            *digits = tidied(*digits);
        }
        out
    }

    /// Halves the residue: 1 unit, from 1; half a p is added to half the size at most.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn halve(&mut self) {
        let constants = F::constants();
        let (half, near) = (same(0.5), same(NEAR_ONE));
        for digits in &mut self.0 {
            // Odd numbers, which are those with an odd first digit, are raised by p.
            let first = _mm256_mul_pd(digits[0], half);
            let whole = _mm256_sub_pd(_mm256_add_pd(first, near), near);
            let odd = _mm256_cmp_pd::<_CMP_NEQ_OQ>(first, whole);
            for i in 0..DIGITS {
                let p = _mm256_and_pd(row(&constants.product[layout::P + i]), odd);
                digits[i] = _mm256_mul_pd(_mm256_add_pd(digits[i], p), half);
            }
            // The half that an odd digit leaves is 2^50 in the digit below.
            for i in 1..DIGITS {
                let whole = _mm256_sub_pd(_mm256_add_pd(digits[i], near), near);
                let rest = _mm256_sub_pd(digits[i], whole);
                digits[i] = whole;
                digits[i - 1] = _mm256_fmadd_pd(rest, same((1_u64 << BITS) as f64), digits[i - 1]);
            }
            *digits = tidied(*digits);
        }
    }

    /// These lanes with their signs changed.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn negated_by(&self, signs: &Signs) -> Self {
        let mut out = *self;
        for h in 0..2 {
            for i in 0..DIGITS {
                out.0[h][i] = _mm256_xor_pd(self.0[h][i], signs.0[h]);
            }
        }
        out
    }

    /// These lanes, but where the mask has bits the other's.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn but(&self, mask: u8, other: &Self) -> Self {
        let mut out = *self;
        for h in 0..2 {
            let chosen = chosen(mask >> (4 * h));
            for i in 0..DIGITS {
                out.0[h][i] = _mm256_blendv_pd(self.0[h][i], other.0[h][i], chosen);
            }
        }
        out
    }

    /// Where both have the same first digit: all that are equal digit for digit, and one of 2^51 others.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn may_equal(&self, other: &Self) -> u8 {
        let equal = |h: usize| _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_EQ_OQ>(self.0[h][0], other.0[h][0])) as u8;
        equal(0) | equal(1) << 4
    }

    /// Where both have the same digits.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn equal(&self, other: &Self) -> u8 {
        let mut out = 0;
        for h in 0..2 {
            let mut equal = _mm256_cmp_pd::<_CMP_EQ_OQ>(self.0[h][0], other.0[h][0]);
            for i in 1..DIGITS {
                equal = _mm256_and_pd(equal, _mm256_cmp_pd::<_CMP_EQ_OQ>(self.0[h][i], other.0[h][i]));
            }
            out |= (_mm256_movemask_pd(equal) as u8) << (4 * h);
        }
        out
    }
}
