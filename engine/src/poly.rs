//! Polynomials by their coefficients: evaluation, linear combination, division by a root.

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};
use rayon::prelude::*;

use crate::fft::{bit_reverse, powers_from};
#[cfg(target_arch = "x86_64")]
use crate::fma::{Fma, LANES, sums};

/// Coefficients that one task works on.
const CHUNK: usize = 1 << 11;

/// In which order coefficients stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Constant term first.
    Natural,
    /// As [`crate::fft`] leaves them.
    Reversed,
}

/// Coefficients of one polynomial; in reversed order their number is a power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poly<'a> {
    pub(crate) coefficients: &'a [Fr],
    pub(crate) order: Order,
}

impl<'a> Poly<'a> {
    pub(crate) fn natural(coefficients: &'a [Fr]) -> Self {
        Self { coefficients, order: Order::Natural }
    }

    pub(crate) fn reversed(coefficients: &'a [Fr]) -> Self {
        Self { coefficients, order: Order::Reversed }
    }

    /// The value at `x`.
    pub(crate) fn evaluate(&self, x: Fr) -> Fr {
        match self.order {
            Order::Natural => {
                let sums: Vec<Fr> = self.coefficients.par_chunks(CHUNK).map(|c| horner(c, x)).collect();
                horner(&sums, x.pow_vartime([CHUNK as u64]))
            }
            Order::Reversed => reversed_value(self.coefficients, x),
        }
    }
}

fn horner(coefficients: &[Fr], x: Fr) -> Fr {
    coefficients.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c)
}

fn reversed_value(coefficients: &[Fr], x: Fr) -> Fr {
    let n = coefficients.len();
    let chunk = CHUNK.min(n);
    // Neighbours in reversed order are n/2 apart: a chunk is a polynomial in x^{n/chunk}, itself in reversed order.
    let powers = bit_reverse(&powers_from(Fr::ONE, x.pow_vartime([(n / chunk) as u64]), chunk));
    let sums: Vec<Fr> = coefficients.par_chunks(chunk).map(|c| dot(c, &powers)).collect();
    if sums.len() == 1 { sums[0] } else { reversed_value(&sums, x) }
}

/// `Σ a·b`.
fn dot(a: &[Fr], b: &[Fr]) -> Fr {
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect() {
        return sums::dot(shown, a, b);
    }
    a.iter().zip(b).map(|(a, b)| *a * b).sum()
}

/// Makes `out`, which is zero, `Σ factor·values`; some values may end before it does.
fn sum_of_multiples(terms: &[(Fr, &[Fr])], out: &mut [Fr]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect()
        && out.len().is_multiple_of(LANES)
        && terms.iter().all(|(_, values)| values.len() >= out.len())
    {
        return sums::combine(shown, terms, out);
    }
    for (factor, values) in terms {
        if *factor == Fr::ONE {
            out.iter_mut().zip(*values).for_each(|(o, x)| *o += x);
        } else {
            out.iter_mut().zip(*values).for_each(|(o, x)| *o += *factor * x);
        }
    }
}

/// `Σ factor·polynomial`, `n` coefficients in natural order. No polynomial is longer; those in reversed order are as long.
pub(crate) fn combine(n: usize, terms: &[(Fr, Poly<'_>)]) -> Vec<Fr> {
    let sum = |order: Order| {
        let terms: Vec<_> = terms.iter().filter(|(_, p)| p.order == order).collect();
        if terms.is_empty() {
            return None;
        }
        let mut out = vec![Fr::ZERO; n];
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, out)| {
            let here: Vec<(Fr, &[Fr])> = terms
                .iter()
                .map(|(factor, poly)| (*factor, poly.coefficients.get(c * CHUNK..).unwrap_or_default()))
                .collect();
            sum_of_multiples(&here, out);
        });
        Some(out)
    };
    let reversed = sum(Order::Reversed).map(|r| bit_reverse(&r));
    match (sum(Order::Natural), reversed) {
        (Some(mut a), Some(b)) => {
            a.par_iter_mut().zip(&b).with_min_len(CHUNK).for_each(|(a, b)| *a += b);
            a
        }
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => vec![Fr::ZERO; n],
    }
}

/// Divides by `X − root` in place, dropping the remainder; natural order.
pub(crate) fn divide(coefficients: &mut [Fr], root: Fr) {
    let mut carry = Fr::ZERO;
    for c in coefficients.iter_mut().rev() {
        let next = *c + carry * root;
        *c = carry;
        carry = next;
    }
}
