//! Proving one optimizer step: all its chunks, linked to the states before and after.

use std::time::{Duration, Instant};

use circuits::claim::{ClaimError, verify_step};
use circuits::keys::{StepError, StepProvingKey, StepVerifyingKey};
use circuits::linked::{ProofSeed, RunSecret, StateSeed};
use circuits::opening::{chunk_len, chunks, commit_state};
use circuits::reference::{RangeError, State};
use circuits::{
    convert::{from_fr, to_fr},
    digest::state_digest,
};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{ChunkIndex, CurvePoint, FieldElement, Hyper, Policy, RunId, StepIndex, StepStatement};
use rand_core::OsRng;

use crate::job::{ChunkJob, JobError, JobId};
use crate::state_file::StateFileError;

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
    /// The state has a value outside of the number format.
    #[error("step {step}: {source}")]
    State {
        /// The step.
        step: StepIndex,
        /// Quantity, index and value.
        source: StateFileError,
    },
    /// The chunk has no proof.
    #[error("step {step}, chunk {chunk}: {source}")]
    Job {
        /// The step.
        step: StepIndex,
        /// The chunk.
        chunk: ChunkIndex,
        /// Why.
        source: Box<JobError>,
    },
    /// The bytes are no proof of this circuit.
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

/// A step whose update is computed, and which waits for its proofs.
#[derive(Clone, Debug)]
pub struct PreparedStep {
    /// What is to be proved, without the commitments of the chunks.
    pub statement: StepStatement,
    /// The state after the step.
    pub next: State,
    /// What the proof of each chunk is made of.
    pub jobs: Vec<ChunkJob>,
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

    /// Computes the update of step `step` from `state` with `gradient`, and what each chunk's proof is made of.
    ///
    /// Errors: [`ProveError::LearningRate`], [`ProveError::Range`]; nothing is proved of a step that has no result.
    pub fn prepare(
        &self,
        step: StepIndex,
        state: &State,
        hyper: &Hyper,
        gradient: &[i64],
    ) -> Result<PreparedStep, ProveError> {
        if hyper.lr > self.policy.lr_max {
            return Err(ProveError::LearningRate { step, max: self.policy.lr_max, got: hyper.lr });
        }
        let rule = self.policy.rule;
        let fresh = step == StepIndex(0) && !self.has_parent;
        let (next, schedule) =
            state.step(rule, fresh, hyper, gradient).map_err(|source| ProveError::Range { step, source })?;
        let n_chunks = self.policy.n_chunks as usize;
        let len = chunk_len(state.len(), n_chunks);
        let seeds = (self.seeds.state(self.run, step.0), self.seeds.state(self.run, step.0 + 1));
        let mut jobs = Vec::with_capacity(n_chunks);
        for (chunk, part) in (0..).map(ChunkIndex).zip(chunks(state, n_chunks)) {
            let start = (chunk.0 as usize * len).min(gradient.len());
            let mut job = ChunkJob {
                id: JobId { run: self.run, step, chunk },
                fresh,
                hyper: *hyper,
                shape: self.verifying_key.shape().clone(),
                step_key: from_fr(&self.verifying_key.digest()),
                gradient: gradient[start..start + part.len()].to_vec(),
                state: part,
                input: seeds.0.column_seed(chunk.0),
                output: seeds.1.column_seed(chunk.0),
                rest: ProofSeed([0; 32]),
            };
            job.derive_rest(&self.seeds.secret).map_err(|source| ProveError::State { step, source })?;
            jobs.push(job);
        }
        let statement = StepStatement { run: self.run, step, fresh, hyper: *hyper, schedule, chunks: Vec::new() };
        Ok(PreparedStep { statement, next, jobs })
    }

    /// Puts the proofs of all chunks together, and verifies them.
    ///
    /// Errors: [`ProveError::Step`], [`ProveError::SelfCheck`].
    pub fn finish(&self, prepared: PreparedStep, proofs: Vec<Vec<u8>>) -> Result<ProvedStep, ProveError> {
        let PreparedStep { mut statement, next, .. } = prepared;
        let step = statement.step;
        for (chunk, proof) in (0..).map(ChunkIndex).zip(&proofs) {
            let points = self.verifying_key.points(proof);
            statement.chunks.push(points.map_err(|source| ProveError::Step { step, chunk, source })?);
        }
        let start = Instant::now();
        verify_step(&self.verifying_key, self.params, &self.policy, &statement, &proofs)?;
        let verify = start.elapsed();
        let state_out = circuits::digest::state_after(&statement)?;
        Ok(ProvedStep { statement, proofs, state_out, next, verify })
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
        let prepared = self.prepare(step, state, hyper, gradient)?;
        let proofs = prove_here(self.params, self.key, &prepared.jobs, on_chunk)?;
        self.finish(prepared, proofs)
    }
}

/// Proves the chunks one after the other, with fresh randomness for all but the states. `on_chunk(done, of)` is called after
/// each.
///
/// Errors: [`ProveError::Job`].
pub fn prove_here(
    params: &ParamsKZG<Bn256>,
    key: &StepProvingKey,
    jobs: &[ChunkJob],
    on_chunk: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u8>>, ProveError> {
    let mut proofs = Vec::with_capacity(jobs.len());
    for job in jobs {
        let JobId { step, chunk, .. } = job.id;
        let fail = |source| ProveError::Job { step, chunk, source: Box::new(source) };
        proofs.push(job.prove(params, key, OsRng).map_err(fail)?);
        on_chunk(proofs.len(), jobs.len());
    }
    Ok(proofs)
}
