//! What makes points a reference string: pairing checks on the powers, a random linear combination on the Lagrange basis.

use std::path::Path;

use halo2_proofs::{
    arithmetic::best_multiexp,
    halo2curves::{
        bn256::{Bn256, Fr, G1, G1Affine, G2Affine},
        ff::Field,
        group::{Curve, prime::PrimeCurveAffine},
        pairing::Engine,
    },
};
use rand_core::OsRng;

use crate::{
    domain::{lagrange_at, powers},
    error::SrsError,
    types::SrsSize,
};

/// Names of the parts of a file, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) file: &'a Path,
    pub(crate) g1: &'static str,
    pub(crate) g2: &'static str,
}

/// Checks that `g[i] = τ^i·G` and `(h, τh) = (H, τH)` for one τ other than 0 and 1.
///
/// The caller has checked that all points are on their curves; on G1 that is the subgroup already. Every power is
/// covered: `e(Σ ρ^i·g[i+1], H) = e(Σ ρ^i·g[i], τH)` for a random ρ holds for wrong powers with probability below 2^−220.
///
/// Errors: `NotGenerator`, `Infinity`, `NotInSubgroup`, `NoContribution`, `TauMismatch`, and `PowersInconsistent`
/// with the index of the first wrong power.
pub(crate) fn check_powers(parts: Parts<'_>, g: &[G1Affine], h: G2Affine, tau_h: G2Affine) -> Result<(), SrsError> {
    let file = || parts.file.to_owned();
    if g.first() != Some(&G1Affine::generator()) {
        return Err(SrsError::NotGenerator { file: file(), part: parts.g1 });
    }
    if h != G2Affine::generator() {
        return Err(SrsError::NotGenerator { file: file(), part: parts.g2 });
    }
    if bool::from(tau_h.is_identity()) {
        return Err(SrsError::Infinity { file: file(), part: parts.g2, index: 1 });
    }
    // (r − 1)·P = −P exactly for the points whose order divides the prime r.
    if (tau_h * -Fr::ONE).to_affine() != -tau_h {
        return Err(SrsError::NotInSubgroup { file: file(), part: parts.g2, index: 1 });
    }
    if tau_h == h {
        return Err(SrsError::NoContribution { file: file() });
    }
    if g.len() > 1 && Bn256::pairing(&g[1], &h) != Bn256::pairing(&g[0], &tau_h) {
        return Err(SrsError::TauMismatch { file: file(), g1: parts.g1, g2: parts.g2 });
    }
    let rho = powers(Fr::random(OsRng), g.len());
    // Whether g[from+1 ..= to] are τ times g[from .. to].
    let consistent = |from: usize, to: usize| {
        let sum = |offset| best_multiexp(&rho[from..to], &g[from + offset..to + offset]).to_affine();
        Bn256::pairing(&sum(1), &h) == Bn256::pairing(&sum(0), &tau_h)
    };
    let last = g.len() - 1;
    if consistent(0, last) {
        return Ok(());
    }
    let (mut from, mut to) = (0, last);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if consistent(from, middle) {
            from = middle;
        } else {
            to = middle;
        }
    }
    Err(SrsError::PowersInconsistent { file: file(), part: parts.g1, index: to as u64 })
}

/// Checks that `lagrange[i] = L_i(τ)·G` for the powers `g` of τ.
///
/// For a random z, `Σ z^i·L_i(X) = Σ L_j(z)·X^j` as polynomials in X over the domain of size 2^k (the two sides are one
/// symmetric function of X and z), so both sums of points must be equal; wrong points pass with probability below 2^−220.
///
/// Errors: `LagrangeMismatch` naming `part`.
pub(crate) fn check_lagrange(
    file: &Path,
    part: &'static str,
    k: SrsSize,
    g: &[G1Affine],
    lagrange: &[G1Affine],
) -> Result<(), SrsError> {
    let z = Fr::random(OsRng);
    let by_values: G1 = best_multiexp(&powers(z, k.n_points()), lagrange);
    let by_coefficients: G1 = best_multiexp(&lagrange_at(z, k), g);
    if by_values == by_coefficients {
        Ok(())
    } else {
        Err(SrsError::LagrangeMismatch { file: file.to_owned(), part, k })
    }
}
