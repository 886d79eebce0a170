//! Against the library's arithmetic. Where the processor lacks the instructions there is nothing to test, which is said.

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr},
    ff::{Field, PrimeField},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::constants::Digits;
use super::lanes::{Lanes, Signs};
use super::layout::{BITS, DIGITS};
use super::memory::{load, store};
use super::{Fma, PointAdder, sums};
use crate::batch_affine::NEGATIVE;
use crate::samples::{self, check_adder, elements};

fn shown() -> Option<Fma> {
    samples::shown(Fma::detect(), "AVX2 and FMA")
}

#[target_feature(enable = "avx2,fma")]
fn combined<F: Digits + Field>(a: &[F; 8], b: &[F; 8]) -> [[F; 8]; 8] {
    let mut out = [[F::ZERO; 8]; 8];
    let (x, y): (Lanes<F>, Lanes<F>) = (load(a), load(b));
    store(&mut out[0], x.twice_times(&y.tidy()).settled());
    let mut half = x.tidy().twice_times(&y);
    half.halve();
    store(&mut out[1], half.settled());
    store(&mut out[2], x.minus(&y).plus(&y.settled()).settled());
    // At the edges of what operations take: 3 units and size 3; 4 units and size 3; a negative size of 3.
    let x3 = x.tidy().plus(&x.tidy()).plus(&x.tidy());
    store(&mut out[3], x3.twice_times(&y.tidy()).settled());
    store(&mut out[4], x.plus(&x).plus(&x.tidy()).tidy().settled());
    store(&mut out[5], y.settled().minus(&x3).settled());
    let signs = Signs::new([0, NEGATIVE, u32::MAX, 7, !NEGATIVE, NEGATIVE, 1, NEGATIVE | 5]);
    store(&mut out[6], x.tidy().negated_by(&signs).settled());
    store(&mut out[7], x.but(0b0101_1001, &y).settled());
    out
}

#[expect(unsafe_code, reason = "calls what needs the instructions")]
fn check<F: Digits + Field + From<u64>>(seed: u64) {
    let (a, b) = (elements::<F>(8, seed), elements::<F>(8, seed + 1_000_000));
    let (a, b): (&[F; 8], &[F; 8]) = (a.first_chunk().unwrap(), b.first_chunk().unwrap());
    // SAFETY: the callers ask `shown` first.
    let got = unsafe { combined(a, b) };
    let three = F::from(3);
    for i in 0..8 {
        let (a, b) = (a[i], b[i]);
        let negated = if 0b1010_0110 >> i & 1 == 1 { -a } else { a };
        let chosen = if 0b0101_1001 >> i & 1 == 1 { b } else { a };
        let want = [(a * b).double(), a * b, a, three * (a * b).double(), three * a, b - three * a, negated, chosen];
        assert_eq!(got.map(|lanes| lanes[i]), want, "seed {seed}, lane {i}: {a:?}, {b:?}");
    }
}

#[test]
fn eight_elements_are_computed_as_one() {
    if shown().is_some() {
        for seed in 0..2000 {
            check::<Fr>(seed);
            check::<Fq>(seed);
        }
    }
}

/// Digits at both ends of what `units` and a size allow, or anything between.
fn digits(rng: &mut StdRng, units: f64, top: f64) -> [f64; DIGITS] {
    let most = (units * ((1_u64 << (BITS - 1)) + (1 << 13)) as f64) as i64;
    let mut pick = |most: i64| match rng.gen_range(0..4) {
        0 => most,
        1 => -most,
        _ => rng.gen_range(-most..=most),
    };
    // p is 2^204 times 2^49.6.
    let top = (top * 851_000_000_000_000.0) as i64;
    std::array::from_fn(|i| pick(if i < DIGITS - 1 { most } else { top }) as f64)
}

/// The residue that digits stand for.
fn value<F: PrimeField>(digits: [f64; DIGITS]) -> F {
    digits.iter().rev().fold(F::ZERO, |sum, d| {
        let magnitude = F::from(d.abs() as u64);
        sum * F::from(1 << BITS) + if *d < 0.0 { -magnitude } else { magnitude }
    })
}

/// Units and sizes of factors, at the edges of what products take.
const FACTORS: [[(f64, f64); 2]; 4] =
    [[(3.0, 5.0), (1.0, 1.0)], [(3.0, 3.0), (1.0, 1.66)], [(1.73, 2.23), (1.73, 2.23)], [(2.0, 3.3), (1.5, 1.5)]];
/// Units and sizes at the edges of what can be settled.
const SETTLED: [(f64, f64); 4] = [(3.0, 4.4), (6.4, 1.0), (1.0, 6.4), (5.0, 2.4)];

#[target_feature(enable = "avx2,fma")]
fn at_the_edges<F: Digits + PrimeField>(rng: &mut StdRng) {
    let mut lanes = |(units, size)| -> [[f64; DIGITS]; 8] { std::array::from_fn(|_| digits(rng, units, size)) };
    // In memory there is the R-th multiple, which makes a product of what is there the R-th part.
    let r = F::from(2).pow_vartime([256]).invert().unwrap();
    let from_memory = |digits| value::<F>(digits) * r;
    let mut got = [F::ZERO; 8];
    for bounds in FACTORS {
        let [a, b] = bounds.map(&mut lanes);
        let product: Lanes<F> = Lanes::of_digits(a).twice_times(&Lanes::of_digits(b));
        store(&mut got, product.settled());
        for i in 0..8 {
            assert_eq!(got[i], (from_memory(a[i]) * from_memory(b[i])).double(), "{:?}·{:?}", a[i], b[i]);
        }
    }
    for bounds in SETTLED {
        let most = lanes(bounds);
        store(&mut got, Lanes::<F>::of_digits(most).settled());
        for i in 0..8 {
            assert_eq!(got[i], from_memory(most[i]), "{:?}", most[i]);
        }
    }
}

#[test]
#[expect(unsafe_code, reason = "calls what needs the instructions")]
fn the_stated_bounds_are_enough() {
    if shown().is_some() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..4000 {
            // SAFETY: `shown` has looked.
            unsafe {
                at_the_edges::<Fr>(&mut rng);
                at_the_edges::<Fq>(&mut rng);
            }
        }
    }
}

#[test]
fn points_are_added_as_the_library_adds_them() {
    let Some(shown) = shown() else { return };
    let mut adder = PointAdder::default();
    check_adder(|table, pairs, out, places| adder.add(shown, table, pairs, out, places));
}

#[test]
fn sums_are_the_librarys() {
    let Some(shown) = shown() else { return };
    for n in [0, 1, 8, 16, 23, 24, 80, 512] {
        let (a, b): (Vec<Fr>, Vec<Fr>) = (elements(n, 1), elements(n + 8, 2));
        let most = vec![-Fr::ONE; n];
        for (a, b) in [(&a, &b), (&most, &most), (&most, &b)] {
            let factors = sums::Factors::new(shown, b);
            for len in [n, n / 2, n.saturating_sub(1)] {
                let want: Fr = a[..len].iter().zip(b).map(|(a, b)| *a * b).sum();
                assert_eq!(factors.dot(&a[..len]), want, "{len} of {n}");
            }
        }
        let (len, factor) = (n - n % 8, -Fr::from(n as u64));
        let mut scaled = a[..len].to_vec();
        sums::scale(shown, &mut scaled, factor);
        assert!(scaled.iter().zip(&a).all(|(scaled, a)| *scaled == factor * a));
    }
}

#[test]
fn weighted_columns_are_the_librarys() {
    let Some(shown) = shown() else { return };
    for (d, n) in [(1, 8), (2, 16), (3, 64), (4, 256), (7, 24), (9, 0)] {
        let columns = |seed: u64| -> Vec<Vec<Fr>> { (0..d).map(|j| elements(n, seed + j)).collect() };
        let most = || vec![vec![-Fr::ONE; n]; d as usize];
        for (scales, values) in [(columns(0), columns(50)), (most(), most())] {
            let weights: Vec<Vec<Fr>> = (0..d).map(|j| elements(d as usize, 100 + j)).collect();
            let mut out = vec![vec![Fr::ONE; n]; d as usize];
            let factors: Vec<_> = scales.iter().map(|scales| sums::Factors::new(shown, scales)).collect();
            let views: Vec<&[Fr]> = values.iter().map(Vec::as_slice).collect();
            let mut parts: Vec<&mut [Fr]> = out.iter_mut().map(Vec::as_mut_slice).collect();
            sums::recombine(shown, &factors, &views, &weights, &mut parts);
            for (i, out) in out.iter().enumerate() {
                for (row, out) in out.iter().enumerate() {
                    let term = |j: usize| weights[j][i] * scales[j][row] * values[j][row];
                    assert_eq!(*out, (0..d as usize).map(term).sum::<Fr>(), "row {row} of {n}, {i} of {d}");
                }
            }
        }
    }
}
