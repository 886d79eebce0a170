//! Sums of multiples, eight elements at a time.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, store};
use crate::words::limbs;

/// Products that are added before the sum is settled: each has 1 unit and size 0.9, the sum 1 more.
const TOGETHER: usize = 3;

/// Writes `Σ factor·values`, as many as `out` is long.
///
/// # Panics
/// If there are less values than that, or their number is no multiple of eight.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn combine(_: Fma, terms: &[(Fr, &[Fr])], out: &mut [Fr]) {
    assert!(out.len().is_multiple_of(LANES));
    // SAFETY: `Fma` exists only where the instructions do.
    unsafe { combine_eights(terms, out) }
}

#[target_feature(enable = "avx2,fma")]
fn combine_eights(terms: &[(Fr, &[Fr])], out: &mut [Fr]) {
    let mut factors = Vec::with_capacity(terms.len());
    for (factor, _) in terms {
        factors.push(Lanes::<Fr>::splat(limbs(&(*factor * Fr::TWO_INV))));
    }
    for (i, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sum = Lanes::zero();
        for (j, (factor, (_, values))) in factors.iter().zip(terms).enumerate() {
            sum = sum.plus(&load(&values.as_chunks::<LANES>().0[i]).twice_times(factor));
            if j % TOGETHER == TOGETHER - 1 {
                sum = sum.settled();
            }
        }
        store(out, sum.settled());
    }
}

/// `Σ a·b`.
///
/// # Panics
/// If one is longer.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn dot(_: Fma, a: &[Fr], b: &[Fr]) -> Fr {
    assert_eq!(a.len(), b.len());
    let (eights, rest) = a.as_chunks::<LANES>();
    let (others, others_rest) = b.as_chunks::<LANES>();
    // SAFETY: `Fma` exists only where the instructions do.
    let twice = unsafe { dot_eights(eights, others) };
    let rest: Fr = rest.iter().zip(others_rest).map(|(a, b)| *a * b).sum();
    twice * Fr::TWO_INV + rest
}

/// Twice the sum.
#[target_feature(enable = "avx2,fma")]
fn dot_eights(a: &[[Fr; LANES]], b: &[[Fr; LANES]]) -> Fr {
    let mut sum = Lanes::<Fr>::zero();
    for (a, b) in a.iter().zip(b) {
        sum = sum.plus(&load(a).twice_times(&load(b).tidy())).settled();
    }
    let mut sums = [Fr::ZERO; LANES];
    store(&mut sums, sum.settled());
    sums.iter().sum()
}
