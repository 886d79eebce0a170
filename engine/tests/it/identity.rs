//! Keys equal the library's; proofs equal the library's up to the random polynomial, and its verifier accepts the whole.

use engine::{CosetCache, FewValues, Hints, PreparedKey, Term, generate_key};
use halo2_proofs::{
    SerdeFormat,
    halo2curves::bn256::{Fr, G1Affine},
    plonk::ProvingKey,
};

use crate::support::{Features, Mixed, PLAIN, keyed};

/// Bytes of a point or scalar.
const WORD: usize = 32;

fn holds(features: Features) {
    let circuit = Mixed::new(features);
    let keyed = keyed(&circuit);
    let key = generate_key(&keyed.params, &circuit).expect("a key");
    let bytes = |key: &ProvingKey<G1Affine>| key.to_bytes(SerdeFormat::RawBytes);
    assert!(bytes(&key) == bytes(&keyed.pk), "{features:?}: the keys are equal");
    assert_eq!(key.get_vk().transcript_repr(), keyed.pk.get_vk().transcript_repr(), "{features:?}");
    let theirs = keyed.by_library(&circuit, 5);
    let ours = keyed.by_engine(&circuit, 5, CosetCache::Off).expect("the engine proves");
    assert!(keyed.verifies(&circuit, &theirs), "{features:?}: the circuit is satisfied");
    assert_eq!(ours.len(), theirs.len(), "{features:?}");
    // A lookup's permuted columns stand in another order than the library's, which is random.
    let common = if features.lookups > 0 { keyed.pk.get_vk().cs().num_advice_columns() } else { keyed.common_points };
    assert_eq!(ours[..common * WORD], theirs[..common * WORD], "{features:?}");
    assert!(keyed.verifies(&circuit, &ours), "{features:?}");
    let kept = PreparedKey::new(&keyed.pk, CosetCache::UpTo(usize::MAX)).expect("a key");
    for filled in [false, true] {
        let again = keyed.by_engine_prepared(&keyed.pk, &kept, &circuit, 5).expect("the engine proves");
        assert_eq!(again, ours, "{features:?}: the cache changes nothing, filled before: {filled}");
    }
}

#[test]
fn gates_alone() {
    for k in [4, 5, 7, 10] {
        holds(Features { k, ..PLAIN });
    }
}

#[test]
fn copies_with_one_and_several_sets() {
    holds(Features { permutation: true, ..PLAIN });
    holds(Features { permutation: true, widths: 4, k: 6, ..PLAIN });
    holds(Features { permutation: true, widths: 3, high_degree: true, ..PLAIN });
}

#[test]
fn lookups_of_values_and_pairs() {
    holds(Features { lookups: 1, ..PLAIN });
    holds(Features { lookups: 3, widths: 2, k: 6, ..PLAIN });
}

#[test]
fn a_second_phase_with_a_challenge() {
    holds(Features { phases: Some(true), ..PLAIN });
    holds(Features { phases: Some(true), widths: 2, permutation: true, lookups: 2, k: 8, ..PLAIN });
}

#[test]
fn a_circuit_that_runs_once_for_each_phase() {
    // The library's prover refuses the unknown cells of the later phase; its verifier does not mind.
    let circuit = Mixed::new(Features { phases: Some(false), permutation: true, ..PLAIN });
    let keyed = keyed(&circuit);
    let proof = keyed.by_engine(&circuit, 5, CosetCache::Off).expect("the engine proves");
    assert!(keyed.verifies(&circuit, &proof));
}

#[test]
fn many_rotations() {
    holds(Features { rotations: 9, k: 6, ..PLAIN });
    holds(Features { rotations: 4, widths: 2, k: 7, permutation: true, ..PLAIN });
}

#[test]
fn fractions_and_several_instance_columns() {
    holds(Features { fractions: true, instances: 3, ..PLAIN });
    holds(Features { fractions: true, instances: 1, permutation: true, phases: Some(true), ..PLAIN });
}

#[test]
fn everything_at_once() {
    for k in [8, 12] {
        holds(Features {
            k,
            widths: 3,
            permutation: true,
            lookups: 2,
            phases: Some(true),
            rotations: 3,
            high_degree: true,
            excess: false,
            fractions: true,
            instances: 2,
        });
    }
}

/// Says the same of all columns, true or not, and how often it was asked.
struct Claims(std::cell::RefCell<Vec<u8>>);

impl Hints for &Claims {
    fn few_values(&self, phase: u8, challenges: &[Fr]) -> FewValues {
        self.0.borrow_mut().push(phase);
        let values = (0..20).map(|i| Fr::from(i) + challenges.iter().sum::<Fr>()).collect();
        let terms: Vec<Term> = (0..400).map(|i| Term { row: i * 7 % 600, value: i % 21 }).collect();
        FewValues { values, columns: (0..9).map(|column| (column, terms.clone())).collect() }
    }
}

#[test]
fn what_is_said_of_columns_changes_no_proof() {
    let circuit = Mixed::new(Features { k: 9, phases: Some(true), permutation: true, ..PLAIN });
    let keyed = keyed(&circuit);
    let plain = keyed.by_engine(&circuit, 5, CosetCache::Off).expect("the engine proves");
    let claims = Claims(Vec::new().into());
    assert_eq!(keyed.by_engine_hinted(&claims, &circuit, 5).expect("the engine proves"), plain);
    assert_eq!(claims.0.into_inner(), [0, 1], "each phase is asked about once");
}

#[test]
fn proofs_do_not_depend_on_the_number_of_threads() {
    let circuit = Mixed::new(Features { k: 9, lookups: 2, permutation: true, widths: 2, ..PLAIN });
    let keyed = keyed(&circuit);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| keyed.by_engine(&circuit, 1, CosetCache::Off)).expect("the engine proves")
    };
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(5));
}

#[test]
fn a_false_witness_gives_a_proof_that_does_not_verify() {
    let mut circuit = Mixed::new(PLAIN);
    let keyed = keyed(&circuit);
    circuit.spoil = true;
    let proof = keyed.by_engine(&circuit, 5, CosetCache::Off).expect("the engine proves");
    assert!(!keyed.verifies(&circuit, &proof));
}
