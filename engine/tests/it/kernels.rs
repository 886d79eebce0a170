//! Transforms and sums against plain versions of themselves.

use engine::{
    bases::Bases,
    fft::{Domain, bit_reverse},
    msm::{commit_all, msm},
};
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1, G1Affine},
        ff::Field,
        group::{Curve, Group, prime::PrimeCurveAffine},
    },
    poly::{
        EvaluationDomain,
        commitment::{Blind, Params as _, ParamsProver as _},
        kzg::commitment::ParamsKZG,
    },
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

fn elements(n: usize, seed: u64) -> Vec<Fr> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n).map(|_| Fr::random(&mut rng)).collect()
}

/// Scalars of all kinds, adversarial ones among them.
fn scalar(kind: u8, value: u64) -> Fr {
    match kind % 8 {
        0 => Fr::ZERO,
        1 => Fr::ONE,
        2 => -Fr::ONE,
        3 => Fr::from(value >> 48),
        4 => -Fr::from(value >> 48),
        5 => Fr::from(value),
        6 => -Fr::from(value >> 32),
        _ => Fr::random(StdRng::seed_from_u64(value)),
    }
}

/// Bases with repeats, opposites and the identity among them.
fn bases(n: usize, seed: u64) -> Vec<G1Affine> {
    let mut rng = StdRng::seed_from_u64(seed);
    let some: Vec<G1> = (0..5).map(|_| G1::random(&mut rng)).collect();
    let points: Vec<G1> = (0..n)
        .map(|i| match rng.gen_range(0..6) {
            0 => some[i % 5],
            1 => -some[i % 5],
            2 if i % 7 == 0 => G1::identity(),
            _ => G1::random(&mut rng),
        })
        .collect();
    let mut out = vec![G1Affine::identity(); n];
    G1::batch_normalize(&points, &mut out);
    out
}

fn plain_sum(scalars: &[Fr], bases: &[G1Affine]) -> G1 {
    scalars.iter().zip(bases).map(|(s, b)| *b * s).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sums_equal_the_plain_sum(kinds in prop::collection::vec((any::<u8>(), any::<u64>()), 0..300), seed: u64) {
        let scalars: Vec<Fr> = kinds.iter().map(|(kind, value)| scalar(*kind, *value)).collect();
        let bases = bases(scalars.len(), seed);
        prop_assert_eq!(msm(&scalars, &bases), plain_sum(&scalars, &bases));
    }

    #[test]
    fn sums_of_one_kind_equal_the_plain_sum(kind in 1u8..8, n in 1usize..200, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let scalars: Vec<Fr> = (0..n).map(|_| scalar(kind, rng.r#gen())).collect();
        let bases = bases(n, seed);
        prop_assert_eq!(msm(&scalars, &bases), plain_sum(&scalars, &bases));
    }
}

#[test]
fn sums_of_large_columns_equal_the_library_s() {
    const K: u32 = 14;
    let params = ParamsKZG::<Bn256>::setup(K, StdRng::seed_from_u64(9));
    let own = Bases::new(&params).expect("bases");
    let domain = EvaluationDomain::<Fr>::new(2, K);
    let mut rng = StdRng::seed_from_u64(4);
    let mut kinds: Vec<Vec<Fr>> =
        (0..8u8).map(|kind| (0..1 << K).map(|_| scalar(kind, rng.r#gen())).collect()).collect();
    kinds.push((0..1 << K).map(|_| scalar(rng.r#gen(), rng.r#gen())).collect());
    // All the same, and small with a few large ones.
    kinds.push(vec![Fr::from(12_345); 1 << K]);
    kinds.push((0..1 << K).map(|i| if i % 1000 == 0 { Fr::random(&mut rng) } else { Fr::from(i % 50_000) }).collect());
    let views: Vec<&[Fr]> = kinds.iter().map(Vec::as_slice).collect();
    let in_values = commit_all(&views, own.lagrange());
    let in_coefficients = commit_all(&views, own.monomial());
    for ((column, a), b) in kinds.iter().zip(in_values).zip(in_coefficients) {
        let values = domain.lagrange_from_vec(column.clone());
        assert_eq!(a, params.commit_lagrange(&values, Blind::default()).to_affine());
        let coefficients = domain.coeff_from_vec(column.clone());
        assert_eq!(b, params.commit(&coefficients, Blind::default()).to_affine());
    }
}

#[test]
fn transforms_equal_plain_evaluation() {
    for k in [0, 1, 2, 5, 7] {
        let domain = Domain::new(k);
        let coefficients = elements(1 << k, u64::from(k));
        let coset = domain.coset(Fr::from(5));
        let mut values = bit_reverse(&coefficients);
        domain.to_values(&coset, &mut values);
        for (i, value) in values.iter().enumerate() {
            let x = coset.shift() * domain.omega_pow(i as i64);
            assert_eq!(*value, coefficients.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c), "k {k}, row {i}");
        }
    }
}

#[test]
fn transforms_equal_the_library_s_at_every_size() {
    for k in 1..=15 {
        let domain = Domain::new(k);
        let library = EvaluationDomain::<Fr>::new(2, k);
        let values = elements(1 << k, 77);
        let theirs = library.lagrange_to_coeff(library.lagrange_from_vec(values.clone()));
        let mut ours = values.clone();
        domain.to_coefficients(&mut ours);
        assert_eq!(bit_reverse(&ours), theirs[..], "k {k}");
        domain.to_values(&domain.coset(Fr::ONE), &mut ours);
        assert_eq!(ours, values, "k {k}: there and back");
    }
}
