//! `run.json`: the public description of a run, fixed before its first step.
//!
//! Its SHA-256 is the `prev` of the first record, so everything said here is under every root of the run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, V1, small_int};
use crate::ids::{Digest, FieldElement, RunId, RunIdentity, TreeSize};
use crate::instances::MAX_LOG_STEPS;
use crate::record::{MAX_CHUNKS, check_meta_key};
use crate::statement::Policy;

/// Largest length of the file.
pub const MAX_RUN_BYTES: usize = 4 << 20;

/// Largest number of tensors of a layout.
pub const MAX_TENSORS: usize = 16_384;

/// Name of every structured reference string that was made on one machine.
pub const DEVELOPMENT_SRS: &str = "development SRS, not secure";

/// Bytes or values that do not describe a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Not canonical JSON of a run description.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The layout is not one.
    #[error("layout: {0}")]
    Layout(#[from] LayoutError),
    /// The run id is not the one its identity makes.
    #[error("run: expected {expected} by the identity, got {got}")]
    Id {
        /// Id made from the identity.
        expected: RunId,
        /// Id in the file.
        got: RunId,
    },
    /// A run cannot be its own parent.
    #[error("parent: a run cannot be its own parent")]
    OwnParent,
    /// The policy names another layout.
    #[error("policy.layout_digest: expected {expected} by the layout, got {got}")]
    LayoutDigest {
        /// Digest of the layout.
        expected: FieldElement,
        /// Digest in the policy.
        got: FieldElement,
    },
    /// The policy counts other parameters than the layout.
    #[error("policy.n_params: expected {expected} by the layout, got {got}")]
    ParameterCount {
        /// Parameters of the layout.
        expected: u64,
        /// Parameters in the policy.
        got: u64,
    },
    /// The number of chunks is 0 or too large.
    #[error("policy.n_chunks: expected 1 to {MAX_CHUNKS}, got {got}")]
    ChunkCount {
        /// Number in the policy.
        got: u32,
    },
    /// A development reference string must be named so, and no other may be.
    #[error("srs: secure is {secure} but the name is {name:?}")]
    SrsLabel {
        /// Claim in the file.
        secure: bool,
        /// Name in the file.
        name: String,
    },
    /// A key of the notes is not 1 to 64 of `a-z 0-9 _`.
    #[error("notes: key {key:?} is not 1 to 64 characters of a-z, 0-9 and _")]
    NoteKey {
        /// The refused key.
        key: String,
    },
}

/// Tensors that are not a layout of parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No tensors, or too many.
    #[error("expected 1 to {MAX_TENSORS} tensors, got {got}")]
    Count {
        /// Number of tensors.
        got: usize,
    },
    /// A name is empty, too long, repeated, or has characters other than `A-Z a-z 0-9 . _ -`.
    #[error("tensor {index}: name {name:?} is repeated or not 1 to 128 characters of A-Z a-z 0-9 . _ -")]
    Name {
        /// Position of the tensor.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The length is not the product of the shape, or the shape is empty or has a zero.
    #[error("tensor {name:?}: shape {shape:?} does not have {len} elements")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Its stated length.
        len: u64,
    },
    /// A tensor does not start where the one before ends.
    #[error("tensor {name:?}: expected offset {expected}, got {got}")]
    Offset {
        /// Name of the tensor.
        name: String,
        /// End of the tensor before.
        expected: u64,
        /// Its stated offset.
        got: u64,
    },
}

/// One tensor of the parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Number of elements.
    #[serde(with = "small_int")]
    pub len: u64,
    /// Name, unique in the layout.
    pub name: String,
    /// Index of its first element among all parameters.
    #[serde(with = "small_int")]
    pub offset: u64,
    /// Dimensions, row-major.
    pub shape: Vec<u64>,
}

/// How tensors are laid out in the vector of parameters: one after the other, without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    tensors: Vec<Tensor>,
}

/// Which structured reference string the keys were made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SrsLabel {
    /// SHA-256 of the file it was read from.
    pub digest: Digest,
    /// Name of the ceremony, or [`DEVELOPMENT_SRS`].
    pub name: String,
    /// Whether nobody knows the secret, by the word of whoever imported it.
    pub secure: bool,
}

/// The data that was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Name, for people.
    pub name: String,
}

/// Number of steps of a full epoch: a power of two up to 2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct EpochLen(u32);

/// The public description of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDescription {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// The data, if it can be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// Steps of a full epoch.
    pub epoch_len: EpochLen,
    /// S_0, digest of the state before step 0.
    pub genesis_state: FieldElement,
    /// What the run id is made of.
    pub identity: RunIdentity,
    /// The parameters.
    pub layout: Layout,
    /// What people should know: model, learning-rate schedule, batch size. Keys are 1 to 64 of `a-z 0-9 _`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// The run whose final state this one starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// The rules that every epoch proof enforces.
    pub policy: Policy,
    /// Poseidon digest of the policy, computed in `circuits`.
    pub policy_digest: FieldElement,
    /// The run id.
    pub run: RunId,
    /// The structured reference string.
    pub srs: SrsLabel,
    /// Format version.
    pub v: V1,
}

/// A run description that was checked, with its canonical bytes and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRun {
    description: RunDescription,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Layout {
    /// Lays the named tensors out one after the other.
    ///
    /// **Errors**: every [`LayoutError`] but `Offset`.
    pub fn contiguous<N: Into<String>>(tensors: impl IntoIterator<Item = (N, Vec<u64>)>) -> Result<Self, LayoutError> {
        let mut offset = 0u64;
        let mut placed = Vec::new();
        for (name, shape) in tensors {
            let name = name.into();
            let Some(len) = elements(&shape) else {
                return Err(LayoutError::Shape { name, shape, len: 0 });
            };
            placed.push(Tensor { len, name, offset, shape });
            offset = offset.saturating_add(len);
        }
        let layout = Self { tensors: placed };
        layout.check()?;
        Ok(layout)
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Number of parameters.
    pub fn n_params(&self) -> u64 {
        self.tensors.last().map_or(0, |last| last.offset.saturating_add(last.len))
    }

    /// Name and position inside its tensor of a parameter.
    pub fn locate(&self, param: u64) -> Option<(&Tensor, u64)> {
        let after = self.tensors.partition_point(|tensor| tensor.offset <= param);
        let tensor = self.tensors.get(after.checked_sub(1)?)?;
        let inside = param - tensor.offset;
        (inside < tensor.len).then_some((tensor, inside))
    }

    /// SHA-256 of the canonical JSON, made a field element by clearing the three highest bits.
    ///
    /// **Errors**: [`CanonicalError::Unencodable`] if a number is above 2^53 − 1.
    pub fn digest(&self) -> Result<FieldElement, CanonicalError> {
        Ok(FieldElement::from_digest(Digest::of(&canonical::encode(self)?)))
    }

    fn check(&self) -> Result<(), LayoutError> {
        if self.tensors.is_empty() || self.tensors.len() > MAX_TENSORS {
            return Err(LayoutError::Count { got: self.tensors.len() });
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let mut names = BTreeSet::new();
        let mut expected = 0u64;
        for (index, Tensor { len, name, offset, shape }) in self.tensors.iter().enumerate() {
            let plain = !name.is_empty() && name.len() <= 128 && name.bytes().all(allowed);
            if !plain || !names.insert(name) {
                return Err(LayoutError::Name { index, name: name.chars().take(160).collect() });
            }
            if elements(shape) != Some(*len) {
                return Err(LayoutError::Shape { name: name.clone(), shape: shape.clone(), len: *len });
            }
            if *offset != expected {
                return Err(LayoutError::Offset { name: name.clone(), expected, got: *offset });
            }
            expected = expected.saturating_add(*len);
        }
        Ok(())
    }
}

/// Product of the dimensions; none if there are none, one is zero, or the product is above 2^53 − 1.
fn elements(shape: &[u64]) -> Option<u64> {
    let product = shape.iter().try_fold(1u64, |product, dimension| product.checked_mul(*dimension))?;
    (!shape.is_empty() && product > 0 && product <= crate::ids::MAX_SMALL_INT).then_some(product)
}

impl SrsLabel {
    /// Label of a reference string made on one machine.
    pub fn development(digest: Digest) -> Self {
        Self { digest, name: DEVELOPMENT_SRS.to_owned(), secure: false }
    }

    /// Label of an imported one.
    pub fn ceremony(name: impl Into<String>, digest: Digest) -> Self {
        Self { digest, name: name.into(), secure: true }
    }
}

impl EpochLen {
    /// 2^`log` steps; none above 2^16.
    pub const fn from_log(log: u32) -> Option<Self> {
        if log <= MAX_LOG_STEPS { Some(Self(log)) } else { None }
    }

    /// Binary logarithm of the number of steps.
    pub const fn log(self) -> u32 {
        self.0
    }

    /// Number of steps.
    pub const fn steps(self) -> u64 {
        1 << self.0
    }

    /// Number of steps of the epoch that comes after `done` of `size` steps: a full one, or for a `tail` the largest aligned power
    /// of two that is there.
    pub fn next_epoch(self, done: TreeSize, size: TreeSize, tail: bool) -> Option<u64> {
        let (done, full) = (done.0, self.steps());
        let left = size.0.checked_sub(done)?;
        if left >= full && done.is_multiple_of(full) {
            return Some(full);
        }
        if !tail || left == 0 {
            return None;
        }
        let aligned = if done == 0 { u64::MAX } else { 1 << done.trailing_zeros() };
        Some((1 << left.ilog2()).min(aligned).min(full))
    }

    /// Size and number of the epochs of one size that come next.
    pub fn next_group(self, done: TreeSize, size: TreeSize, tail: bool) -> Option<(u64, u64)> {
        let n_steps = self.next_epoch(done, size, tail)?;
        let mut count = 1;
        while self.next_epoch(TreeSize(done.0 + count * n_steps), size, tail) == Some(n_steps) {
            count += 1;
        }
        Some((n_steps, count))
    }
}

impl TryFrom<u64> for EpochLen {
    type Error = String;

    fn try_from(steps: u64) -> Result<Self, String> {
        let log = steps.checked_ilog2().filter(|_| steps.is_power_of_two()).and_then(Self::from_log);
        log.ok_or_else(|| format!("epoch length {steps} is not a power of two up to 2^{MAX_LOG_STEPS}"))
    }
}

impl From<EpochLen> for u64 {
    fn from(len: EpochLen) -> Self {
        len.steps()
    }
}

impl RunDescription {
    /// Checks the description in itself and fixes its bytes.
    ///
    /// That [`Self::policy_digest`] is the policy's Poseidon digest is checked where Poseidon is: `circuits`.
    ///
    /// **Errors**: every [`RunError`].
    pub fn seal(self) -> Result<SealedRun, RunError> {
        self.check()?;
        let bytes = canonical::encode(&self)?;
        let digest = Digest::of(&bytes);
        Ok(SealedRun { description: self, bytes, digest })
    }

    fn check(&self) -> Result<(), RunError> {
        let expected = self.identity.run_id();
        if self.run != expected {
            return Err(RunError::Id { expected, got: self.run });
        }
        if self.parent == Some(self.run) {
            return Err(RunError::OwnParent);
        }
        self.layout.check()?;
        let (expected, got) = (self.layout.n_params(), self.policy.n_params);
        if expected != got {
            return Err(RunError::ParameterCount { expected, got });
        }
        let (expected, got) = (self.layout.digest()?, self.policy.layout_digest);
        if expected != got {
            return Err(RunError::LayoutDigest { expected, got });
        }
        let n_chunks = self.policy.n_chunks;
        if n_chunks == 0 || n_chunks as usize > MAX_CHUNKS {
            return Err(RunError::ChunkCount { got: n_chunks });
        }
        let SrsLabel { secure, name, .. } = &self.srs;
        if *secure == (name == DEVELOPMENT_SRS) {
            return Err(RunError::SrsLabel { secure: *secure, name: name.clone() });
        }
        for key in self.notes.keys() {
            check_meta_key(key).map_err(|_| RunError::NoteKey { key: key.chars().take(80).collect() })?;
        }
        Ok(())
    }
}

impl SealedRun {
    /// Reads the file.
    ///
    /// **Errors**: every [`RunError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RunError> {
        let description: RunDescription = canonical::decode(bytes, MAX_RUN_BYTES)?;
        description.check()?;
        Ok(Self { description, bytes: bytes.to_vec(), digest: Digest::of(bytes) })
    }

    /// The run id.
    pub fn run(&self) -> RunId {
        self.description.run
    }

    /// The description.
    pub fn description(&self) -> &RunDescription {
        &self.description
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the canonical bytes: the `prev` of the first record.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
