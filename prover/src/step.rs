//! Proving one optimizer step: all its chunks, linked to the states before and after.

use std::time::{Duration, Instant};

use circuits::claim::{ClaimError, chunk_instances, verify_step};
use circuits::keys::{StepError, StepProvingKey, StepVerifyingKey};
use circuits::linked::{RunSecret, StateSeed};
use circuits::opening::{chunk_len, chunks, commit_state};
use circuits::reference::{RangeError, State, StepConstants};
use circuits::step::witness::{StepWitness, WitnessError};
use circuits::{convert::to_fr, digest::state_digest};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{ChunkCommitments, ChunkIndex, CurvePoint, FieldElement, Hyper, Policy, RunId, StepIndex, StepStatement};
use rand_core::OsRng;

/// Why a step can't be proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The learning rate is above the policy's; raised before any proving starts.
    #[error("step {step}: learning rate {got} is above the policy's maximum {max}")]
    LearningRate {
        /// The step.
        step: StepIndex,
        /// Maximum, raw Q32.
        max: u64,
        /// Rate of the step, raw Q32.
        got: u64,
    },
    /// The update has no place in the number format; raised before any proving starts.
    #[error("step {step}: {source}")]
    Range {
        /// The step.
        step: StepIndex,
        /// Quantity, index and value.
        source: RangeError,
    },
    /// The chunk has no witness.
    #[error("step {step}, chunk {chunk}: {source}")]
    Witness {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Why.
        source: WitnessError,
    },
    /// halo2 failed.
    #[error("step {step}, chunk {chunk}: {source}")]
    Step {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Why.
        source: StepError,
    },
    /// The finished proof does not verify, or does not link: a bug or a memory fault. Nothing was published.
    #[error("own proof refused: {0}")]
    SelfCheck(#[from] ClaimError),
    /// A state has no commitment.
    #[error(transparent)]
    Convert(#[from] circuits::convert::ConvertError),
    /// The key holds fewer parameters per chunk than the policy needs.
    #[error("policy has {n_params} parameters in {n_chunks} chunks of {needed}, the step circuit holds {holds}")]
    Capacity {
        /// Parameters.
        n_params: u64,
        /// Chunks.
        n_chunks: u32,
        /// Parameters per chunk.
        needed: usize,
        /// Parameters of the circuit.
        holds: usize,
    },
}

/// Where the seeds of a run's states come from.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// Secret of the run.
    pub secret: RunSecret,
    /// Seed of state 0 if it is the parent's final state.
    pub genesis: Option<StateSeed>,
}

impl Seeds {
    /// Seed of the state before step `state`.
    pub fn state(&self, run: RunId, state: u64) -> StateSeed {
        match (&self.genesis, state) {
            (Some(seed), 0) => seed.clone(),
            _ => self.secret.state_seed(&to_fr(run.to_field()), state),
        }
    }
}

/// A proved step.
#[derive(Clone, Debug)]
pub struct ProvedStep {
    /// What is proved.
    pub statement: StepStatement,
    /// One proof a chunk.
    pub proofs: Vec<Vec<u8>>,
    /// Digest of the state after the step.
    pub state_out: FieldElement,
    /// The state after the step.
    pub next: State,
    /// Time that the verification of all chunks took.
    pub verify: Duration,
}

/// Proves the steps of one run.
#[derive(Debug)]
pub struct StepProver<'a> {
    params: &'a ParamsKZG<Bn256>,
    key: &'a StepProvingKey,
    verifying_key: StepVerifyingKey,
    policy: Policy,
    run: RunId,
    has_parent: bool,
    seeds: Seeds,
}

impl<'a> StepProver<'a> {
    /// A prover for `run` under `policy`.
    ///
    /// Errors: [`ProveError::Capacity`].
    pub fn new(
        params: &'a ParamsKZG<Bn256>,
        key: &'a StepProvingKey,
        policy: Policy,
        run: RunId,
        has_parent: bool,
        seeds: Seeds,
    ) -> Result<Self, ProveError> {
        let verifying_key = key.verifying_key();
        let needed = chunk_len(policy.n_params as usize, policy.n_chunks as usize);
        let holds = verifying_key.shape().n_params;
        if needed > holds {
            return Err(ProveError::Capacity { n_params: policy.n_params, n_chunks: policy.n_chunks, needed, holds });
        }
        Ok(Self { params, key, verifying_key, policy, run, has_parent, seeds })
    }

    /// Commitments and digest of the state before step `index`.
    ///
    /// Errors: [`ProveError::Convert`].
    pub fn commit(&self, index: u64, state: &State) -> Result<(Vec<CurvePoint>, FieldElement), ProveError> {
        let seed = self.seeds.state(self.run, index);
        let (shape, rows) = (self.verifying_key.shape(), self.verifying_key.blinding_rows());
        let points = commit_state(self.params, shape, rows, state, self.policy.n_chunks as usize, &seed)?;
        let digest = state_digest((state.p1, state.p2), points.iter())?;
        Ok((points, digest))
    }

    /// Proves step `step` from `state` with `gradient`, chunk by chunk, and verifies what it made.
    ///
    /// `on_chunk(done, of)` is called after each chunk.
    ///
    /// Errors: [`ProveError`]; the update is computed, and refused if out of range, before any proving.
    pub fn prove(
        &self,
        step: StepIndex,
        state: &State,
        hyper: &Hyper,
        gradient: &[i64],
        on_chunk: &mut dyn FnMut(usize, usize),
    ) -> Result<ProvedStep, ProveError> {
        if hyper.lr > self.policy.lr_max {
            return Err(ProveError::LearningRate { step, max: self.policy.lr_max, got: hyper.lr });
        }
        let rule = self.policy.rule;
        let fresh = step == StepIndex(0) && !self.has_parent;
        let (next, schedule) =
            state.step(rule, fresh, hyper, gradient).map_err(|source| ProveError::Range { step, source })?;
        let n_chunks = self.policy.n_chunks as usize;
        let len = chunk_len(state.len(), n_chunks);
        let constants = StepConstants::new(rule, fresh, hyper, &schedule);
        let seeds = (self.seeds.state(self.run, step.0), self.seeds.state(self.run, step.0 + 1));
        let mut statement = StepStatement { run: self.run, step, fresh, hyper: *hyper, schedule, chunks: Vec::new() };
        let mut proofs = Vec::with_capacity(n_chunks);
        for (chunk, part) in (0..).map(ChunkIndex).zip(chunks(state, n_chunks)) {
            let start = (chunk.0 as usize * len).min(gradient.len());
            let gradient = &gradient[start..start + part.len()];
            let witness = StepWitness::honest(self.verifying_key.shape(), constants, &part, gradient)
                .map_err(|source| ProveError::Witness { step, chunk, source })?;
            let instances = chunk_instances(rule, &statement, chunk);
            let columns = (seeds.0.column_seed(chunk.0), seeds.1.column_seed(chunk.0));
            let fail = |source| ProveError::Step { step, chunk, source };
            let proof =
                self.key.prove(self.params, witness, &instances, (&columns.0, &columns.1), OsRng).map_err(fail)?;
            let points: ChunkCommitments = self.verifying_key.points(&proof).map_err(fail)?;
            statement.chunks.push(points);
            proofs.push(proof);
            on_chunk(proofs.len(), n_chunks);
        }
        let start = Instant::now();
        verify_step(&self.verifying_key, self.params, &self.policy, &statement, &proofs)?;
        let verify = start.elapsed();
        let state_out = circuits::digest::state_after(&statement)?;
        Ok(ProvedStep { statement, proofs, state_out, next, verify })
    }
}
