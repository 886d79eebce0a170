//! Canonical JSON (RFC 8785 restricted): one byte string per value.
//!
//! Keys sorted, no white space, no floating point; integers up to 2^53 − 1 are numbers, larger ones and
//! fixed-point values are decimal strings. Types declare their fields in the order of their keys, so that
//! the derived encoding *is* canonical (a test checks it against an independent sorter); map keys are
//! ASCII, for which byte order and RFC 8785's UTF-16 order agree. Reading parses, encodes again and
//! compares: any other spelling of the same value is refused, so a hash of the bytes is a hash of the value.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Bytes that are not the canonical JSON of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// More bytes than this format may have.
    #[error("expected at most {limit} bytes, got {got}")]
    TooLong {
        /// Largest accepted length.
        limit: usize,
        /// Length found.
        got: usize,
    },
    /// Another version of the format.
    #[error("expected format version {expected}, got {got}")]
    Version {
        /// Version this code reads.
        expected: u64,
        /// Version found.
        got: u64,
    },
    /// Not JSON, or not of the expected shape: a field missing, unknown, repeated or out of range.
    #[error("column {column}: {reason}")]
    Shape {
        /// Where reading stopped, counted from 1.
        column: usize,
        /// What was expected and found.
        reason: String,
    },
    /// The value is fine but spelled in another way than the canonical one.
    #[error("byte {offset} differs from the canonical encoding of the same value")]
    Spelling {
        /// First differing byte, counted from 0.
        offset: usize,
    },
    /// The value has no canonical encoding, for example an integer above 2^53 − 1.
    #[error("cannot be encoded: {reason}")]
    Unencodable {
        /// What stood in the way.
        reason: String,
    },
}

/// Format version 1: the only value of the field `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!("expected format version 1, got {other}"))),
        }
    }
}

/// The canonical bytes of `value`, without a final newline.
///
/// **Errors**: [`CanonicalError::Unencodable`] if an integer is above 2^53 − 1.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    serde_json::to_vec(value).map_err(|error| CanonicalError::Unencodable { reason: error.to_string() })
}

/// Reads canonical bytes of at most `limit` length.
///
/// **Errors**: any other bytes, see [`CanonicalError`].
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CanonicalError> {
    if bytes.len() > limit {
        return Err(CanonicalError::TooLong { limit, got: bytes.len() });
    }
    let value: T = serde_json::from_slice(bytes).map_err(|error| shape_or_version(bytes, &error))?;
    let again = encode(&value)?;
    if again == bytes {
        return Ok(value);
    }
    let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(CanonicalError::Spelling { offset: same })
}

/// Another version is more worth saying than the first field that differs in it.
fn shape_or_version(bytes: &[u8], error: &serde_json::Error) -> CanonicalError {
    #[derive(Deserialize)]
    struct Probe {
        v: u64,
    }
    match serde_json::from_slice::<Probe>(bytes) {
        Ok(Probe { v }) if v != 1 => CanonicalError::Version { expected: 1, got: v },
        _ => CanonicalError::Shape { column: error.column(), reason: error.to_string() },
    }
}

/// `#[serde(with)]` for integers that are JSON numbers: at most 2^53 − 1.
pub mod small_int {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::ids::MAX_SMALL_INT;

    /// Writes the number.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if *number > MAX_SMALL_INT {
            return Err(ser::Error::custom(format_args!("integer {number} is above 2^53 - 1")));
        }
        serializer.serialize_u64(*number)
    }

    /// Reads the number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > MAX_SMALL_INT {
            return Err(de::Error::custom(format_args!("integer {number} is above 2^53 - 1")));
        }
        Ok(number)
    }
}

/// [`small_int`] for an optional field.
pub mod small_int_option {
    use serde::{Deserializer, Serializer};

    /// Writes the number; callers skip the field if there is none.
    pub fn serialize<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => super::small_int::serialize(number, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        super::small_int::deserialize(deserializer).map(Some)
    }
}

/// `#[serde(with)]` for 64-bit fixed-point values, which are decimal strings.
pub mod decimal {
    use serde::{Deserializer, Serializer, de};

    /// Writes the digits.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    /// Reads the digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        struct Digits;
        impl de::Visitor<'_> for Digits {
            type Value = u64;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit integer as a decimal string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}
