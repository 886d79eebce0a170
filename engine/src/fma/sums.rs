//! Sums of multiples, eight elements at a time.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{Field, PrimeField},
};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, store};

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
        factors.push(Lanes::half(factor));
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

/// Multiplies all values, whose number is a multiple of eight, by the same factor.
///
/// # Panics
/// If it is not.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn scale(_: Fma, values: &mut [Fr], factor: Fr) {
    assert!(values.len().is_multiple_of(LANES));
    // SAFETY: `Fma` exists only where the instructions do.
    unsafe { scale_eights(values, factor) }
}

#[target_feature(enable = "avx2,fma")]
fn scale_eights(values: &mut [Fr], factor: Fr) {
    let factor = Lanes::half(&factor);
    for values in values.as_chunks_mut::<LANES>().0 {
        store(values, load(values).twice_times(&factor).settled());
    }
}

/// What many values are multiplied with, converted once.
#[derive(Debug)]
pub(crate) struct Factors<'a> {
    /// Halved, eight at a time.
    halves: Vec<Lanes<Fr>>,
    all: &'a [Fr],
    _shown: Fma,
}

impl<'a> Factors<'a> {
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn new(shown: Fma, all: &'a [Fr]) -> Self {
        // SAFETY: `Fma` exists only where the instructions do.
        Self { halves: unsafe { halves(all) }, all, _shown: shown }
    }

    /// `Σ factor·value` over the values, of which there may be less than factors.
    #[expect(unsafe_code, reason = "calls what needs the instructions")]
    pub(crate) fn dot(&self, values: &[Fr]) -> Fr {
        let (eights, rest) = values.as_chunks::<LANES>();
        // SAFETY: `Fma` exists only where the instructions do.
        let sum = unsafe { dot_eights(eights, &self.halves) };
        sum + rest.iter().zip(self.all.iter().skip(values.len() - rest.len())).map(|(a, b)| *a * b).sum::<Fr>()
    }
}

/// Halves of elements, with 1 unit and size 0.9; those beyond the last eight are left out.
#[target_feature(enable = "avx2,fma")]
fn halves(all: &[Fr]) -> Vec<Lanes<Fr>> {
    // A quarter, because a product is doubled.
    let quarter = Lanes::half(&Fr::TWO_INV);
    let mut out = Vec::with_capacity(all.len() / LANES);
    for eight in all.as_chunks::<LANES>().0 {
        out.push(load(eight).twice_times(&quarter));
    }
    out
}

#[target_feature(enable = "avx2,fma")]
fn dot_eights(values: &[[Fr; LANES]], halves: &[Lanes<Fr>]) -> Fr {
    let mut sum = Lanes::<Fr>::zero();
    for (values, halves) in values.chunks(TOGETHER).zip(halves.chunks(TOGETHER)) {
        for (values, half) in values.iter().zip(halves) {
            sum = sum.plus(&load(values).twice_times(half));
        }
        sum = sum.settled();
    }
    let mut sums = [Fr::ZERO; LANES];
    store(&mut sums, sum.settled());
    sums.iter().sum()
}

/// For all i writes `Σ_j weights[j][i]·factors[j]·values[j]` to `out[i]`, as many as that is long.
///
/// # Panics
/// If their number is no multiple of eight, or there are less factors or values.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn recombine(_: Fma, factors: &[Factors<'_>], values: &[&[Fr]], weights: &[Vec<Fr>], out: &mut [&mut [Fr]]) {
    assert!(out.iter().all(|out| out.len().is_multiple_of(LANES)));
    // SAFETY: `Fma` exists only where the instructions do.
    unsafe { recombine_eights(factors, values, weights, out) }
}

#[target_feature(enable = "avx2,fma")]
fn recombine_eights(factors: &[Factors<'_>], values: &[&[Fr]], weights: &[Vec<Fr>], out: &mut [&mut [Fr]]) {
    let mut half_weights: Vec<Vec<Lanes<Fr>>> = Vec::with_capacity(weights.len());
    for weights in weights {
        let mut halves = Vec::with_capacity(weights.len());
        for weight in weights {
            halves.push(Lanes::half(weight));
        }
        half_weights.push(halves);
    }
    let mut scaled = vec![Lanes::zero(); values.len()];
    let eights = out.first().map_or(0, |out| out.len() / LANES);
    for row in 0..eights {
        for (scaled, (values, factors)) in scaled.iter_mut().zip(values.iter().zip(factors)) {
            load(&values.as_chunks::<LANES>().0[row]).twice_times_to(&factors.halves[row], scaled);
        }
        for (i, out) in out.iter_mut().enumerate() {
            let mut sum = Lanes::zero();
            for (j, (scaled, weights)) in scaled.iter().zip(&half_weights).enumerate() {
                sum = sum.plus(&scaled.twice_times(&weights[i]));
                if j % TOGETHER == TOGETHER - 1 {
                    sum = sum.settled();
                }
            }
            store(&mut out.as_chunks_mut::<LANES>().0[row], sum.settled());
        }
    }
}
