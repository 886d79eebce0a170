//! The words of this crate: size, label, source, digest, and a loaded reference string with its description.

use std::{fmt, str::FromStr, sync::Arc};

use halo2_proofs::{
    halo2curves::bn256::{Bn256, Fr},
    halo2curves::ff::PrimeField,
    poly::{
        commitment::{Params, ParamsProver},
        kzg::commitment::ParamsKZG,
    },
};

use crate::{dev, error::SrsError, group_transform::lagrange_from_powers, raw};

/// Base-2 logarithm of the number of G1 powers in a reference string, called *k* everywhere.
///
/// Range: 1 ≤ k ≤ 28, the 2-adicity of the BN254 scalar field; checked by [`SrsSize::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SrsSize(u32);

impl SrsSize {
    /// Largest k: the scalar field has 2²⁸-th roots of unity and no more.
    pub const MAX: u32 = Fr::S;

    /// Checks the range.
    ///
    /// Errors: [`SrsError::Size`].
    pub fn new(k: u32) -> Result<Self, SrsError> {
        if (1..=Self::MAX).contains(&k) { Ok(Self(k)) } else { Err(SrsError::Size { got: k.into() }) }
    }

    /// k itself.
    pub fn k(self) -> u32 {
        self.0
    }

    /// Number of points per basis, 2^k.
    pub fn n_points(self) -> usize {
        1 << self.0
    }
}

impl fmt::Display for SrsSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Name of a reference string in a cache directory, such as `dev` or `hermez`.
///
/// Range: 1 to 64 characters of `a-z 0-9 . _ -`, beginning with a letter or digit; checked by `from_str`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SrsLabel(String);

impl SrsLabel {
    /// The label that is reserved for development strings.
    pub fn development() -> Self {
        Self("dev".into())
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SrsLabel {
    type Err = SrsError;

    fn from_str(s: &str) -> Result<Self, SrsError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let first_ok = s.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if s.len() <= 64 && first_ok && s.chars().all(allowed) {
            Ok(Self(s.into()))
        } else {
            Err(SrsError::Label { got: s.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for SrsLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Free text that says where a reference string came from (file name, ceremony). At most 1,024 bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SrsSource(String);

impl SrsSource {
    /// Longest text kept, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Takes `text`, cut at a character boundary to [`Self::MAX_LEN`] bytes.
    pub fn new(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(Self::MAX_LEN)].to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SrsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of the raw halo2 bytes of a reference string (`k` as u32 little-endian, then both bases, H and τH).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SrsDigest(pub [u8; 32]);

impl fmt::Display for SrsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for SrsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrsDigest({self})")
    }
}

/// What is known of a reference string without its points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrsInfo {
    /// Name in the cache.
    pub label: SrsLabel,
    /// Base-2 logarithm of its length.
    pub k: SrsSize,
    /// SHA-256 of its raw bytes.
    pub digest: SrsDigest,
    /// False when τH is the public development one: everybody knows τ and can forge proofs. True says only that it is
    /// *not* that string; whether the ceremony behind `source` was honest is not ours to check.
    pub secure: bool,
    /// Where it came from.
    pub source: SrsSource,
}

/// A structured reference string in memory, cheap to clone.
#[derive(Clone, Debug)]
pub struct Srs {
    params: Arc<ParamsKZG<Bn256>>,
    info: SrsInfo,
}

impl Srs {
    /// Joins points and description. The callers (generation, checked import, digest-guarded loading) have
    /// established that the points are a reference string.
    pub(crate) fn assemble(params: ParamsKZG<Bn256>, label: SrsLabel, source: SrsSource) -> Result<Self, SrsError> {
        let digest = raw::digest(&params);
        Self::assemble_with_digest(params, label, source, digest)
    }

    /// [`Self::assemble`] where the digest of the raw bytes is known.
    pub(crate) fn assemble_with_digest(
        params: ParamsKZG<Bn256>,
        label: SrsLabel,
        source: SrsSource,
        digest: SrsDigest,
    ) -> Result<Self, SrsError> {
        let info =
            SrsInfo { label, k: SrsSize::new(params.k())?, digest, secure: params.s_g2() != dev::tau_g2(), source };
        Ok(Self { params: Arc::new(params), info })
    }

    /// The label `dev` and the development string belong together.
    pub(crate) fn check_label(&self) -> Result<(), SrsError> {
        let (label, is_development) = (&self.info.label, !self.info.secure);
        if (*label == SrsLabel::development()) == is_development {
            return Ok(());
        }
        Err(SrsError::DevelopmentLabel { label: label.clone(), is_development })
    }

    /// The parameters as halo2 takes them.
    pub fn params(&self) -> &ParamsKZG<Bn256> {
        &self.params
    }

    /// The same, shared.
    pub fn shared_params(&self) -> Arc<ParamsKZG<Bn256>> {
        Arc::clone(&self.params)
    }

    /// The string of the first 2^k powers, under the same label and source.
    ///
    /// The Lagrange basis of the smaller domain is computed by a transform over group elements: minutes from k = 19 on.
    ///
    /// Errors: [`SrsError::CannotGrow`] if `k` is larger than this string's.
    pub fn downsize(&self, k: SrsSize, on_progress: OnProgress<'_>) -> Result<Self, SrsError> {
        if k > self.info.k {
            return Err(SrsError::CannotGrow { available: self.info.k, wanted: k });
        }
        if k == self.info.k {
            return Ok(self.clone());
        }
        let g = self.params.get_g()[..k.n_points()].to_vec();
        let g_lagrange = lagrange_from_powers(&g, k, on_progress);
        let params = raw::from_parts(k, g, g_lagrange, self.params.g2(), self.params.s_g2());
        Self::assemble(params, self.info.label.clone(), self.info.source.clone())
    }

    /// Its description.
    pub fn info(&self) -> &SrsInfo {
        &self.info
    }
}

/// Part of the work that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Computing τ^i·G.
    Powers,
    /// Computing L_i(τ)·G.
    Lagrange,
    /// Reading points from a file.
    Read,
    /// Pairing and basis checks.
    Check,
    /// Writing a file.
    Write,
}

/// A report of progress, `done` out of `total` units of the current stage (points, bytes or checks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Units done.
    pub done: u64,
    /// Units in this stage.
    pub total: u64,
}

/// Receives progress; called from worker threads.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// A receiver that ignores all reports.
pub fn silent(_: Progress) {}
