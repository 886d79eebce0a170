//! Digests against `testdata/reference/digests.json`: a changed digest breaks every anchored run and must be loud.
//!
//! `aggregator`'s tests compare the hash itself with an independent implementation.

use std::collections::BTreeMap;

use circuits::convert::{from_fr, from_g1};
use circuits::digest::{Domain, policy_digest, state_after, state_digest, step_digest};
use circuits::poseidon::hash;
use circuits::reference::S;
use halo2_proofs::halo2curves::{
    bn256::{Fr, G1Affine},
    group::{Curve, prime::PrimeCurveAffine},
};
use ledger::{ChunkCommitments, CurvePoint, FieldElement, NumberFormat, Policy, Rule, RunId, StepIndex, StepStatement};

use crate::support::{hyper, schedule_at};

/// `n` times the generator.
fn point(n: u64) -> CurvePoint {
    from_g1(&(G1Affine::generator() * Fr::from(n)).to_affine()).expect("finite")
}

fn statement(rule: Rule, n_chunks: u64) -> StepStatement {
    let chunks = (0..n_chunks)
        .map(|c| ChunkCommitments { input: point(3 * c + 1), output: point(3 * c + 2), gradient: point(3 * c + 3) })
        .collect();
    StepStatement {
        chunks,
        fresh: false,
        hyper: hyper(rule),
        run: RunId::from(FieldElement::from(7)),
        schedule: schedule_at(rule, 2),
        step: StepIndex(2),
    }
}

fn policy(rule: Rule) -> Policy {
    let h = hyper(rule);
    Policy {
        rule,
        beta1: h.beta1,
        beta2: h.beta2,
        eps: h.eps,
        weight_decay: h.weight_decay,
        lr_max: h.lr,
        format: NumberFormat::Q24,
        n_params: 2410,
        n_chunks: 1,
        layout_digest: FieldElement::from(11),
        step_key_digest: FieldElement::from(13),
    }
}

fn digests() -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut put = |name: &str, x: FieldElement| {
        out.insert(name.to_owned(), x.to_string());
    };
    for len in 0..4u64 {
        let words: Vec<Fr> = (1..=len).map(Fr::from).collect();
        put(&format!("hash of 1..={len}"), from_fr(&hash(&words)));
    }
    for (name, rule) in [("adamw", Rule::AdamW), ("sgd", Rule::Sgd)] {
        put(&format!("policy, {name}"), policy_digest(&policy(rule)));
        for n_chunks in [1, 2] {
            let s = statement(rule, n_chunks);
            put(&format!("step, {name}, {n_chunks} chunks"), step_digest(&s).expect("points"));
            put(&format!("state after, {name}, {n_chunks} chunks"), state_after(&s).expect("points"));
        }
    }
    put("state, P1 = P2 = 1, chunks G", state_digest((S, S), [point(1)].iter()).expect("points"));
    put("state, P1 = P2 = 1, chunks G 2G", state_digest((S, S), [point(1), point(2)].iter()).expect("points"));
    out
}

#[test]
fn digests_are_the_recorded_ones() {
    let recorded: BTreeMap<String, String> =
        serde_json::from_str(include_str!("../../../testdata/reference/digests.json")).expect("well formed");
    assert_eq!(digests(), recorded, "a digest changed: this breaks every anchored run");
}

#[test]
fn every_field_is_in_its_digest() {
    type Change<T> = (&'static str, fn(&mut T));
    let (base, rule) = (statement(Rule::AdamW, 2), Rule::AdamW);
    let changes: [Change<StepStatement>; 15] = [
        ("run", |s| s.run = RunId::from(FieldElement::from(8))),
        ("step", |s| s.step.0 += 1),
        ("fresh", |s| s.fresh = true),
        ("beta1", |s| s.hyper.beta1 += 1),
        ("beta2", |s| s.hyper.beta2 += 1),
        ("eps", |s| s.hyper.eps += 1),
        ("weight_decay", |s| s.hyper.weight_decay += 1),
        ("lr", |s| s.hyper.lr += 1),
        ("p1", |s| s.schedule.p1 += 1),
        ("p2", |s| s.schedule.p2 += 1),
        ("a", |s| s.schedule.a += 1),
        ("c", |s| s.schedule.c += 1),
        ("input", |s| s.chunks[1].input = point(99)),
        ("output", |s| s.chunks[0].output = point(99)),
        ("gradient", |s| s.chunks[1].gradient = point(99)),
    ];
    let digest = step_digest(&base).expect("points");
    for (name, change) in changes {
        let mut s = base.clone();
        change(&mut s);
        assert_ne!(step_digest(&s).expect("points"), digest, "{name}");
    }
    let mut fewer = base.clone();
    fewer.chunks.pop();
    assert_ne!(step_digest(&fewer).expect("points"), digest);

    let base = policy(rule);
    let changes: [Change<Policy>; 10] = [
        ("rule", |p| p.rule = Rule::Sgd),
        ("beta1", |p| p.beta1 += 1),
        ("beta2", |p| p.beta2 += 1),
        ("eps", |p| p.eps += 1),
        ("weight_decay", |p| p.weight_decay += 1),
        ("lr_max", |p| p.lr_max += 1),
        ("n_params", |p| p.n_params += 1),
        ("n_chunks", |p| p.n_chunks += 1),
        ("layout", |p| p.layout_digest = FieldElement::from(12)),
        ("step key", |p| p.step_key_digest = FieldElement::from(14)),
    ];
    for (name, change) in changes {
        let mut p = base;
        change(&mut p);
        assert_ne!(policy_digest(&p), policy_digest(&base), "{name}");
    }

    let state = |p, points: &[CurvePoint]| state_digest(p, points.iter()).expect("points");
    let base = state((S, S), &[point(1), point(2)]);
    for other in [
        state((S - 1, S), &[point(1), point(2)]),
        state((S, S - 1), &[point(1), point(2)]),
        state((S, S), &[point(2), point(1)]),
        state((S, S), &[point(1)]),
    ] {
        assert_ne!(other, base);
    }
}

#[test]
fn kinds_of_digests_do_not_meet() {
    let words = [Domain::State.word(), Domain::Step.word(), Domain::Policy.word()];
    assert_eq!(words.map(|w| w & 0xff), [1, 2, 3]);
    assert!(words.iter().all(|w| (w >> 8).to_be_bytes()[3..] == *b"cairn"));
}

#[test]
fn point_that_is_no_commitment_has_no_digest() {
    use circuits::convert::ConvertError;
    let off_curve = CurvePoint::from_bytes([1; 64]).expect("coordinates in range");
    assert_eq!(state_digest((S, S), [off_curve].iter()), Err(ConvertError::NotOnCurve(off_curve)));
    let infinity = CurvePoint::from_bytes([0; 64]).expect("coordinates in range");
    assert_eq!(state_digest((S, S), [infinity].iter()), Err(ConvertError::Infinity));
    assert_eq!(from_g1(&G1Affine::identity()), Err(ConvertError::Infinity));
}
