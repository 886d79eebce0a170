//! Bencode (BEP 3), canonical: one byte string per value.
//!
//! Reading refuses any other spelling (keys out of order, leading zeros), so the encoding of a value that was
//! read is the bytes it was read from, and a hash of the one is a hash of the other. Nothing is copied.

mod decode;
mod encode;

pub use decode::{BencodeError, Limits, decode};
pub use encode::encode;

/// A value that borrows its byte strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list.
    List(Vec<Value<'a>>),
    /// A dictionary.
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// The name of the kind, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Bytes(_) => "a byte string",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
        }
    }
}

/// A dictionary: entries sorted by the bytes of their keys, each key once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Dict<'a>(Vec<(&'a [u8], Value<'a>)>);

impl<'a> Dict<'a> {
    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Value<'a>> {
        let at = self.0.binary_search_by(|(known, _)| (*known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The entries in order.
    pub fn entries(&self) -> &[(&'a [u8], Value<'a>)] {
        &self.0
    }
}

/// Sorts; of two entries with the same key the first stays.
impl<'a> FromIterator<(&'a [u8], Value<'a>)> for Dict<'a> {
    fn from_iter<T: IntoIterator<Item = (&'a [u8], Value<'a>)>>(entries: T) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
        Self(entries)
    }
}
