//! What one step proof claims, and the policy that every step of a run must follow.
//!
//! These are words only: the arithmetic that ties them together is in `circuits`.

use serde::{Deserialize, Serialize};

use crate::canonical::decimal;
use crate::ids::{ChunkIndex, CurvePoint, FieldElement, RunId, StepIndex};

/// Which update rule the steps of a run follow. Spec: `docs/spec/statement.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// AdamW; Adam is weight decay 0.
    AdamW,
    /// Stochastic gradient descent with momentum and weight decay.
    Sgd,
}

/// Fixed-point format of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberFormat {
    /// w, g, m with 24 fractional bits, v with 48 (DESIGN §2.1).
    Q24,
}

/// Hyper-parameters that one step used, as raw fixed-point values.
///
/// **Scale**: 32 fractional bits each. **Range**: β at most 2^32; checked by the circuit.
/// **JSON**: decimal strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyper {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Decay of the first moment; momentum for [`Rule::Sgd`].
    #[serde(with = "decimal")]
    pub beta1: u64,
    /// Decay of the second moment.
    #[serde(with = "decimal")]
    pub beta2: u64,
    /// Added to the square root in the denominator.
    #[serde(with = "decimal")]
    pub eps: u64,
    /// Learning rate of this step.
    #[serde(with = "decimal")]
    pub lr: u64,
    /// Decoupled weight decay.
    #[serde(with = "decimal")]
    pub weight_decay: u64,
}

impl Hyper {
    /// Raw value of 1: 32 fractional bits.
    pub const ONE: u64 = 1 << 32;
}

/// Bias-correction values of one step, as raw fixed-point values.
///
/// **JSON**: decimal strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// A_t = lr / (1 − β1^t), 32 fractional bits.
    #[serde(with = "decimal")]
    pub a: u64,
    /// C_t = 1 / (1 − β2^t), 16 fractional bits.
    #[serde(with = "decimal")]
    pub c: u64,
    /// P1_t, the running product of β1, 32 fractional bits.
    #[serde(with = "decimal")]
    pub p1: u64,
    /// P2_t, the running product of β2, 32 fractional bits.
    #[serde(with = "decimal")]
    pub p2: u64,
}

/// Commitments of one chunk's proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkCommitments {
    /// The gradient.
    pub gradient: CurvePoint,
    /// The state (w, m, v) before the step.
    pub input: CurvePoint,
    /// The state after the step.
    pub output: CurvePoint,
}

/// What the proofs of one step claim together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepStatement {
    /// One entry a chunk, in the order of the parameters.
    pub chunks: Vec<ChunkCommitments>,
    /// Whether this is step 0 of a run without a parent: m = v = 0 and running products 1.
    pub fresh: bool,
    /// Hyper-parameters used.
    pub hyper: Hyper,
    /// The run.
    pub run: RunId,
    /// Bias correction used.
    pub schedule: Schedule,
    /// The step.
    pub step: StepIndex,
}

impl StepStatement {
    /// The chunks with their indices.
    pub fn chunks(&self) -> impl Iterator<Item = (ChunkIndex, &ChunkCommitments)> {
        (0..).map(ChunkIndex).zip(&self.chunks)
    }
}

/// What a run declares before its first step and every epoch proof enforces.
///
/// Its digest is a Poseidon hash, computed in `circuits`; here it is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// β1 of every step, 32 fractional bits.
    #[serde(with = "decimal")]
    pub beta1: u64,
    /// β2 of every step, 32 fractional bits.
    #[serde(with = "decimal")]
    pub beta2: u64,
    /// eps of every step, 32 fractional bits.
    #[serde(with = "decimal")]
    pub eps: u64,
    /// Fixed-point format of the state.
    pub format: NumberFormat,
    /// Digest of the parameter layout: [`crate::run::Layout::digest`].
    pub layout_digest: FieldElement,
    /// Largest learning rate of any step, 32 fractional bits.
    #[serde(with = "decimal")]
    pub lr_max: u64,
    /// Number of chunks of a step, at least 1.
    pub n_chunks: u32,
    /// Number of parameters.
    #[serde(with = "crate::canonical::small_int")]
    pub n_params: u64,
    /// Update rule.
    pub rule: Rule,
    /// Digest of the step circuit's verifying key.
    pub step_key_digest: FieldElement,
    /// Weight decay of every step, 32 fractional bits.
    #[serde(with = "decimal")]
    pub weight_decay: u64,
}
