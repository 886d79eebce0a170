//! The Lagrange basis from the powers: an inverse Fourier transform over group elements.

use std::sync::atomic::{AtomicU64, Ordering};

use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine},
    ff::{Field, PrimeField},
};
use rayon::prelude::*;

use crate::{
    batch_affine::BatchAdder,
    domain::{powers, root_of_unity},
    types::{OnProgress, Progress, SrsSize, Stage},
    variable_base::multiply_each,
};

/// Butterflies computed together.
const BATCH: usize = 512;

/// `L_i(τ)·G = n⁻¹·Σ_j ω^(−ij)·g[j]` for the powers `g[j] = τ^j·G`, n = 2^k of them.
///
/// Reports k·n/2 butterflies and n scalings as [`Stage::Lagrange`]. Needs as much memory again as its input.
pub(crate) fn lagrange_from_powers(g: &[G1Affine], k: SrsSize, on_progress: OnProgress<'_>) -> Vec<G1Affine> {
    let n = k.n_points();
    let n_butterflies = n / 2;
    let total = u64::from(k.k()) * n_butterflies as u64 + n as u64;
    let done = AtomicU64::new(0);
    let report = |batch: usize| {
        let done = done.fetch_add(batch as u64, Ordering::Relaxed) + batch as u64;
        let stage = Stage::Lagrange;
        on_progress(Progress { stage, done, total });
    };
    let reverse = |i: usize| i.reverse_bits() >> (usize::BITS - k.k());
    let mut points: Vec<G1Affine> = (0..n).into_par_iter().map(|i| g[reverse(i)]).collect();
    let root_inverse = root_of_unity(k).pow_vartime([n as u64 - 1]);
    for layer in 0..k.k() {
        let half = 1 << layer;
        // Butterfly b joins the points at `upper(b)` and `upper(b) + half` with twiddle b mod half.
        let upper = |b: usize| 2 * (b - b % half) + b % half;
        let step = root_inverse.pow_vartime([(n_butterflies / half) as u64]);
        let twiddles = powers(step, half);
        let joined: Vec<(Vec<G1Affine>, Vec<G1Affine>)> = (0..n_butterflies)
            .into_par_iter()
            .step_by(BATCH)
            .map_init(BatchAdder::default, |adder, start| {
                let batch = start..(start + BATCH).min(n_butterflies);
                let mut lower: Vec<_> = batch.clone().map(|b| points[upper(b) + half]).collect();
                if half > 1 {
                    let scalars: Vec<_> = batch.clone().map(|b| twiddles[b % half]).collect();
                    multiply_each(adder, &mut lower, &scalars);
                }
                let mut sums: Vec<_> = batch.clone().map(|b| points[upper(b)]).collect();
                let mut differences = sums.clone();
                adder.add(&mut sums, lower.iter().copied().enumerate());
                adder.add(&mut differences, lower.iter().map(|p| -p).enumerate());
                report(batch.len());
                (sums, differences)
            })
            .collect();
        let joined = joined.into_iter().flat_map(|(s, d)| s.into_iter().zip(d));
        for (b, (sum, difference)) in joined.enumerate() {
            points[upper(b)] = sum;
            points[upper(b) + half] = difference;
        }
    }
    let n_inverse = Fr::TWO_INV.pow_vartime([u64::from(k.k())]);
    points.par_chunks_mut(BATCH).for_each_init(BatchAdder::default, |adder, chunk| {
        multiply_each(adder, chunk, &vec![n_inverse; chunk.len()]);
        report(chunk.len());
    });
    points
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use halo2_proofs::{
        arithmetic::g_to_lagrange,
        halo2curves::group::{Curve, prime::PrimeCurveAffine},
    };

    use super::*;
    use crate::{dev, silent};

    #[test]
    fn basis_equals_the_one_from_scalars() {
        for k in [1, 2, 5, 9, 12] {
            let k = SrsSize::new(k).unwrap();
            let (g, expected) = dev::points(k, &silent);
            assert_eq!(lagrange_from_powers(&g, k, &silent), expected, "k = {k}");
        }
    }

    #[test]
    fn powers_of_a_root_of_unity_give_what_the_library_gives() {
        // Almost all points of this basis are the identity, and sums inside the transform cancel or double.
        for k in [1, 3, 6] {
            let size = SrsSize::new(k).unwrap();
            for tau in [root_of_unity(size), -Fr::ONE, Fr::ONE, Fr::ZERO] {
                let g: Vec<G1Affine> =
                    powers(tau, size.n_points()).iter().map(|s| (G1Affine::generator() * s).to_affine()).collect();
                let projective = g.iter().map(PrimeCurveAffine::to_curve).collect();
                let expected: Vec<G1Affine> = g_to_lagrange(projective, k);
                assert_eq!(lagrange_from_powers(&g, size, &silent), expected);
            }
        }
    }

    #[test]
    fn progress_ends_at_its_total() {
        let k = SrsSize::new(6).unwrap();
        let largest = Mutex::new(0);
        let on_progress = |p: Progress| {
            assert_eq!((p.stage, p.total), (Stage::Lagrange, 6 * 32 + 64), "of 2^6 points");
            let mut largest = largest.lock().unwrap();
            *largest = p.done.max(*largest);
        };
        lagrange_from_powers(&dev::points(k, &silent).0, k, &on_progress);
        assert_eq!(largest.into_inner().unwrap(), 6 * 32 + 64);
    }
}
