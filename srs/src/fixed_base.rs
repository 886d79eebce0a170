//! Many multiples of one point: a windowed table and batched affine additions.
//!
//! A scalar is cut into signed digits of 16 bits (8 when few multiples are wanted), so a multiple is the sum of 16 (32) table
//! entries, added for many results at once ([`crate::batch_affine`]).

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1, G1Affine},
    ff::PrimeField,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rayon::prelude::*;

use crate::batch_affine::BatchAdder;

/// Bytes of a scalar; 256 bits hold its 254 and the last carry.
const SCALAR_LEN: usize = 32;
/// From this many multiples on, the large table (32 MiB, half a million additions to build) pays.
const LARGE_FROM: usize = 1 << 14;
/// Results that share their inversions.
const BATCH: usize = 1024;

/// Table of `d · 2^(w·j) · P` for 1 ≤ d ≤ 2^(w−1) and every digit position j, where w is the window.
pub(crate) struct FixedBase {
    /// Bytes per digit: 1 or 2.
    digit_len: usize,
    table: Vec<G1Affine>,
}

impl FixedBase {
    /// Builds the table of `base`, which must not be the identity, for about `n_multiples` of it.
    pub(crate) fn new(base: G1Affine, n_multiples: usize) -> Self {
        let digit_len = if n_multiples >= LARGE_FROM { 2 } else { 1 };
        let half = half_of(digit_len);
        let mut window_bases = vec![base.to_curve()];
        for j in 1..SCALAR_LEN / digit_len {
            let mut p = window_bases[j - 1];
            for _ in 0..8 * digit_len {
                p = p.double();
            }
            window_bases.push(p);
        }
        let rows: Vec<Vec<G1Affine>> = window_bases
            .par_iter()
            .map(|&p| {
                let mut multiples = Vec::with_capacity(half);
                let mut current = p;
                for _ in 0..half {
                    multiples.push(current);
                    current += p;
                }
                let mut affine = vec![G1Affine::identity(); half];
                G1::batch_normalize(&multiples, &mut affine);
                affine
            })
            .collect();
        Self { digit_len, table: rows.concat() }
    }

    /// `scalars[i] · P` for every i, on all cores. `on_batch(n)` is called after every n results.
    pub(crate) fn multiply(&self, scalars: &[Fr], on_batch: &(dyn Fn(usize) + Sync)) -> Vec<G1Affine> {
        let mut out = vec![G1Affine::identity(); scalars.len()];
        out.par_chunks_mut(BATCH).zip(scalars.par_chunks(BATCH)).for_each(|(out, scalars)| {
            self.multiply_batch(scalars, out);
            on_batch(out.len());
        });
        out
    }

    fn multiply_batch(&self, scalars: &[Fr], out: &mut [G1Affine]) {
        let n_windows = SCALAR_LEN / self.digit_len;
        let digits: Vec<i32> = scalars.iter().flat_map(|s| signed_digits(s, self.digit_len)).collect();
        let mut adder = BatchAdder::default();
        for (j, row) in self.table.chunks_exact(half_of(self.digit_len)).enumerate() {
            let addend = |i: usize| {
                let digit = digits[i * n_windows + j];
                (digit != 0).then(|| {
                    let entry = row[digit.unsigned_abs() as usize - 1];
                    (i, if digit < 0 { -entry } else { entry })
                })
            };
            adder.add(out, (0..scalars.len()).filter_map(addend));
        }
    }
}

/// Largest magnitude of a signed digit.
fn half_of(digit_len: usize) -> usize {
    1 << (8 * digit_len - 1)
}

/// Digits d_j, lowest first, with Σ d_j·2^(w·j) = scalar and −2^(w−1) < d_j ≤ 2^(w−1).
fn signed_digits(scalar: &Fr, digit_len: usize) -> Vec<i32> {
    let half = half_of(digit_len) as i32;
    let mut carry = 0;
    // The modulus is below 2^254, so the top digit is at most a quarter of its range and carries nothing.
    let digit = |bytes: &[u8]| {
        let value = bytes.iter().rev().fold(0, |acc, &b| acc << 8 | i32::from(b)) + carry;
        carry = i32::from(value > half);
        value - carry * 2 * half
    };
    scalar.to_repr().as_ref().chunks_exact(digit_len).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use halo2_proofs::halo2curves::ff::Field;

    use super::*;

    #[test]
    fn multiples_equal_double_and_add() {
        let base = (G1Affine::generator() * Fr::from(7)).to_affine();
        let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(1 << 15), Fr::from((1 << 15) + 1)];
        scalars.extend([Fr::from(u64::MAX), Fr::from(1 << 16), Fr::TWO_INV, -Fr::from(1 << 16)]);
        scalars.extend((0..3000u64).map(|i| Fr::from(i + 3).pow_vartime([77 + i])));
        scalars.extend([128, 129, 255, 256].map(Fr::from));
        for n_multiples in [1, LARGE_FROM] {
            let got = FixedBase::new(base, n_multiples).multiply(&scalars, &|_| ());
            for (s, p) in scalars.iter().zip(got) {
                assert_eq!((base * s).to_affine(), p, "scalar {s:?}");
            }
        }
    }
}
