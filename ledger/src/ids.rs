//! Newtypes for every id, index and hash, with one text form each.
//!
//! Bytes are written as `0x` and lower-case hex; either case is read (addresses are often mixed-case),
//! and canonical JSON then refuses all but lower case because it compares the re-encoding.

mod bytes;
mod field;
mod identity;
mod index;

pub use bytes::{Address, Digest, Root, Salt, Selector, TxHash};
pub use field::{CurvePoint, FieldElement, RunId};
pub use identity::RunIdentity;
pub use index::{ChainId, ChunkIndex, EpochIndex, MAX_SMALL_INT, StepIndex, TreeSize};

/// A text or byte string that is not the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Hex text must begin with `0x`.
    #[error("{kind}: expected hex text that begins with 0x")]
    Prefix {
        /// Name of the type that was being read.
        kind: &'static str,
    },
    /// The byte string has the wrong length.
    #[error("{kind}: expected {expected} bytes, got {got} hex digits")]
    Length {
        /// Name of the type that was being read.
        kind: &'static str,
        /// Expected length in bytes.
        expected: usize,
        /// Number of hex digits found.
        got: usize,
    },
    /// A character is not a hex digit.
    #[error("{kind}: character {position} is not a hex digit")]
    HexDigit {
        /// Name of the type that was being read.
        kind: &'static str,
        /// Position after the prefix, from 0.
        position: usize,
    },
    /// The number is not below the modulus of its field.
    #[error("{kind}: 0x{} is not below the field modulus", hex::encode(got))]
    NotCanonical {
        /// Name of the type that was being read.
        kind: &'static str,
        /// The big-endian bytes that were refused.
        got: [u8; 32],
    },
    /// The text is not a decimal number in range.
    #[error("{kind}: {got:?} is not a decimal number in range")]
    Number {
        /// Name of the type that was being read.
        kind: &'static str,
        /// The refused text, cut to 40 characters.
        got: String,
    },
}

/// Reads `0x` hex of exactly `N` bytes.
fn parse_hex<const N: usize>(kind: &'static str, text: &str) -> Result<[u8; N], IdError> {
    let digits = text.strip_prefix("0x").ok_or(IdError::Prefix { kind })?;
    let mut out = [0; N];
    match hex::decode_to_slice(digits, &mut out) {
        Ok(()) => Ok(out),
        Err(hex::FromHexError::InvalidHexCharacter { index, .. }) => Err(IdError::HexDigit { kind, position: index }),
        Err(hex::FromHexError::OddLength | hex::FromHexError::InvalidStringLength) => {
            Err(IdError::Length { kind, expected: N, got: digits.len() })
        }
    }
}

/// Text, serde and debug forms of a fixed-size byte type that has `parse_bytes` and `as_bytes`.
macro_rules! hex_text {
    ($name:ident, $len:expr) => {
        impl $name {
            /// Length of the byte form.
            pub const LEN: usize = $len;
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut text = [0; 2 + 2 * $len];
                f.write_str(super::hex_into(self.as_bytes(), &mut text))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ids::IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse_bytes(super::parse_hex(stringify!($name), text)?)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 2 + 2 * $len];
                serializer.serialize_str(super::hex_into(self.as_bytes(), &mut text))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(f, concat!("a ", stringify!($name), " of {} bytes as 0x hex"), $len)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
use hex_text;

/// Writes `0x` hex into `out`, which has exactly the room, and returns it as text.
fn hex_into<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out[..2].copy_from_slice(b"0x");
    for (pair, byte) in out[2..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // Only ASCII was written, so this cannot fail; the empty text would be refused by any reader.
    std::str::from_utf8(out).unwrap_or_default()
}
