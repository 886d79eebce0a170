//! Against the library's arithmetic. Where the processor lacks the instructions there is nothing to test, which is said.

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr},
    ff::Field,
};

use super::lanes::{Lanes, Prime};
use super::memory::{load, load_apart, store, store_apart};
use super::{Ifma, PointAdder};
use crate::samples::{self, check_adder, elements};

fn shown() -> Option<Ifma> {
    samples::shown(Ifma::detect(), "AVX-512 IFMA")
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
    let mut adder = PointAdder::default();
    check_adder(|table, pairs, out, places| adder.add(shown, table, pairs, out, places));
}
