//! Commitments link neighbouring steps, and nothing else links: other values, blinding, chunks or runs.

use circuits::claim::{
    ClaimError, check_follows, check_policy, check_schedule, check_start, chunk_instances, constants, verify_step,
};
use circuits::convert::{from_fr, to_fr};
use circuits::keys::{LINK_MARGIN, StepError};
use circuits::linked::{RunSecret, StateSeed};
use circuits::opening::{chunk_len, chunks, commit_column, commit_state};
use circuits::reference::{PRODUCTS_START, S, State};
use circuits::step::witness::StepWitness;
use ledger::{ChunkIndex, FieldElement, Hyper, NumberFormat, Policy, Rule, RunId, Schedule, StepIndex, StepStatement};
use rand::rngs::OsRng;

use crate::support::{N, gradient, hyper, key, shape, weights};

/// Name of a field and an attack on it.
type Change<T> = (&'static str, fn(&mut T));

/// A small run that keeps what each step was made from.
struct Run {
    rule: Rule,
    id: RunId,
    secret: RunSecret,
    n_chunks: usize,
    state: State,
    policy: Policy,
}

/// One proved step.
struct Proved {
    statement: StepStatement,
    proofs: Vec<Vec<u8>>,
}

fn policy(rule: Rule, n_chunks: usize) -> Policy {
    let Hyper { beta1, beta2, eps, lr, weight_decay } = hyper(rule);
    Policy {
        rule,
        beta1,
        beta2,
        eps,
        weight_decay,
        lr_max: lr,
        format: NumberFormat::Q24,
        n_params: (N * n_chunks) as u64,
        n_chunks: n_chunks as u32,
        layout_digest: FieldElement::from(5),
        step_key_digest: from_fr(&key(rule).vk.digest()),
    }
}

impl Run {
    fn new(rule: Rule, id: u64, n_chunks: usize) -> Self {
        Self {
            rule,
            id: RunId::from(FieldElement::from(id)),
            secret: RunSecret([id as u8; 32]),
            n_chunks,
            state: State::fresh(weights(N * n_chunks, id)),
            policy: policy(rule, n_chunks),
        }
    }

    fn seed(&self, state: u64) -> StateSeed {
        self.secret.state_seed(&to_fr(self.id.to_field()), state)
    }

    /// Proves step `t` from `before`, blinding its input with `seed_in`.
    fn prove(&self, t: u64, before: &State, seed_in: &StateSeed) -> (Proved, State) {
        let (key, hyper, fresh) = (key(self.rule), hyper(self.rule), t == 0);
        let gradient = gradient(before.len(), t);
        let (after, schedule) = before.step(self.rule, fresh, &hyper, &gradient).expect("in range");
        let mut statement =
            StepStatement { chunks: Vec::new(), fresh, hyper, run: self.id, schedule, step: StepIndex(t) };
        let k = constants(self.rule, &statement);
        let seed_out = self.seed(t + 1);
        let mut proofs = Vec::new();
        let len = chunk_len(before.len(), self.n_chunks);
        for (c, chunk) in chunks(before, self.n_chunks).iter().enumerate() {
            let gradient = &gradient[c * len..][..chunk.len()];
            let witness = StepWitness::honest(&shape(self.rule), k, chunk, gradient).expect("in range");
            let c = c as u32;
            let instances = chunk_instances(self.rule, &statement, ChunkIndex(c));
            let seeds = (&seed_in.column_seed(c), &seed_out.column_seed(c));
            let proof = key.pk.prove(&key.params, witness, &instances, seeds, OsRng).expect("proves");
            statement.chunks.push(key.vk.points(&proof).expect("well formed"));
            proofs.push(proof);
        }
        (Proved { statement, proofs }, after)
    }

    /// The first `count` honest steps.
    fn honest(&self, count: u64) -> Vec<Proved> {
        let mut state = self.state.clone();
        (0..count)
            .map(|t| {
                let (proved, after) = self.prove(t, &state, &self.seed(t));
                state = after;
                proved
            })
            .collect()
    }

    fn verify(&self, step: &Proved) -> Result<(), ClaimError> {
        let key = key(self.rule);
        verify_step(&key.vk, &key.params, &self.policy, &step.statement, &step.proofs)
    }
}

/// Guards the order in which halo2 draws blinding rows (see `circuits::linked`): an upgrade that changes it stops here.
#[test]
fn output_point_of_a_step_is_the_input_point_of_the_next() {
    for (rule, n_chunks) in [(Rule::AdamW, 1), (Rule::AdamW, 2), (Rule::Sgd, 1)] {
        let run = Run::new(rule, 11, n_chunks);
        let steps = run.honest(3);
        check_start(rule, &steps[0].statement).expect("a start");
        for step in &steps {
            run.verify(step).expect("honest");
        }
        for pair in steps.windows(2) {
            for (a, b) in pair[0].statement.chunks.iter().zip(&pair[1].statement.chunks) {
                assert_eq!(a.output, b.input, "halo2's blinding draws changed their order");
                assert_ne!(a.input, a.output);
                assert_ne!(a.gradient, b.gradient);
            }
            check_follows(rule, &pair[0].statement, &pair[1].statement).expect("honest");
        }
    }
}

#[test]
fn gradients_are_blinded_afresh() {
    let run = Run::new(Rule::AdamW, 11, 1);
    let (a, b) = (run.honest(1).remove(0), run.honest(1).remove(0));
    assert_eq!(a.statement.chunks[0].input, b.statement.chunks[0].input);
    assert_eq!(a.statement.chunks[0].output, b.statement.chunks[0].output);
    assert_ne!(a.statement.chunks[0].gradient, b.statement.chunks[0].gradient);
    assert_ne!(a.proofs, b.proofs);
}

fn link_refused(rule: Rule, before: &Proved, next: &Proved, at: u32) {
    match check_follows(rule, &before.statement, &next.statement) {
        Err(ClaimError::Link { step, chunk, expected, got }) => {
            assert_eq!((step, chunk), (next.statement.step, ChunkIndex(at)));
            assert_eq!(expected, before.statement.chunks[at as usize].output);
            assert_eq!(got, next.statement.chunks[at as usize].input);
        }
        other => panic!("expected a broken link, got {other:?}"),
    }
}

#[test]
fn step_from_a_state_that_differs_in_one_value_does_not_link() {
    let run = Run::new(Rule::AdamW, 11, 2);
    let (first, after) = run.prove(0, &run.state, &run.seed(0));
    let last = 2 * N - 1;
    let lies: [fn(&mut State, usize); 3] = [|s, i| s.w[i] += 1, |s, i| s.m[i] -= 1, |s, i| s.v[i] += 1];
    for lie in lies {
        for (index, chunk) in [(0, 0), (last, 1)] {
            let mut state = after.clone();
            lie(&mut state, index);
            let (second, _) = run.prove(1, &state, &run.seed(1));
            run.verify(&second).expect("the proof itself is right");
            link_refused(run.rule, &first, &second, chunk);
        }
    }
}

#[test]
fn step_from_the_same_state_with_other_blinding_does_not_link() {
    let run = Run::new(Rule::Sgd, 11, 1);
    let (first, after) = run.prove(0, &run.state, &run.seed(0));
    let (second, _) = run.prove(1, &after, &run.seed(7));
    run.verify(&second).expect("the proof itself is right");
    link_refused(run.rule, &first, &second, 0);
}

#[test]
fn chunk_of_another_position_or_step_does_not_link() {
    let run = Run::new(Rule::AdamW, 11, 2);
    let steps = run.honest(3);
    let (first, second) = (&steps[0], &steps[1]);
    // Chunks 0 and 1 swapped: both break, the first is named; and each proof says which chunk it is.
    let mut swapped = Proved { statement: second.statement.clone(), proofs: second.proofs.clone() };
    swapped.statement.chunks.swap(0, 1);
    swapped.proofs.swap(0, 1);
    link_refused(run.rule, first, &swapped, 0);
    assert!(matches!(
        run.verify(&swapped),
        Err(ClaimError::Proof { chunk: ChunkIndex(0), source: StepError::Refused(_), .. })
    ));
    // Chunk 1 of step 2 in step 1.
    let mut mixed = Proved { statement: second.statement.clone(), proofs: second.proofs.clone() };
    mixed.statement.chunks[1] = steps[2].statement.chunks[1];
    mixed.proofs[1].clone_from(&steps[2].proofs[1]);
    link_refused(run.rule, first, &mixed, 1);
    assert!(matches!(
        run.verify(&mixed),
        Err(ClaimError::Proof { chunk: ChunkIndex(1), source: StepError::Refused(_), .. })
    ));
    // Same proofs, other commitments in the statement.
    mixed.proofs[1].clone_from(&second.proofs[1]);
    assert!(matches!(run.verify(&mixed), Err(ClaimError::Commitment { chunk: ChunkIndex(1), column: "input", .. })));
    for (column, change) in [
        ("output", (|s, o| s.chunks[0].output = o) as fn(&mut StepStatement, ledger::CurvePoint)),
        ("gradient", |s, o| s.chunks[0].gradient = o),
    ] {
        let mut statement = second.statement.clone();
        change(&mut statement, steps[2].statement.chunks[0].output);
        let step = Proved { statement, proofs: second.proofs.clone() };
        assert!(matches!(
            run.verify(&step),
            Err(ClaimError::Commitment { chunk: ChunkIndex(0), column: c, .. }) if c == column
        ));
    }
}

#[test]
fn spliced_runs_are_refused() {
    let (a, b) = (Run::new(Rule::AdamW, 11, 1), Run::new(Rule::AdamW, 12, 1));
    let (from_a, from_b) = (a.honest(2), b.honest(2));
    assert!(matches!(
        check_follows(a.rule, &from_a[0].statement, &from_b[1].statement),
        Err(ClaimError::ForeignRun { step: StepIndex(1), expected, got }) if (expected, got) == (a.id, b.id)
    ));
    // Renamed, the splice breaks at the link, and the proof, which is bound to its run, does not verify.
    let mut renamed = Proved { statement: from_b[1].statement.clone(), proofs: from_b[1].proofs.clone() };
    renamed.statement.run = a.id;
    link_refused(a.rule, &from_a[0], &renamed, 0);
    assert!(matches!(a.verify(&renamed), Err(ClaimError::Proof { source: StepError::Refused(_), .. })));
    // The very same states under another run id: the links hold, the proof does not.
    let mut moved = Proved { statement: from_a[1].statement.clone(), proofs: from_a[1].proofs.clone() };
    moved.statement.run = b.id;
    assert!(matches!(b.verify(&moved), Err(ClaimError::Proof { source: StepError::Refused(_), .. })));
}

#[test]
fn gap_repetition_and_second_start_are_refused() {
    let run = Run::new(Rule::AdamW, 11, 1);
    let steps = run.honest(3);
    for (before, next, expected, got) in [(0, 2, 1, 2), (1, 1, 2, 1), (1, 0, 2, 0)] {
        assert!(matches!(
            check_follows(run.rule, &steps[before].statement, &steps[next].statement),
            Err(ClaimError::StepGap { expected: e, got: g }) if (e.0, g.0) == (expected, got)
        ));
    }
    let mut fresh = steps[1].statement.clone();
    fresh.fresh = true;
    assert!(matches!(
        check_follows(run.rule, &steps[0].statement, &fresh),
        Err(ClaimError::Fresh { expected: false, got: true, .. })
    ));
    let mut stale = steps[0].statement.clone();
    stale.fresh = false;
    assert!(matches!(check_start(run.rule, &stale), Err(ClaimError::Fresh { expected: true, got: false, .. })));
    assert!(matches!(
        check_start(run.rule, &steps[1].statement),
        Err(ClaimError::StepGap { expected: StepIndex(0), got: StepIndex(1) })
    ));
    let mut fewer = steps[1].statement.clone();
    fewer.chunks.clear();
    assert!(matches!(
        check_follows(run.rule, &steps[0].statement, &fewer),
        Err(ClaimError::ChunkCount { expected: 1, got: 0, .. })
    ));
}

#[test]
fn statement_outside_the_policy_is_refused_by_field() {
    let run = Run::new(Rule::AdamW, 11, 1);
    let step = run.honest(1).remove(0);
    check_policy(&run.policy, &step.statement).expect("honest");
    let changes: [Change<Policy>; 4] = [
        ("beta1", |p| p.beta1 -= 1),
        ("beta2", |p| p.beta2 += 1),
        ("eps", |p| p.eps += 1),
        ("weight_decay", |p| p.weight_decay -= 1),
    ];
    for (name, change) in changes {
        let mut policy = run.policy;
        change(&mut policy);
        assert!(matches!(
            check_policy(&policy, &step.statement),
            Err(ClaimError::Policy { field, .. }) if field == name
        ));
    }
    let mut policy = run.policy;
    policy.lr_max -= 1;
    assert!(matches!(
        check_policy(&policy, &step.statement),
        Err(ClaimError::LearningRate { max, got, .. }) if (max, got) == (policy.lr_max, run.policy.lr_max)
    ));
    let mut policy = run.policy;
    policy.n_chunks = 2;
    assert!(matches!(
        check_policy(&policy, &step.statement),
        Err(ClaimError::ChunkCount { expected: 2, got: 1, what: "chunks", .. })
    ));
    let mut statement = step.statement.clone();
    statement.hyper.beta1 = S;
    assert!(matches!(check_policy(&run.policy, &statement), Err(ClaimError::Range { .. })));
    let other_key = Run { policy: Policy { step_key_digest: FieldElement::from(1), ..run.policy }, ..run };
    assert!(matches!(other_key.verify(&step), Err(ClaimError::StepKey { .. })));
    let run = Run::new(Rule::AdamW, 11, 1);
    let none = Proved { statement: step.statement, proofs: Vec::new() };
    assert!(matches!(run.verify(&none), Err(ClaimError::ChunkCount { what: "proofs", expected: 1, got: 0, .. })));
}

#[test]
fn schedule_of_another_step_is_refused_by_field() {
    let run = Run::new(Rule::AdamW, 11, 1);
    let steps = run.honest(2);
    let (first, second) = (&steps[0].statement, &steps[1].statement);
    let changes: [Change<Schedule>; 4] =
        [("p1", |s| s.p1 += 1), ("p2", |s| s.p2 -= 1), ("a", |s| s.a += 1), ("c", |s| s.c -= 1)];
    for (name, change) in changes {
        let mut next = second.clone();
        change(&mut next.schedule);
        assert!(matches!(
            check_follows(run.rule, first, &next),
            Err(ClaimError::Schedule { field, step: StepIndex(1), .. }) if field == name
        ));
    }
    let mut next = second.clone();
    next.schedule = first.schedule;
    assert!(matches!(check_follows(run.rule, first, &next), Err(ClaimError::Schedule { field: "p1", .. })));
    assert!(matches!(check_schedule(run.rule, PRODUCTS_START, second), Err(ClaimError::Schedule { field: "p1", .. })));
    // A and C are instances of the proof as well.
    let mut forged = Proved { statement: second.clone(), proofs: steps[1].proofs.clone() };
    forged.statement.schedule.c += 1;
    assert!(matches!(run.verify(&forged), Err(ClaimError::Proof { source: StepError::Refused(_), .. })));
}

#[test]
fn opening_reproduces_the_points_and_one_changed_unit_does_not() {
    for (rule, n_chunks) in [(Rule::AdamW, 1), (Rule::Sgd, 2)] {
        let run = Run::new(rule, 11, n_chunks);
        let key = key(rule);
        let (step, after) = run.prove(0, &run.state, &run.seed(0));
        let rows = key.vk.blinding_rows();
        let commit = |state: &State, seed: &StateSeed| {
            commit_state(&key.params, &key.shape, rows, state, n_chunks, seed).expect("points")
        };
        let points = |f: fn(&ledger::ChunkCommitments) -> ledger::CurvePoint| {
            step.statement.chunks.iter().map(f).collect::<Vec<_>>()
        };
        assert_eq!(commit(&run.state, &run.seed(0)), points(|c| c.input));
        assert_eq!(commit(&after, &run.seed(1)), points(|c| c.output));
        assert_ne!(commit(&after, &run.seed(0)), points(|c| c.output), "another seed");
        let lies: [fn(&mut State, usize); 3] = [|s, i| s.w[i] += 1, |s, i| s.m[i] -= 1, |s, i| s.v[i] += 1];
        for lie in lies {
            for index in [0, after.len() - 1] {
                let mut state = after.clone();
                lie(&mut state, index);
                assert_ne!(commit(&state, &run.seed(1)), points(|c| c.output));
            }
        }
        let column = run.seed(1).column_seed(0);
        let chunk = &chunks(&after, n_chunks)[0];
        let one = commit_column(&key.params, &key.shape, rows, chunk, &column).expect("a point");
        assert_eq!(one, step.statement.chunks[0].output);
    }
}

#[test]
fn seeds_differ_by_secret_run_state_and_chunk() {
    let blinding = |secret: u8, run: u64, state: u64, chunk: u32| {
        RunSecret([secret; 32]).state_seed(&run.into(), state).column_seed(chunk).blinding(3)
    };
    let base = blinding(1, 1, 1, 1);
    assert_eq!(base, blinding(1, 1, 1, 1));
    for other in [blinding(2, 1, 1, 1), blinding(1, 2, 1, 1), blinding(1, 1, 2, 1), blinding(1, 1, 1, 2)] {
        assert!(base.iter().zip(&other).all(|(a, b)| a != b));
    }
}

#[test]
fn random_rows_outnumber_the_openings_of_a_state_with_all_its_children() {
    for rule in [Rule::AdamW, Rule::Sgd] {
        let vk = &key(rule).vk;
        let cs = vk.inner().cs();
        let rotations = |column| cs.advice_queries().iter().filter(|(c, _)| c.index() == column).count();
        // w, m, v at three rotations, in either column.
        assert_eq!((rotations(0), rotations(1)), (3, 3), "{rule:?}");
        let (max, rows) = (vk.max_children(), cs.blinding_factors());
        assert!(max >= 1, "{rule:?}: no child at {rows} rows");
        for n in 1..=max + 1 {
            // Evaluations and multi-opening of the parent's last proof and n first proofs, and the commitment.
            let openings = 4 * (n + 1) + 1;
            assert_eq!(vk.state_openings(n), openings, "{rule:?}");
            assert_eq!(openings + LINK_MARGIN <= rows, n <= max, "{rule:?}: {n} children at {rows} rows");
        }
    }
}
