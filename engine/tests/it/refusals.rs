//! What cannot be proved is refused, each for its own reason.

use engine::{CosetCache, EngineError, PreparedKey, generate_key, prove};
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr},
        ff::Field,
    },
    poly::kzg::commitment::ParamsKZG,
    transcript::{Blake2bWrite, Challenge255, TranscriptWriterBuffer as _},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::support::{Features, Mixed, Tested as _, keyed};

const SMALL: Features = Features {
    k: 5,
    widths: 1,
    permutation: false,
    lookups: 1,
    phases: None,
    rotations: 0,
    high_degree: false,
    excess: false,
    fractions: false,
    instances: 0,
};

/// Proves with parts that need not fit each other.
fn attempt(
    params: &ParamsKZG<Bn256>,
    of: &crate::support::Keyed,
    key: &PreparedKey,
    circuit: &Mixed,
    instances: &[&[Fr]],
) -> EngineError {
    let mut transcript = Blake2bWrite::<_, _, Challenge255<_>>::init(Vec::new());
    let rng = StdRng::seed_from_u64(1);
    prove(params, &of.pk, key, circuit.clone(), instances, rng, &mut transcript).expect_err("refused")
}

#[test]
fn what_does_not_fit_the_key() {
    let circuit = Mixed::new(SMALL);
    let keyed_small = keyed(&circuit);
    let key = PreparedKey::new(&keyed_small.pk, CosetCache::Off).expect("key");
    let instances = circuit.instances();
    let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();

    let other = keyed(&Mixed::new(Features { lookups: 0, ..SMALL }));
    let error = attempt(&other.params, &other, &key, &circuit, &instances);
    assert!(matches!(error, EngineError::KeyMismatch), "{error}");

    let large = ParamsKZG::<Bn256>::setup(6, StdRng::seed_from_u64(3));
    let error = attempt(&large, &keyed_small, &key, &circuit, &instances);
    assert!(matches!(error, EngineError::SrsSize { expected: 5, got: 6 }), "{error}");

    let error = attempt(&keyed_small.params, &keyed_small, &key, &circuit, &[]);
    assert!(matches!(error, EngineError::InstanceColumns { expected: 1, got: 0 }), "{error}");

    let long = vec![Fr::ONE; 32];
    let error = attempt(&keyed_small.params, &keyed_small, &key, &circuit, &[&long]);
    assert!(matches!(error, EngineError::InstanceTooLong { column: 0, got: 32, .. }), "{error}");
}

#[test]
fn an_input_outside_the_table() {
    let mut circuit = Mixed::new(SMALL);
    let keyed = keyed(&circuit);
    circuit.outside = true;
    let error = keyed.by_engine(&circuit, 1, CosetCache::Off).expect_err("refused");
    assert!(matches!(error, EngineError::NotInTable { lookup: 0 }), "{error}");
}

#[test]
fn a_gate_of_a_degree_that_the_key_does_not_allow() {
    let keyed = keyed(&Mixed::new(Features { excess: true, ..SMALL }));
    let error = PreparedKey::new(&keyed.pk, CosetCache::Off).expect_err("refused");
    assert!(matches!(error, EngineError::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("degree 6"), "{error}");
}

#[test]
fn a_circuit_that_needs_more_rows_than_the_key_has() {
    let circuit = Mixed::new(Features { k: 7, ..SMALL });
    let small = ParamsKZG::<Bn256>::setup(5, StdRng::seed_from_u64(3));
    let error = generate_key(&small, &circuit).expect_err("refused");
    assert!(matches!(error, EngineError::Synthesis(_)), "{error}");
}
