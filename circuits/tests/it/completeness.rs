//! Honest steps are accepted: by the constraints for many states and shapes, and as real proofs.

use circuits::keys::{StepError, StepProvingKey, StepVerifyingKey, check_links};
use circuits::reference::{S, SIGNED_LIMIT, State, StepConstants, V_LIMIT, next_schedule};
use circuits::step::shape::{ShapeError, StepShape};
use circuits::step::witness::{StepTag, StepWitness, WitnessError, instances};
use halo2_proofs::halo2curves::bn256::{Bn256, Fr};
use halo2_proofs::poly::kzg::commitment::ParamsKZG;
use ledger::{Hyper, Rule};
use rand::{SeedableRng, rngs::StdRng};

use crate::support::{K, LIMB_BITS, N, gradient, hyper, key, prove, seeds, shape, steps, violated, weights};

const RULES: [Rule; 2] = [Rule::AdamW, Rule::Sgd];

fn satisfied(shape: &StepShape, constants: StepConstants, state: &State, gradient: &[i64]) {
    let witness = StepWitness::honest(shape, constants, state, gradient).expect("in range");
    let tag = StepTag { run: Fr::from(3), step: 5, chunk: 1 };
    assert_eq!(violated(shape, witness, &instances(&tag, &constants)), [""; 0], "{shape:?}");
}

#[test]
fn honest_steps_satisfy_the_constraints() {
    for rule in RULES {
        for step in steps(rule, 3) {
            assert_eq!(violated(&shape(rule), step.witness(rule), &step.instances), [""; 0], "{rule:?}");
        }
    }
}

#[test]
fn honest_proofs_verify_and_have_the_announced_length() {
    for rule in RULES {
        let key = key(rule);
        for (t, step) in steps(rule, 2).into_iter().enumerate() {
            let proof = prove(rule, step.witness(rule), &step.instances, t as u64);
            assert_eq!(proof.len(), key.vk.proof_len(), "{rule:?}");
            key.vk.verify(&key.params, &step.instances, &proof).expect("honest");
        }
    }
}

#[test]
fn edge_values_satisfy_the_constraints() {
    let (low, high) = (-SIGNED_LIMIT, SIGNED_LIMIT - 1);
    for rule in RULES {
        let hyper = Hyper { lr: 1 << 16, ..hyper(rule) };
        let schedule = next_schedule(rule, &hyper, (S / 2, S / 2)).expect("in range");
        let constants = StepConstants::new(rule, false, &hyper, &schedule);
        // 17 ≈ 10⁻⁶ in Q24: the gradient whose square is far below the resolution of v.
        for (w, m, g) in [
            ([0; N], [0; N], [0; N]),
            ([0; N], [0; N], [17, -17, 1, -1, 0]),
            ([1, -1, 1 << 24, 0, 1], [1, -1, 0, 1, -1], [1, -1, 17, 0, 0]),
            ([high / 2, low / 2, 0, high / 2, 0], [0; N], [low, high, low, low, high]),
            ([low + (1 << 20), high - (1 << 20), 0, 0, 0], [0, 0, 17, -17, 0], [0; N]),
        ] {
            let v = if rule == Rule::AdamW { vec![0, 1, 1 << 40, 1 << 20, 3] } else { vec![0; N] };
            let state = State { w: w.to_vec(), m: m.to_vec(), v, p1: S / 2, p2: S / 2 };
            satisfied(&shape(rule), constants, &state, &g);
        }
    }
}

/// The largest second moment, divisor, ε and weight decay that the format holds.
#[test]
fn extremes_of_v_and_hyper_parameters_satisfy_the_constraints() {
    let k = StepConstants {
        fresh: false,
        beta1: 0,
        beta2: S - 1,
        a: (1 << 48) - 1,
        c: 1 << 16,
        eps: S,
        decay: (S - 1) * (S - 1),
    };
    let v = V_LIMIT - (1 << 31);
    let state = State { w: vec![1 << 20; N], m: vec![0; N], v: vec![v, 0, v, 1, 2], p1: 0, p2: 0 };
    satisfied(&shape(Rule::AdamW), k, &state, &[0, 1, -1, 5, 0]);
    let no_constants = StepConstants { fresh: true, beta1: 0, beta2: 0, a: 0, c: 0, eps: 1, decay: 0 };
    satisfied(&shape(Rule::AdamW), no_constants, &State::fresh(vec![SIGNED_LIMIT - 1; N]), &[SIGNED_LIMIT - 1; N]);
    let sgd = StepConstants { eps: 0, beta1: S - 1, a: S - 1, decay: S - 1, fresh: false, ..no_constants };
    let half = SIGNED_LIMIT / 8;
    let state = State { w: vec![half; N], m: vec![-half; N], v: vec![0; N], p1: S, p2: S };
    satisfied(&shape(Rule::Sgd), sgd, &state, &[half; N]);
}

#[test]
fn many_shapes_are_satisfied() {
    for rule in RULES {
        for (n, k, limb_bits) in [(1, 9, 4), (1, 10, 8), (3, 10, 6), (N, K, 7), (16, 11, 8), (40, 12, 9), (100, 12, 10)]
        {
            let Some(shape) = StepShape::at(rule, n, k, limb_bits) else {
                panic!("{rule:?}: {n} parameters at k = {k} with {limb_bits} bits")
            };
            let state = State::fresh(weights(n, 3));
            let schedule = next_schedule(rule, &hyper(rule), (S, S)).expect("in range");
            let constants = StepConstants::new(rule, true, &hyper(rule), &schedule);
            satisfied(&shape, constants, &state, &gradient(n, 3));
        }
    }
}

#[test]
fn chunk_shorter_than_the_shape_is_padded() {
    for rule in RULES {
        for n in 0..N {
            let state = State::fresh(weights(n, 4));
            let schedule = next_schedule(rule, &hyper(rule), (S, S)).expect("in range");
            let constants = StepConstants::new(rule, true, &hyper(rule), &schedule);
            satisfied(&shape(rule), constants, &state, &gradient(n, 4));
        }
        let state = State::fresh(weights(N + 1, 4));
        let constants = steps(rule, 1).remove(0).constants;
        assert_eq!(
            StepWitness::honest(&shape(rule), constants, &state, &gradient(N + 1, 4)).map(|_| ()),
            Err(WitnessError::TooMany { got: N + 1, max: N })
        );
    }
}

#[test]
fn key_generation_is_deterministic_and_depends_on_the_shape() {
    let params = ParamsKZG::<Bn256>::setup(K, StdRng::seed_from_u64(7));
    let digest = |shape: &StepShape| StepVerifyingKey::generate(&params, shape).expect("a key").digest();
    let small = shape(Rule::AdamW);
    assert_eq!(digest(&small), key(Rule::AdamW).vk.digest());
    let wider = StepShape { n_params: N + 1, ..small.clone() };
    assert_eq!(wider.rows, small.rows);
    assert_ne!(digest(&small), digest(&wider), "the number of parameters is part of the key");
    assert_ne!(digest(&small), digest(&shape(Rule::Sgd)));
}

#[test]
fn every_shape_of_the_search_hides_a_state_that_two_proofs_open() {
    for rule in RULES {
        for n in [1, 10, 100, 2_410, 10_000, 30_000, 50_890, 70_000, 131_072, 262_144, 800_000] {
            let mut found = 0;
            for shape in (8..=22).flat_map(|k| (4..=16).filter_map(move |bits| StepShape::at(rule, n, k, bits))) {
                check_links(&shape).unwrap_or_else(|e| panic!("{shape}: {e}"));
                found += 1;
            }
            assert!(found > 0, "no shape for {n} parameters");
        }
        // Four rows would leave 10 blinding rows to 9 openings and the margin of 2.
        let four = StepShape { rows: 4, ..StepShape::at(rule, 1_000, 15, 14).expect("a shape") };
        assert!(matches!(check_links(&four), Err(StepError::Shape(ShapeError::Invalid { what: "rows", got: 4, .. }))));
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    assert_eq!(StepShape::choose(Rule::AdamW, 0, 17), Err(ShapeError::Empty));
    assert_eq!(StepShape::choose(Rule::AdamW, 1 << 20, 12), Err(ShapeError::TooLarge { n_params: 1 << 20, k_max: 12 }));
    let good = shape(Rule::AdamW);
    for (what, bad) in [
        ("limb_bits", StepShape { limb_bits: 17, ..good.clone() }),
        ("k", StepShape { k: 7, ..good.clone() }),
        ("rows", StepShape { rows: 2, ..good.clone() }),
        ("k", StepShape { n_params: 1 << K, ..good.clone() }),
    ] {
        assert!(matches!(bad.check(), Err(ShapeError::Invalid { what: got, .. }) if got == what), "{bad:?}");
    }
    let params = ParamsKZG::<Bn256>::setup(K - 1, StdRng::seed_from_u64(7));
    assert!(matches!(
        StepVerifyingKey::generate(&params, &good),
        Err(StepError::SrsSize { expected: K, got }) if got == K - 1
    ));
    assert_eq!((good.k, good.limb_bits), (K, LIMB_BITS));
}

#[test]
fn the_engine_s_proofs_are_the_library_s_up_to_the_random_polynomial() {
    // 32 bytes for each advice commitment; the next point is the random polynomial's.
    const POINT: usize = 32;
    for rule in RULES {
        let key = key(rule);
        let step = steps(rule, 2).remove(1);
        let (input, output) = seeds(1, 1, 0);
        let rng = || StdRng::seed_from_u64(4);
        let library = StepProvingKey::generate_by_library(&key.params, &shape(rule)).expect("a key");
        assert_eq!(library.verifying_key().digest(), key.vk.digest());
        let make = |by_library: bool| {
            let (witness, seeds) = (step.witness(rule), (&input, &output));
            match by_library {
                true => library.prove_by_library(&key.params, witness, &step.instances, seeds, rng()),
                false => key.pk.prove(&key.params, witness, &step.instances, seeds, rng()),
            }
            .expect("proves")
        };
        let (theirs, ours) = (make(true), make(false));
        let common = key.vk.inner().cs().num_advice_columns() * POINT;
        assert_eq!(ours[..common], theirs[..common], "{rule:?}");
        assert_ne!(ours[common..], theirs[common..], "{rule:?}");
        assert_eq!(ours.len(), theirs.len(), "{rule:?}");
        key.vk.verify(&key.params, &step.instances, &ours).expect("the library's verifier accepts");
        assert_eq!(make(false), ours, "{rule:?}: the same for the same random stream");
    }
}
