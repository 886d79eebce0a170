//! Keys of the epoch circuit and proving; verification is `epochcheck`'s.

use std::io::{Read, Write};

use bytes::Bytes;
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use circuits::poseidon::PoseidonTranscript;
use circuits::reference::{PRODUCTS_START, S, StepConstants, next_schedule};
use circuits::step::gate::N_INSTANCES;
use circuits::step::witness::{StepTag, instances as step_instances};
use engine::{CircuitBytes, CosetCache, MemoryLimit, PreparedKey};
use epochcheck::Columns;
pub use epochcheck::{EpochProof, EpochShape, EpochVerifyingKey};
use halo2_base::{
    AssignedValue,
    gates::circuit::{BaseCircuitParams, CircuitBuilderStage, builder::BaseCircuitBuilder},
};
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
        group::{Curve, GroupEncoding},
    },
    plonk::{Assigned, ProvingKey, create_proof, keygen_pk, keygen_vk},
    poly::{
        commitment::{Params as _, ParamsProver},
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::ProverSHPLONK,
        },
    },
    transcript::TranscriptWriterBuffer,
};
use ledger::{EpochInstances, FieldElement, Hyper, NumberFormat, Policy, Rule};
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use snark_verifier::{
    loader::native::NativeLoader,
    system::halo2::{Config, compile, transcript::evm::EvmTranscript},
    verifier::plonk::PlonkProtocol,
};

use crate::epoch::{EpochWitness, Profile, ProofInput, synthesize};
use crate::error::AggregateError;
use crate::statement::Witness;

/// Counts the changes of the epoch circuit. Part of the name of a cached key, so that a key of an earlier circuit is not
/// taken for one of this.
pub const CIRCUIT_VERSION: u32 = 2;

/// Sizes of a generated epoch circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStats {
    /// Advice cells of the vertical gate.
    pub cells: usize,
    /// Advice columns, lookup columns included.
    pub columns: usize,
}

impl EpochStats {
    pub(crate) fn new(profile: &Profile, config: &BaseCircuitParams) -> Self {
        let columns = config.num_advice_per_phase.iter().chain(&config.num_lookup_advice_per_phase).sum();
        Self { cells: profile.total(), columns }
    }
}

/// Columns and break points: what a prover needs besides halo2's key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) shape: EpochShape,
    pub(crate) params: BaseCircuitParams,
    pub(crate) break_points: Vec<Vec<usize>>,
    pub(crate) stats: EpochStats,
}

/// Proving key of an epoch circuit.
#[derive(Debug)]
pub struct EpochProvingKey {
    rule: Rule,
    layout: Layout,
    protocol: PlonkProtocol<G1Affine>,
    pk: engine::Key,
    memory: Option<MemoryLimit>,
}

/// snark-verifier's description of the step circuit.
///
/// Errors: [`AggregateError::Protocol`] when the SRS has another size than the key.
pub fn step_protocol(
    step_params: &ParamsKZG<Bn256>,
    key: &StepVerifyingKey,
) -> Result<PlonkProtocol<G1Affine>, AggregateError> {
    if step_params.k() != key.shape().k {
        return Err(AggregateError::Protocol(format!(
            "step key has k = {}, its srs has k = {}",
            key.shape().k,
            step_params.k()
        )));
    }
    Ok(compile(step_params, key.inner(), Config::kzg().with_num_instance(vec![N_INSTANCES])))
}

/// Proofs that parse and belong to a possible statement, but prove nothing: only their layout is used.
fn placeholder(rule: Rule, shape: &EpochShape, protocol: &PlonkProtocol<G1Affine>) -> EpochWitness {
    let hyper = match rule {
        Rule::AdamW => Hyper { beta1: S / 2, beta2: S / 2, eps: 1, weight_decay: 0, lr: 1 },
        Rule::Sgd => Hyper { beta1: S / 2, beta2: 0, eps: 0, weight_decay: 0, lr: 1 },
    };
    let points = protocol.num_witness.iter().sum::<usize>() + protocol.quotient.num_chunk();
    let mut seed = Fr::from(2);
    let mut next = || {
        seed = seed.square() + Fr::ONE;
        seed
    };
    let mut products = PRODUCTS_START;
    let mut proofs = Vec::new();
    let mut steps = Vec::new();
    for step in 0..shape.n_steps {
        // The start and β = 1/2 are in range, so a schedule exists.
        let schedule = next_schedule(rule, &hyper, products).expect("β = 1/2 gives a schedule");
        products = (schedule.p1, schedule.p2);
        let constants = StepConstants::new(rule, step == 0, &hyper, &schedule);
        let chunks = (0..shape.n_chunks)
            .map(|chunk| {
                let tag = StepTag { run: Fr::ONE, step: step as u64, chunk: chunk as u32 };
                let mut proof = Vec::new();
                let mut point = |proof: &mut Vec<u8>| {
                    let p = (G1Affine::generator() * next()).to_affine();
                    proof.extend_from_slice(p.to_bytes().as_ref());
                };
                for _ in 0..points {
                    point(&mut proof);
                }
                for i in 0..protocol.evaluations.len() {
                    proof.extend_from_slice(&Fr::from(i as u64 + 7).to_bytes());
                }
                point(&mut proof);
                point(&mut proof);
                ProofInput { instances: step_instances(&tag, &constants).to_vec(), proof }
            })
            .collect();
        proofs.push(chunks);
        steps.push((hyper, schedule));
    }
    let policy = Policy {
        rule,
        beta1: hyper.beta1,
        beta2: hyper.beta2,
        eps: hyper.eps,
        weight_decay: hyper.weight_decay,
        lr_max: hyper.lr,
        format: NumberFormat::Q24,
        n_params: 1,
        n_chunks: shape.n_chunks as u32,
        layout_digest: FieldElement::from(0),
        step_key_digest: from_fr(&protocol.transcript_initial_state.unwrap_or(Fr::ZERO)),
    };
    EpochWitness { proofs, statement: Witness { policy, products: PRODUCTS_START, steps } }
}

/// Rows kept free for blinding when columns are counted.
pub(crate) const RESERVED_ROWS: usize = 20;

impl EpochProvingKey {
    /// Generates the key for epochs of `shape` under the step key. Deterministic in its inputs.
    ///
    /// Errors: [`AggregateError::Shape`], [`AggregateError::Protocol`], [`AggregateError::Engine`].
    pub fn generate(
        params: &ParamsKZG<Bn256>,
        step_params: &ParamsKZG<Bn256>,
        step_key: &StepVerifyingKey,
        shape: &EpochShape,
    ) -> Result<Self, AggregateError> {
        Self::generate_with(params, step_params, step_key, shape, |circuit| Ok(engine::generate_key(params, circuit)?))
    }

    /// The same key by the library: what [`Self::generate`] is compared with.
    ///
    /// Errors: as [`Self::generate`].
    pub fn generate_by_library(
        params: &ParamsKZG<Bn256>,
        step_params: &ParamsKZG<Bn256>,
        step_key: &StepVerifyingKey,
        shape: &EpochShape,
    ) -> Result<Self, AggregateError> {
        Self::generate_with(params, step_params, step_key, shape, |circuit| {
            Ok(keygen_pk(params, keygen_vk(params, circuit)?, circuit)?)
        })
    }

    fn generate_with(
        params: &ParamsKZG<Bn256>,
        step_params: &ParamsKZG<Bn256>,
        step_key: &StepVerifyingKey,
        shape: &EpochShape,
        key: impl FnOnce(&BaseCircuitBuilder<Fr>) -> Result<ProvingKey<G1Affine>, AggregateError>,
    ) -> Result<Self, AggregateError> {
        let rule = step_key.shape().rule;
        let protocol = step_protocol(step_params, step_key)?;
        check_shape(params, shape)?;
        let (builder, config, profile) = keygen_circuit(params.get_g()[0], shape, rule, &protocol)?;
        let stats = EpochStats::new(&profile, &config);
        let pk = key(&builder)?;
        let layout = Layout { shape: shape.clone(), params: config, break_points: builder.break_points(), stats };
        Ok(Self { rule, layout, protocol, pk: pk.into(), memory: None })
    }

    /// The key for proofs that hold at most `limit` bytes: the key as far as it is in memory, reference string and witness
    /// included. Proofs are the same.
    ///
    /// Errors: [`engine::EngineError::Memory`] as [`AggregateError::Engine`] if no proof is within the limit.
    pub fn within(self, limit: MemoryLimit) -> Result<Self, AggregateError> {
        prepared(&self.layout, &self.pk, Some(limit))?;
        Ok(Self { memory: Some(limit), ..self })
    }

    /// Cells and columns.
    pub fn stats(&self) -> &EpochStats {
        &self.layout.stats
    }

    /// The shape.
    pub fn shape(&self) -> &EpochShape {
        &self.layout.shape
    }

    /// The verifying key.
    pub fn verifying_key(&self) -> EpochVerifyingKey {
        EpochVerifyingKey::new(self.layout.shape.clone(), columns(&self.layout.params), self.pk.verifying_key().clone())
    }

    /// Proves an epoch.
    ///
    /// Errors: [`AggregateError::Shape`] when the witness has another shape, [`AggregateError::Proof`],
    /// [`AggregateError::Engine`].
    pub fn prove(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: &EpochWitness,
        rng: impl RngCore + CryptoRng + Sync,
    ) -> Result<EpochProof, AggregateError> {
        self.prove_watched(params, witness, rng, &mut engine::Unwatched)
    }

    /// [`Self::prove`] that tells `watch` of each phase before it begins, and ends when told to.
    ///
    /// Errors: as [`Self::prove`]; cancellation is an [`AggregateError::Engine`].
    pub fn prove_watched(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: &EpochWitness,
        rng: impl RngCore + CryptoRng + Sync,
        watch: &mut dyn engine::Watch,
    ) -> Result<EpochProof, AggregateError> {
        let (builder, instances) = self.filled(params, witness)?;
        let mut transcript = transcript();
        let prepared = prepared(&self.layout, &self.pk, self.memory)?;
        let key = (params, &self.pk, &prepared);
        engine::prove_watched(key, builder, &[&instances], rng, &mut transcript, watch)?;
        epoch_proof(&instances, transcript)
    }

    /// Proves an epoch with a Poseidon transcript, to be wrapped ([`crate::wrap`]): the generated verifier does not take it as it is.
    ///
    /// Errors: as [`Self::prove_watched`].
    pub fn prove_to_wrap(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: &EpochWitness,
        rng: impl RngCore + CryptoRng + Sync,
        watch: &mut dyn engine::Watch,
    ) -> Result<ProofInput, AggregateError> {
        let (builder, instances) = self.filled(params, witness)?;
        let mut transcript = PoseidonTranscript::new(Vec::new());
        let prepared = prepared(&self.layout, &self.pk, self.memory)?;
        let key = (params, &self.pk, &prepared);
        engine::prove_watched(key, builder, &[&instances], rng, &mut transcript, watch)?;
        Ok(ProofInput { instances, proof: transcript.finalize() })
    }

    /// As [`Self::prove`] with the library's prover: what [`Self::prove`] is compared with.
    ///
    /// Errors: as [`Self::prove`], with [`AggregateError::Plonk`] for the engine's.
    ///
    /// # Panics
    /// If the key is not of [`Self::generate_by_library`]: others have no tables for the library's prover, or are not the library's
    /// at all.
    pub fn prove_by_library(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: &EpochWitness,
        rng: impl RngCore + CryptoRng,
    ) -> Result<EpochProof, AggregateError> {
        let pk = self.pk.in_memory().expect("a key of the library");
        let (builder, instances) = self.filled(params, witness)?;
        let mut transcript = transcript();
        create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
            params,
            pk,
            &[builder],
            &[&[&instances]],
            rng,
            &mut transcript,
        )?;
        epoch_proof(&instances, transcript)
    }

    /// The circuit with its witness, and its instances.
    fn filled(
        &self,
        params: &ParamsKZG<Bn256>,
        witness: &EpochWitness,
    ) -> Result<(BaseCircuitBuilder<Fr>, Vec<Fr>), AggregateError> {
        let shape = &self.layout.shape;
        check_shape(params, shape)?;
        let got = (witness.proofs.len(), witness.proofs.first().map_or(0, Vec::len));
        if got != (shape.n_steps, shape.n_chunks) || witness.proofs.iter().any(|c| c.len() != shape.n_chunks) {
            return Err(AggregateError::Shape(format!(
                "{} steps of {} chunks given, the key is for {} of {}",
                got.0, got.1, shape.n_steps, shape.n_chunks
            )));
        }
        let mut builder = BaseCircuitBuilder::prover(self.layout.params.clone(), self.layout.break_points.clone());
        synthesize(&mut builder, self.rule, params.get_g()[0], &self.protocol, witness)?;
        let instances = builder.assigned_instances[0].iter().map(|x| *x.value()).collect();
        Ok((builder, instances))
    }

    /// Writes layout (JSON, length-prefixed with u32 big-endian, filled with spaces up to a multiple of 8 bytes) and key.
    ///
    /// Errors: I/O.
    pub fn write(&self, out: &mut impl Write) -> Result<(), AggregateError> {
        write_layout(out, &self.layout)?;
        Ok(engine::write_key(&self.pk, out)?)
    }

    /// Opens what [`Self::write`] wrote. The key's columns are used where they are, in a mapped file for example, if the bytes
    /// begin at a multiple of 8. They must be trusted (a digest guards the cache): only length and points are checked.
    ///
    /// Errors: I/O, [`AggregateError::Shape`], [`AggregateError::Engine`].
    pub fn open(
        bytes: &Bytes,
        step_params: &ParamsKZG<Bn256>,
        step_key: &StepVerifyingKey,
    ) -> Result<Self, AggregateError> {
        let (layout, pk) = open_key(bytes)?;
        let protocol = step_protocol(step_params, step_key)?;
        Ok(Self { rule: step_key.shape().rule, layout, protocol, pk, memory: None })
    }
}

/// What halo2-base's contexts hold of a witness until it has filled its columns: a value for each cell, and for each that is looked
/// up the cell once more, both in lists that grow by doubling.
fn circuit_bytes(config: &BaseCircuitParams, stats: &EpochStats) -> CircuitBytes {
    let looked_up = config.num_lookup_advice_per_phase.iter().sum::<usize>() << config.k;
    let cells = stats.cells * size_of::<Assigned<Fr>>() + looked_up * size_of::<AssignedValue<Fr>>();
    CircuitBytes { witness: 2 * cells as u64, hints: 0 }
}

/// The key made ready. It serves one proof at a time: nothing is kept for the next one.
pub(crate) fn prepared(
    layout: &Layout,
    pk: &engine::Key,
    memory: Option<MemoryLimit>,
) -> Result<PreparedKey, AggregateError> {
    Ok(match memory {
        None => PreparedKey::new(pk, CosetCache::Off)?,
        Some(limit) => PreparedKey::within(pk, CosetCache::Off, circuit_bytes(&layout.params, &layout.stats), limit)?,
    })
}

/// Refuses a limit within which no epoch of `shape` can be proved, before its key is made. Lays the circuit out, which takes
/// seconds.
///
/// Errors: [`engine::EngineError::Memory`] as [`AggregateError::Engine`]; [`AggregateError::Shape`], [`AggregateError::Protocol`].
pub fn check_memory(
    params: &ParamsKZG<Bn256>,
    step_params: &ParamsKZG<Bn256>,
    step_key: &StepVerifyingKey,
    shape: &EpochShape,
    limit: MemoryLimit,
) -> Result<(), AggregateError> {
    let protocol = step_protocol(step_params, step_key)?;
    check_shape(params, shape)?;
    let (_, config, profile) = keygen_circuit(params.get_g()[0], shape, step_key.shape().rule, &protocol)?;
    check_layout(&config, &EpochStats::new(&profile, &config), limit)
}

/// [`check_memory`] of a circuit that is laid out; its key will be used from a file.
pub(crate) fn check_layout(
    config: &BaseCircuitParams,
    stats: &EpochStats,
    limit: MemoryLimit,
) -> Result<(), AggregateError> {
    let (k, circuit) = (config.k as u32, circuit_bytes(config, stats));
    engine::check_memory::<BaseCircuitBuilder<Fr>>(k, config.clone(), engine::KeyPlace::Stored, circuit, limit)?;
    Ok(())
}

/// What an epoch proof is written to: Keccak, as on chain.
pub(crate) type Transcript = EvmTranscript<G1Affine, NativeLoader, Vec<u8>, Vec<u8>>;

pub(crate) fn transcript() -> Transcript {
    <Transcript as TranscriptWriterBuffer<_, _, _>>::init(Vec::new())
}

pub(crate) fn epoch_proof(instances: &[Fr], transcript: Transcript) -> Result<EpochProof, AggregateError> {
    let words: Vec<FieldElement> = instances.iter().map(from_fr).collect();
    Ok(EpochProof { instances: EpochInstances::from_words(&words)?, proof: transcript.finalize() })
}

/// Writes the layout; the length of what is written is a multiple of 8 bytes, so that the key behind it can be used in place.
pub(crate) fn write_layout(out: &mut impl Write, layout: &Layout) -> Result<(), AggregateError> {
    let mut json = serde_json::to_vec(layout).map_err(|e| AggregateError::Shape(e.to_string()))?;
    json.resize((LENGTH + json.len()).next_multiple_of(8) - LENGTH, b' ');
    out.write_all(&(json.len() as u32).to_be_bytes())?;
    out.write_all(&json)?;
    Ok(())
}

/// Bytes of the length before a layout.
const LENGTH: usize = 4;

/// Longest layout that is read.
const LAYOUT_MAX: u64 = 1 << 20;

/// A layout and the key behind it.
pub(crate) fn open_key(bytes: &Bytes) -> Result<(Layout, engine::Key), AggregateError> {
    let mut rest = &bytes[..];
    let layout = read_layout(&mut rest)?;
    let key = bytes.slice(bytes.len() - rest.len()..);
    let pk = engine::Key::open::<BaseCircuitBuilder<Fr>>(&key, layout.shape.k, layout.params.clone())?;
    Ok((layout, pk))
}

fn read_layout(input: &mut impl Read) -> Result<Layout, AggregateError> {
    let mut len = [0; LENGTH];
    input.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as u64;
    if len > LAYOUT_MAX {
        return Err(AggregateError::Shape(format!("layout of {len} bytes is longer than {LAYOUT_MAX}")));
    }
    let mut json = Vec::new();
    input.take(len).read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(|e| AggregateError::Shape(e.to_string()))
}

fn check_shape(params: &ParamsKZG<Bn256>, shape: &EpochShape) -> Result<(), AggregateError> {
    if !shape.n_steps.is_power_of_two() || shape.n_chunks == 0 {
        return Err(AggregateError::Shape(format!(
            "an epoch has 2^j steps and at least one chunk, not {} of {}",
            shape.n_steps, shape.n_chunks
        )));
    }
    if params.k() != shape.k {
        return Err(AggregateError::Shape(format!(
            "srs has k = {}, the epoch circuit needs k = {}",
            params.k(),
            shape.k
        )));
    }
    Ok(())
}

/// The circuit filled with placeholder proofs, its columns counted.
fn keygen_circuit(
    generator: G1Affine,
    shape: &EpochShape,
    rule: Rule,
    protocol: &PlonkProtocol<G1Affine>,
) -> Result<(BaseCircuitBuilder<Fr>, BaseCircuitParams, Profile), AggregateError> {
    let mut builder = BaseCircuitBuilder::from_stage(CircuitBuilderStage::Keygen)
        .use_k(shape.k as usize)
        .use_lookup_bits(shape.k as usize - 1)
        .use_instance_columns(1);
    let profile = synthesize(&mut builder, rule, generator, protocol, &placeholder(rule, shape, protocol))?;
    let config = builder.calculate_params(Some(RESERVED_ROWS));
    Ok((builder, config, profile))
}

/// Cells and columns of the epoch circuit of `shape`, without making keys.
///
/// Errors: [`AggregateError::Protocol`].
pub fn profile(
    step_params: &ParamsKZG<Bn256>,
    step_key: &StepVerifyingKey,
    shape: &EpochShape,
) -> Result<(Profile, EpochStats), AggregateError> {
    let protocol = step_protocol(step_params, step_key)?;
    let (_, config, profile) = keygen_circuit(step_params.get_g()[0], shape, step_key.shape().rule, &protocol)?;
    let stats = EpochStats::new(&profile, &config);
    Ok((profile, stats))
}

/// The verifying key alone, in about half the time of the proving key.
///
/// Errors: as [`EpochProvingKey::generate`].
pub fn generate_verifying_key(
    params: &ParamsKZG<Bn256>,
    step_params: &ParamsKZG<Bn256>,
    step_key: &StepVerifyingKey,
    shape: &EpochShape,
) -> Result<EpochVerifyingKey, AggregateError> {
    let protocol = step_protocol(step_params, step_key)?;
    check_shape(params, shape)?;
    let (builder, config, _) = keygen_circuit(params.get_g()[0], shape, step_key.shape().rule, &protocol)?;
    let vk = engine::generate_verifying_key(params, &builder)?;
    Ok(EpochVerifyingKey::new(shape.clone(), columns(&config), vk))
}

/// The columns that a verifier needs to know of.
pub(crate) fn columns(params: &BaseCircuitParams) -> Columns {
    let params = params.clone();
    Columns {
        k: params.k,
        num_advice_per_phase: params.num_advice_per_phase,
        num_fixed: params.num_fixed,
        num_lookup_advice_per_phase: params.num_lookup_advice_per_phase,
        lookup_bits: params.lookup_bits,
        num_instance_columns: params.num_instance_columns,
    }
}
