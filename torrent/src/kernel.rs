//! Which code hashes whole pieces.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::lanes::{Eight, Sixteen};

/// Code that hashes whole pieces. The hashes do not depend on it.
///
/// One exists only where the processor has the instructions that it needs (docs/adr/0017).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub(crate) Code);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Eight(Eight),
    #[cfg(target_arch = "x86_64")]
    Sixteen(Sixteen),
}

impl Kernel {
    /// The plain crates, one message at a time, on any processor.
    pub const PORTABLE: Self = Self(Code::Plain);

    /// The fastest of this machine, found out once. The environment variable `CAIRN_PORTABLE`, set to anything, keeps to
    /// [`Self::PORTABLE`].
    pub fn fastest() -> Self {
        static FOUND: OnceLock<Kernel> = OnceLock::new();
        *FOUND.get_or_init(|| match std::env::var_os("CAIRN_PORTABLE") {
            Some(_) => Self::PORTABLE,
            None => Self::available()[0],
        })
    }

    /// All of this machine, the fastest first; the last is [`Self::PORTABLE`].
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(Sixteen::detect().map(|sixteen| Self(Code::Sixteen(sixteen))));
            found.extend(Eight::detect().map(|eight| Self(Code::Eight(eight))));
        }
        found.push(Self::PORTABLE);
        found
    }

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Code::Plain => "portable",
            #[cfg(target_arch = "x86_64")]
            Code::Eight(_) => "eight",
            #[cfg(target_arch = "x86_64")]
            Code::Sixteen(_) => "sixteen",
        }
    }
}
