//! Which code hashes whole pieces.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

#[cfg(target_arch = "x86_64")]
use crate::lanes::{Eight, Lanes, Sixteen, Two};
use crate::piece::BLOCK_BYTES;

/// Code that hashes whole pieces. The hashes do not depend on it.
///
/// One exists only where the processor has the instructions that it needs (docs/adr/0017).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub(crate) Code);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Two(Two),
    #[cfg(target_arch = "x86_64")]
    Eight(Eight),
    #[cfg(target_arch = "x86_64")]
    Sixteen(Sixteen),
}

impl Kernel {
    /// The plain crates, one message at a time, on any processor.
    pub const PORTABLE: Self = Self(Code::Plain);

    /// The fastest of this machine, measured once, in milliseconds: which that is cannot be told from the instructions
    /// that a processor has. The environment variable `CAIRN_PORTABLE`, set to anything, keeps to [`Self::PORTABLE`].
    pub fn fastest() -> Self {
        static FOUND: OnceLock<Kernel> = OnceLock::new();
        *FOUND.get_or_init(|| match std::env::var_os("CAIRN_PORTABLE") {
            Some(_) => Self::PORTABLE,
            None => Self::measured(),
        })
    }

    /// All that this machine can run; the last is [`Self::PORTABLE`].
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(Sixteen::detect().map(|sixteen| Self(Code::Sixteen(sixteen))));
            found.extend(Eight::detect().map(|eight| Self(Code::Eight(eight))));
            found.extend(Two::detect().map(|two| Self(Code::Two(two))));
        }
        found.push(Self::PORTABLE);
        found
    }

    /// The least time for a byte, of three leaves in memory each.
    fn measured() -> Self {
        let mut times: Vec<_> = Self::available().into_iter().map(|kernel| (kernel.time(), kernel)).collect();
        for _ in 0..2 {
            let least = times.iter().map(|(time, _)| *time).min().unwrap_or_default();
            // One that is so much slower is no longer waited for.
            for (time, kernel) in times.iter_mut().filter(|(time, _)| *time < 3 * least) {
                *time = kernel.time().min(*time);
            }
        }
        times.into_iter().min_by_key(|(time, _)| *time).map_or(Self::PORTABLE, |(_, kernel)| kernel)
    }

    /// Of a leaf, while it hashes as many as it can side by side.
    fn time(self) -> Duration {
        #[cfg(target_arch = "x86_64")]
        fn side_by_side<const N: usize>(lanes: impl Lanes<N>, leaf: &[u8]) -> u32 {
            let mut pieces = lanes.pieces();
            black_box(pieces.leaves([leaf; N]));
            black_box(pieces.finish());
            N as u32
        }
        let leaf = black_box(vec![0; BLOCK_BYTES as usize]);
        let begin = Instant::now();
        let leaves = match self.0 {
            Code::Plain => {
                black_box((Sha1::digest(&leaf), Sha256::digest(&leaf)));
                1
            }
            #[cfg(target_arch = "x86_64")]
            Code::Two(two) => side_by_side(two, &leaf),
            #[cfg(target_arch = "x86_64")]
            Code::Eight(eight) => side_by_side(eight, &leaf),
            #[cfg(target_arch = "x86_64")]
            Code::Sixteen(sixteen) => side_by_side(sixteen, &leaf),
        };
        begin.elapsed() / leaves
    }

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Code::Plain => "portable",
            #[cfg(target_arch = "x86_64")]
            Code::Two(_) => "two",
            #[cfg(target_arch = "x86_64")]
            Code::Eight(_) => "eight",
            #[cfg(target_arch = "x86_64")]
            Code::Sixteen(_) => "sixteen",
        }
    }
}
