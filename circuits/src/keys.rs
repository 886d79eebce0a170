//! Keys of the step circuit, and the one place where a step proof is made or verified with halo2.

use halo2_proofs::{
    SerdeFormat,
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    plonk::{
        ConstraintSystem, Error as PlonkError, ProvingKey, VerifyingKey, create_proof, keygen_pk, keygen_vk,
        verify_proof,
    },
    poly::{
        commitment::Params as _,
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::{ProverSHPLONK, VerifierSHPLONK},
            strategy::SingleStrategy,
        },
    },
    transcript::TranscriptWriterBuffer,
};
use rand_core::{CryptoRng, RngCore};

use ledger::ChunkCommitments;

use crate::convert::{ConvertError, from_g1};
use crate::linked::{ColumnSeed, LinkedRng};
use crate::poseidon::PoseidonTranscript;
use crate::step::circuit::StepCircuit;
use crate::step::gate::{N_INSTANCES, StepConfig};
#[cfg(not(target_arch = "wasm32"))]
use crate::step::hints::HelperHints;
use crate::step::shape::{ShapeError, StepShape};
use crate::step::witness::StepWitness;

/// Unconstrained rows that must remain beyond all openings of a linked column in all its proofs.
pub const LINK_MARGIN: usize = 2;

/// Failures around keys and proofs of the step circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The shape is not usable.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The SRS has another size than the shape.
    #[error("srs has k = {got}, the step circuit needs k = {expected}")]
    SrsSize {
        /// k of the shape.
        expected: u32,
        /// k of the SRS.
        got: u32,
    },
    /// Too few blinding rows for a column that is opened in two proofs.
    #[error("linked columns have {rows} blinding rows, two proofs open them {openings} times (margin {LINK_MARGIN})")]
    Blinding {
        /// Unconstrained random rows.
        rows: usize,
        /// Openings in both proofs, the commitment included.
        openings: usize,
    },
    /// The proof is shorter or longer than proofs of this key.
    #[error("step proof has {got} bytes, expected {expected}")]
    ProofLength {
        /// Length of proofs of this key.
        expected: usize,
        /// Length found.
        got: usize,
    },
    /// The proof does not verify for these instances under this key.
    #[error("step proof refused: {0}")]
    Refused(String),
    /// Bytes that are not a key of a shape.
    #[error("step key of k = {k}: {source}")]
    KeyBytes {
        /// k of the shape.
        k: u32,
        /// What is wrong with them.
        source: vkey::KeyError,
    },
    /// A commitment is not usable.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// halo2 could not make the proof or key.
    #[error("halo2: {0}")]
    Plonk(#[from] PlonkError),
    /// The engine could not prepare the key or make the proof.
    #[cfg(not(target_arch = "wasm32"))]
    #[error("engine: {0}")]
    Engine(#[from] EngineError),
}

/// Bytes that the values of a key's own columns may take in memory, so that not every proof has to compute them.
#[cfg(not(target_arch = "wasm32"))]
const KEY_CACHE_BYTES: usize = 1 << 30;

#[cfg(not(target_arch = "wasm32"))]
pub use engine::{EngineError, MemoryLimit};

/// Verifying key of a step circuit with its shape.
#[derive(Clone, Debug)]
pub struct StepVerifyingKey {
    shape: StepShape,
    vk: VerifyingKey<G1Affine>,
}

/// Proving key of a step circuit with its shape.
#[derive(Debug)]
pub struct StepProvingKey {
    shape: StepShape,
    pk: ProvingKey<G1Affine>,
    #[cfg(not(target_arch = "wasm32"))]
    prepared: engine::PreparedKey,
}

fn check_srs(params: &ParamsKZG<Bn256>, shape: &StepShape) -> Result<(), StepError> {
    shape.check()?;
    if params.k() != shape.k {
        return Err(StepError::SrsSize { expected: shape.k, got: params.k() });
    }
    Ok(())
}

/// Openings of a linked column that is `state_out` in one proof and `state_in` in `successors` proofs.
///
/// A proof evaluates a state column at every rotation it is queried at and once more inside the multi-opening; the
/// shared commitment counts once (spec `commitment`, "Counting").
fn openings(cs: &ConstraintSystem<Fr>, successors: usize) -> usize {
    let in_proof = |column: usize| cs.advice_queries().iter().filter(|(c, _)| c.index() == column).count() + 1;
    successors * in_proof(0) + in_proof(1) + 1
}

/// Most proofs that may start from one state.
fn max_successors(cs: &ConstraintSystem<Fr>) -> usize {
    let rows = cs.blinding_factors();
    (1..=rows).take_while(|&n| openings(cs, n) + LINK_MARGIN <= rows).last().unwrap_or(0)
}

/// Checks, without making a key, that the blinding rows of linked columns outnumber the openings of a state that one step
/// starts from.
///
/// Errors: [`StepError::Shape`], [`StepError::Blinding`].
pub fn check_links(shape: &StepShape) -> Result<(), StepError> {
    shape.check()?;
    let mut cs = ConstraintSystem::default();
    StepConfig::configure(&mut cs, shape);
    if max_successors(&cs) == 0 {
        return Err(StepError::Blinding { rows: cs.blinding_factors(), openings: openings(&cs, 1) });
    }
    Ok(())
}

impl StepVerifyingKey {
    /// Generates the key. Deterministic in shape and SRS.
    ///
    /// Errors: [`StepError::SrsSize`], [`StepError::Shape`], [`StepError::Blinding`].
    pub fn generate(params: &ParamsKZG<Bn256>, shape: &StepShape) -> Result<Self, StepError> {
        check_links(shape)?;
        check_srs(params, shape)?;
        let circuit = StepCircuit::keygen(shape.clone());
        #[cfg(target_arch = "wasm32")]
        let vk = keygen_vk(params, &circuit)?;
        #[cfg(not(target_arch = "wasm32"))]
        let vk = engine::generate_verifying_key(params, &circuit)?;
        Ok(Self { shape: shape.clone(), vk })
    }

    /// Bytes for [`Self::from_bytes`]: halo2's format, points compressed. The shape is not among them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.vk.to_bytes(SerdeFormat::Processed)
    }

    /// Reads a key of a circuit of `shape`, from anybody: points are checked to be on the curve, and nothing is reserved
    /// that the bytes do not fill. Whether it is *the* key is told by its [`Self::digest`].
    ///
    /// Errors: [`StepError::KeyBytes`], [`StepError::Shape`], [`StepError::Blinding`].
    pub fn from_bytes(bytes: &[u8], shape: &StepShape) -> Result<Self, StepError> {
        check_links(shape)?;
        let mut rest = bytes;
        let vk = vkey::read::<StepCircuit>(&mut rest, shape.k, shape.clone());
        Ok(Self { shape: shape.clone(), vk: vk.map_err(|source| StepError::KeyBytes { k: shape.k, source })? })
    }

    /// The shape.
    pub fn shape(&self) -> &StepShape {
        &self.shape
    }

    /// halo2's key.
    pub fn inner(&self) -> &VerifyingKey<G1Affine> {
        &self.vk
    }

    /// Digest of the key: halo2's `transcript_repr`, the first thing every proof's transcript absorbs.
    pub fn digest(&self) -> Fr {
        self.vk.transcript_repr()
    }

    /// Points of a proof, one commitment each: advice, the pieces of the quotient, the random polynomial and SHPLONK's
    /// two. The circuit has neither lookups nor a permutation of halo2's kind.
    pub fn n_points(&self) -> usize {
        let cs = self.vk.cs();
        cs.num_advice_columns() + (cs.degree() - 1) + 1 + 2
    }

    /// Length of a proof in bytes: 32 for each point and scalar.
    pub fn proof_len(&self) -> usize {
        let cs = self.vk.cs();
        let scalars = cs.advice_queries().len() + cs.fixed_queries().len() + 1;
        32 * (self.n_points() + scalars)
    }

    /// Blinding rows of each advice column, the unusable row included.
    pub fn blinding_rows(&self) -> usize {
        self.vk.cs().blinding_factors() + 1
    }

    /// Most child runs that may start from a run's final state, so that the unconstrained random rows of its column still
    /// outnumber all openings by [`LINK_MARGIN`]: the state is opened in the parent's last proof and in each child's first.
    pub fn max_children(&self) -> usize {
        max_successors(self.vk.cs())
    }

    /// Openings of a final state's column with `n_children` children, the commitment included.
    pub fn state_openings(&self, n_children: usize) -> usize {
        openings(self.vk.cs(), n_children)
    }

    /// Verifies one step proof.
    ///
    /// Errors: [`StepError::ProofLength`], [`StepError::Refused`].
    pub fn verify(
        &self,
        params: &ParamsKZG<Bn256>,
        instances: &[Fr; N_INSTANCES],
        proof: &[u8],
    ) -> Result<(), StepError> {
        self.check_length(proof)?;
        let mut transcript = PoseidonTranscript::new(proof);
        let strategy = SingleStrategy::new(params);
        verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, SingleStrategy<'_, Bn256>>(
            params,
            &self.vk,
            strategy,
            &[&[instances]],
            &mut transcript,
        )
        .map_err(|e| StepError::Refused(e.to_string()))
    }

    /// The commitments of a proof: its first three points.
    ///
    /// Errors: [`StepError::ProofLength`], [`StepError::Refused`] if they are not curve points.
    pub fn points(&self, proof: &[u8]) -> Result<ChunkCommitments, StepError> {
        use halo2_proofs::transcript::TranscriptRead;
        self.check_length(proof)?;
        let mut transcript = PoseidonTranscript::new(proof);
        let mut next = || {
            let point = transcript.read_point().map_err(|e| StepError::Refused(e.to_string()))?;
            Ok::<_, StepError>(from_g1(&point)?)
        };
        Ok(ChunkCommitments { input: next()?, output: next()?, gradient: next()? })
    }

    fn check_length(&self, proof: &[u8]) -> Result<(), StepError> {
        let expected = self.proof_len();
        if proof.len() != expected {
            return Err(StepError::ProofLength { expected, got: proof.len() });
        }
        Ok(())
    }
}

impl StepProvingKey {
    /// Generates the key. Deterministic in shape and SRS.
    ///
    /// Errors: as [`StepVerifyingKey::generate`], and [`StepError::Engine`].
    pub fn generate(params: &ParamsKZG<Bn256>, shape: &StepShape) -> Result<Self, StepError> {
        #[cfg(target_arch = "wasm32")]
        return Self::generate_by_library(params, shape);
        #[cfg(not(target_arch = "wasm32"))]
        {
            check_links(shape)?;
            check_srs(params, shape)?;
            Self::new(shape, engine::generate_key(params, &StepCircuit::keygen(shape.clone()))?)
        }
    }

    /// [`Self::generate`] for proofs that hold at most `limit` bytes: key, reference string and witness included. Values of the
    /// key's columns on cosets are kept as far as they fit. Proofs are the same.
    ///
    /// Errors: as [`Self::generate`]; [`EngineError::Memory`] as [`StepError::Engine`], before the key is made, if no proof
    /// is within the limit.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn generate_within(
        params: &ParamsKZG<Bn256>,
        shape: &StepShape,
        limit: MemoryLimit,
    ) -> Result<Self, StepError> {
        check_links(shape)?;
        check_srs(params, shape)?;
        let circuit = engine::CircuitBytes { witness: StepWitness::bytes(shape), hints: HelperHints::bytes(shape) };
        engine::check_memory::<StepCircuit>(shape.k, shape.clone(), engine::KeyPlace::InMemory, circuit, limit)?;
        let pk = engine::generate_key(params, &StepCircuit::keygen(shape.clone()))?;
        let cache = engine::CosetCache::UpTo(usize::MAX);
        let prepared = engine::PreparedKey::within(&pk, cache, circuit, limit)?;
        Ok(Self { shape: shape.clone(), prepared, pk })
    }

    /// Bytes of the key's own columns on cosets that are kept between proofs.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn cached_bytes(&self) -> usize {
        self.prepared.cached_bytes()
    }

    /// The same key by the library: what [`Self::generate`] is compared with.
    ///
    /// Errors: as [`Self::generate`], with [`StepError::Plonk`] for the engine's.
    pub fn generate_by_library(params: &ParamsKZG<Bn256>, shape: &StepShape) -> Result<Self, StepError> {
        check_links(shape)?;
        check_srs(params, shape)?;
        let circuit = StepCircuit::keygen(shape.clone());
        Self::new(shape, keygen_pk(params, keygen_vk(params, &circuit)?, &circuit)?)
    }

    fn new(shape: &StepShape, pk: ProvingKey<G1Affine>) -> Result<Self, StepError> {
        Ok(Self {
            shape: shape.clone(),
            #[cfg(not(target_arch = "wasm32"))]
            prepared: engine::PreparedKey::new(&pk, engine::CosetCache::UpTo(KEY_CACHE_BYTES))?,
            pk,
        })
    }

    /// The verifying key.
    pub fn verifying_key(&self) -> StepVerifyingKey {
        StepVerifyingKey { shape: self.shape.clone(), vk: self.pk.get_vk().clone() }
    }

    /// Proves one chunk of one step; the state columns are blinded from their seeds, all else from `rng`.
    ///
    /// Errors: [`StepError::Engine`] ([`StepError::Plonk`] in a browser), [`StepError::SrsSize`]. A false witness yields a
    /// proof that does not verify.
    pub fn prove(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: StepWitness,
        instances: &[Fr; N_INSTANCES],
        seeds: (&ColumnSeed, &ColumnSeed),
        rng: impl RngCore + CryptoRng + Sync,
    ) -> Result<Vec<u8>, StepError> {
        #[cfg(target_arch = "wasm32")]
        return self.prove_by_library(params, witness, instances, seeds, rng);
        #[cfg(not(target_arch = "wasm32"))]
        self.prove_watched(params, witness, instances, seeds, rng, &mut engine::Unwatched)
    }

    /// [`Self::prove`] that tells `watch` of each phase before it begins, and ends when told to.
    ///
    /// Errors: as [`Self::prove`]; cancellation is a [`StepError::Engine`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn prove_watched(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: StepWitness,
        instances: &[Fr; N_INSTANCES],
        seeds: (&ColumnSeed, &ColumnSeed),
        rng: impl RngCore + CryptoRng + Sync,
        watch: &mut dyn engine::Watch,
    ) -> Result<Vec<u8>, StepError> {
        check_srs(params, &self.shape)?;
        let witness = std::sync::Arc::new(witness);
        let hints = HelperHints::new(self.shape.clone(), witness.clone());
        let circuit = StepCircuit::new(self.shape.clone(), witness);
        let rng = self.linked(seeds, rng);
        let mut transcript = PoseidonTranscript::new(Vec::new());
        let key = (params, &self.pk, &self.prepared);
        engine::prove_hinted(key, (circuit, hints), &[instances], rng, &mut transcript, watch)?;
        Ok(transcript.finalize())
    }

    /// The same with the library's prover: what [`Self::prove`] is compared with.
    ///
    /// Errors: [`StepError::Plonk`], [`StepError::SrsSize`].
    ///
    /// # Panics
    /// If the key is not of [`Self::generate_by_library`]: others have no tables for the library's prover.
    pub fn prove_by_library(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: StepWitness,
        instances: &[Fr; N_INSTANCES],
        seeds: (&ColumnSeed, &ColumnSeed),
        rng: impl RngCore + CryptoRng,
    ) -> Result<Vec<u8>, StepError> {
        check_srs(params, &self.shape)?;
        let circuit = StepCircuit::new(self.shape.clone(), std::sync::Arc::new(witness));
        let mut transcript = PoseidonTranscript::new(Vec::new());
        create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
            params,
            &self.pk,
            &[circuit],
            &[&[instances]],
            self.linked(seeds, rng),
            &mut transcript,
        )?;
        Ok(transcript.finalize())
    }

    fn linked<R: RngCore + CryptoRng>(&self, seeds: (&ColumnSeed, &ColumnSeed), rng: R) -> LinkedRng<R> {
        LinkedRng::new(self.pk.get_vk().cs().blinding_factors() + 1, seeds.0, seeds.1, rng)
    }
}
