//! Keys of the wrap, and its proofs.

use std::io::Write;

use bytes::Bytes;
use engine::MemoryLimit;
use halo2_base::gates::circuit::{BaseCircuitParams, CircuitBuilderStage, builder::BaseCircuitBuilder};
use halo2_proofs::{
    halo2curves::bn256::{Bn256, Fr, G1Affine},
    poly::{
        commitment::{Params as _, ParamsProver},
        kzg::commitment::ParamsKZG,
    },
};
use rand_core::{CryptoRng, RngCore};
use snark_verifier::verifier::plonk::PlonkProtocol;

use super::{placeholder, protocol, synthesize};
use crate::epoch::{Profile, ProofInput};
use crate::error::AggregateError;
use crate::keys::{
    EpochProof, EpochShape, EpochStats, EpochVerifyingKey, Layout, RESERVED_ROWS, check_layout, columns, epoch_proof,
    open_key, prepared, transcript, write_layout,
};

/// Counts the changes of the wrap. Part of the name of a cached key.
pub const CIRCUIT_VERSION: u32 = 1;

/// Proving key of the wrap of epochs under one key.
#[derive(Debug)]
pub struct WrapProvingKey {
    layout: Layout,
    protocol: PlonkProtocol<G1Affine>,
    pk: engine::Key,
    memory: Option<MemoryLimit>,
}

impl WrapProvingKey {
    /// Generates the key; `params` fix k of the wrap, `epoch_params` belong to the epoch's key. Deterministic in its inputs.
    ///
    /// Errors: [`AggregateError::Protocol`], [`AggregateError::Engine`].
    pub fn generate(
        params: &ParamsKZG<Bn256>,
        epoch_params: &ParamsKZG<Bn256>,
        epoch_key: &EpochVerifyingKey,
    ) -> Result<Self, AggregateError> {
        let protocol = protocol(epoch_params, epoch_key.inner(), epoch_key.n_instances())?;
        let (builder, config, profile) = keygen_circuit(params, &protocol)?;
        let stats = EpochStats::new(&profile, &config);
        let pk = engine::generate_key(params, &builder)?.into();
        let shape = wrapped_shape(params, epoch_key);
        let layout = Layout { shape, params: config, break_points: builder.break_points(), stats };
        Ok(Self { layout, protocol, pk, memory: None })
    }

    /// The key for proofs that hold at most `limit` bytes, as [`crate::EpochProvingKey::within`].
    ///
    /// Errors: as there.
    pub fn within(self, limit: MemoryLimit) -> Result<Self, AggregateError> {
        prepared(&self.layout, &self.pk, Some(limit))?;
        Ok(Self { memory: Some(limit), ..self })
    }

    /// Cells and columns of the wrap.
    pub fn stats(&self) -> &EpochStats {
        &self.layout.stats
    }

    /// The key of wrapped epochs: their proofs are verified, and anchored, as those of epochs are.
    pub fn verifying_key(&self) -> EpochVerifyingKey {
        EpochVerifyingKey::new(self.layout.shape.clone(), columns(&self.layout.params), self.pk.verifying_key().clone())
    }

    /// Wraps an epoch proof that [`crate::EpochProvingKey::prove_to_wrap`] made.
    ///
    /// A wrong one gives a proof whose accumulator fails: [`EpochVerifyingKey::verify_to_wrap`] says what is wrong with it.
    ///
    /// Errors: [`AggregateError::Shape`] when `params` have another size than the key or the instances are not an epoch's of its
    /// size; [`AggregateError::Wrapped`], [`AggregateError::Accumulator`] when proof or accumulator can't be parsed;
    /// [`AggregateError::Engine`].
    pub fn prove(
        &self,
        params: &ParamsKZG<Bn256>,
        input: &ProofInput,
        rng: impl RngCore + CryptoRng + Sync,
        watch: &mut dyn engine::Watch,
    ) -> Result<EpochProof, AggregateError> {
        if params.k() != self.layout.shape.k {
            return Err(AggregateError::Shape(format!(
                "srs has k = {}, the wrap needs k = {}",
                params.k(),
                self.layout.shape.k
            )));
        }
        let (expected, got) = (self.protocol.num_instance[0], input.instances.len());
        if expected != got {
            return Err(AggregateError::Instances { expected, got });
        }
        let mut builder = BaseCircuitBuilder::prover(self.layout.params.clone(), self.layout.break_points.clone());
        synthesize(&mut builder, params.get_g()[0], &self.protocol, input)?;
        let instances: Vec<Fr> = builder.assigned_instances[0].iter().map(|x| *x.value()).collect();
        let mut transcript = transcript();
        let prepared = prepared(&self.layout, &self.pk, self.memory)?;
        let key = (params, &self.pk, &prepared);
        engine::prove_watched(key, builder, &[&instances], rng, &mut transcript, watch)?;
        epoch_proof(&instances, transcript)
    }

    /// Writes layout and key, as [`crate::EpochProvingKey::write`] does.
    ///
    /// Errors: I/O.
    pub fn write(&self, out: &mut impl Write) -> Result<(), AggregateError> {
        write_layout(out, &self.layout)?;
        Ok(engine::write_key(&self.pk, out)?)
    }

    /// Opens what [`Self::write`] wrote, in place, as [`crate::EpochProvingKey::open`] does.
    ///
    /// Errors: I/O, [`AggregateError::Shape`], [`AggregateError::Protocol`], [`AggregateError::Engine`].
    pub fn open(
        bytes: &Bytes,
        epoch_params: &ParamsKZG<Bn256>,
        epoch_key: &EpochVerifyingKey,
    ) -> Result<Self, AggregateError> {
        let (layout, pk) = open_key(bytes)?;
        let protocol = protocol(epoch_params, epoch_key.inner(), epoch_key.n_instances())?;
        Ok(Self { layout, protocol, pk, memory: None })
    }
}

/// Refuses a limit within which no wrap can be proved, before its key is made.
///
/// Errors: as [`crate::keys::check_memory`].
pub fn check_memory(
    params: &ParamsKZG<Bn256>,
    epoch_params: &ParamsKZG<Bn256>,
    epoch_key: &EpochVerifyingKey,
    limit: MemoryLimit,
) -> Result<(), AggregateError> {
    let protocol = protocol(epoch_params, epoch_key.inner(), epoch_key.n_instances())?;
    let (_, config, profile) = keygen_circuit(params, &protocol)?;
    check_layout(&config, &EpochStats::new(&profile, &config), limit)
}

/// The verifying key of the wrap of epochs under `epoch_key`, in about half the time of [`WrapProvingKey::generate`].
///
/// Errors: as there.
pub fn generate_verifying_key(
    params: &ParamsKZG<Bn256>,
    epoch_params: &ParamsKZG<Bn256>,
    epoch_key: &EpochVerifyingKey,
) -> Result<EpochVerifyingKey, AggregateError> {
    let protocol = protocol(epoch_params, epoch_key.inner(), epoch_key.n_instances())?;
    let (builder, config, _) = keygen_circuit(params, &protocol)?;
    let vk = engine::generate_verifying_key(params, &builder)?;
    Ok(EpochVerifyingKey::new(wrapped_shape(params, epoch_key), columns(&config), vk))
}

/// As many steps and chunks; k is the wrap's.
fn wrapped_shape(params: &ParamsKZG<Bn256>, epoch_key: &EpochVerifyingKey) -> EpochShape {
    EpochShape { k: params.k(), ..epoch_key.shape().clone() }
}

/// The wrap filled with a placeholder, in as few columns as it fits.
fn keygen_circuit(
    params: &ParamsKZG<Bn256>,
    protocol: &PlonkProtocol<G1Affine>,
) -> Result<(BaseCircuitBuilder<Fr>, BaseCircuitParams, Profile), AggregateError> {
    let k = params.k() as usize;
    let mut builder = BaseCircuitBuilder::from_stage(CircuitBuilderStage::Keygen)
        .use_k(k)
        .use_lookup_bits(k - 1)
        .use_instance_columns(1);
    let profile = synthesize(&mut builder, params.get_g()[0], protocol, &placeholder(protocol))?;
    let config = builder.calculate_params(Some(RESERVED_ROWS));
    Ok((builder, config, profile))
}
