//! Which kernels this machine has: eight elements at a time, or one.

#[cfg(target_arch = "x86_64")]
use crate::{fma::Fma, ifma::Ifma, words::lies_as_expected};

/// The fastest that this machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
    #[cfg(target_arch = "x86_64")]
    Fma(Fma),
    /// One element at a time; runs everywhere.
    Portable,
}

impl Kernel {
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(shown) = Ifma::detect() {
            return Self::Ifma(shown);
        } else if let Some(shown) = Fma::detect() {
            return Self::Fma(shown);
        }
        Self::Portable
    }
}

/// Whether kernels may be used that take elements as they lie in memory. The environment variable `CAIRN_PORTABLE`, set to
/// anything, keeps to the portable code.
#[cfg(target_arch = "x86_64")]
pub(crate) fn allowed() -> bool {
    std::env::var_os("CAIRN_PORTABLE").is_none() && lies_as_expected()
}
