//! Running products of fractions, as the permutation and lookup arguments commit to them.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{BatchInvert, Field},
};
use rayon::prelude::*;

/// Rows that share one inversion and one task.
const CHUNK: usize = 1 << 10;

/// `fraction(row) = (numerator, denominator)` of each of `n` rows, divided; x/0 is 0, as in the library.
pub(crate) fn fractions(n: usize, fill: impl Fn(usize, &mut [Fr], &mut [Fr]) + Sync) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; n];
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, numerators)| {
        numerators.fill(Fr::ONE);
        let mut denominators = vec![Fr::ONE; numerators.len()];
        fill(chunk * CHUNK, numerators, &mut denominators);
        denominators.iter_mut().batch_invert();
        for (x, inverse) in numerators.iter_mut().zip(&denominators) {
            *x *= inverse;
        }
    });
    out
}

/// `z[0] = first`, `z[i + 1] = z[i]·factors[i]`, of the same length.
pub(crate) fn running_product(first: Fr, factors: &[Fr]) -> Vec<Fr> {
    let mut z = vec![Fr::ZERO; factors.len()];
    // Products within each chunk, then what each chunk starts from, then both together.
    let totals: Vec<Fr> = factors.par_chunks(CHUNK).map(|chunk| chunk.iter().product()).collect();
    let starts: Vec<Fr> = totals
        .iter()
        .scan(first, |product, total| {
            let start = *product;
            *product *= total;
            Some(start)
        })
        .collect();
    z.par_chunks_mut(CHUNK).zip(factors.par_chunks(CHUNK)).zip(starts).for_each(|((z, factors), start)| {
        let mut product = start;
        for (z, factor) in z.iter_mut().zip(factors) {
            *z = product;
            product *= factor;
        }
    });
    z
}
