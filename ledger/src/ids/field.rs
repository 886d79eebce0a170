//! Field elements and curve points of BN254, as canonical bytes. No field arithmetic beyond reduction.

use super::{Digest, IdError, hex_text};

/// A 256-bit number as four 64-bit words, most significant first, so that arrays compare as numbers.
type Words = [u64; 4];

/// Order r of the BN254 group, the modulus of `Fr`.
///
/// Source: EIP-196; r = 21888242871839275222246405745257275088548364400416034343698204186575808495617.
const R: Words = [0x30644e72e131a029, 0xb85045b68181585d, 0x2833e84879b97091, 0x43e1f593f0000001];

/// Modulus q of the BN254 base field, in which coordinates of points lie.
///
/// Source: EIP-196; q = 21888242871839275222246405745257275088696311157297823662689037894645226208583.
const Q: Words = [0x30644e72e131a029, 0xb85045b68181585d, 0x97816a916871ca8d, 0x3c208c16d87cfd47];

/// An element of the scalar field of BN254.
///
/// **Bytes**: 32, big-endian. **Range**: below r; checked wherever bytes or text come in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldElement([u8; 32]);

/// A point of BN254's G1: a commitment.
///
/// **Bytes**: 64, x then y, each 32 big-endian, affine; the point at infinity is all zeros (EIP-196).
/// **Range**: both coordinates below q, checked here. That the point is on the curve is checked by whoever
/// does curve arithmetic with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CurvePoint([u8; 64]);

/// Identifies a run, on one chain and one contract: a canonical field element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(FieldElement);

impl FieldElement {
    /// The element 0.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads big-endian bytes.
    ///
    /// **Errors**: [`IdError::NotCanonical`] if the number is not below r.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Result<Self, IdError> {
        if words(&bytes) < R {
            Ok(Self(bytes))
        } else {
            Err(IdError::NotCanonical { kind: "FieldElement", got: bytes })
        }
    }

    /// Reads little-endian bytes, the `to_repr` order of halo2's `Fr`.
    ///
    /// **Errors**: [`IdError::NotCanonical`] if the number is not below r.
    pub fn from_le_bytes(mut bytes: [u8; 32]) -> Result<Self, IdError> {
        bytes.reverse();
        Self::from_be_bytes(bytes)
    }

    /// The big-endian number in `bytes` modulo r.
    pub fn reduce(bytes: [u8; 32]) -> Self {
        let mut number = words(&bytes);
        // 2^256 / r is less than 6, so this loop ends after at most five rounds.
        while number >= R {
            number = subtract(number, R);
        }
        Self(to_bytes(number))
    }

    /// A digest made a field element by clearing its three highest bits.
    ///
    /// **Range**: the result is below 2^253, hence below r. Spec `log-field-digest`.
    pub fn from_digest(digest: Digest) -> Self {
        let mut bytes = digest.0;
        bytes[0] &= 0x1f;
        Self(bytes)
    }

    /// The bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes, little-endian.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }

    fn parse_bytes(bytes: [u8; 32]) -> Result<Self, IdError> {
        Self::from_be_bytes(bytes)
    }
}

impl From<u64> for FieldElement {
    fn from(number: u64) -> Self {
        Self(to_bytes([0, 0, 0, number]))
    }
}

impl From<bool> for FieldElement {
    fn from(bit: bool) -> Self {
        Self::from(u64::from(bit))
    }
}

impl CurvePoint {
    /// Reads x ‖ y.
    ///
    /// **Errors**: [`IdError::NotCanonical`] if a coordinate is not below q.
    pub fn from_bytes(bytes: [u8; 64]) -> Result<Self, IdError> {
        for half in 0..2 {
            let mut coordinate = [0; 32];
            coordinate.copy_from_slice(&bytes[32 * half..32 * half + 32]);
            if words(&coordinate) >= Q {
                let kind = if half == 0 { "CurvePoint x" } else { "CurvePoint y" };
                return Err(IdError::NotCanonical { kind, got: coordinate });
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes, x ‖ y.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The big-endian bytes of x and of y.
    pub fn coordinates(&self) -> ([u8; 32], [u8; 32]) {
        let (mut x, mut y) = ([0; 32], [0; 32]);
        x.copy_from_slice(&self.0[..32]);
        y.copy_from_slice(&self.0[32..]);
        (x, y)
    }

    fn parse_bytes(bytes: [u8; 64]) -> Result<Self, IdError> {
        Self::from_bytes(bytes)
    }
}

impl RunId {
    /// The id as an instance of an epoch proof.
    pub const fn to_field(self) -> FieldElement {
        self.0
    }

    /// The bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    fn parse_bytes(bytes: [u8; 32]) -> Result<Self, IdError> {
        FieldElement::from_be_bytes(bytes).map(Self)
    }
}

impl From<FieldElement> for RunId {
    fn from(element: FieldElement) -> Self {
        Self(element)
    }
}

impl From<RunId> for FieldElement {
    fn from(run: RunId) -> Self {
        run.0
    }
}

hex_text!(FieldElement, 32);
hex_text!(CurvePoint, 64);
hex_text!(RunId, 32);

fn words(bytes: &[u8; 32]) -> Words {
    let mut out = [0; 4];
    for (word, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().fold(0, |acc, byte| (acc << 8) | u64::from(*byte));
    }
    out
}

fn to_bytes(number: Words) -> [u8; 32] {
    let mut out = [0; 32];
    for (chunk, word) in out.chunks_exact_mut(8).zip(number) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    out
}

/// `a − b` for `a ≥ b`.
fn subtract(a: Words, b: Words) -> Words {
    let mut out = [0; 4];
    let mut borrow = false;
    for i in (0..4).rev() {
        let (first, low) = a[i].overflowing_sub(b[i]);
        let (second, lower) = first.overflowing_sub(u64::from(borrow));
        out[i] = second;
        borrow = low || lower;
    }
    out
}
