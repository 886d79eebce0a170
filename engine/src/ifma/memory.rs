//! Elements and points in memory: four 64-bit limbs in Montgomery form, least first; x before y.

use std::{
    arch::x86_64::*,
    mem::{offset_of, transmute},
};

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr, G1Affine},
    ff::Field,
    serde::SerdeObject,
};

use super::lanes::{Lanes, Prime};

const _: () = assert!(size_of::<Fr>() == 32 && align_of::<Fr>() == 8 && size_of::<Fq>() == 32 && align_of::<Fq>() == 8);
const _: () = assert!(size_of::<G1Affine>() == 64 && offset_of!(G1Affine, x) == 0 && offset_of!(G1Affine, y) == 32);

/// Whether the limbs of both fields stand in memory as the library writes them.
#[expect(unsafe_code, reason = "looks at the bytes of a value")]
pub(super) fn lies_as_expected() -> bool {
    let (r, q) = (-Fr::ONE, -Fq::ONE);
    // SAFETY: both types are four u64 in some order (asserted above, and they have no other field), so no byte is padding.
    let (r_bytes, q_bytes) = unsafe { (transmute::<Fr, [u8; 32]>(r), transmute::<Fq, [u8; 32]>(q)) };
    r_bytes[..] == r.to_raw_bytes()[..] && q_bytes[..] == q.to_raw_bytes()[..]
}

/// The limbs of an element.
#[expect(unsafe_code, reason = "looks at the bytes of a value")]
pub(super) fn limbs(x: &Fr) -> [u64; 4] {
    // SAFETY: an element is four u64 in some order (asserted above); `lies_as_expected` shows in which.
    unsafe { transmute::<Fr, [u64; 4]>(*x) }
}

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
