//! The wrap: it shows the instances of what it wraps, and an accumulator that holds only if both proofs do.
//!
//! What is wrapped here is a small circuit with an accumulator in its instances, as an epoch has.

use std::sync::LazyLock;

use aggregator::epoch::{ACCUMULATOR_LIMBS, ProofInput};
use aggregator::wrap::{WrapProvingKey, encode_accumulator, protocol, synthesize};
use aggregator::{AggregateError, EpochShape, EpochVerifyingKey};
use circuits::convert::to_fr;
use circuits::poseidon::PoseidonTranscript;
use epochcheck::accumulator::check;
use epochcheck::{AccumulatorError, EpochProofError};
use halo2_base::{
    AssignedValue,
    gates::{
        GateInstructions, RangeInstructions,
        circuit::{BaseCircuitParams, CircuitBuilderStage, builder::BaseCircuitBuilder},
    },
};
use halo2_proofs::{
    SerdeFormat,
    dev::{FailureLocation, MockProver, VerifyFailure},
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
        group::{Curve, GroupEncoding, prime::PrimeCurveAffine},
    },
    plonk::{Any, ProvingKey, create_proof, keygen_pk, keygen_vk},
    poly::{
        commitment::ParamsProver,
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::ProverSHPLONK,
        },
    },
    transcript::TranscriptWriterBuffer,
};
use rand::rngs::OsRng;
use snark_verifier::verifier::plonk::PlonkProtocol;

use crate::support::srs;

/// k of the circuit that is wrapped, of the wrap that is not proved, and of the one that is.
const INNER_K: u32 = 10;
const MOCK_K: u32 = 18;
const WRAP_K: u32 = 17;
/// Those of an epoch of one step.
const N_INSTANCES: usize = ACCUMULATOR_LIMBS + 7;

struct Inner {
    params: ParamsKZG<Bn256>,
    pk: ProvingKey<G1Affine>,
    config: BaseCircuitParams,
    break_points: Vec<Vec<usize>>,
    protocol: PlonkProtocol<G1Affine>,
    constant: Fr,
}

/// A circuit that shows `instances` and constrains only that they are 248-bit numbers; with lookups and two columns. `constant` is
/// part of its key.
fn fill(builder: &mut BaseCircuitBuilder<Fr>, instances: &[Fr], constant: Fr) {
    let range = builder.range_chip();
    let ctx = builder.main(0);
    let cells: Vec<AssignedValue<Fr>> = instances.iter().map(|word| ctx.load_witness(*word)).collect();
    for cell in &cells {
        range.range_check(ctx, *cell, 248);
        range.gate().mul(ctx, *cell, *cell);
    }
    ctx.load_constant(constant);
    builder.assigned_instances = vec![cells];
}

fn inner_builder(stage: CircuitBuilderStage, instances: &[Fr], constant: Fr) -> BaseCircuitBuilder<Fr> {
    let mut builder = BaseCircuitBuilder::from_stage(stage)
        .use_k(INNER_K as usize)
        .use_lookup_bits(INNER_K as usize - 1)
        .use_instance_columns(1);
    fill(&mut builder, instances, constant);
    builder
}

static INNER: LazyLock<Inner> = LazyLock::new(|| keyed(Fr::ONE));

fn keyed(constant: Fr) -> Inner {
    let params = srs(INNER_K).params().clone();
    let mut builder = inner_builder(CircuitBuilderStage::Keygen, &[Fr::ONE; N_INSTANCES], constant);
    let config = builder.calculate_params(Some(9));
    let vk = keygen_vk(&params, &builder).expect("a key");
    let protocol = protocol(&params, &vk, N_INSTANCES).expect("a protocol");
    let pk = keygen_pk(&params, vk, &builder).expect("a key");
    Inner { params, pk, config, break_points: builder.break_points(), protocol, constant }
}

/// An accumulator whose pairing holds: e([τ]P, [1]) = e(P, [τ]).
fn holding() -> [G1Affine; 2] {
    let powers = INNER.params.get_g();
    let factor = Fr::from(7);
    [(powers[1] * factor).to_affine(), (powers[0] * factor).to_affine()]
}

/// Run, first step, fresh, S_in, S_out, policy, D.
const STATEMENT: [u64; 7] = [1_000, 0, 1, 1_003, 1_004, 1_005, 1_006];

fn words(accumulator: [G1Affine; 2]) -> Vec<Fr> {
    let mut words = encode_accumulator(accumulator);
    words.extend(STATEMENT.map(Fr::from));
    words
}

/// The small circuit's key as that of epochs of one step.
fn epoch_key(inner: &Inner) -> EpochVerifyingKey {
    let shape = EpochShape { n_steps: 1, n_chunks: 1, k: INNER_K };
    let layout = serde_json::json!({
        "shape": shape, "params": inner.config, "break_points": [], "stats": { "cells": 0, "columns": 0 },
    });
    let layout = serde_json::to_vec(&layout).expect("encodes");
    let mut bytes = (layout.len() as u32).to_be_bytes().to_vec();
    bytes.extend(layout);
    inner.pk.get_vk().write(&mut bytes, SerdeFormat::Processed).expect("a buffer");
    EpochVerifyingKey::read(&mut &bytes[..]).expect("a key")
}

/// A proof of the small circuit for these instances.
fn prove(instances: Vec<Fr>) -> ProofInput {
    prove_with(&INNER, instances)
}

fn prove_with(inner: &Inner, instances: Vec<Fr>) -> ProofInput {
    let Inner { params, pk, config, break_points, constant, .. } = inner;
    let mut circuit = BaseCircuitBuilder::prover(config.clone(), break_points.clone());
    fill(&mut circuit, &instances, *constant);
    let mut transcript = PoseidonTranscript::<Vec<u8>>::init(Vec::new());
    create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
        params,
        pk,
        &[circuit],
        &[&[&instances]],
        OsRng,
        &mut transcript,
    )
    .expect("proves");
    ProofInput { instances, proof: transcript.finalize() }
}

fn wrap(stage: CircuitBuilderStage, input: &ProofInput) -> Result<BaseCircuitBuilder<Fr>, AggregateError> {
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(stage)
        .use_k(MOCK_K as usize)
        .use_lookup_bits(MOCK_K as usize - 1)
        .use_instance_columns(1);
    let generator = INNER.params.get_g()[0];
    let profile = synthesize(&mut builder, generator, &INNER.protocol, input)?;
    println!("{profile:?}");
    Ok(builder)
}

fn shown(builder: &BaseCircuitBuilder<Fr>) -> Vec<Fr> {
    builder.assigned_instances[0].iter().map(|cell| *cell.value()).collect()
}

/// Runs the wrap's witness generation and decides the accumulator that it would show.
fn decide(input: &ProofInput) -> Result<Vec<Fr>, AggregateError> {
    let shown = shown(&wrap(CircuitBuilderStage::Mock, input)?);
    check(&INNER.params, &shown[..ACCUMULATOR_LIMBS])?;
    Ok(shown)
}

fn refused(what: &str, input: &ProofInput) {
    match decide(input) {
        Err(AggregateError::Accumulator(AccumulatorError::Pairing)) => {}
        other => panic!("{what}: expected a failed pairing, got {other:?}"),
    }
}

#[test]
fn wrap_shows_the_statement_of_what_it_wraps() {
    let input = prove(words(holding()));
    let shown = decide(&input).expect("honest");
    assert_eq!(shown[ACCUMULATOR_LIMBS..], input.instances[ACCUMULATOR_LIMBS..]);
    assert_ne!(shown[..ACCUMULATOR_LIMBS], input.instances[..ACCUMULATOR_LIMBS], "folded with the proof's own");
}

#[test]
fn accumulator_that_does_not_hold_stays_wrong_in_the_wrap() {
    // The proof is right: its circuit says nothing about the accumulator.
    let [lhs, rhs] = holding();
    let input = prove(words([(lhs * Fr::from(2)).to_affine(), rhs]));
    refused("another accumulator", &input);
    // Another right one can't take its place without a new proof.
    let mut swapped = prove(words(holding()));
    let other = [lhs, rhs].map(|point| (point * Fr::from(3)).to_affine());
    swapped.instances[..ACCUMULATOR_LIMBS].copy_from_slice(&encode_accumulator(other));
    refused("an accumulator that was not proved", &swapped);
}

#[test]
fn wrong_inner_proof_fails_the_accumulator_of_the_wrap() {
    let honest = prove(words(holding()));
    let len = honest.proof.len();
    let mut changed = honest.clone();
    // The second-lowest byte of a scalar: it stays canonical.
    changed.proof[len - 3 * 32 + 1] ^= 1;
    refused("an evaluation", &changed);
    let mut changed = honest.clone();
    changed.instances[N_INSTANCES - 1] += Fr::ONE;
    refused("another instance", &changed);
    // The same circuit under another key: one fixed value differs.
    let other = keyed(Fr::from(2));
    refused("a proof under another key", &prove_with(&other, words(holding())));
    let mut changed = honest;
    changed.proof.truncate(len - 1);
    assert!(matches!(decide(&changed), Err(AggregateError::Wrapped(_))), "cut");
}

#[test]
fn limbs_that_are_no_points_are_refused() {
    let honest = prove(words(holding()));
    let with = |change: &dyn Fn(&mut [Fr])| {
        let mut input = honest.clone();
        change(&mut input.instances);
        match decide(&input) {
            Err(AggregateError::Accumulator(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&|words| words[0] += Fr::ONE), AccumulatorError::NotOnCurve { point: 0 });
    assert_eq!(with(&|words| words[1] += Fr::from(2).pow([88])), AccumulatorError::Wide { index: 1 });
    assert_eq!(with(&|words| words[6..12].fill(Fr::ZERO)), AccumulatorError::Infinity { point: 1 });
}

/// Failures of the wrap for `input` that shows `instances`, by MockProver.
fn failures(input: &ProofInput, change: impl Fn(&mut Vec<Fr>)) -> Vec<VerifyFailure> {
    let mut builder = wrap(CircuitBuilderStage::Mock, input).expect("parses");
    let mut instances = shown(&builder);
    change(&mut instances);
    builder.calculate_params(Some(20));
    let prover = MockProver::run(MOCK_K, &builder, vec![instances]).expect("synthesizes");
    let failures = prover.verify_par().err().unwrap_or_default();
    // This halo2's mock prover does not record which cells were assigned, so it reports all of them.
    failures.into_iter().filter(|f| !matches!(f, VerifyFailure::CellNotAssigned { .. })).collect()
}

#[test]
fn circuit_holds_for_an_honest_proof_and_for_no_other_instances() {
    let honest = prove(words(holding()));
    assert_eq!(failures(&honest, |_| {}).len(), 0);
    // Each word that is not the circuit's is named, an instance's row behind another.
    let changed = [0, ACCUMULATOR_LIMBS, N_INSTANCES - 1];
    let found = failures(&honest, |words| changed.iter().for_each(|word| words[*word] += Fr::ONE));
    let instance = |failure: &VerifyFailure| match failure {
        VerifyFailure::Permutation { column, location } if column.column_type() == Any::Instance => match location {
            FailureLocation::OutsideRegion { row } => Some(*row),
            FailureLocation::InRegion { offset, .. } => Some(*offset),
        },
        _ => None,
    };
    let rows: Vec<usize> = found.iter().filter_map(instance).collect();
    for word in changed {
        assert!(rows.contains(&word), "word {word}: {found:?}");
    }
    // Infinity as a commitment, and as W'.
    let len = honest.proof.len();
    for word in [1, len / 32 - 1] {
        let mut changed = honest.clone();
        changed.proof[word * 32..][..32].copy_from_slice(G1Affine::identity().to_bytes().as_ref());
        assert!(!failures(&changed, |_| {}).is_empty(), "word {word}");
    }
}

#[test]
fn wrapped_proof_is_verified_as_an_epoch_is_and_says_the_same() {
    let epoch = epoch_key(&INNER);
    let input = prove(words(holding()));
    epoch.verify_to_wrap(&INNER.params, &input.instances, &input.proof).expect("honest");
    let srs = srs(WRAP_K);
    let generated = WrapProvingKey::generate(srs.params(), &INNER.params, &epoch).expect("a key");
    let mut bytes = Vec::new();
    generated.write(&mut bytes).expect("a buffer");
    let bytes = bytes::Bytes::from(bytes);
    let cut = WrapProvingKey::open(&bytes.slice(..bytes.len() - 1), &INNER.params, &epoch).expect_err("cut");
    assert!(matches!(cut, AggregateError::Engine(engine::EngineError::KeyLength { .. })), "{cut}");
    let pk = WrapProvingKey::open(&bytes, &INNER.params, &epoch).expect("opens");
    let refused = WrapProvingKey::open(&bytes, &INNER.params, &epoch)
        .expect("opens")
        .within(engine::MemoryLimit(1 << 20))
        .map(|_| ());
    assert!(matches!(refused, Err(AggregateError::Engine(engine::EngineError::Memory { .. }))), "{refused:?}");
    let vk = pk.verifying_key();
    let alone = aggregator::wrap::generate_verifying_key(srs.params(), &INNER.params, &epoch).expect("a key");
    assert_eq!((vk.digest(), vk.n_instances()), (alone.digest(), N_INSTANCES), "the same without a proving key");

    let proof = pk.prove(srs.params(), &input, OsRng, &mut aggregator::Unwatched).expect("proves");
    vk.verify(srs.params(), &proof).expect("holds");
    let got: Vec<Fr> = proof.instances.to_words().into_iter().map(to_fr).collect();
    assert_eq!(got[ACCUMULATOR_LIMBS..], input.instances[ACCUMULATOR_LIMBS..]);

    // Anything can be wrapped; what is wrong shows in the pairing, and the reason where it is looked for.
    let len = input.proof.len();
    let mut changed = input.clone();
    changed.proof[len - 3 * 32 + 1] ^= 1;
    let error = epoch.verify_to_wrap(&INNER.params, &changed.instances, &changed.proof).expect_err("tampered");
    assert!(matches!(error, EpochProofError::Refused(_)), "{error}");
    let proof = pk.prove(srs.params(), &changed, OsRng, &mut aggregator::Unwatched).expect("proves");
    let error = vk.verify(srs.params(), &proof).expect_err("tampered");
    assert!(matches!(error, EpochProofError::Accumulator(AccumulatorError::Pairing)), "{error}");
    let longer = [&input.proof[..], &[0]].concat();
    let error = epoch.verify_to_wrap(&INNER.params, &input.instances, &longer).expect_err("one byte too many");
    assert!(matches!(error, EpochProofError::Trailing { got: 1 }), "{error}");
    let mut short = input.clone();
    short.instances.pop();
    let error = pk.prove(srs.params(), &short, OsRng, &mut aggregator::Unwatched).expect_err("an instance is missing");
    assert!(
        matches!(error, AggregateError::Instances { expected: N_INSTANCES, got } if got == N_INSTANCES - 1),
        "{error}"
    );
}
