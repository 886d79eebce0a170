//! Reading, with a bound on everything that a stranger could make large.

use super::{Dict, Value};

/// Bytes that are not canonical bencode. Offsets count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// More bytes than this document may have.
    #[error("expected at most {limit} bytes, got {got}")]
    TooLong {
        /// Largest accepted length.
        limit: usize,
        /// Length found.
        got: usize,
    },
    /// The bytes end inside a value.
    #[error("byte {offset}: the value does not end")]
    Truncated {
        /// The end.
        offset: usize,
    },
    /// No value begins like this.
    #[error("byte {offset}: expected i, l, d, e or a digit, got 0x{got:02x}")]
    Unexpected {
        /// Where.
        offset: usize,
        /// The byte.
        got: u8,
    },
    /// Not a decimal integer in its only spelling: empty, leading zeros, `-0`, other characters.
    #[error("byte {offset}: not an integer in its shortest spelling")]
    Number {
        /// Where its digits begin.
        offset: usize,
    },
    /// An integer that 64 bits cannot hold.
    #[error("byte {offset}: the integer is out of the range of 64 bits")]
    Range {
        /// Where its digits begin.
        offset: usize,
    },
    /// A byte string that is longer than what is left.
    #[error("byte {offset}: expected a string of {expected} bytes, {got} are left")]
    StringLength {
        /// Where the string begins.
        offset: usize,
        /// Its stated length.
        expected: u64,
        /// What is left.
        got: usize,
    },
    /// A dictionary's key that is not a byte string.
    #[error("byte {offset}: expected a key or the dictionary's end, got 0x{got:02x}")]
    Key {
        /// Where.
        offset: usize,
        /// The byte.
        got: u8,
    },
    /// A dictionary's key that is not after the one before it, or there twice.
    #[error("byte {offset}: the key is not after the one before it")]
    KeyOrder {
        /// Where the key begins.
        offset: usize,
    },
    /// Lists and dictionaries inside each other, deeper than any document here.
    #[error("byte {offset}: nested deeper than {limit}")]
    TooDeep {
        /// Where.
        offset: usize,
        /// Deepest accepted.
        limit: usize,
    },
    /// More values than any document here.
    #[error("byte {offset}: more than {limit} values")]
    TooMany {
        /// Where.
        offset: usize,
        /// Most accepted.
        limit: usize,
    },
    /// Bytes behind the value.
    #[error("byte {offset}: {got} bytes follow the value")]
    Trailing {
        /// Where they begin.
        offset: usize,
        /// How many.
        got: usize,
    },
}

/// What a document may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length in bytes.
    pub bytes: usize,
    /// Lists and dictionaries inside each other.
    pub depth: usize,
    /// Values of any kind, keys not counted. One takes about 50 bytes of memory.
    pub values: usize,
}

/// Reads exactly one value.
///
/// **Errors**: any other bytes than [`encode`](super::encode) would write, see [`BencodeError`].
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Value<'_>, BencodeError> {
    if bytes.len() > limits.bytes {
        return Err(BencodeError::TooLong { limit: limits.bytes, got: bytes.len() });
    }
    let mut reader = Reader { bytes, at: 0, limits, values: 0 };
    let value = reader.value(0)?;
    if reader.at < bytes.len() {
        return Err(BencodeError::Trailing { offset: reader.at, got: bytes.len() - reader.at });
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(BencodeError::Truncated { offset: self.at })
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, BencodeError> {
        let offset = self.at;
        self.values += 1;
        if self.values > self.limits.values {
            return Err(BencodeError::TooMany { offset, limit: self.limits.values });
        }
        let first = self.peek()?;
        if matches!(first, b'l' | b'd') && depth == self.limits.depth {
            return Err(BencodeError::TooDeep { offset, limit: self.limits.depth });
        }
        match first {
            b'i' => {
                self.at += 1;
                self.integer().map(Value::Int)
            }
            b'l' => {
                self.at += 1;
                let mut items = Vec::new();
                while self.peek()? != b'e' {
                    items.push(self.value(depth + 1)?);
                }
                self.at += 1;
                items.shrink_to_fit();
                Ok(Value::List(items))
            }
            b'd' => {
                self.at += 1;
                self.dict(depth).map(Value::Dict)
            }
            b'0'..=b'9' => self.string().map(Value::Bytes),
            got => Err(BencodeError::Unexpected { offset, got }),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Dict<'a>, BencodeError> {
        let mut entries: Vec<(&[u8], Value<'_>)> = Vec::new();
        loop {
            let offset = self.at;
            match self.peek()? {
                b'e' => break,
                b'0'..=b'9' => {}
                got => return Err(BencodeError::Key { offset, got }),
            }
            let key = self.string()?;
            if entries.last().is_some_and(|(before, _)| *before >= key) {
                return Err(BencodeError::KeyOrder { offset });
            }
            entries.push((key, self.value(depth + 1)?));
        }
        self.at += 1;
        entries.shrink_to_fit();
        Ok(Dict(entries))
    }

    /// The integer up to `e`.
    fn integer(&mut self) -> Result<i64, BencodeError> {
        let offset = self.at;
        let text = self.until(b'e')?;
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if !is_shortest(digits) || text == b"-0" {
            return Err(BencodeError::Number { offset });
        }
        parse(text).ok_or(BencodeError::Range { offset })
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        let offset = self.at;
        let digits = self.until(b':')?;
        if !is_shortest(digits) {
            return Err(BencodeError::Number { offset });
        }
        let expected: u64 = parse(digits).ok_or(BencodeError::Range { offset })?;
        let left = self.bytes.get(self.at..).unwrap_or_default();
        let string = usize::try_from(expected).ok().and_then(|len| left.get(..len));
        let string = string.ok_or(BencodeError::StringLength { offset: self.at, expected, got: left.len() })?;
        self.at += string.len();
        Ok(string)
    }

    /// What stands before `end`, which is passed over.
    fn until(&mut self, end: u8) -> Result<&'a [u8], BencodeError> {
        // The longest number has 20 characters: looking further would make reading quadratic.
        const LONGEST: usize = 21;
        let left = self.bytes.get(self.at..).unwrap_or_default();
        let Some(len) = left.iter().take(LONGEST).position(|byte| *byte == end) else {
            let offset = self.at;
            return Err(if left.len() < LONGEST && left.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
                BencodeError::Truncated { offset: self.bytes.len() }
            } else {
                BencodeError::Number { offset }
            });
        };
        self.at += len + 1;
        Ok(&left[..len])
    }
}

fn is_shortest(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0')
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
