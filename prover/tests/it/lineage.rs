//! A child's first step links to its parent's last, resumes, and cannot have too many siblings.

use std::sync::LazyLock;

use circuits::claim::{ClaimError, check_child_start, check_follows, check_start, verify_step};
use circuits::convert::from_fr;
use circuits::digest::state_digest;
use circuits::keys::StepProvingKey;
use circuits::linked::RunSecret;
use circuits::reference::{PRODUCTS_START, State};
use circuits::step::shape::StepShape;
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{FieldElement, Hyper, NumberFormat, Policy, Rule, RunId, StepIndex};
use prover::lineage::{LineageError, admit_child, check_open};
use prover::step::{ProveError, ProvedStep, Seeds, StepProver};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

const N: usize = 10;
const HYPER: Hyper = Hyper { beta1: 3_865_470_566, beta2: 4_290_672_329, eps: 43, lr: 4_294_967, weight_decay: 0 };

static KEY: LazyLock<(ParamsKZG<Bn256>, StepProvingKey)> = LazyLock::new(|| {
    let params = ParamsKZG::setup(10, ChaCha20Rng::seed_from_u64(7));
    let shape = StepShape::at(Rule::AdamW, N / 2, 10, 8).unwrap();
    let key = StepProvingKey::generate(&params, &shape).unwrap();
    (params, key)
});

fn policy() -> Policy {
    Policy {
        rule: Rule::AdamW,
        beta1: HYPER.beta1,
        beta2: HYPER.beta2,
        eps: HYPER.eps,
        weight_decay: HYPER.weight_decay,
        lr_max: HYPER.lr,
        format: NumberFormat::Q24,
        n_params: N as u64,
        n_chunks: 2,
        layout_digest: FieldElement::from(5),
        step_key_digest: from_fr(&KEY.1.verifying_key().digest()),
    }
}

fn id(n: u64) -> RunId {
    RunId::from(FieldElement::from(n))
}

fn parent_seeds() -> Seeds {
    Seeds { secret: RunSecret([1; 32]), genesis: None }
}

fn prover(run: u64, has_parent: bool, seeds: Seeds) -> StepProver<'static> {
    StepProver::new(&KEY.0, &KEY.1, policy(), id(run), has_parent, seeds).unwrap()
}

fn prove(prover: &StepProver<'_>, step: u64, state: &State) -> ProvedStep {
    let gradient: Vec<i64> = (0..N as i64).map(|i| 1_000 * (i - 4) + step as i64).collect();
    prover.prove(StepIndex(step), state, &HYPER, &gradient, &mut |_, _| {}).unwrap()
}

fn parent() -> Vec<ProvedStep> {
    let prover = prover(1, false, parent_seeds());
    let first = prove(&prover, 0, &State::fresh((0..N as i64).map(|i| i << 20).collect()));
    let second = prove(&prover, 1, &first.next);
    vec![first, second]
}

#[test]
fn a_childs_first_step_starts_from_the_parents_last_commitments() {
    let steps = parent();
    let last = steps.last().unwrap();
    let products = (last.next.p1, last.next.p2);
    let child_seeds =
        || Seeds { secret: RunSecret([2; 32]), genesis: Some(parent_seeds().state(id(1), steps.len() as u64)) };
    let child = prover(2, true, child_seeds());
    let (points, genesis) = child.commit(0, &last.next).unwrap();
    assert_eq!(genesis, last.state_out);
    assert_eq!(points, last.statement.chunks.iter().map(|c| c.output).collect::<Vec<_>>());

    let first = prove(&child, 0, &last.next);
    let key = KEY.1.verifying_key();
    verify_step(&key, &KEY.0, &policy(), &first.statement, &first.proofs).unwrap();
    assert!(!first.statement.fresh);
    assert_eq!(first.statement.chunks.iter().map(|c| c.input).collect::<Vec<_>>(), points);
    assert_eq!(state_digest(products, first.statement.chunks.iter().map(|c| &c.input)).unwrap(), genesis);
    check_child_start(Rule::AdamW, products, &first.statement).unwrap();
    let refused = check_start(Rule::AdamW, &first.statement);
    assert!(matches!(refused, Err(ClaimError::Fresh { expected: true, got: false, .. })), "{refused:?}");
    let refused = check_child_start(Rule::AdamW, PRODUCTS_START, &first.statement);
    assert!(matches!(refused, Err(ClaimError::Schedule { field: "p1", .. })), "{refused:?}");
    let refused = check_child_start(Rule::AdamW, PRODUCTS_START, &steps[0].statement);
    assert!(matches!(refused, Err(ClaimError::Fresh { expected: false, got: true, .. })), "{refused:?}");
    let refused = check_child_start(Rule::AdamW, products, &last.statement);
    assert!(matches!(refused, Err(ClaimError::StepGap { .. })), "{refused:?}");

    // A prover made anew, as after a kill, continues; its own seeds do not depend on the parent's.
    let second = prove(&prover(2, true, child_seeds()), 1, &first.next);
    check_follows(Rule::AdamW, &first.statement, &second.statement).unwrap();
    let orphan = prover(2, true, Seeds { secret: RunSecret([2; 32]), genesis: None });
    assert_eq!(orphan.commit(1, &first.next).unwrap().1, first.state_out);
    // Without the parent's seed the same values have another commitment.
    assert_ne!(orphan.commit(0, &last.next).unwrap().1, genesis);
}

#[test]
fn a_learning_rate_above_the_policy_is_refused_before_proving() {
    let prover = prover(1, false, parent_seeds());
    let hyper = Hyper { lr: HYPER.lr + 1, ..HYPER };
    let refused = prover.prove(StepIndex(0), &State::fresh(vec![0; N]), &hyper, &[0; N], &mut |_, _| panic!("proved"));
    let Err(ProveError::LearningRate { step: StepIndex(0), max, got }) = refused else { panic!("{refused:?}") };
    assert_eq!((max, got), (HYPER.lr, HYPER.lr + 1));
}

#[test]
fn a_state_has_no_more_children_than_its_random_rows_hide() {
    let key = KEY.1.verifying_key();
    let max = key.max_children();
    let children: Vec<RunId> = (10..10 + max as u64).map(id).collect();
    let state = StepIndex(8);
    assert_eq!(admit_child(&key, id(1), state, &children[1..], id(9)), Ok(()));
    let exhausted = LineageError::ParentExhausted { parent: id(1), state, max, got: max + 1 };
    assert_eq!(admit_child(&key, id(1), state, &children, id(9)), Err(exhausted));
    // A child that is counted already may go on.
    assert_eq!(admit_child(&key, id(1), state, &children, children[0]), Ok(()));
    let empty = LineageError::EmptyParent { parent: id(1) };
    assert_eq!(admit_child(&key, id(1), StepIndex(0), &[], id(9)), Err(empty));
    assert_eq!(check_open(id(1), state, &[]), Ok(()));
    let closed = LineageError::ParentClosed { parent: id(1), state, n_children: max };
    assert_eq!(check_open(id(1), state, &children), Err(closed));
}
