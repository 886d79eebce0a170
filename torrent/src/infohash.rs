//! The two names of a torrent.

use std::fmt;

use ledger::Digest;
use sha1::{Digest as _, Sha1};

/// SHA-1 of a torrent's info dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfohashV1(pub [u8; 20]);

/// SHA-256 of a torrent's info dictionary (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfohashV2(pub Digest);

impl InfohashV1 {
    /// Of the bytes of an info dictionary.
    pub fn of(info: &[u8]) -> Self {
        Self(Sha1::digest(info).into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl InfohashV2 {
    /// Of the bytes of an info dictionary.
    pub fn of(info: &[u8]) -> Self {
        Self(Digest::of(info))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// Text forms: lower-case hex without a prefix, as clients show it.
macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hex_text!(InfohashV1);
hex_text!(InfohashV2);
