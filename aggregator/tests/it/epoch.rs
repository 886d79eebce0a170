//! The whole epoch circuit: one key, one proof, and what is refused.
//!
//! Attacks on inner proofs run the circuit's witness generation and decide its accumulator, which is what
//! `EpochVerifyingKey::verify` and the contract do with the instances of a finished proof.

use aggregator::epoch::{ACCUMULATOR_LIMBS, EpochWitness, synthesize};
use aggregator::keys::step_protocol;
use aggregator::{AggregateError, EpochInput, EpochProof, EpochProvingKey, EpochShape};
use circuits::convert::from_g1;
use circuits::poseidon::PoseidonTranscript;
use circuits::step::gate::{N_INSTANCES, StepConfig};
use circuits::step::shape::StepShape;
use epochcheck::accumulator::check;
use epochcheck::{AccumulatorError, EpochProofError};
use halo2_base::gates::circuit::{CircuitBuilderStage, builder::BaseCircuitBuilder};
use halo2_proofs::{
    circuit::{Layouter, SimpleFloorPlanner},
    dev::{MockProver, VerifyFailure},
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
        group::{GroupEncoding, prime::PrimeCurveAffine},
    },
    plonk::{Circuit, ConstraintSystem, Error, create_proof, keygen_pk, keygen_vk},
    poly::{
        Rotation,
        commitment::ParamsProver,
        kzg::{commitment::KZGCommitmentScheme, multiopen::ProverSHPLONK},
    },
    transcript::TranscriptWriterBuffer,
};
use ledger::{EpochInstances, InstanceSlot, Rule};
use rand::rngs::OsRng;

use crate::keys::pinned_epoch;
use crate::support::{Keyed, N, epoch, epoch_with, key, shape, srs};

const RULE: Rule = Rule::AdamW;
/// k of the circuits that are not proved.
const MOCK_K: u32 = 18;
/// k of the circuit that is: 3 + 1 columns.
const EPOCH_K: u32 = 20;

fn builder(stage: CircuitBuilderStage, witness: &EpochWitness) -> Result<BaseCircuitBuilder<Fr>, AggregateError> {
    let key = key(RULE);
    let protocol = step_protocol(&key.params, &key.vk)?;
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(stage)
        .use_k(MOCK_K as usize)
        .use_lookup_bits(MOCK_K as usize - 1)
        .use_instance_columns(1);
    synthesize(&mut builder, RULE, key.params.get_g()[0], &protocol, witness)?;
    Ok(builder)
}

/// Runs the circuit's witness generation and decides the accumulator it would show.
fn accumulate(witness: &EpochWitness) -> Result<(), AggregateError> {
    let builder = builder(CircuitBuilderStage::Mock, witness)?;
    let limbs: Vec<Fr> = builder.assigned_instances[0][..ACCUMULATOR_LIMBS].iter().map(|cell| *cell.value()).collect();
    Ok(check(&key(RULE).params, &limbs)?)
}

fn accumulator_refused(what: &str, witness: &EpochWitness) {
    match accumulate(witness) {
        Err(AggregateError::Accumulator(_)) => {}
        other => panic!("{what}: expected a failed pairing, got {other:?}"),
    }
}

/// Columns and queries of the step circuit, but nothing is constrained except that zeros are zeros.
#[derive(Clone)]
struct DoNothing(StepShape);

/// One more gate, of the step circuit's degree and on cells that it queries anyway: without it the quotient would be
/// zero, and the point at infinity gives such a proof away.
fn vacuous(meta: &mut ConstraintSystem<Fr>, shape: &StepShape) -> StepConfig {
    let config = StepConfig::configure(meta, shape);
    meta.create_gate("nothing", |meta| {
        let q = meta.query_fixed(config.q_pad, Rotation::cur());
        let columns = [config.state_in, config.gradient, config.limbs[0], config.aux[0]];
        vec![columns.iter().fold(q, |product, column| product * meta.query_advice(*column, Rotation::cur()))]
    });
    config
}

impl Circuit<Fr> for DoNothing {
    type Config = StepConfig;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = StepShape;

    fn params(&self) -> StepShape {
        self.0.clone()
    }

    fn without_witnesses(&self) -> Self {
        self.clone()
    }

    fn configure_with_params(meta: &mut ConstraintSystem<Fr>, shape: StepShape) -> StepConfig {
        vacuous(meta, &shape)
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> StepConfig {
        vacuous(meta, &shape(RULE, N))
    }

    /// Leaves all other selectors zero, so that every gate holds, then commits both phases.
    fn synthesize(&self, config: StepConfig, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "nothing",
            |mut region| {
                region.assign_fixed(config.q_pad, 0, Fr::ONE);
                region.next_phase();
                region.next_phase();
                Ok(())
            },
        )
    }
}

/// A proof of [`DoNothing`] for the instances of a step.
fn do_nothing(instances: &[Fr]) -> Vec<u8> {
    let params = &key(RULE).params;
    let circuit = DoNothing(shape(RULE, N));
    let vk = keygen_vk(params, &circuit).expect("a key");
    let pk = keygen_pk(params, vk, &circuit).expect("a key");
    let mut transcript = PoseidonTranscript::<Vec<u8>>::init(Vec::new());
    create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
        params,
        &pk,
        &[circuit],
        &[&[instances]],
        OsRng,
        &mut transcript,
    )
    .expect("proves");
    transcript.finalize()
}

#[test]
fn honest_proofs_accumulate() {
    for (n_chunks, n_steps) in [(1, 1), (1, 2), (2, 2)] {
        accumulate(&epoch(RULE, 3, n_chunks, n_steps).witness()).expect("honest");
    }
}

#[test]
fn proof_under_another_step_key_fails_the_accumulator() {
    let other = Keyed::new(RULE, N + 1);
    assert_eq!(other.vk.proof_len(), key(RULE).vk.proof_len(), "the same columns and queries");
    assert_ne!(other.vk.digest(), key(RULE).vk.digest());
    let foreign = epoch_with(&other, RULE, 3, 1, 2);
    let own = epoch(RULE, 3, 1, 2);
    for step in 0..2 {
        let statement = &foreign.steps[step].statement;
        let instances = circuits::claim::chunk_instances(RULE, statement, ledger::ChunkIndex(0));
        other.vk.verify(&other.params, &instances, &foreign.steps[step].proofs[0]).expect("right under its own key");
    }
    accumulator_refused("both proofs", &foreign.witness());
    let mut mixed = own.witness();
    mixed.proofs[1] = foreign.witness().proofs[1].clone();
    accumulator_refused("the second proof", &mixed);
}

#[test]
fn proof_of_a_circuit_that_does_nothing_fails_the_accumulator() {
    let mut witness = epoch(RULE, 3, 1, 1).witness();
    let input = &mut witness.proofs[0][0];
    let proof = do_nothing(&input.instances);
    assert_eq!(proof.len(), input.proof.len(), "the same columns and queries");
    input.proof = proof;
    accumulator_refused("a do-nothing proof", &witness);
}

#[test]
fn tampered_inner_proof_fails_the_accumulator() {
    let honest = epoch(RULE, 3, 2, 1).witness();
    let len = honest.proofs[0][0].proof.len();
    for (chunk, at) in [(0, len - 3 * 32), (1, len / 64 * 32)] {
        let mut witness = honest.clone();
        // The second-lowest byte of a scalar: it stays canonical.
        witness.proofs[0][chunk].proof[at + 1] ^= 1;
        accumulator_refused(&format!("a scalar of chunk {chunk}"), &witness);
    }
    let mut witness = honest.clone();
    witness.proofs[0][0].instances[N_INSTANCES - 3] += Fr::ONE;
    accumulator_refused("another run id", &witness);
    let mut witness = honest.clone();
    witness.proofs[0].swap(0, 1);
    accumulate(&witness).expect("right proofs in the wrong order: the statement refuses this, not the accumulator");
    let mut witness = honest;
    witness.proofs[0][1].proof.truncate(len - 1);
    assert!(matches!(accumulate(&witness), Err(AggregateError::Proof { step: 0, chunk: 1, .. })));
}

#[test]
fn unlinked_steps_fail_the_accumulator_too() {
    let mut witness = epoch(RULE, 3, 1, 2).witness();
    witness.proofs[1] = epoch(RULE, 4, 1, 2).witness().proofs[1].clone();
    accumulator_refused("the input of a step is taken from the step before", &witness);
}

/// Failures of the whole circuit for `witness`, by MockProver.
fn failures(witness: &EpochWitness) -> Vec<VerifyFailure> {
    let mut builder = builder(CircuitBuilderStage::Mock, witness).expect("parses");
    let words: Vec<Fr> = builder.assigned_instances[0].iter().map(|x| *x.value()).collect();
    builder.calculate_params(Some(20));
    let prover = MockProver::run(MOCK_K, &builder, vec![words]).expect("synthesizes");
    let failures = prover.verify_par().err().unwrap_or_default();
    // This halo2's mock prover does not record which cells were assigned, so it reports all of them.
    failures.into_iter().filter(|f| !matches!(f, VerifyFailure::CellNotAssigned { .. })).collect()
}

#[test]
fn honest_epoch_satisfies_the_circuit() {
    for steps in [1, 2] {
        assert!(failures(&epoch(RULE, 3, 1, steps).witness()).is_empty(), "{steps} steps");
    }
}

/// Every point of every inner proof at infinity, by the constraints.
#[test]
fn point_at_infinity_in_an_inner_proof_is_refused() {
    let honest = epoch(RULE, 3, 1, 1).witness();
    let len = honest.proofs[0][0].proof.len();
    // A limb column, and W'.
    for word in [4, len / 32 - 1] {
        let mut witness = honest.clone();
        witness.proofs[0][0].proof[word * 32..][..32].copy_from_slice(G1Affine::identity().to_bytes().as_ref());
        assert!(!failures(&witness).is_empty(), "word {word}");
    }
    assert!(from_g1(&G1Affine::identity()).is_err());
}

fn check_refused(input: &EpochInput, change: impl Fn(&mut EpochInput)) -> AggregateError {
    let mut input = input.clone();
    change(&mut input);
    input.check().expect_err("refused before any circuit")
}

#[test]
fn statements_are_checked_before_the_circuit() {
    use circuits::claim::ClaimError;
    let honest = epoch(RULE, 3, 1, 2);
    honest.check().expect("honest");
    let empty = check_refused(&honest, |e| e.steps.clear());
    assert!(matches!(empty, AggregateError::Shape(_)));
    let three = epoch(RULE, 3, 1, 3);
    assert!(matches!(three.check(), Err(AggregateError::Shape(_))), "three steps");
    let unaligned = check_refused(&three, |e| {
        e.steps.remove(0);
    });
    assert!(matches!(unaligned, AggregateError::Shape(_)), "two steps from step 1");
    let gap = check_refused(&three, |e| {
        e.steps.remove(1);
    });
    assert!(matches!(gap, AggregateError::Claim(ClaimError::StepGap { .. })));
    let repeated = check_refused(&honest, |e| e.steps[1] = e.steps[0].clone());
    assert!(matches!(repeated, AggregateError::Claim(ClaimError::StepGap { .. })));
    let proofs = check_refused(&honest, |e| e.steps[1].proofs.clear());
    assert!(matches!(proofs, AggregateError::Claim(ClaimError::ChunkCount { what: "proofs", .. })));
    let rate = check_refused(&honest, |e| e.policy.lr_max = 1);
    assert!(matches!(rate, AggregateError::Claim(ClaimError::LearningRate { .. })));
    let products = check_refused(&honest, |e| e.products = (1, 1));
    assert!(matches!(products, AggregateError::Claim(ClaimError::Schedule { .. })));
    let other = epoch(RULE, 4, 1, 2);
    let foreign = check_refused(&honest, |e| e.steps[1] = other.steps[1].clone());
    assert!(matches!(foreign, AggregateError::Claim(ClaimError::ForeignRun { .. })));
}

/// One key and two proofs (some minutes and 5 GiB): the proof verifies, shows what the steps give, and is refused with
/// any instance or any part of its bytes changed.
#[test]
fn epoch_end_to_end() {
    let srs = srs(EPOCH_K);
    let params = srs.params();
    let steps = key(RULE);
    let shape = EpochShape { n_steps: 2, n_chunks: 1, k: EPOCH_K };
    let pk = EpochProvingKey::generate(params, &steps.params, &steps.vk, &shape).expect("a key");
    let vk = pk.verifying_key();
    println!("{:?}", pk.stats());
    let digest = circuits::convert::from_fr(&vk.digest()).to_string();
    assert_eq!(digest, pinned_epoch(steps.vk.shape(), shape.n_steps, EPOCH_K), "the key is the pinned one");

    let input = epoch(RULE, 3, 1, 2);
    let expected = input.check().expect("honest");
    let short = epoch(RULE, 3, 1, 1).witness();
    assert!(matches!(pk.prove(params, &short, OsRng), Err(AggregateError::Shape(_))));
    let honest = pk.prove(params, &input.witness(), OsRng).expect("proves");
    expected.compare(&honest.instances).expect("the circuit shows the native digests");
    vk.verify(params, &honest).expect("honest");

    let words = honest.instances.to_words();
    assert_eq!(words.len(), vk.n_instances());
    for slot in InstanceSlot::all(2) {
        let mut changed = words.clone();
        let at = slot.index();
        changed[at] = circuits::convert::from_fr(&match slot {
            // These have few values: the other one, so that the words still parse.
            InstanceSlot::Fresh => Fr::from(u64::from(!honest.instances.fresh)),
            _ => circuits::convert::to_fr(words[at]) + Fr::ONE,
        });
        let instances = EpochInstances::from_words(&changed).expect("still parses");
        let tampered = EpochProof { instances, proof: honest.proof.clone() };
        assert!(matches!(vk.verify(params, &tampered), Err(EpochProofError::Refused(_))), "{slot:?}");
    }
    let mut longer = honest.clone();
    let copy = longer.instances.digests.clone();
    longer.instances.digests.extend(copy);
    assert!(matches!(vk.verify(params, &longer), Err(EpochProofError::Instances { expected: 20, got: 22 })));

    for word in 0..honest.proof.len() / 32 {
        let mut tampered = honest.clone();
        tampered.proof[word * 32 + 17] ^= 4;
        assert!(matches!(vk.verify(params, &tampered), Err(EpochProofError::Refused(_))), "word {word} of the proof");
    }
    for len in [0, 31, honest.proof.len() - 32, honest.proof.len() - 1] {
        let tampered = EpochProof { proof: honest.proof[..len].to_vec(), ..honest.clone() };
        assert!(matches!(vk.verify(params, &tampered), Err(EpochProofError::Refused(_))), "cut to {len} bytes");
    }

    let mut tampered = honest.clone();
    tampered.proof.push(0);
    assert!(matches!(vk.verify(params, &tampered), Err(EpochProofError::Trailing { got: 1 })), "one byte too many");

    // A wrong inner proof makes a circuit that can be proved: only the accumulator tells.
    let mut witness = input.witness();
    let proof = do_nothing(&witness.proofs[0][0].instances);
    witness.proofs[0][0].proof = proof;
    // The second step takes its input from the forged output, so that the links hold.
    let output = witness.proofs[0][0].proof[32..64].to_vec();
    witness.proofs[1][0].proof[..32].copy_from_slice(&output);
    let forged = pk.prove(params, &witness, OsRng).expect("proves");
    let refused = vk.verify(params, &forged);
    assert!(matches!(refused, Err(EpochProofError::Accumulator(AccumulatorError::Pairing))), "{refused:?}");

    let mut bytes = Vec::new();
    vk.write(&mut bytes).expect("writes");
    let read = aggregator::EpochVerifyingKey::read(&mut &bytes[..]).expect("reads");
    assert_eq!(read.digest(), vk.digest());
    read.verify(params, &honest).expect("the key survives its file");
}
