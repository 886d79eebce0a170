//! What the tests of the kernels share.

use halo2_proofs::halo2curves::{
    bn256::{G1, G1Affine},
    ff::Field,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::batch_affine::NEGATIVE;
use crate::prefetch::Table;

/// The kernel, if it was found; otherwise says that there is nothing to test.
pub(crate) fn shown<T>(found: Option<T>, instructions: &str) -> Option<T> {
    if found.is_none() {
        eprintln!("this processor has no {instructions}, or `CAIRN_PORTABLE` is set: nothing is tested here");
    }
    found
}

/// Elements of all kinds: around zero and p, with full and empty limbs, random.
pub(crate) fn elements<F: Field + From<u64>>(n: usize, seed: u64) -> Vec<F> {
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

/// Compares an adder of pairs with the library, equal, opposite and neutral points among them.
///
/// # Panics
/// If a sum is another one.
pub(crate) fn check_adder(mut add: impl FnMut(Table<'_>, &[[u32; 2]], &mut [G1Affine], &[u32])) {
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
    for n in [0, 1, 7, 15, 16, 17, 64, 333] {
        let mut index = || rng.gen_range(0..points.len() as u32) | if rng.r#gen() { NEGATIVE } else { 0 };
        let pairs: Vec<[u32; 2]> = (0..n).map(|_| [index(), index()]).collect();
        // Places in another order than the pairs.
        let places: Vec<u32> = (0..n as u32).rev().collect();
        let mut sums = vec![G1Affine::identity(); n];
        let table = if n % 2 == 0 { Table::scattered(&table) } else { Table::in_order(&table) };
        add(table, &pairs, &mut sums, &places);
        for (place, [p, q]) in places.iter().zip(pairs) {
            assert_eq!(sums[*place as usize], (value(p) + value(q)).to_affine(), "{p:x} + {q:x}");
        }
    }
}
