//! One line of `steps.jsonl`, and the hash of it that goes under the run's root.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, V1, small_int_option};
use crate::ids::{ChunkIndex, Digest, FieldElement, RunId, StepIndex};
use crate::statement::StepStatement;
use crate::tree;

/// Largest length of one line, without its newline.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Largest number of chunks of one step.
pub const MAX_CHUNKS: usize = 1024;

/// Largest number of entries in [`StepMeta::extra`].
pub const MAX_EXTRA: usize = 64;

/// Largest length of a value in [`StepMeta::extra`], in bytes.
pub const MAX_EXTRA_VALUE: usize = 1024;

/// Bytes or values that are not a step's record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not canonical JSON of a record.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The number of chunks is 0 or too large.
    #[error("step {step}: expected 1 to {MAX_CHUNKS} chunks, got {got}")]
    ChunkCount {
        /// The step.
        step: StepIndex,
        /// Number of chunks found.
        got: usize,
    },
    /// There is not one proof digest for each chunk.
    #[error("step {step}: expected {expected} proof digests, one a chunk, got {got}")]
    ProofCount {
        /// The step.
        step: StepIndex,
        /// Number of chunks.
        expected: usize,
        /// Number of proof digests.
        got: usize,
    },
    /// A number in the metadata is not finite.
    #[error("metadata numbers must be finite, got {got}")]
    NotFinite {
        /// The refused number as text.
        got: String,
    },
    /// A key of the extra metadata is not 1 to 64 of `a-z 0-9 _`.
    #[error("metadata key {key:?} is not 1 to 64 characters of a-z, 0-9 and _")]
    MetaKey {
        /// The refused key.
        key: String,
    },
    /// Too much extra metadata.
    #[error("metadata: expected at most {limit} {what}, got {got}")]
    MetaSize {
        /// What there is too much of.
        what: &'static str,
        /// Largest accepted number.
        limit: usize,
        /// Number found.
        got: usize,
    },
}

/// A number as decimal text: the shortest that reads back as the same 64-bit float.
///
/// Metadata only, never part of what is proven. The text has no exponent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(String);

impl Decimal {
    /// **Errors**: [`RecordError::NotFinite`].
    pub fn from_f64(number: f64) -> Result<Self, RecordError> {
        if number.is_finite() {
            Ok(Self(format!("{number}")))
        } else {
            Err(RecordError::NotFinite { got: format!("{number}") })
        }
    }

    /// The number.
    pub fn to_f64(&self) -> f64 {
        // Every constructor checked that the text is a finite number.
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Decimal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number: f64 = text.parse().map_err(|_| "not a decimal number".to_owned())?;
        let shortest = Self::from_f64(number).map_err(|error| error.to_string())?;
        if shortest.0 == text { Ok(shortest) } else { Err(format!("expected the spelling {shortest}")) }
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.0
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the trainer says about a step beside the statement. Hashed with the record, not proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMeta {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Accuracy on held-out data, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Decimal>,
    /// Anything else, as text. Keys are 1 to 64 characters of `a-z 0-9 _`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
    /// Loss on the step's batch, before the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Decimal>,
    /// Time that proving took, all chunks, in milliseconds.
    #[serde(default, with = "small_int_option", skip_serializing_if = "Option::is_none")]
    pub prove_ms: Option<u64>,
}

impl StepMeta {
    /// Checks the free-form part, so that a record with it can be sealed.
    ///
    /// **Errors**: [`RecordError::MetaSize`], [`RecordError::MetaKey`].
    pub fn check(&self) -> Result<(), RecordError> {
        if self.extra.len() > MAX_EXTRA {
            return Err(RecordError::MetaSize { what: "entries", limit: MAX_EXTRA, got: self.extra.len() });
        }
        for (key, value) in &self.extra {
            check_meta_key(key)?;
            if value.len() > MAX_EXTRA_VALUE {
                let (limit, got) = (MAX_EXTRA_VALUE, value.len());
                return Err(RecordError::MetaSize { what: "bytes in a value", limit, got });
            }
        }
        Ok(())
    }
}

/// One step of a run as it stands in `steps.jsonl`.
///
/// The run and the step index are those of the statement, and are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// D_t, the statement digest that the epoch circuit computes.
    pub digest: FieldElement,
    /// What the trainer adds.
    pub meta: StepMeta,
    /// Hash of the record before; for step 0, SHA-256 of `run.json`.
    pub prev: Digest,
    /// SHA-256 of each chunk's proof bytes.
    pub proofs: Vec<Digest>,
    /// S, the digest of the state after this step.
    pub state_out: FieldElement,
    /// What the proofs claim.
    pub statement: StepStatement,
    /// Format version.
    pub v: V1,
}

/// A record together with its canonical bytes and their hash, which cannot get out of step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    record: StepRecord,
    bytes: Vec<u8>,
    hash: Digest,
}

impl StepRecord {
    /// The run.
    pub fn run(&self) -> RunId {
        self.statement.run
    }

    /// The step.
    pub fn step(&self) -> StepIndex {
        self.statement.step
    }

    /// The proof digests with their chunk indices.
    pub fn proofs(&self) -> impl Iterator<Item = (ChunkIndex, Digest)> {
        (0..).map(ChunkIndex).zip(self.proofs.iter().copied())
    }

    /// Checks the record in itself and fixes its bytes.
    ///
    /// **Errors**: every [`RecordError`]; whether it continues a log is [`crate::chain::ChainHead`]'s check.
    pub fn seal(self) -> Result<SealedRecord, RecordError> {
        self.check()?;
        let bytes = canonical::encode(&self)?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(CanonicalError::TooLong { limit: MAX_RECORD_BYTES, got: bytes.len() }.into());
        }
        let hash = Digest::of(&bytes);
        Ok(SealedRecord { record: self, bytes, hash })
    }

    fn check(&self) -> Result<(), RecordError> {
        let step = self.step();
        let n_chunks = self.statement.chunks.len();
        if n_chunks == 0 || n_chunks > MAX_CHUNKS {
            return Err(RecordError::ChunkCount { step, got: n_chunks });
        }
        if self.proofs.len() != n_chunks {
            return Err(RecordError::ProofCount { step, expected: n_chunks, got: self.proofs.len() });
        }
        self.meta.check()
    }
}

/// Keys of free-form maps: ASCII, so that every sorter agrees on their order.
pub(crate) fn check_meta_key(key: &str) -> Result<(), RecordError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if key.is_empty() || key.len() > 64 || !key.bytes().all(allowed) {
        return Err(RecordError::MetaKey { key: key.chars().take(80).collect() });
    }
    Ok(())
}

impl SealedRecord {
    /// Reads one line, without its newline.
    ///
    /// **Errors**: every [`RecordError`].
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let record: StepRecord = canonical::decode(line, MAX_RECORD_BYTES)?;
        record.check()?;
        Ok(Self { record, bytes: line.to_vec(), hash: Digest::of(line) })
    }

    /// The record.
    pub fn record(&self) -> &StepRecord {
        &self.record
    }

    /// The record, giving up its bytes.
    pub fn into_record(self) -> StepRecord {
        self.record
    }

    /// The canonical bytes, without a newline.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A_t: SHA-256 of the canonical bytes.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The leaf of this step under the run's root.
    pub fn leaf(&self) -> Digest {
        tree::step_leaf(self.record.step(), self.record.digest, self.hash)
    }
}
