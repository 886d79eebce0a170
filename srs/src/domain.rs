//! Scalars that describe the two bases: powers of a point and the Lagrange polynomials at it.

use halo2_proofs::halo2curves::{
    bn256::Fr,
    ff::{BatchInvert, Field, PrimeField},
};
use rayon::prelude::*;

use crate::types::SrsSize;

/// Scalars computed together by one task.
const CHUNK: usize = 1 << 12;

/// z^0 … z^(n−1).
pub(crate) fn powers(z: Fr, n: usize) -> Vec<Fr> {
    let mut out = vec![Fr::ZERO; n];
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
        let mut current = z.pow_vartime([(i * CHUNK) as u64]);
        for s in chunk {
            *s = current;
            current *= z;
        }
    });
    out
}

/// L_i(z) = (z^n − 1)/n · ω^i/(z − ω^i) for 0 ≤ i < n = 2^k, where ω generates the domain of halo2.
///
/// The caller's z is not in the domain: it is the development τ (tested) or was drawn at random.
pub(crate) fn lagrange_at(z: Fr, k: SrsSize) -> Vec<Fr> {
    let n = k.n_points();
    let omega = root_of_unity(k);
    let numerator = (z.pow_vartime([n as u64]) - Fr::ONE) * Fr::TWO_INV.pow_vartime([u64::from(k.k())]);
    let mut out = vec![Fr::ZERO; n];
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
        let mut roots = Vec::with_capacity(chunk.len());
        let mut root = omega.pow_vartime([(i * CHUNK) as u64]);
        for s in chunk.iter_mut() {
            roots.push(root);
            *s = z - root;
            root *= omega;
        }
        chunk.iter_mut().batch_invert();
        for (s, root) in chunk.iter_mut().zip(roots) {
            *s *= numerator * root;
        }
    });
    out
}

/// Generator of the domain of size 2^k.
pub(crate) fn root_of_unity(k: SrsSize) -> Fr {
    (k.k()..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square())
}
