//! Verification of a step's statement: its proofs, its policy, and how it follows the step before.
//!
//! Used by the CLI, the aggregator (before it spends minutes on a circuit) and the browser alike.

use halo2_proofs::{
    halo2curves::bn256::{Bn256, Fr},
    poly::kzg::commitment::ParamsKZG,
};
use ledger::{ChunkIndex, CurvePoint, FieldElement, Policy, Rule, RunId, StepIndex, StepStatement};

use crate::convert::to_fr;
use crate::keys::{StepError, StepVerifyingKey};
use crate::reference::{PRODUCTS_START, RangeError, StepConstants, next_schedule};
use crate::step::gate::N_INSTANCES;
use crate::step::witness::{StepTag, instances};

/// Why a step's statement is refused. One variant for each check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The step belongs to another run.
    #[error("step {step}: belongs to run {got}, expected {expected}")]
    ForeignRun {
        /// The step.
        step: StepIndex,
        /// Run that was expected.
        expected: RunId,
        /// Run of the statement.
        got: RunId,
    },
    /// Steps are not consecutive.
    #[error("expected step {expected}, got {got}")]
    StepGap {
        /// Step that was expected.
        expected: StepIndex,
        /// Step found.
        got: StepIndex,
    },
    /// A hyper-parameter is not the policy's.
    #[error("step {step}: {field} is {got}, the policy says {expected}")]
    Policy {
        /// The step.
        step: StepIndex,
        /// The field.
        field: &'static str,
        /// Value of the policy.
        expected: u64,
        /// Value of the step.
        got: u64,
    },
    /// The learning rate is above the policy's maximum.
    #[error("step {step}: lr {got} is above the policy's maximum {max} (raw, 32 fractional bits)")]
    LearningRate {
        /// The step.
        step: StepIndex,
        /// Maximum of the policy.
        max: u64,
        /// Learning rate of the step.
        got: u64,
    },
    /// P1, P2, A or C does not follow from the step before.
    #[error("step {step}: schedule {field} is {got}, the recurrence gives {expected}")]
    Schedule {
        /// The step.
        step: StepIndex,
        /// The field.
        field: &'static str,
        /// Recomputed value.
        expected: u64,
        /// Value of the statement.
        got: u64,
    },
    /// The fresh flag is wrong for this position.
    #[error("step {step}: fresh is {got}, expected {expected}")]
    Fresh {
        /// The step.
        step: StepIndex,
        /// Expected flag.
        expected: bool,
        /// Flag found.
        got: bool,
    },
    /// A step does not start in the state the one before ended in.
    #[error("step {step}, chunk {chunk}: starts from commitment {got}, the step before ended in {expected}")]
    Link {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Output of the step before.
        expected: CurvePoint,
        /// Input of this step.
        got: CurvePoint,
    },
    /// Wrong number of chunks or proofs.
    #[error("step {step}: {got} {what}, the policy says {expected} chunks")]
    ChunkCount {
        /// The step.
        step: StepIndex,
        /// What was counted.
        what: &'static str,
        /// Chunks of the policy.
        expected: usize,
        /// Number found.
        got: usize,
    },
    /// The step key is not the policy's.
    #[error("step key {got} is not the policy's {expected}")]
    StepKey {
        /// Digest in the policy.
        expected: FieldElement,
        /// Digest of the key.
        got: FieldElement,
    },
    /// A proof carries other commitments than the statement.
    #[error("step {step}, chunk {chunk}: the proof commits to another {column} than the statement")]
    Commitment {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// `input`, `output` or `gradient`.
        column: &'static str,
    },
    /// A proof does not verify.
    #[error("step {step}, chunk {chunk}: {source}")]
    Proof {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Why.
        source: StepError,
    },
    /// A hyper-parameter is outside its range.
    #[error("step {step}: {source}")]
    Range {
        /// The step.
        step: StepIndex,
        /// What is outside.
        source: RangeError,
    },
}

/// The constants of the step's gate.
pub fn constants(rule: Rule, s: &StepStatement) -> StepConstants {
    StepConstants::new(rule, s.fresh, &s.hyper, &s.schedule)
}

/// The instance column of one chunk's proof.
pub fn chunk_instances(rule: Rule, s: &StepStatement, chunk: ChunkIndex) -> [Fr; N_INSTANCES] {
    let tag = StepTag { run: to_fr(s.run.to_field()), step: s.step.0, chunk: chunk.0 };
    instances(&tag, &constants(rule, s))
}

/// Checks a statement against the policy: hyper-parameters, learning rate, number of chunks, ranges.
///
/// Errors: [`ClaimError::Policy`], [`ClaimError::LearningRate`], [`ClaimError::ChunkCount`], [`ClaimError::Range`].
pub fn check_policy(policy: &Policy, s: &StepStatement) -> Result<(), ClaimError> {
    let step = s.step;
    crate::reference::check_hyper(policy.rule, &s.hyper).map_err(|source| ClaimError::Range { step, source })?;
    let fields = [
        ("beta1", policy.beta1, s.hyper.beta1),
        ("beta2", policy.beta2, s.hyper.beta2),
        ("eps", policy.eps, s.hyper.eps),
        ("weight_decay", policy.weight_decay, s.hyper.weight_decay),
    ];
    for (field, expected, got) in fields {
        if expected != got {
            return Err(ClaimError::Policy { step, field, expected, got });
        }
    }
    if s.hyper.lr > policy.lr_max {
        return Err(ClaimError::LearningRate { step, max: policy.lr_max, got: s.hyper.lr });
    }
    let (expected, got) = (policy.n_chunks as usize, s.chunks.len());
    if expected != got {
        return Err(ClaimError::ChunkCount { step, what: "chunks", expected, got });
    }
    Ok(())
}

/// Checks the schedule against the products of the state before.
///
/// Errors: [`ClaimError::Schedule`], [`ClaimError::Range`].
pub fn check_schedule(rule: Rule, products: (u64, u64), s: &StepStatement) -> Result<(), ClaimError> {
    let step = s.step;
    let expected = next_schedule(rule, &s.hyper, products).map_err(|source| ClaimError::Range { step, source })?;
    let fields = [
        ("p1", expected.p1, s.schedule.p1),
        ("p2", expected.p2, s.schedule.p2),
        ("a", expected.a, s.schedule.a),
        ("c", expected.c, s.schedule.c),
    ];
    for (field, expected, got) in fields {
        if expected != got {
            return Err(ClaimError::Schedule { step, field, expected, got });
        }
    }
    Ok(())
}

/// Checks that `next` continues `before`: same run, next step, not fresh, same commitments, schedule by recurrence.
///
/// Errors: [`ClaimError::ForeignRun`], [`ClaimError::StepGap`], [`ClaimError::Fresh`], [`ClaimError::ChunkCount`],
/// [`ClaimError::Link`], [`ClaimError::Schedule`], [`ClaimError::Range`].
pub fn check_follows(rule: Rule, before: &StepStatement, next: &StepStatement) -> Result<(), ClaimError> {
    let step = next.step;
    if next.run != before.run {
        return Err(ClaimError::ForeignRun { step, expected: before.run, got: next.run });
    }
    let expected = StepIndex(before.step.0 + 1);
    if step != expected {
        return Err(ClaimError::StepGap { expected, got: step });
    }
    if next.fresh {
        return Err(ClaimError::Fresh { step, expected: false, got: true });
    }
    if next.chunks.len() != before.chunks.len() {
        let (expected, got) = (before.chunks.len(), next.chunks.len());
        return Err(ClaimError::ChunkCount { step, what: "chunks", expected, got });
    }
    for ((chunk, a), (_, b)) in before.chunks().zip(next.chunks()) {
        if a.output != b.input {
            return Err(ClaimError::Link { step, chunk, expected: a.output, got: b.input });
        }
    }
    check_schedule(rule, (before.schedule.p1, before.schedule.p2), next)
}

/// Checks the fresh start of a run without parent: step 0, flag set, schedule from P1 = P2 = 1.
///
/// Errors: [`ClaimError::StepGap`], [`ClaimError::Fresh`], [`ClaimError::Schedule`].
pub fn check_start(rule: Rule, s: &StepStatement) -> Result<(), ClaimError> {
    if s.step != StepIndex(0) {
        return Err(ClaimError::StepGap { expected: StepIndex(0), got: s.step });
    }
    if !s.fresh {
        return Err(ClaimError::Fresh { step: s.step, expected: true, got: false });
    }
    check_schedule(rule, PRODUCTS_START, s)
}

/// Checks the start of a run with a parent: step 0, flag not set, schedule from the products of the parent's final state.
///
/// That the products and the input commitments are that state's is for the caller: `digest::state_digest` of both is the
/// run's genesis state.
///
/// Errors: [`ClaimError::StepGap`], [`ClaimError::Fresh`], [`ClaimError::Schedule`], [`ClaimError::Range`].
pub fn check_child_start(rule: Rule, products: (u64, u64), s: &StepStatement) -> Result<(), ClaimError> {
    if s.step != StepIndex(0) {
        return Err(ClaimError::StepGap { expected: StepIndex(0), got: s.step });
    }
    if s.fresh {
        return Err(ClaimError::Fresh { step: s.step, expected: false, got: true });
    }
    check_schedule(rule, products, s)
}

/// Verifies the proofs of one step under the policy's step key.
///
/// Errors: [`ClaimError::StepKey`], [`ClaimError::ChunkCount`], [`ClaimError::Commitment`], [`ClaimError::Proof`], and those
/// of [`check_policy`].
pub fn verify_step<P: AsRef<[u8]>>(
    key: &StepVerifyingKey,
    params: &ParamsKZG<Bn256>,
    policy: &Policy,
    s: &StepStatement,
    proofs: &[P],
) -> Result<(), ClaimError> {
    let step = s.step;
    check_policy(policy, s)?;
    let got = crate::convert::from_fr(&key.digest());
    if got != policy.step_key_digest {
        return Err(ClaimError::StepKey { expected: policy.step_key_digest, got });
    }
    if proofs.len() != s.chunks.len() {
        return Err(ClaimError::ChunkCount { step, what: "proofs", expected: s.chunks.len(), got: proofs.len() });
    }
    for ((chunk, commitments), proof) in s.chunks().zip(proofs) {
        let refuse = |source| ClaimError::Proof { step, chunk, source };
        let proof = proof.as_ref();
        let points = key.points(proof).map_err(refuse)?;
        for (column, a, b) in [
            ("input", points.input, commitments.input),
            ("output", points.output, commitments.output),
            ("gradient", points.gradient, commitments.gradient),
        ] {
            if a != b {
                return Err(ClaimError::Commitment { step, chunk, column });
            }
        }
        key.verify(params, &chunk_instances(policy.rule, s, chunk), proof).map_err(refuse)?;
    }
    Ok(())
}
