//! Field elements as they lie in memory: four 64-bit limbs in Montgomery form with R = 2^256, least first; x before y.

use std::mem::{offset_of, transmute};

use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr, G1Affine},
    ff::Field,
    serde::SerdeObject,
};

const _: () = assert!(size_of::<Fr>() == 32 && align_of::<Fr>() == 8 && size_of::<Fq>() == 32 && align_of::<Fq>() == 8);
const _: () = assert!(size_of::<G1Affine>() == 64 && offset_of!(G1Affine, x) == 0 && offset_of!(G1Affine, y) == 32);

/// A prime field whose elements lie so; 5p < 2^256.
pub(crate) trait Modulus: Copy {
    /// p in 64-bit limbs.
    const MODULUS: [u64; 4];
}

impl Modulus for Fr {
    const MODULUS: [u64; 4] =
        [0x43e1_f593_f000_0001, 0x2833_e848_79b9_7091, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];
}

impl Modulus for Fq {
    const MODULUS: [u64; 4] =
        [0x3c20_8c16_d87c_fd47, 0x9781_6a91_6871_ca8d, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];
}

/// −1/p modulo 2^64.
pub(crate) const fn negated_inverse(p: u64) -> u64 {
    // Newton's iteration doubles the correct bits; an odd number is its own inverse modulo 8.
    let mut inverse = p;
    let mut i = 0;
    while i < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg()
}

const _: () = assert!(negated_inverse(Fr::MODULUS[0]).wrapping_mul(Fr::MODULUS[0]) == u64::MAX);
const _: () = assert!(negated_inverse(Fq::MODULUS[0]).wrapping_mul(Fq::MODULUS[0]) == u64::MAX);

/// Whether the limbs of both fields stand in memory as the library writes them.
#[expect(unsafe_code, reason = "looks at the bytes of a value")]
pub(crate) fn lies_as_expected() -> bool {
    let (r, q) = (-Fr::ONE, -Fq::ONE);
    // SAFETY: both types are four u64 in some order (asserted above, and they have no other field), so no byte is padding.
    let (r_bytes, q_bytes) = unsafe { (transmute::<Fr, [u8; 32]>(r), transmute::<Fq, [u8; 32]>(q)) };
    r_bytes[..] == r.to_raw_bytes()[..] && q_bytes[..] == q.to_raw_bytes()[..]
}

/// The limbs of an element.
#[expect(unsafe_code, reason = "looks at the bytes of a value")]
pub(crate) fn limbs(x: &Fr) -> [u64; 4] {
    // SAFETY: an element is four u64 in some order (asserted above); `lies_as_expected` shows in which.
    unsafe { transmute::<Fr, [u64; 4]>(*x) }
}

/// R modulo the order of the field that points are over: the number 1.
pub(crate) const ONE: [u64; 4] =
    [0xd35d_438d_c58f_0d9d, 0x0a78_eb28_f5c7_0b3d, 0x666e_a36f_7879_462c, 0x0e0a_77c1_9a07_df2f];

/// The identity, as the library writes it.
pub(crate) static IDENTITY: G1Affine = G1Affine { x: Fq::ZERO, y: Fq::ZERO };
