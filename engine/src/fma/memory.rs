//! Elements to and from memory (see [`crate::words`]).

use std::arch::x86_64::*;

use super::constants::Digits;
use super::lanes::Lanes;

/// Residues side by side.
pub(crate) const LANES: usize = 8;

/// Eight elements that follow each other, as [`Lanes::from_rows`] leaves them.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load<F: Digits>(from: &[F; LANES]) -> Lanes<F> {
    load_from(from.each_ref())
}

/// Eight elements, wherever they are.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "loads by address")]
pub(super) fn load_from<F: Digits>(from: [&F; LANES]) -> Lanes<F> {
    // SAFETY: an element has 32 bytes; the load needs no alignment.
    let row = |i: usize| unsafe { _mm256_loadu_si256((&raw const *from[i]).cast()) };
    Lanes::from_rows([[row(0), row(1), row(2), row(3)], [row(4), row(5), row(6), row(7)]])
}

/// Writes eight elements that follow each other; they must be settled.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "stores by address")]
pub(super) fn store<F: Digits>(to: &mut [F; LANES], lanes: Lanes<F>) {
    let rows = lanes.to_rows();
    for (to, row) in to.iter_mut().zip(rows.as_flattened()) {
        // SAFETY: an element has 32 bytes, all of which are its four words; the store needs no alignment.
        unsafe { _mm256_storeu_si256((&raw mut *to).cast(), *row) };
    }
}

/// Writes eight elements, which must be settled, each to a field of what is at its place; no more than there are places.
///
/// # Panics
/// If a place is out of range.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "stores by address")]
pub(super) fn store_at<T, F: Digits>(out: &mut [T], places: &[u32], field: impl Fn(&mut T) -> &mut F, lanes: Lanes<F>) {
    let rows = lanes.to_rows();
    for (place, row) in places.iter().zip(rows.as_flattened()) {
        let to = field(&mut out[*place as usize]);
        // SAFETY: as in `store`.
        unsafe { _mm256_storeu_si256((&raw mut *to).cast(), *row) };
    }
}
