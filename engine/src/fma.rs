//! Kernels that work on eight field elements at a time, with fused multiply-add of double precision (AVX2 and FMA), for
//! processors without the 52-bit multiply-add of AVX-512.
//!
//! Unsafe code is as in [`crate::ifma`], and the assembly of the product, which `build.rs` writes. Results equal those of the
//! portable code bit for bit: all arithmetic on doubles here is exact (docs/adr/0020).
//!
//! Source: Emmart, Zheng, Weems, "Faster modular exponentiation using double precision floating point arithmetic on the
//! GPU" (ARITH 2018), for products by two fused operations.

mod constants;
#[expect(
    clippy::needless_range_loop,
    reason = "vectors stay in registers where loops are unrolled, which those over indices are"
)]
mod lanes;
mod layout;
mod memory;
mod plan;
mod points;
pub(crate) mod products;
mod rows;
pub(crate) mod segments;
pub(crate) mod sums;
#[cfg(test)]
mod tests;
mod transform;

use std::sync::OnceLock;

pub(crate) use memory::LANES;
pub(crate) use points::PointAdder;
pub(crate) use rows::RowMachine;

/// Shows that this machine has the instructions, and that elements lie in memory as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fma(());

impl Fma {
    /// Looks once, if it is [allowed](crate::kernel::allowed).
    pub(crate) fn detect() -> Option<Self> {
        static FOUND: OnceLock<Option<Fma>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let here = crate::kernel::allowed() && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            here.then_some(Self(()))
        })
    }
}
