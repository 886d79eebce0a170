//! Magnet links (BEP 9, BEP 53's `btmh` for v2).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use ledger::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::infohash::{InfohashV1, InfohashV2};
use crate::metainfo::{LinkError, Tracker, WebSeed};

/// Longest link.
const MAX_BYTES: usize = 64 << 10;

/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text that is not the link of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("expected a link that begins with magnet:?")]
    Scheme,
    /// Longer than any link here, as it came or as it is written.
    #[error("link of {got} bytes: expected at most {MAX_BYTES}")]
    TooLong {
        /// Length found.
        got: usize,
    },
    /// A part is not UTF-8 when its escapes are read.
    #[error("{key}: not UTF-8")]
    NotUtf8 {
        /// The part.
        key: String,
    },
    /// An infohash that is not one.
    #[error("xt: expected {expected}, got {got:?}")]
    Infohash {
        /// What it should be.
        expected: &'static str,
        /// The refused text, cut.
        got: String,
    },
    /// The same kind of infohash twice, with two values.
    #[error("xt: two different {kind} infohashes")]
    TwoInfohashes {
        /// `btih` or `btmh`.
        kind: &'static str,
    },
    /// No v1 infohash, by which bundles are found.
    #[error("no infohash urn:btih in the link")]
    NoInfohash,
    /// A peer's address that is not one.
    #[error("x.pe: expected an address and port, got {got:?}")]
    Peer {
        /// The refused text, cut.
        got: String,
    },
    /// A tracker or web seed that is not one.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A link to a bundle. Written as text it can be read by every client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// The v1 infohash; first in the link.
    pub v1: InfohashV1,
    /// The v2 infohash.
    pub v2: Option<InfohashV2>,
    /// Name to show until the metainfo is there.
    pub name: Option<String>,
    /// Trackers.
    pub trackers: Vec<Tracker>,
    /// HTTP servers that have the files.
    pub web_seeds: Vec<WebSeed>,
    /// Peers to ask first.
    pub peers: Vec<SocketAddr>,
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text| utf8_percent_encode(text, ESCAPED);
        write!(f, "magnet:?xt=urn:btih:{}", self.v1)?;
        if let Some(v2) = &self.v2 {
            // A multihash: 0x12 is SHA-256, 0x20 its length.
            write!(f, "&xt=urn:btmh:1220{v2}")?;
        }
        self.name.iter().try_for_each(|name| write!(f, "&dn={}", escaped(name)))?;
        self.trackers.iter().try_for_each(|tracker| write!(f, "&tr={}", escaped(tracker.as_str())))?;
        self.web_seeds.iter().try_for_each(|seed| write!(f, "&ws={}", escaped(seed.as_str())))?;
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Parts that are not known are left out.
    fn from_str(link: &str) -> Result<Self, MagnetError> {
        if link.len() > MAX_BYTES {
            return Err(MagnetError::TooLong { got: link.len() });
        }
        let parts = link.strip_prefix("magnet:?").ok_or(MagnetError::Scheme)?;
        let (mut v1, mut v2, mut name) = (None, None, None);
        let (mut trackers, mut web_seeds, mut peers) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts.split('&') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| MagnetError::NotUtf8 { key: cut(key) })?;
            // Several of a kind may be numbered: `xt.1`, `tr.2`.
            let base = key.split_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
            match base.map_or(key, |(base, _)| base) {
                "xt" => {
                    if let Some(text) = value.strip_prefix("urn:btih:") {
                        set(&mut v1, btih(text)?, "btih")?;
                    } else if let Some(text) = value.strip_prefix("urn:btmh:") {
                        set(&mut v2, btmh(text)?, "btmh")?;
                    }
                }
                "dn" => name = Some(value.into_owned()),
                "tr" => trackers.push(value.parse()?),
                "ws" => web_seeds.push(value.parse()?),
                "x.pe" => peers.push(value.parse().map_err(|_| MagnetError::Peer { got: cut(&value) })?),
                _ => {}
            }
        }
        let link = Self { v1: v1.ok_or(MagnetError::NoInfohash)?, v2, name, trackers, web_seeds, peers };
        // Escapes are longer than what they stand for, and what was accepted must be read again.
        match link.to_string().len() {
            0..=MAX_BYTES => Ok(link),
            got => Err(MagnetError::TooLong { got }),
        }
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T, kind: &'static str) -> Result<(), MagnetError> {
    match slot {
        Some(other) if *other != value => Err(MagnetError::TwoInfohashes { kind }),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// 40 hex digits, or 32 of base 32 (RFC 4648), as old clients write it.
fn btih(text: &str) -> Result<InfohashV1, MagnetError> {
    let bytes = match text.len() {
        40 => hex(text),
        32 => base32(text),
        _ => None,
    };
    let wrong = || MagnetError::Infohash { expected: "40 hex digits or 32 of base 32", got: cut(text) };
    bytes.map(InfohashV1).ok_or_else(wrong)
}

fn btmh(text: &str) -> Result<InfohashV2, MagnetError> {
    let digest = text.strip_prefix("1220").filter(|digits| digits.len() == 64).and_then(hex);
    let wrong = || MagnetError::Infohash { expected: "1220 and 64 hex digits", got: cut(text) };
    digest.map(|bytes| InfohashV2(Digest(bytes))).ok_or_else(wrong)
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = (digit(*high)? * 16 + digit(*low)?) as u8;
    }
    Some(out)
}

/// 32 digits of 5 bits are exactly 20 bytes.
fn base32(digits: &str) -> Option<[u8; 20]> {
    let (mut out, mut bits, mut n_bits) = (Vec::with_capacity(20), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            number @ b'2'..=b'7' => number - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        n_bits += 5;
        if n_bits >= 8 {
            n_bits -= 8;
            out.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    out.try_into().ok()
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}
