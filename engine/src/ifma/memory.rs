//! Elements to and from memory (see [`crate::words`]).

use std::arch::x86_64::*;

use super::lanes::{Lanes, Prime};

/// Eight elements that follow each other.
///
/// # Safety
/// `from` must point to eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads by address")]
pub(super) unsafe fn load<F: Prime>(from: *const F) -> Lanes<F> {
    let from = from.cast::<__m512i>();
    // SAFETY: 4·64 bytes are eight elements, which the caller vouches for; the load needs no alignment.
    Lanes::from_rows(unsafe {
        [
            _mm512_loadu_si512(from),
            _mm512_loadu_si512(from.add(1)),
            _mm512_loadu_si512(from.add(2)),
            _mm512_loadu_si512(from.add(3)),
        ]
    })
}

/// Eight elements, each `stride` elements after the one before.
///
/// # Safety
/// `from + i·stride` must point to an element for i < 8.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads by address")]
pub(super) unsafe fn load_apart<F: Prime>(from: *const F, stride: usize) -> Lanes<F> {
    // SAFETY: the caller vouches for the eight elements.
    unsafe { load_from(std::array::from_fn(|i| from.wrapping_add(i * stride))) }
}

/// Writes eight elements that follow each other; each must be below 2^256.
///
/// # Safety
/// `to` must point to eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "stores by address")]
pub(super) unsafe fn store<F: Prime>(to: *mut F, lanes: Lanes<F>) {
    let to = to.cast::<__m512i>();
    for (i, row) in lanes.to_rows().into_iter().enumerate() {
        // SAFETY: as in `load`.
        unsafe { _mm512_storeu_si512(to.add(i), row) };
    }
}

/// Writes eight elements, each `stride` elements after the one before; each must be below 2^256.
///
/// # Safety
/// `to + i·stride` must point to an element for i < 8.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "stores by address")]
pub(super) unsafe fn store_apart<F: Prime>(to: *mut F, stride: usize, lanes: Lanes<F>) {
    // SAFETY: as in `load_apart`.
    unsafe { store_to(std::array::from_fn(|i| to.wrapping_add(i * stride)), lanes) }
}

/// Eight elements at eight addresses.
///
/// # Safety
/// Each must point to an element.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "loads by address")]
pub(super) unsafe fn load_from<F: Prime>(from: [*const F; 8]) -> Lanes<F> {
    // SAFETY: the caller vouches for the eight elements; the loads need no alignment.
    let row = |i: usize| unsafe {
        let low = _mm256_loadu_si256(from[2 * i].cast());
        let high = _mm256_loadu_si256(from[2 * i + 1].cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    };
    Lanes::from_rows([row(0), row(1), row(2), row(3)])
}

/// Writes eight elements to eight addresses; each element must be below 2^256.
///
/// # Safety
/// Each must point to an element.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[expect(unsafe_code, reason = "stores by address")]
pub(super) unsafe fn store_to<F: Prime>(to: [*mut F; 8], lanes: Lanes<F>) {
    for (i, row) in lanes.to_rows().into_iter().enumerate() {
        // SAFETY: as in `load_from`.
        unsafe {
            _mm256_storeu_si256(to[2 * i].cast(), _mm512_castsi512_si256(row));
            _mm256_storeu_si256(to[2 * i + 1].cast(), _mm512_extracti64x4_epi64::<1>(row));
        }
    }
}
