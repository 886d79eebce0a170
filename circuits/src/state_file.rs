//! Bytes of a private optimizer state.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `CAIRNST1` |
//! | 8 | n, u64 little-endian |
//! | 8, 8 | P1, P2, u64 little-endian |
//! | 4n | w, i32 little-endian |
//! | 4n | m, i32 little-endian |
//! | 8n | v, u64 little-endian |

use crate::reference::{SIGNED_LIMIT, State, V_LIMIT};

const MAGIC: &[u8; 8] = b"CAIRNST1";
const HEADER: usize = 32;

/// Bytes that are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// Wrong magic or shorter than the header.
    #[error("not a state file: it does not begin with CAIRNST1 and a header of {HEADER} bytes")]
    Magic,
    /// The length does not match the number of parameters.
    #[error("state file of {n} parameters has {got} bytes, expected {expected}")]
    Length {
        /// Parameters by the header.
        n: u64,
        /// Expected bytes.
        expected: u64,
        /// Found.
        got: u64,
    },
    /// A value is outside `q24`.
    #[error("state file: {what}[{index}] = {value} is out of range")]
    Range {
        /// Vector.
        what: &'static str,
        /// Index.
        index: usize,
        /// Raw value.
        value: i128,
    },
}

/// Encodes a state.
///
/// Errors: [`StateFileError::Range`].
pub fn encode(state: &State) -> Result<Vec<u8>, StateFileError> {
    let mut out = Vec::with_capacity(HEADER + 16 * state.len());
    out.extend_from_slice(MAGIC);
    for x in [state.len() as u64, state.p1, state.p2] {
        out.extend_from_slice(&x.to_le_bytes());
    }
    for (what, values) in [("w", &state.w), ("m", &state.m)] {
        for (index, &value) in values.iter().enumerate() {
            if !(-SIGNED_LIMIT..SIGNED_LIMIT).contains(&value) {
                return Err(StateFileError::Range { what, index, value: value.into() });
            }
            out.extend_from_slice(&(value as i32).to_le_bytes());
        }
    }
    for (index, &value) in state.v.iter().enumerate() {
        if value >= V_LIMIT {
            return Err(StateFileError::Range { what: "v", index, value: value.into() });
        }
        out.extend_from_slice(&value.to_le_bytes());
    }
    Ok(out)
}

/// Decodes a state.
///
/// Errors: all of [`StateFileError`].
pub fn decode(bytes: &[u8]) -> Result<State, StateFileError> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(StateFileError::Magic)?;
    if &header[..8] != MAGIC {
        return Err(StateFileError::Magic);
    }
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes of a 32-byte header"));
    let (n, p1, p2) = (word(8), word(16), word(24));
    let expected = n.checked_mul(16).and_then(|x| x.checked_add(HEADER as u64)).unwrap_or(u64::MAX);
    if expected != bytes.len() as u64 {
        return Err(StateFileError::Length { n, expected, got: bytes.len() as u64 });
    }
    let n = body.len() / 16;
    let (w, rest) = body.split_at(4 * n);
    let (m, v) = rest.split_at(4 * n);
    let signed =
        |bytes: &[u8]| bytes.chunks_exact(4).map(|c| i64::from(i32::from_le_bytes([c[0], c[1], c[2], c[3]]))).collect();
    let v: Vec<u64> = v.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("chunks of 8"))).collect();
    if let Some((index, value)) = v.iter().enumerate().find(|(_, v)| **v >= V_LIMIT) {
        return Err(StateFileError::Range { what: "v", index, value: (*value).into() });
    }
    Ok(State { w: signed(w), m: signed(m), v, p1, p2 })
}
