//! Kernels that work on eight field elements at a time, with the 52-bit multiply-add of AVX-512 (IFMA).
//!
//! The unsafe code of this crate is in this module, in `fma`, `words`, `place` and `prefetch`. Here: calls of functions that need the instructions, guarded by
//! [`Ifma`], which exists only where they do, and loads and stores of elements by address (`memory`). Results equal those
//! of the portable code bit for bit, so that proofs do not depend on the machine (docs/adr/0014).
//!
//! Source: Gueron & Krasnov, "Accelerating big integer arithmetic using Intel IFMA extensions" (ARITH 2016), for the
//! representation; Harvey, "Faster arithmetic for number-theoretic transforms" (2014), for the lazy ranges.

mod lanes;
mod memory;
mod points;
mod rows;
#[cfg(test)]
mod tests;
mod transform;

use std::sync::OnceLock;

pub(crate) use points::PointAdder;
pub(crate) use rows::RowMachine;

/// Shows that this machine has the instructions, and that elements lie in memory as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

impl Ifma {
    /// Looks once, if it is [allowed](crate::kernel::allowed).
    pub(crate) fn detect() -> Option<Self> {
        static FOUND: OnceLock<Option<Ifma>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let here = crate::kernel::allowed()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512ifma");
            here.then_some(Self(()))
        })
    }
}
