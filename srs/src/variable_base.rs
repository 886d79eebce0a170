//! Multiples of many different points by many different scalars, for the transform over group elements.
//!
//! A scalar is split by the curve's endomorphism into two of half length (Gallant, Lambert, Vanstone, CRYPTO 2001), these are
//! written in non-adjacent form of width 5, and all multiples of a batch are computed in step ([`crate::batch_affine`]). Not constant
//! in time: scalars and points are public.

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr, G1Affine},
    ff::{PrimeField, WithSmallOrderMulGroup},
    group::prime::PrimeCurveAffine,
};

use crate::batch_affine::BatchAdder;

/// The number from which curve and field are derived (Barreto, Naehrig, SAC 2005; parameter of BN254).
const X: u128 = 4965661367192848881;
/// With λ = `Fr::ZETA`, `(LONG_A, −SHORT)` and `(SHORT, LONG_B)` generate the pairs (a, b) with a + b·λ = 0 in the scalar field.
const SHORT: u128 = 2 * X + 1;
const LONG_A: u128 = 6 * X * X + 2 * X;
const LONG_B: u128 = 6 * X * X + 4 * X + 1;
/// ⌊LONG_B·2^254/r⌋ and ⌊SHORT·2^254/r⌋: multiplication by them replaces division by r.
const LONG_B_BY_R: u128 = 0x9333_bc05_29dc_f4b4_94e6_3f40_c03f_d959;
const SHORT_BY_R: u128 = 0xb647_48cb_b1f8_2cf5;

/// Width of the digits, which are odd and below 2^4 in magnitude.
const WIDTH: u32 = 5;
/// Odd multiples in the table: 1, 3, …, 15.
const TABLE_LEN: usize = 1 << (WIDTH - 2);
/// Digits of a half scalar, with the last carry.
const N_DIGITS: usize = 129;

/// `scalars[i] · points[i]`, replacing the points. Batches of some hundred share their inversions well.
pub(crate) fn multiply_each(adder: &mut BatchAdder, points: &mut [G1Affine], scalars: &[Fr]) {
    let digits: Vec<[[i8; N_DIGITS]; 2]> = scalars.iter().map(|s| split(s).map(non_adjacent_form)).collect();
    let mut table = vec![points.to_vec()];
    let mut doubles = points.to_vec();
    adder.double(&mut doubles);
    for j in 1..TABLE_LEN {
        let mut next = table[j - 1].clone();
        adder.add(&mut next, doubles.iter().copied().enumerate());
        table.push(next);
    }
    points.fill(G1Affine::identity());
    for position in (0..N_DIGITS).rev() {
        adder.double(points);
        for half in 0..2 {
            let addend = |i: usize| {
                let digit = digits[i][half][position];
                let mut p = table[usize::from(digit.unsigned_abs() / 2)][i];
                if half == 1 {
                    p.x *= Fq::ZETA;
                }
                (digit != 0).then(|| (i, if digit < 0 { -p } else { p }))
            };
            adder.add(points, (0..digits.len()).filter_map(addend));
        }
    }
}

/// An integer by sign and magnitude.
#[derive(Clone, Copy, Debug)]
struct Half {
    negative: bool,
    magnitude: u128,
}

/// Integers a, b with a + b·λ = `scalar` and magnitudes below 2^128 − 2^5.
fn split(scalar: &Fr) -> [Half; 2] {
    let (low, high) = limbs(scalar);
    // The scalar is below 2^254, so its upper 128 bits of 254 lose nothing to the left.
    let top = high << 2 | low >> 126;
    // Both quotients are off by less than 2, of magnitudes below 2^127, so that the remainders stay below 2^128.
    let c1 = Fr::from_u128(multiply_high(top, LONG_B_BY_R) + 1);
    let c2 = Fr::from_u128(multiply_high(top, SHORT_BY_R));
    let [short, long_a, long_b] = [SHORT, LONG_A, LONG_B].map(Fr::from_u128);
    [scalar - c1 * long_a - c2 * short, c1 * short - c2 * long_b].map(|value| {
        let (magnitude, high) = limbs(&value);
        if high == 0 {
            let negative = false;
            return Half { negative, magnitude };
        }
        Half { negative: true, magnitude: limbs(&-value).0 }
    })
}

/// The lower and upper 128 bits.
fn limbs(scalar: &Fr) -> (u128, u128) {
    let repr = scalar.to_repr();
    let join = |bytes: &[u8]| bytes.iter().rev().fold(0, |acc, &b| acc << 8 | u128::from(b));
    let (low, high) = repr.as_ref().split_at(16);
    (join(low), join(high))
}

/// ⌊a·b/2^128⌋.
fn multiply_high(a: u128, b: u128) -> u128 {
    let low = |v: u128| v & u128::from(u64::MAX);
    let (a1, a0, b1, b0) = (a >> 64, low(a), b >> 64, low(b));
    let middle = ((a0 * b0) >> 64) + low(a0 * b1) + low(a1 * b0);
    a1 * b1 + ((a0 * b1) >> 64) + ((a1 * b0) >> 64) + (middle >> 64)
}

/// Digits d_j, lowest first, with Σ d_j·2^j = the half scalar, each zero or odd with |d_j| < 16.
fn non_adjacent_form(half: Half) -> [i8; N_DIGITS] {
    let mut digits = [0; N_DIGITS];
    let mut rest = half.magnitude;
    let window = 1i8 << WIDTH;
    for d in &mut digits {
        if rest & 1 == 1 {
            let mut digit = (rest % (1 << WIDTH)) as i8;
            if digit >= window / 2 {
                digit -= window;
                // No overflow: the magnitude is below 2^128 − 2^5.
                rest += u128::from(digit.unsigned_abs());
            } else {
                rest -= u128::from(digit.unsigned_abs());
            }
            *d = if half.negative { -digit } else { digit };
        }
        rest >>= 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::{ff::Field, group::Curve};
    use rand_core::OsRng;

    use super::*;

    /// Random scalars and those near which rounding or signs change.
    fn scalars(n_random: usize) -> Vec<Fr> {
        let edges = [0, 1, 2, 15, 16, 17, SHORT, LONG_A, LONG_B, u128::MAX];
        let edges = edges.into_iter().flat_map(|e| [Fr::from_u128(e), -Fr::from_u128(e)]);
        let others = [Fr::ZETA, -Fr::ZETA, Fr::TWO_INV, Fr::ROOT_OF_UNITY];
        let random = (0..n_random).map(|_| Fr::random(OsRng));
        edges.chain(others).chain(random).collect()
    }

    #[test]
    fn halves_recombine_and_leave_room_for_a_digit() {
        for scalar in scalars(50_000) {
            let [a, b] = split(&scalar).map(|half| {
                assert!(half.magnitude < u128::MAX - 31, "{scalar:?}: {half:?}");
                let digits = non_adjacent_form(half);
                assert!(digits.iter().all(|d| *d == 0 || (d % 2 != 0 && d.abs() < 16)));
                digits.iter().rev().fold(Fr::ZERO, |acc, &d| {
                    let digit = Fr::from(u64::from(d.unsigned_abs()));
                    acc.double() + if d < 0 { -digit } else { digit }
                })
            });
            assert_eq!(a + b * Fr::ZETA, scalar);
        }
    }

    #[test]
    fn multiples_equal_double_and_add() {
        let scalars = scalars(300);
        let mut points: Vec<_> =
            (0..scalars.len()).map(|i| (G1Affine::generator() * Fr::from(i as u64 * i as u64)).to_affine()).collect();
        let expected: Vec<_> = points.iter().zip(&scalars).map(|(p, s)| (*p * s).to_affine()).collect();
        multiply_each(&mut BatchAdder::default(), &mut points, &scalars);
        assert_eq!(points, expected);
    }
}
