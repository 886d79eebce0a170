//! The statement's constraints alone, without proof verification: honest epochs are satisfied and show the digests
//! that `circuits::digest` computes; every attack leaves them unsatisfied.

use std::mem;

use aggregator::EpochInput;
use aggregator::statement::{ChunkCells, STEP_BITS, Witness, constrain};
use circuits::convert::{from_fr, to_fr, to_g1};
use circuits::digest::policy_digest;
use circuits::reference::{S, next_schedule};
use circuits::step::gate::{InstanceRow, N_INSTANCES};
use halo2_base::gates::circuit::{CircuitBuilderStage, builder::BaseCircuitBuilder};
use halo2_ecc::bn254::FpChip;
use halo2_proofs::{
    dev::{MockProver, VerifyFailure},
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::Field,
        group::prime::PrimeCurveAffine,
    },
};
use ledger::{FieldElement, Rule};
use snark_verifier_sdk::{
    BITS, LIMBS,
    halo2::aggregation::{BaseFieldEccChip, Halo2Loader},
};

use crate::support::{epoch, key};

const K: u32 = 14;

/// What the verified step proofs show: instances and points of each chunk of each step.
#[derive(Clone)]
struct Shown {
    instances: [Fr; N_INSTANCES],
    points: [G1Affine; 3],
}

/// An epoch as the statement's constraints see it; attacks change it.
#[derive(Clone)]
struct Case {
    rule: Rule,
    steps: Vec<Vec<Shown>>,
    witness: Witness,
}

impl Case {
    fn of(input: &EpochInput) -> Self {
        let witness = input.witness();
        let steps = input
            .steps
            .iter()
            .zip(&witness.proofs)
            .map(|(step, proofs)| {
                let chunks = step.statement.chunks.iter().zip(proofs);
                chunks
                    .map(|(c, proof)| Shown {
                        instances: proof.instances.clone().try_into().expect("one instance column"),
                        points: [c.input, c.output, c.gradient].map(|p| to_g1(&p).expect("a point")),
                    })
                    .collect()
            })
            .collect();
        Self { rule: input.policy.rule, steps, witness: witness.statement }
    }

    /// The instances, if all constraints are satisfied.
    fn run(&self) -> Option<Vec<FieldElement>> {
        let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Mock)
            .use_k(K as usize)
            .use_lookup_bits(K as usize - 1)
            .use_instance_columns(1);
        let range = builder.range_chip();
        let fp_chip = FpChip::<Fr>::new(&range, BITS, LIMBS);
        let pool = mem::take(builder.pool(0));
        let loader = Halo2Loader::new(BaseFieldEccChip::new(&fp_chip), pool);
        let cells: Vec<Vec<ChunkCells>> = self
            .steps
            .iter()
            .map(|chunks| {
                chunks
                    .iter()
                    .map(|shown| ChunkCells {
                        instances: shown.instances.map(|x| *loader.assign_scalar(x).assigned()),
                        points: shown.points.map(|p| loader.assign_ec_point(p).assigned().clone()),
                    })
                    .collect()
            })
            .collect();
        let digest = key(self.rule).vk.digest();
        let outputs = constrain(&loader, &range, self.rule, digest, &cells, &self.witness);
        *builder.pool(0) = loader.take_ctx();
        let words: Vec<Fr> = outputs.iter().map(|x| *x.value()).collect();
        builder.assigned_instances = vec![outputs];
        builder.calculate_params(Some(20));
        let prover = MockProver::run(K, &builder, vec![words.clone()]).expect("synthesizes");
        // This halo2's mock prover does not record which cells were assigned, so it reports all of them.
        let satisfied = match prover.verify_par() {
            Ok(()) => true,
            Err(failures) => failures.iter().all(|f| matches!(f, VerifyFailure::CellNotAssigned { .. })),
        };
        satisfied.then(|| words.iter().map(from_fr).collect())
    }

    fn refused(&self, what: &str) {
        assert!(self.run().is_none(), "{what}: the constraints are satisfied");
    }

    /// Sets an instance in all chunks of a step.
    fn set(&mut self, step: usize, row: InstanceRow, change: impl Fn(Fr) -> Fr) {
        for chunk in &mut self.steps[step] {
            let cell = &mut chunk.instances[row as usize];
            *cell = change(*cell);
        }
    }
}

fn check_honest(input: &EpochInput) {
    let expected = input.check().expect("honest");
    let words = Case::of(input).run().expect("honest epochs are satisfied");
    let first = &input.steps[0].statement;
    let mut wanted = vec![
        first.run.to_field(),
        FieldElement::from(first.step.0),
        FieldElement::from(first.fresh),
        expected.state_in,
        expected.state_out,
        expected.policy_digest,
    ];
    wanted.extend(expected.digests);
    assert_eq!(words, wanted);
}

/// The second half of a run of `2n` steps: an epoch that is not the first.
fn later_epoch(rule: Rule, n_chunks: usize, n: usize) -> EpochInput {
    let mut input = epoch(rule, 3, n_chunks, 2 * n);
    let before = input.steps[n - 1].statement.schedule;
    input.products = (before.p1, before.p2);
    input.steps.drain(..n);
    input
}

#[test]
fn honest_epochs_show_the_native_digests() {
    for (rule, n_chunks, n) in [(Rule::AdamW, 1, 2), (Rule::AdamW, 2, 2), (Rule::AdamW, 1, 4), (Rule::Sgd, 1, 2)] {
        check_honest(&epoch(rule, 3, n_chunks, n));
    }
    check_honest(&later_epoch(Rule::AdamW, 2, 2));
    check_honest(&later_epoch(Rule::Sgd, 1, 1));
}

#[test]
fn step_skipped_repeated_or_reordered_is_refused() {
    let run = Case::of(&epoch(Rule::AdamW, 3, 1, 4));
    let pick = |order: &[usize]| Case {
        rule: run.rule,
        steps: order.iter().map(|i| run.steps[*i].clone()).collect(),
        witness: Witness { steps: order.iter().map(|i| run.witness.steps[*i]).collect(), ..run.witness.clone() },
    };
    assert!(pick(&[0, 1]).run().is_some());
    for order in [[0, 2], [0, 0], [1, 0], [0, 3]] {
        pick(&order).refused(&format!("steps {order:?}"));
    }
    // Only the number is wrong: links, schedule and everything else continue.
    let mut case = pick(&[0, 1]);
    case.set(1, InstanceRow::Step, |t| t + Fr::ONE);
    case.refused("a gap in the numbers");
    let mut case = pick(&[0, 1]);
    case.set(1, InstanceRow::Step, |_| Fr::ZERO);
    case.refused("the first number twice");
}

#[test]
fn step_of_another_run_is_refused() {
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
    case.set(1, InstanceRow::Run, |run| run + Fr::ONE);
    case.refused("the second step says another run");
    // Spliced whole: the second step of run 4, renamed or not.
    let other = Case::of(&epoch(Rule::AdamW, 4, 1, 2));
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
    case.steps[1] = other.steps[1].clone();
    case.refused("the second step of another run");
    case.set(1, InstanceRow::Run, |_| Fr::from(3));
    case.refused("the second step of another run, renamed");
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 2, 1));
    case.steps[0][1].instances[InstanceRow::Run as usize] += Fr::ONE;
    case.refused("the second chunk says another run");
}

#[test]
fn broken_link_is_refused() {
    for n_chunks in [1, 2] {
        let honest = Case::of(&epoch(Rule::AdamW, 3, n_chunks, 2));
        for chunk in 0..n_chunks {
            let mut case = honest.clone();
            case.steps[1][chunk].points[0] = G1Affine::generator();
            case.refused("a step starts from another state");
            case.steps[1][chunk].points[0] = -honest.steps[0][chunk].points[1];
            case.refused("a step starts from the negated state");
            let mut case = honest.clone();
            case.steps[0][chunk].points[1] = G1Affine::generator();
            case.refused("a step ends in another state");
        }
        if n_chunks == 2 {
            let mut case = honest.clone();
            case.steps[1].swap(0, 1);
            case.refused("chunks swapped");
            case.steps[1][0].instances[InstanceRow::Chunk as usize] = Fr::ZERO;
            case.steps[1][1].instances[InstanceRow::Chunk as usize] = Fr::ONE;
            case.refused("chunks swapped and renumbered");
        }
    }
}

#[test]
fn wrong_chunk_index_is_refused() {
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 2, 1));
    case.steps[0][1].instances[InstanceRow::Chunk as usize] = Fr::ZERO;
    case.refused("chunk 0 twice");
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 1));
    case.steps[0][0].instances[InstanceRow::Chunk as usize] = Fr::ONE;
    case.refused("a lone chunk 1");
}

#[test]
fn chunks_of_a_step_share_all_constants() {
    let honest = Case::of(&epoch(Rule::AdamW, 3, 2, 1));
    for row in [
        InstanceRow::Fresh,
        InstanceRow::Beta1,
        InstanceRow::Beta2,
        InstanceRow::A,
        InstanceRow::C,
        InstanceRow::Eps,
        InstanceRow::Decay,
        InstanceRow::Step,
    ] {
        let mut case = honest.clone();
        case.steps[0][1].instances[row as usize] += Fr::ONE;
        case.refused(&format!("chunk 1 with another {row:?}"));
    }
}

#[test]
fn step_outside_the_policy_is_refused() {
    let honest = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
    for (what, change) in [
        ("beta1", (|w| w.policy.beta1 += 1) as fn(&mut Witness)),
        ("beta2", |w| w.policy.beta2 -= 1),
        ("eps", |w| w.policy.eps += 1),
        ("weight_decay", |w| w.policy.weight_decay += 1),
        ("lr above the maximum", |w| w.policy.lr_max = w.steps[0].0.lr - 1),
        ("a maximum out of range", |w| w.policy.lr_max = 1 << 40),
    ] {
        let mut case = honest.clone();
        change(&mut case.witness);
        case.refused(what);
    }
    for row in [InstanceRow::Beta1, InstanceRow::Beta2, InstanceRow::Eps, InstanceRow::Decay] {
        for step in 0..2 {
            let mut case = honest.clone();
            case.set(step, row, |x| x + Fr::ONE);
            case.refused(&format!("step {step} with another {row:?}"));
        }
    }
    let mut case = honest.clone();
    case.witness.steps[1].0.lr += 1;
    case.refused("decay and A are not of this learning rate");
    // The maximum itself is allowed.
    let mut case = honest;
    case.witness.policy.lr_max = case.witness.steps[0].0.lr;
    let words = case.run().expect("lr = lr_max");
    assert_eq!(words[5], policy_digest(&case.witness.policy));
}

/// What the constraints leave to the contract is in the policy digest that it compares.
#[test]
fn unconstrained_policy_fields_change_the_policy_digest() {
    let honest = Case::of(&epoch(Rule::AdamW, 3, 1, 1));
    let digest = |case: &Case| case.run().expect("satisfied")[5];
    for change in [
        (|w| w.policy.n_params += 1) as fn(&mut Witness),
        |w| w.policy.layout_digest = FieldElement::from(6),
        |w| w.policy.lr_max += 1,
    ] {
        let mut case = honest.clone();
        change(&mut case.witness);
        assert_eq!(digest(&case), policy_digest(&case.witness.policy));
        assert_ne!(digest(&case), digest(&honest));
    }
    // Rule, number of chunks and step key are the circuit's own: the witness has no say.
    let mut case = honest.clone();
    case.witness.policy.step_key_digest = FieldElement::from(1);
    case.witness.policy.n_chunks = 9;
    assert_eq!(digest(&case), digest(&honest));
}

#[test]
fn wrong_schedule_is_refused() {
    let honest = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
    for step in 0..2 {
        for (what, change) in [
            ("P1 + 1", (|s| s.p1 += 1) as fn(&mut ledger::Schedule)),
            ("P1 − 1", |s| s.p1 -= 1),
            ("P2 + 1", |s| s.p2 += 1),
            ("P2 − 1", |s| s.p2 -= 1),
        ] {
            let mut case = honest.clone();
            change(&mut case.witness.steps[step].1);
            case.refused(&format!("{what} at step {step}"));
        }
        for row in [InstanceRow::A, InstanceRow::C] {
            for by in [Fr::ONE, -Fr::ONE] {
                let mut case = honest.clone();
                case.set(step, row, |x| x + by);
                case.refused(&format!("{row:?} off by one at step {step}"));
            }
        }
    }
    // The bias correction of another step, consistent in itself.
    let mut case = honest.clone();
    let first = case.witness.steps[0];
    case.witness.steps[1] = first;
    case.set(1, InstanceRow::A, |_| Fr::from(first.1.a));
    case.set(1, InstanceRow::C, |_| Fr::from(first.1.c));
    case.refused("the schedule of step 0 at step 1");
    // A quotient that satisfies the division modulo the field only.
    let mut case = honest;
    let (hyper, schedule) = case.witness.steps[0];
    let divisor = Fr::from(S - schedule.p1);
    let wrapped = Fr::from(hyper.lr) * Fr::from(S) * divisor.invert().expect("not zero");
    case.set(0, InstanceRow::A, |_| wrapped);
    case.refused("A as a field quotient");
}

#[test]
fn products_before_the_epoch_are_those_of_its_first_step() {
    let honest = Case::of(&later_epoch(Rule::AdamW, 1, 2));
    assert!(honest.run().is_some());
    for products in [(S, S), (S + 1, honest.witness.products.1), (honest.witness.products.0, 0)] {
        let mut case = honest.clone();
        case.witness.products = products;
        case.refused(&format!("{products:?}"));
    }
}

#[test]
fn fresh_is_for_the_first_step_of_products_one() {
    let honest = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
    let mut case = honest.clone();
    case.set(1, InstanceRow::Fresh, |_| Fr::ONE);
    case.refused("a later step is fresh");
    for not_a_bit in [Fr::from(2), -Fr::ONE] {
        let mut case = honest.clone();
        case.set(0, InstanceRow::Fresh, |_| not_a_bit);
        case.refused("fresh is not a bit");
    }
    // A consistent schedule from other products is refused when fresh, and accepted for a run with a parent.
    for products in [(S - 1, S), (S, S - 1), (S / 2, S / 2)] {
        let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 1));
        let hyper = case.witness.steps[0].0;
        let schedule = next_schedule(Rule::AdamW, &hyper, products).expect("in range");
        case.witness.products = products;
        case.witness.steps[0].1 = schedule;
        case.set(0, InstanceRow::A, |_| Fr::from(schedule.a));
        case.set(0, InstanceRow::C, |_| Fr::from(schedule.c));
        case.refused(&format!("fresh from products {products:?}"));
        case.set(0, InstanceRow::Fresh, |_| Fr::ZERO);
        assert!(case.run().is_some(), "a child run starts from products {products:?}");
    }
}

#[test]
fn step_numbers_end_at_two_to_the_forty() {
    let last = (1u64 << STEP_BITS) - 1;
    for (t0, allowed) in [(last, true), (last + 1, false), (u64::MAX, false)] {
        let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
        for (i, step) in (0u64..).zip(0..2) {
            case.set(step, InstanceRow::Step, |_| Fr::from(t0) + Fr::from(i));
        }
        assert_eq!(case.run().is_some(), allowed, "t0 = {t0}");
    }
}

#[test]
fn point_at_infinity_is_refused() {
    for point in 0..3 {
        let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 2));
        case.steps[1][0].points[point] = G1Affine::identity();
        if point == 0 {
            case.steps[0][0].points[1] = G1Affine::identity();
        }
        case.refused(&format!("point {point} at infinity"));
    }
    let mut case = Case::of(&epoch(Rule::AdamW, 3, 1, 1));
    case.steps[0][0].points[0] = G1Affine::identity();
    case.refused("first state at infinity");
}

#[test]
fn sgd_attacks_are_refused() {
    let honest = Case::of(&epoch(Rule::Sgd, 3, 1, 2));
    for row in
        [InstanceRow::Beta1, InstanceRow::Beta2, InstanceRow::A, InstanceRow::C, InstanceRow::Eps, InstanceRow::Decay]
    {
        let mut case = honest.clone();
        case.set(1, row, |x| x + Fr::ONE);
        case.refused(&format!("another {row:?}"));
    }
    for (what, change) in [
        ("lr above the maximum", (|w| w.policy.lr_max = w.steps[0].0.lr - 1) as fn(&mut Witness)),
        ("another learning rate", |w| w.steps[1].0.lr += 1),
        ("eps", |w| w.policy.eps = 1),
        ("beta2", |w| w.policy.beta2 = 1),
        ("momentum", |w| w.policy.beta1 += 1),
        ("weight decay", |w| w.policy.weight_decay += 1),
        ("products", |w| w.products = (S - 1, S)),
    ] {
        let mut case = honest.clone();
        change(&mut case.witness);
        case.refused(what);
    }
    // ε and β2 that agree between policy and proof are still refused: the rule has none.
    let mut case = honest;
    case.witness.policy.eps = 1;
    for step in 0..2 {
        case.set(step, InstanceRow::Eps, |_| Fr::ONE);
    }
    case.refused("an ε in SGD");
}

/// The circuit binds its step key: the digest in the policy is a constant.
#[test]
fn policy_digest_holds_the_step_key() {
    let case = Case::of(&epoch(Rule::AdamW, 3, 1, 1));
    let mut policy = case.witness.policy;
    assert_eq!(to_fr(policy.step_key_digest), key(Rule::AdamW).vk.digest());
    let shown = case.run().expect("satisfied")[5];
    assert_eq!(shown, policy_digest(&policy));
    policy.step_key_digest = from_fr(&key(Rule::Sgd).vk.digest());
    assert_ne!(shown, policy_digest(&policy));
}
