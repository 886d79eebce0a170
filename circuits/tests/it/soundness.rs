//! A wrong update is refused three times: by the witness, by the named constraint, by the verifier of a real proof.

use circuits::keys::StepError;
use circuits::reference::{Cell, RangeError, S, SIGNED_LIMIT, StepConstants, Update, update};
use circuits::step::gate::InstanceRow;
use circuits::step::shape::StepShape;
use circuits::step::witness::{Check, StepWitness, WitnessError};
use halo2_proofs::halo2curves::bn256::Fr;
use ledger::Rule;

use crate::support::{N, Step, hyper, key, later, prove, schedule_at, shape, steps, violated};

/// What every failed range check ends in: the sum of the lookups does not equal the table's.
const SUM: &str = "running sum starts and ends at zero";

fn round(x: i128, y: i128) -> i128 {
    (2 * x + y).div_euclid(2 * y)
}

/// What an attacker replaces; everything after it is then computed honestly from the false value, so that nothing but
/// the one false equation is violated.
#[derive(Clone, Copy, Debug)]
enum Lie {
    FirstMoment(i64),
    SecondMoment(i64),
    Root(i64),
    Update(i64),
    Weight(i64),
    Gradient(i64),
    WeightBefore(i64),
    MomentBefore(i64),
}

/// The attacker's update: the rule in wide integers, without any range check.
fn forge(rule: Rule, k: &StepConstants, honest: &Update, lie: Lie) -> Update {
    let mut u = *honest;
    match lie {
        Lie::Gradient(g) => u.g = g,
        Lie::WeightBefore(w) => u.before.w = w,
        Lie::MomentBefore(m) => u.before.m = m,
        _ => {}
    }
    let by = |matches: Option<i64>| matches.unwrap_or(0) as i128;
    let one = S as i128;
    let (w, m, v, g) = (u.before.w as i128, u.before.m as i128, u.before.v as i128, u.g as i128);
    let (b1, b2, a, c, decay) = (k.beta1 as i128, k.beta2 as i128, k.a as i128, k.c as i128, k.decay as i128);
    let d_m = by(if let Lie::FirstMoment(d) = lie { Some(d) } else { None });
    let d_v = by(if let Lie::SecondMoment(d) = lie { Some(d) } else { None });
    let d_s = by(if let Lie::Root(d) = lie { Some(d) } else { None });
    let d_u = by(if let Lie::Update(d) = lie { Some(d) } else { None });
    let d_w = by(if let Lie::Weight(d) = lie { Some(d) } else { None });
    match rule {
        Rule::AdamW => {
            let m_next = round(b1 * m + (one - b1) * g, one) + d_m;
            let v_next = (b2 * v + (one - b2) * g * g + one - 1).div_euclid(one) + d_v;
            let s = ((c * v_next) as u128).isqrt() as i128 + d_s;
            let step = round(a * m_next, s + k.eps as i128) + d_u;
            let w_next = w - step - round(decay * w, 1 << 64) + d_w;
            u.after = Cell { w: w_next as i64, m: m_next as i64, v: v_next as u64 };
            (u.s, u.u) = (s as u64, step as i64);
        }
        Rule::Sgd => {
            let m_next = round(b1 * m + one * g + decay * w, one) + d_m;
            let step = round(a * m_next, one) + d_u;
            u.after = Cell { w: (w - step + d_w) as i64, m: m_next as i64, v: 0 };
            u.u = step as i64;
        }
    }
    u
}

fn forged(rule: Rule, step: &Step, index: usize, lie: Lie) -> Vec<Update> {
    let mut updates = step.updates(rule);
    updates[index] = forge(rule, &step.constants, &updates[index], lie);
    updates
}

fn skip(shape: &StepShape, step: &Step, updates: Vec<Update>) -> StepWitness {
    StepWitness::from_updates(shape, step.constants, updates, Check::Skip).expect("checks are skipped")
}

/// `Check::Enforce` names `quantity`; the mock prover fails at the running sum and nowhere else.
fn refused(rule: Rule, step: &Step, index: usize, lie: Lie, quantity: &str) {
    let shape = shape(rule);
    let updates = forged(rule, step, index, lie);
    match StepWitness::from_updates(&shape, step.constants, updates.clone(), Check::Enforce) {
        Err(WitnessError::OutOfRange { quantity: got, index: at, .. }) => {
            assert_eq!((got, at), (quantity, index), "{rule:?} {lie:?}");
        }
        other => panic!("{rule:?} {lie:?} at {index}: expected {quantity}, got {:?}", other.map(|_| "a witness")),
    }
    assert_eq!(violated(&shape, skip(&shape, step, updates), &step.instances), [SUM], "{rule:?} {lie:?} at {index}");
}

fn real_proof_refused(rule: Rule, what: &str, witness: StepWitness, step: &Step) {
    let key = key(rule);
    let proof = prove(rule, witness, &step.instances, 1);
    assert!(
        matches!(key.vk.verify(&key.params, &step.instances, &proof), Err(StepError::Refused(_))),
        "{rule:?}: a real proof of {what} was accepted"
    );
}

/// The forger computes what the reference does when it does not lie; else the tests below would prove nothing.
#[test]
fn forger_without_a_lie_is_the_reference() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let step = later(rule);
        let updates = step.updates(rule);
        for u in &updates {
            assert_eq!(forge(rule, &step.constants, u, Lie::Weight(0)), *u, "{rule:?}");
        }
        assert_eq!(violated(&shape(rule), skip(&shape(rule), &step, updates), &step.instances), [""; 0]);
    }
}

#[test]
fn adamw_results_wrong_by_one_unit_are_refused_at_first_and_last_parameter() {
    let step = later(Rule::AdamW);
    for index in [0, N - 1] {
        for by in [1, -1] {
            refused(Rule::AdamW, &step, index, Lie::Weight(by), "decay-remainder");
            refused(Rule::AdamW, &step, index, Lie::FirstMoment(by), "m'-remainder");
            refused(Rule::AdamW, &step, index, Lie::SecondMoment(by), "v'-remainder");
        }
        refused(Rule::AdamW, &step, index, Lie::Update(1), "u-remainder");
        refused(Rule::AdamW, &step, index, Lie::Update(-1), "u-slack");
        refused(Rule::AdamW, &step, index, Lie::Root(1), "s-remainder");
        refused(Rule::AdamW, &step, index, Lie::Root(-1), "s-slack");
    }
}

#[test]
fn sgd_results_wrong_by_one_unit_are_refused_at_first_and_last_parameter() {
    let step = later(Rule::Sgd);
    for index in [0, N - 1] {
        for by in [1, -1] {
            refused(Rule::Sgd, &step, index, Lie::Weight(by), "u-remainder");
            refused(Rule::Sgd, &step, index, Lie::Update(by), "u-remainder");
            refused(Rule::Sgd, &step, index, Lie::FirstMoment(by), "m'-remainder");
        }
    }
}

#[test]
fn real_proofs_of_wrong_results_are_refused() {
    let step = later(Rule::AdamW);
    let shape_a = shape(Rule::AdamW);
    for (index, lie) in [
        (N - 1, Lie::Weight(1)),
        (0, Lie::FirstMoment(-1)),
        (N - 1, Lie::SecondMoment(1)),
        (0, Lie::Update(1)),
        (0, Lie::Root(1)),
        (N - 1, Lie::Root(-1)),
        (0, Lie::Gradient(SIGNED_LIMIT)),
    ] {
        let witness = skip(&shape_a, &step, forged(Rule::AdamW, &step, index, lie));
        real_proof_refused(Rule::AdamW, &format!("{lie:?} at {index}"), witness, &step);
    }
    let step = later(Rule::Sgd);
    for (index, lie) in [(0, Lie::Weight(1)), (N - 1, Lie::FirstMoment(1))] {
        let witness = skip(&shape(Rule::Sgd), &step, forged(Rule::Sgd, &step, index, lie));
        real_proof_refused(Rule::Sgd, &format!("{lie:?} at {index}"), witness, &step);
    }
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let step = later(rule);
        for g in [SIGNED_LIMIT, -SIGNED_LIMIT - 1] {
            let mut gradient = step.gradient.clone();
            gradient[N - 1] = g;
            assert_eq!(
                StepWitness::honest(&shape(rule), step.constants, &step.before, &gradient).map(|_| ()),
                Err(RangeError::Signed { what: "g", index: N - 1, value: g.into() }.into())
            );
        }
        let mut state = step.before.clone();
        state.w[0] = -SIGNED_LIMIT - 1;
        assert_eq!(
            StepWitness::honest(&shape(rule), step.constants, &state, &step.gradient).map(|_| ()),
            Err(RangeError::Signed { what: "w", index: 0, value: (-SIGNED_LIMIT - 1).into() }.into())
        );
    }
    let step = later(Rule::AdamW);
    for index in [0, N - 1] {
        refused(Rule::AdamW, &step, index, Lie::Gradient(SIGNED_LIMIT), "g");
        refused(Rule::AdamW, &step, index, Lie::Gradient(-SIGNED_LIMIT - 1), "g");
    }
    // w = 2³¹ moves down by about one learning rate, so that only w is outside.
    let mut up = later(Rule::AdamW);
    up.before.m[0] = 1 << 22;
    up.gradient[0] = 1 << 22;
    refused(Rule::AdamW, &up, 0, Lie::WeightBefore(SIGNED_LIMIT), "w");
    // From the largest w, an update against it leaves the range upwards.
    let mut down = later(Rule::AdamW);
    down.before.m[0] = -(1 << 22);
    down.before.w[0] = 0;
    down.gradient[0] = -(1 << 22);
    let lie = Lie::WeightBefore(SIGNED_LIMIT - 1);
    down.constants.decay = 0;
    down.instances[InstanceRow::Decay as usize] = Fr::from(0);
    refused(Rule::AdamW, &down, 0, lie, "w'");
}

#[test]
fn fresh_start_with_moments_is_refused() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let shape = shape(rule);
        let mut step = steps(rule, 1).remove(0);
        for (index, m) in [(0, 1), (N - 1, -1)] {
            let mut state = step.before.clone();
            state.m[index] = m;
            assert_eq!(
                StepWitness::honest(&shape, step.constants, &state, &step.gradient).map(|_| ()),
                Err(RangeError::NotFresh { what: "m", index, value: m.into() }.into())
            );
            let updates = forged(rule, &step, index, Lie::MomentBefore(m));
            assert_eq!(violated(&shape, skip(&shape, &step, updates.clone()), &step.instances), ["fresh start"]);
            real_proof_refused(rule, "a fresh start with momentum", skip(&shape, &step, updates), &step);
        }
        if rule == Rule::AdamW {
            let mut state = step.before.clone();
            state.v[0] = 1;
            assert_eq!(
                StepWitness::honest(&shape, step.constants, &state, &step.gradient).map(|_| ()),
                Err(RangeError::NotFresh { what: "v", index: 0, value: 1 }.into())
            );
            step.constants.fresh = false;
            let updates = state.updates(rule, &step.constants, &step.gradient).expect("allowed when not fresh");
            step.constants.fresh = true;
            assert_eq!(violated(&shape, skip(&shape, &step, updates), &step.instances), ["fresh start"]);
        }
    }
}

#[test]
fn sgd_with_a_second_moment_is_refused() {
    let step = later(Rule::Sgd);
    let shape = shape(Rule::Sgd);
    let mut state = step.before.clone();
    state.v[N - 1] = 1;
    assert_eq!(
        StepWitness::honest(&shape, step.constants, &state, &step.gradient).map(|_| ()),
        Err(RangeError::SecondMoment { what: "v", index: N - 1, value: 1 }.into())
    );
    for (before, after) in [(1, 0), (0, 1)] {
        let mut updates = step.updates(Rule::Sgd);
        updates[N - 1].before.v = before;
        updates[N - 1].after.v = after;
        assert_eq!(violated(&shape, skip(&shape, &step, updates), &step.instances), ["sgd has no second moment"]);
    }
}

#[test]
fn bias_correction_of_another_step_is_refused() {
    let rule = Rule::AdamW;
    let shape = shape(rule);
    let step = later(rule);
    for t in [0, 2] {
        let other = StepConstants::new(rule, false, &hyper(rule), &schedule_at(rule, t));
        assert_ne!(other, step.constants);
        // The whole step under another schedule: the constants are not the instance's.
        let updates = step.before.updates(rule, &other, &step.gradient).expect("in range");
        let witness = StepWitness::from_updates(&shape, other, updates.clone(), Check::Enforce).expect("consistent");
        assert_eq!(violated(&shape, witness.clone(), &step.instances), ["constants equal the instance"]);
        real_proof_refused(rule, "another schedule", witness, &step);
        // The right constants beside results of the other schedule.
        let refusal = StepWitness::from_updates(&shape, step.constants, updates.clone(), Check::Enforce);
        assert!(matches!(refusal, Err(WitnessError::OutOfRange { quantity: "s-remainder" | "s-slack", index: 0, .. })));
        assert_eq!(violated(&shape, skip(&shape, &step, updates), &step.instances), [SUM]);
    }
}

/// A and C one at a time, by one unit.
#[test]
fn every_constant_is_bound_to_its_instance() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let step = later(rule);
        for row in 0..circuits::step::shape::CONSTANT_SLOTS {
            let mut instances = step.instances;
            instances[row] += Fr::from(1);
            assert_eq!(
                violated(&shape(rule), step.witness(rule), &instances),
                ["constants equal the instance"],
                "{rule:?}, row {row}"
            );
        }
    }
}

/// Blocks that are right for another learning rate: the first block shows the instance's, the last cells the other.
#[test]
fn constants_that_change_on_the_way_are_refused() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let shape = shape(rule);
        let step = later(rule);
        let faster = StepConstants { a: 2 * step.constants.a, ..step.constants };
        for at in [1, N - 1, shape.n_blocks()] {
            let mut updates = step.updates(rule);
            let other = step.before.updates(rule, &faster, &step.gradient).expect("in range");
            updates.iter_mut().zip(other).skip(at).for_each(|(own, other)| *own = other);
            let witness = StepWitness::switched(&shape, step.constants, (at, faster), updates).expect("consistent");
            assert_eq!(
                violated(&shape, witness.clone(), &step.instances),
                ["constants are carried"],
                "{rule:?}, from block {at}"
            );
            if at == 1 {
                real_proof_refused(rule, "constants changed on the way", witness, &step);
            }
        }
    }
}

#[test]
fn forged_multiplicity_is_refused() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let step = later(rule);
        let honest = step.witness(rule);
        for entry in [0, honest.multiplicity.len() / 2, honest.multiplicity.len() - 1] {
            let mut witness = honest.clone();
            witness.multiplicity[entry] += 1;
            assert_eq!(violated(&shape(rule), witness, &step.instances), [SUM], "{rule:?}, entry {entry}");
        }
        let used = honest.multiplicity.iter().position(|m| *m > 0).expect("some entry is used");
        let mut witness = honest.clone();
        witness.multiplicity[used] -= 1;
        assert_eq!(violated(&shape(rule), witness.clone(), &step.instances), [SUM]);
        real_proof_refused(rule, "a forged multiplicity", witness, &step);
    }
}

/// Moving one unit between two entries keeps the number of lookups, not their values.
#[test]
fn multiplicity_moved_to_another_entry_is_refused() {
    let step = later(Rule::AdamW);
    let mut witness = step.witness(Rule::AdamW);
    let used = witness.multiplicity.iter().position(|m| *m > 0).expect("some entry is used");
    witness.multiplicity[used] -= 1;
    witness.multiplicity[used + 1] += 1;
    assert_eq!(violated(&shape(Rule::AdamW), witness, &step.instances), [SUM]);
}

/// A state has one opening: nothing hides in the blocks beyond the parameters, even where the update is right.
#[test]
fn value_in_a_row_without_parameter_is_refused() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let narrow = shape(rule);
        let wide = StepShape { n_params: N + 1, ..narrow.clone() };
        assert_eq!(wide.n_blocks(), narrow.n_blocks(), "the range table leaves padding blocks");
        let step = later(rule);
        for (cell, g) in [(Cell { w: 1, m: 0, v: 0 }, 0), (Cell { w: 0, m: 1, v: 0 }, 0), (Cell::default(), 1)] {
            let mut updates = step.updates(rule);
            updates.push(update(rule, &step.constants, N, cell, g).expect("in range"));
            let witness =
                StepWitness::from_updates(&wide, step.constants, updates, Check::Enforce).expect("consistent");
            assert_eq!(violated(&wide, witness.clone(), &step.instances), [""; 0], "right in the wider circuit");
            assert_eq!(violated(&narrow, witness, &step.instances), ["rows without a parameter are zero"]);
        }
    }
}
