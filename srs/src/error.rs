//! One error per check.

use std::{io, path::PathBuf};

use crate::types::{SrsDigest, SrsLabel, SrsSize};

/// Why a reference string was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrsError {
    /// k is outside 1..=28.
    #[error("reference string size k = {got} is outside 1..=28")]
    Size {
        /// Value found.
        got: u64,
    },
    /// A file says a size outside 1..=28 (0..=28 for the power of a `.ptau` file).
    #[error("{file}: {field} = {got} is outside the sizes of BN254, at most {}", SrsSize::MAX)]
    FileSize {
        /// Path.
        file: PathBuf,
        /// Name of the field.
        field: &'static str,
        /// Value found.
        got: u32,
    },
    /// A label has characters that cannot be part of a file name.
    #[error("label {got:?} must be 1 to 64 characters of a-z 0-9 . _ - beginning with a letter or digit")]
    Label {
        /// Text found (cut).
        got: String,
    },
    /// The file could not be read or written.
    #[error("{file}: {source}")]
    Io {
        /// Path.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first bytes are those of another format.
    #[error("{file}: expected magic {expected:?}, got {}", hex::encode(got))]
    Magic {
        /// Path.
        file: PathBuf,
        /// Expected text.
        expected: &'static str,
        /// Bytes found.
        got: Vec<u8>,
    },
    /// The format version is unknown.
    #[error("{file}: expected format version {expected}, got {got}")]
    Version {
        /// Path.
        file: PathBuf,
        /// Known version.
        expected: u32,
        /// Version found.
        got: u32,
    },
    /// The file ends inside a part.
    #[error("{file}: {part} needs {expected} bytes, only {got} are left")]
    Truncated {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: String,
        /// Bytes needed.
        expected: u64,
        /// Bytes left.
        got: u64,
    },
    /// Bytes follow the last part.
    #[error("{file}: {got} bytes after the end of the last part")]
    Trailing {
        /// Path.
        file: PathBuf,
        /// Surplus bytes.
        got: u64,
    },
    /// A section has a length that its header contradicts.
    #[error("{file}: section {section} ({name}) has {got} bytes, expected {expected}")]
    SectionLength {
        /// Path.
        file: PathBuf,
        /// Section number.
        section: u32,
        /// Section name.
        name: &'static str,
        /// Length by the header.
        expected: u64,
        /// Length found.
        got: u64,
    },
    /// A needed section is missing.
    #[error("{file}: section {section} ({name}) is missing")]
    SectionMissing {
        /// Path.
        file: PathBuf,
        /// Section number.
        section: u32,
        /// Section name.
        name: &'static str,
    },
    /// A section occurs twice.
    #[error("{file}: section {section} occurs more than once")]
    SectionRepeated {
        /// Path.
        file: PathBuf,
        /// Section number.
        section: u32,
    },
    /// The number of sections is not plausible.
    #[error("{file}: {got} sections, at most {max} are plausible")]
    SectionCount {
        /// Path.
        file: PathBuf,
        /// Count found.
        got: u32,
        /// Limit.
        max: u32,
    },
    /// The file is for another curve.
    #[error("{file}: base field modulus 0x{got} ({n8} bytes) is not that of BN254")]
    Curve {
        /// Path.
        file: PathBuf,
        /// Bytes per coordinate.
        n8: u32,
        /// Modulus found, big-endian hex.
        got: String,
    },
    /// More powers were asked for than the file holds.
    #[error("{file}: holds 2^{available} powers, 2^{wanted} were asked for")]
    TooSmall {
        /// Path.
        file: PathBuf,
        /// log2 of the powers in the file.
        available: u32,
        /// log2 of those asked for.
        wanted: SrsSize,
    },
    /// A larger string was asked of a smaller one.
    #[error("a reference string of k = {available} cannot be made one of k = {wanted}")]
    CannotGrow {
        /// Size at hand.
        available: SrsSize,
        /// Size asked for.
        wanted: SrsSize,
    },
    /// A coordinate is not below the base field modulus.
    #[error("{file}: {part}[{index}] has a coordinate that is not below the field modulus")]
    NotCanonical {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Index of the point in it.
        index: u64,
    },
    /// A point does not satisfy the curve equation.
    #[error("{file}: {part}[{index}] is not on the curve")]
    NotOnCurve {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Index of the point in it.
        index: u64,
    },
    /// A point that may not be is the point at infinity.
    #[error("{file}: {part}[{index}] is the point at infinity")]
    Infinity {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Index of the point in it.
        index: u64,
    },
    /// A G2 point has the wrong order.
    #[error("{file}: {part}[{index}] is not in the subgroup of prime order")]
    NotInSubgroup {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Index of the point in it.
        index: u64,
    },
    /// A point given as τH is none that a reference string has.
    #[error("tau H is {reason}")]
    VerifierPoint {
        /// What it is.
        reason: &'static str,
    },
    /// The first power is not the generator.
    #[error("{file}: {part}[0] is not the generator")]
    NotGenerator {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
    },
    /// τ = 1: a file without any contribution.
    #[error("{file}: all powers are the generator (tau = 1): the file has no contribution")]
    NoContribution {
        /// Path.
        file: PathBuf,
    },
    /// τG and τH are powers of different τ.
    #[error("{file}: {g1}[1] and {g2}[1] are not multiples by the same tau (pairing check)")]
    TauMismatch {
        /// Path.
        file: PathBuf,
        /// Name of the G1 part.
        g1: &'static str,
        /// Name of the G2 part.
        g2: &'static str,
    },
    /// Some G1 power is not τ times its predecessor.
    #[error("{file}: {part}[{index}] is not tau times {part}[{}] (pairing check)", index - 1)]
    PowersInconsistent {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Index of the first power that is wrong.
        index: u64,
    },
    /// The Lagrange basis is not that of the monomial one.
    #[error("{file}: {part} is not the Lagrange basis of the powers for k = {k} (random linear combination)")]
    LagrangeMismatch {
        /// Path.
        file: PathBuf,
        /// Name of the part or section.
        part: &'static str,
        /// Size of the domain.
        k: SrsSize,
    },
    /// Header or points of a cache file were changed.
    #[error("{file}: {part} has SHA-256 {got}, its header says {expected}")]
    Digest {
        /// Path.
        file: PathBuf,
        /// `header` or `body`.
        part: &'static str,
        /// Digest in the header.
        expected: SrsDigest,
        /// Digest computed.
        got: SrsDigest,
    },
    /// A cache file's header has a field that cannot be.
    #[error("{file}: header field {field} is malformed")]
    Header {
        /// Path.
        file: PathBuf,
        /// Name of the field.
        field: &'static str,
    },
    /// A cache file holds another string than its name says.
    #[error("{file}: expected {expected_label} k = {expected_k}, got {got_label} k = {got_k}")]
    WrongEntry {
        /// Path.
        file: PathBuf,
        /// Label asked for.
        expected_label: SrsLabel,
        /// Size asked for.
        expected_k: SrsSize,
        /// Label found.
        got_label: SrsLabel,
        /// Size found.
        got_k: SrsSize,
    },
    /// The label `dev` is reserved for the development string, and the development string for it.
    #[error("label {label} and the string disagree: {} development SRS", if *is_development { "it is the" } else { "it is not the" })]
    DevelopmentLabel {
        /// Label.
        label: SrsLabel,
        /// Whether the points are the development ones.
        is_development: bool,
    },
    /// No file of this label is large enough.
    #[error("no reference string {label} with k ≥ {k} in {dir}")]
    NotCached {
        /// Directory searched.
        dir: PathBuf,
        /// Label asked for.
        label: SrsLabel,
        /// Size asked for.
        k: SrsSize,
    },
}
