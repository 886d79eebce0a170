//! One chunk of one step as work for a prover that may be on another machine: everything its proof is made of, and how the
//! proof is checked by the one who gave the work away (spec `service`, "Workers").
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `CAIRNJB1` |
//! | 4 | length of the header, u32 little-endian |
//! | … | header, JSON: run, step, chunk, fresh, hyper-parameters, shape, digest of the step key |
//! | 32, 32, 32 | seeds: state before, state after, rest of the proof |
//! | 32 + 16n | the chunk's state before, as a state file |
//! | 4n | gradient, i32 little-endian, raw Q24 |

use circuits::claim::chunk_instances;
use circuits::convert::{ConvertError, from_fr};
use circuits::keys::{StepError, StepProvingKey, StepVerifyingKey};
use circuits::linked::{ColumnSeed, ProofSeed, RunSecret};
use circuits::opening::{commit_column, commit_gradient};
use circuits::reference::{RangeError, SIGNED_LIMIT, State, StepConstants};
use circuits::step::shape::{ShapeError, StepShape};
use circuits::step::witness::{StepWitness, WitnessError};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{ChunkIndex, CurvePoint, Digest, FieldElement, Hyper, RunId, StepIndex, StepStatement};
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};

use crate::state_file::{self, StateFileError};

const MAGIC: &[u8; 8] = b"CAIRNJB1";
const PREFIX: usize = 12;
const SEEDS: usize = 96;
/// Longest header that is read; those that are written have some 600 bytes.
const HEADER_MAX: usize = 4096;

/// Bytes that are no job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFileError {
    /// Wrong magic, or shorter than what every job has.
    #[error("not a job: it does not begin with CAIRNJB1, a header and seeds")]
    Magic,
    /// The header is longer than any.
    #[error("a job's header has {got} bytes, at most {HEADER_MAX} are read")]
    HeaderLength {
        /// Length found.
        got: usize,
    },
    /// The header is not what it should be.
    #[error("a job's header: {0}")]
    Header(#[from] serde_json::Error),
    /// The shape is none.
    #[error("a job's header: {0}")]
    Shape(#[from] ShapeError),
    /// State and gradient do not have the same number of parameters.
    #[error("a job has {got} bytes of state and gradient, which no number of parameters has")]
    Length {
        /// Bytes after the seeds.
        got: usize,
    },
    /// The state is none.
    #[error("a job's {0}")]
    State(#[from] StateFileError),
}

/// Why a chunk has no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The key is another than the job's: another reference string, or another version of the circuit.
    #[error("the job is for step key {expected}, this prover has {got}: another reference string or another version")]
    OtherKey {
        /// Digest in the job.
        expected: FieldElement,
        /// Digest of the key at hand.
        got: FieldElement,
    },
    /// The update has no place in the number format.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The chunk has no witness.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// halo2 failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why a proof that somebody made for a job is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofRefused {
    /// It commits to something else than the job says: it is of another chunk, step or run, or of other values.
    #[error("the proof's {column} column is {got}, expected {expected}")]
    Commitment {
        /// `input`, `output` or `gradient`.
        column: &'static str,
        /// What the job says.
        expected: CurvePoint,
        /// What the proof has.
        got: CurvePoint,
    },
    /// It does not verify, or is no proof at all.
    #[error(transparent)]
    Proof(#[from] StepError),
    /// The job itself has no commitment.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The job itself has no result.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// Place of a job in its run. There is one job for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepIndex,
    /// The chunk.
    pub chunk: ChunkIndex,
}

/// One chunk of one step.
///
/// Whoever has it can read this chunk of both states and its gradient, and nothing else of the run.
#[derive(Clone, Debug)]
pub struct ChunkJob {
    /// Which one.
    pub id: JobId,
    /// Whether the step is the fresh start of a run without parent.
    pub fresh: bool,
    /// Hyper-parameters of the step.
    pub hyper: Hyper,
    /// Shape of the step circuit.
    pub shape: StepShape,
    /// Digest of the step key.
    pub step_key: FieldElement,
    /// The chunk's state before the step.
    pub state: State,
    /// The chunk's gradient, raw Q24.
    pub gradient: Vec<i64>,
    /// Blinding of the state before.
    pub input: ColumnSeed,
    /// Blinding of the state after.
    pub output: ColumnSeed,
    /// All else that is random in a proof made elsewhere.
    pub rest: ProofSeed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    chunk: ChunkIndex,
    fresh: bool,
    hyper: Hyper,
    run: RunId,
    shape: String,
    step: StepIndex,
    step_key: FieldElement,
}

impl ChunkJob {
    /// Derives the seed of the rest from everything that is proved, so that the same job always has the same bytes.
    ///
    /// Errors: [`StateFileError`] if the state has no bytes.
    pub fn derive_rest(&mut self, secret: &RunSecret) -> Result<(), StateFileError> {
        self.rest = ProofSeed([0; 32]);
        let content = Digest::of(&self.encode()?);
        self.rest = secret.proof_seed(&content.0);
        Ok(())
    }

    /// Its bytes.
    ///
    /// Errors: [`StateFileError`] if the state or the gradient has a value outside `q24`.
    pub fn encode(&self) -> Result<Vec<u8>, StateFileError> {
        let header = Header {
            chunk: self.id.chunk,
            fresh: self.fresh,
            hyper: self.hyper,
            run: self.id.run,
            shape: self.shape.to_string(),
            step: self.id.step,
            step_key: self.step_key,
        };
        let header = serde_json::to_vec(&header).expect("a struct of numbers and texts is JSON");
        let state = state_file::encode(&self.state)?;
        let mut out = Vec::with_capacity(PREFIX + header.len() + SEEDS + state.len() + 4 * self.gradient.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&header);
        for seed in [self.input.expose(), self.output.expose(), &self.rest.0] {
            out.extend_from_slice(seed);
        }
        out.extend_from_slice(&state);
        for (index, &value) in self.gradient.iter().enumerate() {
            if !(-SIGNED_LIMIT..SIGNED_LIMIT).contains(&value) {
                return Err(StateFileError::Range { what: "gradient", index, value: value.into() });
            }
            out.extend_from_slice(&(value as i32).to_le_bytes());
        }
        Ok(out)
    }

    /// Reads a job.
    ///
    /// Errors: all of [`JobFileError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, JobFileError> {
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX>().ok_or(JobFileError::Magic)?;
        let (magic, len) = prefix.split_first_chunk::<8>().ok_or(JobFileError::Magic)?;
        if magic != MAGIC {
            return Err(JobFileError::Magic);
        }
        let len = u32::from_le_bytes(len.try_into().map_err(|_| JobFileError::Magic)?) as usize;
        if len > HEADER_MAX {
            return Err(JobFileError::HeaderLength { got: len });
        }
        let (header, rest) = rest.split_at_checked(len).ok_or(JobFileError::Magic)?;
        let (input, rest) = rest.split_first_chunk::<32>().ok_or(JobFileError::Magic)?;
        let (output, rest) = rest.split_first_chunk::<32>().ok_or(JobFileError::Magic)?;
        let (seed, rest) = rest.split_first_chunk::<32>().ok_or(JobFileError::Magic)?;
        let Header { chunk, fresh, hyper, run, shape, step, step_key } = serde_json::from_slice(header)?;
        let shape: StepShape = shape.parse()?;
        let got = rest.len();
        // 20 bytes a parameter, and the header of a state file.
        let n = got.checked_sub(32).filter(|n| n % 20 == 0).ok_or(JobFileError::Length { got })? / 20;
        let (state, gradient) = rest.split_at(32 + 16 * n);
        let state = state_file::decode(state)?;
        let gradient = gradient.as_chunks::<4>().0.iter().map(|c| i64::from(i32::from_le_bytes(*c))).collect();
        Ok(Self {
            id: JobId { run, step, chunk },
            fresh,
            hyper,
            shape,
            step_key,
            state,
            gradient,
            input: ColumnSeed::new(*input),
            output: ColumnSeed::new(*output),
            rest: ProofSeed(*seed),
        })
    }

    /// The state after the step, and the statement without commitments.
    fn result(&self) -> Result<(State, StepStatement), RangeError> {
        let (after, schedule) = self.state.step(self.shape.rule, self.fresh, &self.hyper, &self.gradient)?;
        let JobId { run, step, .. } = self.id;
        let statement = StepStatement { run, step, fresh: self.fresh, hyper: self.hyper, schedule, chunks: Vec::new() };
        Ok((after, statement))
    }

    /// Makes the proof. The states are blinded from their seeds, all else from `rng`: [`ProofSeed::rng`] of [`Self::rest`]
    /// if somebody else is to check it.
    ///
    /// Errors: [`JobError`].
    pub fn prove(
        &self,
        params: &ParamsKZG<Bn256>,
        key: &StepProvingKey,
        rng: impl RngCore + CryptoRng + Sync,
    ) -> Result<Vec<u8>, JobError> {
        let verifying_key = key.verifying_key();
        let (expected, got) = (self.step_key, from_fr(&verifying_key.digest()));
        if expected != got {
            return Err(JobError::OtherKey { expected, got });
        }
        let (_, statement) = self.result()?;
        let rule = self.shape.rule;
        let constants = StepConstants::new(rule, self.fresh, &self.hyper, &statement.schedule);
        let witness = StepWitness::honest(verifying_key.shape(), constants, &self.state, &self.gradient)?;
        let instances = chunk_instances(rule, &statement, self.id.chunk);
        Ok(key.prove(params, witness, &instances, (&self.input, &self.output), rng)?)
    }

    /// Checks a proof that was made elsewhere from this job: that it is of these states and this gradient, and verifies.
    ///
    /// Errors: [`ProofRefused`].
    pub fn check(&self, params: &ParamsKZG<Bn256>, key: &StepVerifyingKey, proof: &[u8]) -> Result<(), ProofRefused> {
        let points = key.points(proof)?;
        let (after, statement) = self.result()?;
        let (shape, rows) = (key.shape(), key.blinding_rows());
        let columns = [
            ("input", points.input, commit_column(params, shape, rows, &self.state, &self.input)?),
            ("output", points.output, commit_column(params, shape, rows, &after, &self.output)?),
            ("gradient", points.gradient, commit_gradient(params, shape, rows, &self.gradient, &self.rest)?),
        ];
        for (column, got, expected) in columns {
            if got != expected {
                return Err(ProofRefused::Commitment { column, expected, got });
            }
        }
        let instances = chunk_instances(self.shape.rule, &statement, self.id.chunk);
        Ok(key.verify(params, &instances, proof)?)
    }
}
