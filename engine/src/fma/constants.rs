//! What the kernels multiply with and add, each constant four times.

use std::sync::OnceLock;

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr},
    ff::PrimeField,
};

use super::layout::{self, BITS, COUNT, DIGITS, FOLDED};
use crate::msm::limbs;
use crate::words::{Modulus, negated_inverse};

/// 2^51 − 1.
pub(super) const MASK: u64 = (1 << BITS) - 1;
/// 1.5·2^52: numbers around it are integers, those of their bits too.
pub(super) const NEAR_ONE: f64 = 1.5 * (1_u64 << 52) as f64;
/// 1.5·2^103: numbers around it are multiples of 2^51.
pub(super) const NEAR_TOP: f64 = 1.5 * (1_u128 << 103) as f64;
/// Bits of 2^52: what follows them is an integer.
pub(super) const EXPONENT: u64 = 0x4330_0000_0000_0000;
/// Sums of columns are raised by 2^62, to be shifted as if they had no sign, and by half a digit, to be rounded.
const RAISED: u64 = (1 << 62) + (1 << (BITS - 1));
/// What the carry is more by for that.
pub(super) const CARRIED: u64 = 1 << (62 - BITS);

/// A number as bits, in all four lanes.
pub(super) type Row = [u64; 4];

/// The constants of a field.
#[derive(Debug)]
#[repr(C, align(32))]
pub(super) struct Constants {
    /// Those of a product, as `layout` says.
    pub(super) product: [Row; COUNT],
    /// p in digits from 0 to 2^51 − 1, as integers.
    pub(super) modulus: [Row; DIGITS],
    /// 2^204/p.
    pub(super) quotient: f64,
}

/// A field that the kernels know.
pub(crate) trait Digits: Modulus {
    #[doc(hidden)]
    fn constants() -> &'static Constants;
}

impl Digits for Fr {
    fn constants() -> &'static Constants {
        static MADE: OnceLock<Constants> = OnceLock::new();
        MADE.get_or_init(constants::<Self>)
    }
}

impl Digits for Fq {
    fn constants() -> &'static Constants {
        static MADE: OnceLock<Constants> = OnceLock::new();
        MADE.get_or_init(constants::<Self>)
    }
}

/// Digits from 0 to 2^51 − 1; the last holds what is left.
fn digits(x: [u64; 4]) -> [u64; DIGITS] {
    [
        x[0] & MASK,
        (x[0] >> 51 | x[1] << 13) & MASK,
        (x[1] >> 38 | x[2] << 26) & MASK,
        (x[2] >> 25 | x[3] << 39) & MASK,
        x[3] >> 12,
    ]
}

/// Digits from −2^50 to 2^50 − 1; the last holds what is left.
pub(super) fn balanced(x: [u64; 4]) -> [i64; DIGITS] {
    let mut out = digits(x).map(u64::cast_signed);
    for i in 0..DIGITS - 1 {
        if out[i] >= 1 << (BITS - 1) {
            out[i] -= 1 << BITS;
            out[i + 1] += 1;
        }
    }
    out
}

/// A number that is no more than p/2 from zero, in balanced digits.
fn least<F: PrimeField<Repr: AsRef<[u8]>>>(x: F) -> [i64; DIGITS] {
    let (here, negated) = (limbs(&x), limbs(&-x));
    if here.iter().rev().le(negated.iter().rev()) { balanced(here) } else { balanced(negated).map(|d| -d) }
}

fn constants<F: Modulus + PrimeField<Repr: AsRef<[u8]>>>() -> Constants {
    let modulus = <F as Modulus>::MODULUS;
    let mut product = [0; COUNT];
    for column in 0..2 * DIGITS {
        let above = if column == 0 { 0 } else { layout::products(column - 1) as u64 };
        product[layout::COLUMN + column] = RAISED
            .wrapping_sub(if column == 0 { 0 } else { CARRIED })
            .wrapping_sub(NEAR_ONE.to_bits().wrapping_mul(layout::products(column) as u64))
            .wrapping_sub(NEAR_TOP.to_bits().wrapping_mul(above));
    }
    let number = |digit: i64| (digit as f64).to_bits();
    for i in 0..FOLDED {
        let power = F::TWO_INV.pow_vartime([(BITS * (FOLDED - i)) as u64]);
        for (j, digit) in least(power).into_iter().enumerate() {
            product[layout::POWER + DIGITS * i + j] = number(digit);
        }
    }
    for (j, digit) in balanced(modulus).into_iter().enumerate() {
        product[layout::P + j] = number(digit);
    }
    product[layout::INVERSE] = number((negated_inverse(modulus[0]) << (64 - BITS)).cast_signed() >> (64 - BITS));
    product[layout::MASK] = MASK;
    product[layout::EXPONENT] = EXPONENT;
    product[layout::DIGIT] = ((1_u64 << 52) as f64 + (1_u64 << (BITS - 1)) as f64).to_bits();
    product[layout::LAST] = NEAR_ONE.to_bits().wrapping_sub(RAISED);
    product[layout::NEAR_ONE] = NEAR_ONE.to_bits();
    product[layout::NEAR_TOP] = NEAR_TOP.to_bits();
    product[layout::NEAR_BOTH] = (NEAR_TOP + NEAR_ONE).to_bits();
    let [.., top] = modulus;
    Constants {
        product: product.map(|x| [x; 4]),
        modulus: digits(modulus).map(|x| [x; 4]),
        // 2^204/p, of which the first bits are enough.
        quotient: 4096.0 / top as f64,
    }
}
