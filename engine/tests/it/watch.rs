//! A proof tells of its phases, and ends when told to.

use std::ops::ControlFlow;

use engine::{CosetCache, EngineError, Phase, PreparedKey, prove_watched};
use halo2_proofs::{
    halo2curves::bn256::Fr,
    transcript::{Blake2bWrite, Challenge255, TranscriptWriterBuffer as _},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::support::{Features, Mixed, keyed};

const CIRCUIT: Features = Features {
    k: 6,
    widths: 2,
    permutation: true,
    lookups: 1,
    phases: None,
    rotations: 0,
    high_degree: false,
    excess: false,
    fractions: false,
    instances: 0,
};

/// Proves until `last` phases were entered; the phases, and the proof or the refusal.
fn watched(last: usize) -> (Vec<Phase>, Result<Vec<u8>, EngineError>) {
    let circuit = Mixed::new(CIRCUIT);
    let keyed = keyed(&circuit);
    let key = PreparedKey::new(&keyed.pk, CosetCache::Off).expect("key");
    let instances = circuit.instances();
    let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();
    let mut transcript = Blake2bWrite::<_, _, Challenge255<_>>::init(Vec::new());
    let mut phases = Vec::new();
    let mut watch = |phase| {
        phases.push(phase);
        if phases.len() > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let rng = StdRng::seed_from_u64(5);
    let key = (&keyed.params, &keyed.pk, &key);
    let result = prove_watched(key, &circuit, &instances, rng, &mut transcript, &mut watch);
    (phases, result.map(|()| transcript.finalize()))
}

#[test]
fn phases_come_in_order_and_any_can_be_the_last() {
    let (phases, proof) = watched(usize::MAX);
    let circuit = Mixed::new(CIRCUIT);
    let unwatched = keyed(&circuit).by_engine(&circuit, 5, CosetCache::Off).expect("proves");
    assert_eq!(proof.expect("proves"), unwatched, "watching changes nothing");
    assert_eq!(phases.first(), Some(&Phase::Witness));
    assert_eq!(phases.last(), Some(&Phase::Opening));
    assert!(phases.iter().any(|phase| matches!(phase, Phase::Coset { index: 1, .. })), "{phases:?}");
    assert!(phases.windows(2).all(|pair| pair[0].done() < pair[1].done()), "{phases:?}");
    for last in 0..phases.len() {
        let (entered, result) = watched(last);
        assert_eq!(entered, phases[..=last]);
        match result {
            Err(EngineError::Cancelled { before }) => assert_eq!(before, phases[last]),
            other => panic!("cancelled before {:?}: {other:?}", phases[last]),
        }
    }
}
