//! Against the library's arithmetic. Where the processor lacks the instructions there is nothing to test, which is said.

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr, G1, G1Affine},
    ff::Field,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::lanes::{Lanes, Prime};
use super::memory::{load, load_apart, store, store_apart};
use super::{Ifma, PointAdder};
use crate::batch_affine::NEGATIVE;

fn shown() -> Option<Ifma> {
    let shown = Ifma::detect();
    if shown.is_none() {
        eprintln!("this processor has no AVX-512 IFMA: nothing is tested here");
    }
    shown
}

/// Elements of all kinds: around zero and p, with full and empty limbs, random.
fn elements<F: Field + From<u64>>(n: usize, seed: u64) -> Vec<F> {
    let mut rng = StdRng::seed_from_u64(seed);
    let two = F::from(2);
    (0..n)
        .map(|_| match rng.gen_range(0..8) {
            0 => F::ZERO,
            1 => F::ONE,
            2 => -F::ONE,
            3 => F::from(rng.r#gen()),
            4 => -F::from(rng.gen_range(0..9)),
            5 => two.pow_vartime([rng.gen_range(0..256)]),
            6 => two.pow_vartime([rng.gen_range(0..256)]) - F::ONE,
            _ => F::random(&mut rng),
        })
        .collect()
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads and stores by address")]
fn combined<F: Prime>(a: &[F; 8], b: &[F; 8]) -> [[F; 8]; 4] {
    let mut out = [*a; 4];
    // SAFETY: eight elements each.
    unsafe {
        let (x, y) = (load(a.as_ptr()), load(b.as_ptr()));
        let (doubled, raised): (Lanes<F>, Lanes<F>) = (x.plus(x), y.plus(y).plus(y).minus(y, F::P2));
        store(out[0].as_mut_ptr(), x.mul(y).reduced());
        store(out[1].as_mut_ptr(), x.minus(y, F::P2).plus(y.less(F::P)).reduced());
        // Both at the edge of what a product takes: below 2p and below 4p.
        store(out[2].as_mut_ptr(), doubled.mul(raised).reduced());
        store_apart(out[3].as_mut_ptr(), 1, load_apart::<F>(a.as_ptr(), 1));
    }
    out
}

#[expect(unsafe_code, reason = "calls what needs the instructions")]
fn check<F: Prime + Field + From<u64>>(seed: u64) {
    let (a, b) = (elements::<F>(8, seed), elements::<F>(8, seed + 1_000_000));
    let (a, b) = (a.first_chunk().unwrap(), b.first_chunk().unwrap());
    // SAFETY: the callers ask `shown` first.
    let got = unsafe { combined(a, b) };
    for i in 0..8 {
        assert_eq!(got[0][i], a[i] * b[i], "product, seed {seed}, lane {i}");
        assert_eq!(got[1][i], a[i], "difference and sum, seed {seed}, lane {i}");
        assert_eq!(got[2][i], a[i].double() * b[i].double(), "unreduced product, seed {seed}, lane {i}");
        assert_eq!(got[3][i], a[i], "load and store, seed {seed}, lane {i}");
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

#[test]
fn points_are_added_as_the_library_adds_them() {
    let Some(shown) = shown() else { return };
    let mut rng = StdRng::seed_from_u64(3);
    let some: Vec<G1> = (0..6).map(|_| G1::random(&mut rng)).collect();
    let mut points: Vec<G1> = (0..40).map(|_| G1::random(&mut rng)).collect();
    points.extend(&some);
    points.extend(some.iter().map(|p| -p));
    points.extend([G1::identity(); 6]);
    let table: Vec<G1Affine> = points.iter().map(Curve::to_affine).collect();
    let value = |index: u32| {
        let point = points[(index & !NEGATIVE) as usize];
        if index & NEGATIVE == 0 { point } else { -point }
    };
    let mut adder = PointAdder::default();
    for n in [0, 1, 7, 15, 16, 17, 64, 333] {
        let mut index = || rng.gen_range(0..points.len() as u32) | if rng.r#gen() { NEGATIVE } else { 0 };
        let pairs: Vec<[u32; 2]> = (0..n).map(|_| [index(), index()]).collect();
        // Places in another order than the pairs.
        let places: Vec<u32> = (0..n as u32).rev().collect();
        let mut sums = vec![G1Affine::identity(); n];
        adder.add(shown, &table, &pairs, &mut sums, &places);
        for (place, [p, q]) in places.iter().zip(pairs) {
            assert_eq!(sums[*place as usize], (value(p) + value(q)).to_affine(), "{p:x} + {q:x}");
        }
    }
}
