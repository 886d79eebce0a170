//! Division by X − root, eight segments of a group side by side.

use std::array::from_fn;

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};

use super::Fma;
use super::lanes::Lanes;
use super::memory::{LANES, load, load_from, store};
use crate::poly::{GROUP, SEGMENT};

const _: () = assert!(GROUP == LANES * SEGMENT);

/// The values of all segments at `root`.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn values(_: Fma, coefficients: &[Fr; GROUP], root: Fr) -> [Fr; LANES] {
    // SAFETY: `Fma` exists only where the instructions do.
    unsafe { values_eights(coefficients, root) }
}

/// Adds the quotients of all segments to `sum`. `carries`: what each segment is given from above, the first coefficient of the
/// quotient of what is above it that is not its own.
#[expect(unsafe_code, reason = "calls what needs the instructions")]
pub(crate) fn divide_onto(_: Fma, sum: &mut [Fr; GROUP], coefficients: &[Fr; GROUP], root: Fr, carries: &[Fr; LANES]) {
    // SAFETY: `Fma` exists only where the instructions do.
    unsafe { divide_eights(sum, coefficients, root, carries) }
}

/// The i-th elements of all segments.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load_across(from: &[Fr; GROUP], i: usize) -> Lanes<Fr> {
    load_from(from_fn(|segment| &from[segment * SEGMENT + i]))
}

/// Writes the i-th elements of all segments; they must be settled.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn store_across(to: &mut [Fr; GROUP], i: usize, lanes: Lanes<Fr>) {
    let mut rows = [Fr::ZERO; LANES];
    store(&mut rows, lanes);
    for (segment, row) in rows.into_iter().enumerate() {
        to[segment * SEGMENT + i] = row;
    }
}

#[target_feature(enable = "avx2,fma")]
fn values_eights(coefficients: &[Fr; GROUP], root: Fr) -> [Fr; LANES] {
    let half_root = Lanes::half(&root);
    // 3 units and size 2.5: a product with size 1 has 1.5 at most, and one element is added.
    let mut sum = Lanes::<Fr>::zero();
    for i in (0..SEGMENT).rev() {
        sum = sum.twice_times(&half_root).plus(&load_across(coefficients, i));
    }
    let mut values = [Fr::ZERO; LANES];
    store(&mut values, sum.settled());
    values
}

#[target_feature(enable = "avx2,fma")]
fn divide_eights(sum: &mut [Fr; GROUP], coefficients: &[Fr; GROUP], root: Fr, carries: &[Fr; LANES]) {
    let half_root = Lanes::half(&root);
    // As above; with 1 unit beside an element they can be settled.
    let mut carry: Lanes<Fr> = load(carries);
    for i in (0..SEGMENT).rev() {
        let next = carry.twice_times(&half_root).plus(&load_across(coefficients, i));
        store_across(sum, i, carry.tidy().plus(&load_across(sum, i)).settled());
        carry = next;
    }
}
