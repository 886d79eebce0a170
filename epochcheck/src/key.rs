//! Keys of epoch circuits, and verification.

use std::io::{Read, Write};

use circuits::convert::to_fr;
use circuits::poseidon::PoseidonTranscript;
use halo2_proofs::{
    SerdeFormat,
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    plonk::{VerifyingKey, verify_proof},
    poly::{
        commitment::Params as _,
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::VerifierSHPLONK,
            strategy::SingleStrategy,
        },
    },
    transcript::{EncodedChallenge, TranscriptRead},
};
use ledger::{
    EpochInstances,
    instances::{HEADER_WORDS, MAX_LOG_STEPS},
};
use serde::{Deserialize, Serialize};

use crate::accumulator::{self, ACCUMULATOR_LIMBS};
use crate::columns::Columns;
use crate::error::EpochProofError;
use crate::transcript::KeccakTranscript;

/// Longest layout that is read.
const LAYOUT_MAX: u64 = 1 << 20;

/// What, with the step key, the SRS and the circuit's version, determines an epoch key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochShape {
    /// Steps per epoch, a power of two.
    pub n_steps: usize,
    /// Chunks per step.
    pub n_chunks: usize,
    /// log2 of the rows of the epoch circuit.
    pub k: u32,
}

/// An epoch proof with its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochProof {
    /// Instances, in the order of [`EpochInstances::to_words`].
    pub instances: EpochInstances,
    /// Proof bytes, Keccak transcript as on chain.
    pub proof: Vec<u8>,
}

/// Verifying key of an epoch circuit, or of the wrap of one.
#[derive(Clone, Debug)]
pub struct EpochVerifyingKey {
    shape: EpochShape,
    columns: Columns,
    vk: VerifyingKey<G1Affine>,
}

/// What stands before halo2's key: of a verifying key, shape and columns count.
#[derive(Serialize, Deserialize)]
struct Layout {
    shape: EpochShape,
    params: Columns,
    break_points: Vec<Vec<usize>>,
    stats: Stats,
}

/// Figures of a proving key's circuit; zero for a verifying key.
#[derive(Serialize, Deserialize)]
struct Stats {
    cells: usize,
    columns: usize,
}

impl EpochShape {
    fn check(&self) -> Result<(), EpochProofError> {
        let Self { n_steps, n_chunks, .. } = *self;
        if n_steps.is_power_of_two() && n_steps.ilog2() <= MAX_LOG_STEPS && n_chunks > 0 {
            Ok(())
        } else {
            Err(EpochProofError::Shape { n_steps, n_chunks })
        }
    }
}

impl EpochVerifyingKey {
    /// A key that was generated.
    pub fn new(shape: EpochShape, columns: Columns, vk: VerifyingKey<G1Affine>) -> Self {
        Self { shape, columns, vk }
    }

    /// The shape.
    pub fn shape(&self) -> &EpochShape {
        &self.shape
    }

    /// halo2's key.
    pub fn inner(&self) -> &VerifyingKey<G1Affine> {
        &self.vk
    }

    /// Digest of the key: halo2's `transcript_repr`, which covers constraints and commitments.
    pub fn digest(&self) -> Fr {
        self.vk.transcript_repr()
    }

    /// Number of instances: accumulator, run, t₀, fresh, S_in, S_out, policy, one D for each step.
    pub fn n_instances(&self) -> usize {
        HEADER_WORDS + self.shape.n_steps
    }

    /// Verifies an epoch proof: halo2's proof and the pairing of the accumulator it carries. `params` need no powers of τ.
    ///
    /// Errors: [`EpochProofError::Instances`], [`EpochProofError::Refused`], [`EpochProofError::Trailing`],
    /// [`EpochProofError::Accumulator`].
    pub fn verify(&self, params: &ParamsKZG<Bn256>, proof: &EpochProof) -> Result<(), EpochProofError> {
        let words: Vec<Fr> = proof.instances.to_words().into_iter().map(to_fr).collect();
        let mut rest = &proof.proof[..];
        self.verify_words(params, &words, KeccakTranscript::new(&mut rest))?;
        verified(params, &words, rest)
    }

    /// Verifies an epoch proof with the Poseidon transcript of one that is to be wrapped.
    ///
    /// Errors: as [`Self::verify`].
    pub fn verify_to_wrap(
        &self,
        params: &ParamsKZG<Bn256>,
        instances: &[Fr],
        proof: &[u8],
    ) -> Result<(), EpochProofError> {
        let mut rest = proof;
        self.verify_words(params, instances, PoseidonTranscript::new(&mut rest))?;
        verified(params, instances, rest)
    }

    /// halo2's verdict on what `transcript` reads.
    fn verify_words<E, T>(
        &self,
        params: &ParamsKZG<Bn256>,
        words: &[Fr],
        mut transcript: T,
    ) -> Result<(), EpochProofError>
    where
        E: EncodedChallenge<G1Affine>,
        T: TranscriptRead<G1Affine, E>,
    {
        let (expected, got) = (self.n_instances(), words.len());
        if expected != got {
            return Err(EpochProofError::Instances { expected, got });
        }
        let k = self.vk.get_domain().k();
        if params.k() != k {
            let got = params.k();
            return Err(EpochProofError::Refused(format!("the reference string has k = {got}, the key k = {k}")));
        }
        verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(
            params,
            &self.vk,
            SingleStrategy::new(params),
            &[&[words]],
            &mut transcript,
        )
        .map_err(|error| EpochProofError::Refused(error.to_string()))
    }

    /// Writes the key: layout (JSON behind its length as u32, big-endian), then halo2's key with compressed points.
    ///
    /// Errors: I/O.
    pub fn write(&self, out: &mut impl Write) -> Result<(), EpochProofError> {
        let (shape, params) = (self.shape.clone(), self.columns.clone());
        let stats = Stats { cells: 0, columns: 0 };
        let layout = Layout { shape, params, break_points: Vec::new(), stats };
        let json = serde_json::to_vec(&layout).map_err(EpochProofError::Layout)?;
        out.write_all(&(json.len() as u32).to_be_bytes())?;
        out.write_all(&json)?;
        Ok(self.vk.write(out, SerdeFormat::Processed)?)
    }

    /// What [`Self::write`] writes.
    ///
    /// Errors: as there.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EpochProofError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a key, from anybody, up to the input's end: points are checked to be on the curve, and nothing is reserved that the
    /// bytes do not fill. Whether it is *the* key is told by its [`Self::digest`].
    ///
    /// Errors: [`EpochProofError`], but for those of [`Self::verify`].
    pub fn read(input: &mut impl Read) -> Result<Self, EpochProofError> {
        let mut len = [0; 4];
        input.read_exact(&mut len)?;
        let (limit, got) = (LAYOUT_MAX, u64::from(u32::from_be_bytes(len)));
        if got > limit {
            return Err(EpochProofError::LayoutLength { limit, got });
        }
        let mut json = Vec::new();
        input.take(got).read_to_end(&mut json)?;
        let Layout { shape, params: columns, .. } = serde_json::from_slice(&json).map_err(EpochProofError::Layout)?;
        shape.check()?;
        let constraints = columns.check(shape.k)?;
        let vk = vkey::read_constraints(input, shape.k, |cs| constraints.configure(cs))?;
        let key = Self { shape, columns, vk };
        key.check_rows()?;
        Ok(key)
    }

    /// The instances stand in rows that hold values.
    fn check_rows(&self) -> Result<(), EpochProofError> {
        let (limit, got) = ((1 << self.shape.k) - (self.vk.cs().blinding_factors() + 1), self.n_instances());
        if got <= limit { Ok(()) } else { Err(EpochProofError::Rows { limit, got }) }
    }
}

/// What is left to check once halo2 accepted.
fn verified(params: &ParamsKZG<Bn256>, words: &[Fr], rest: &[u8]) -> Result<(), EpochProofError> {
    if !rest.is_empty() {
        return Err(EpochProofError::Trailing { got: rest.len() });
    }
    let limbs = words.get(..ACCUMULATOR_LIMBS).unwrap_or(words);
    Ok(accumulator::check(params, limbs)?)
}
