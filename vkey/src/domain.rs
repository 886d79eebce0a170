//! Evaluation domains.

use std::collections::HashMap;

use halo2_proofs::{
    halo2curves::{
        bn256::Fr,
        ff::{Field, PrimeField, WithSmallOrderMulGroup},
    },
    poly::EvaluationDomain,
};

/// The domain that halo2 makes for constraints of degree `degree` ≥ 1 and 2^k rows, but for the factors of its transforms: its
/// functions that transform polynomials panic.
///
/// # Panics
/// If the extended domain is larger than the field's largest, 2^28.
pub fn domain(degree: usize, k: u32) -> EvaluationDomain<Fr> {
    let quotient_poly_degree = degree as u64 - 1;
    let n = 1u64 << k;
    // The least extension whose size is that of the quotient or more.
    let extended_k = k + quotient_poly_degree.max(1).next_power_of_two().trailing_zeros();
    assert!(extended_k <= Fr::S, "2^{extended_k} rows with the extension, the field has roots for 2^{}", Fr::S);
    let root = |k: u32| (k..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square());
    let inverse_root = |k: u32| (k..Fr::S).fold(Fr::ROOT_OF_UNITY_INV, |root, _| root.square());
    let half_to = |k: u32| (0..k).fold(Fr::ONE, |power, _| power * Fr::TWO_INV);

    let extended_omega = root(extended_k);
    // X^n − 1 on the cosets of the extended domain; it is nowhere zero there.
    let step = extended_omega.pow_vartime([n]);
    let first = Fr::ZETA.pow_vartime([n]);
    let t_evaluations = std::iter::successors(Some(first), |at| Some(*at * step))
        .take(1 << (extended_k - k))
        .map(|at| Option::from((at - Fr::ONE).invert()).unwrap_or(Fr::ZERO))
        .collect();
    EvaluationDomain {
        n,
        k,
        extended_k,
        omega: root(k),
        omega_inv: inverse_root(k),
        extended_omega,
        extended_omega_inv: inverse_root(extended_k),
        g_coset: Fr::ZETA,
        g_coset_inv: Fr::ZETA.square(),
        quotient_poly_degree,
        ifft_divisor: half_to(k),
        extended_ifft_divisor: half_to(extended_k),
        t_evaluations,
        barycentric_weight: half_to(k),
        fft_data: HashMap::new(),
    }
}
