//! The reference against `testdata/reference/*.json`, which an independent script wrote (`testdata/reference/make.py`).

use circuits::reference::{Cell, RangeError, StepConstants, next_schedule, update};
use ledger::{Hyper, Rule};
use serde::Deserialize;

/// All numbers are decimal strings: they do not fit JSON's doubles.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    made_by: String,
    rule: String,
    schedules: Vec<ScheduleCase>,
    updates: Vec<UpdateCase>,
    refused: Vec<RefusedCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HyperCase {
    beta1: String,
    beta2: String,
    eps: String,
    lr: String,
    weight_decay: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleCase {
    hyper: HyperCase,
    p1: String,
    p2: String,
    /// `[p1', p2', a, c]` of each step; the last one is missing where the schedule leaves its range.
    steps: Vec<[String; 4]>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    /// `[beta1, beta2, a, c, eps, decay]`.
    constants: [String; 6],
    /// `[w, m, v, g]`.
    before: [String; 4],
}

#[derive(Deserialize)]
struct UpdateCase {
    #[serde(flatten)]
    input: Input,
    /// `[w', m', v', s, u]`.
    after: [String; 5],
}

#[derive(Deserialize)]
struct RefusedCase {
    #[serde(flatten)]
    input: Input,
    what: String,
    value: String,
}

fn n<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a decimal number in range")
}

impl Input {
    fn read(&self) -> (StepConstants, Cell, i64) {
        let [beta1, beta2, a, c, eps, decay] = self.constants.each_ref().map(|x| n(x));
        let [w, m, v, g] = &self.before;
        let constants = StepConstants { fresh: false, beta1, beta2, a, c, eps, decay };
        (constants, Cell { w: n(w), m: n(m), v: n(v) }, n(g))
    }
}

/// (what, value) of a refusal.
fn refusal(e: RangeError) -> (String, String) {
    match e {
        RangeError::Signed { what, value, .. } => (what.to_owned(), value.to_string()),
        RangeError::SecondMoment { what, value, .. } => (what.to_owned(), value.to_string()),
        RangeError::Root { value, .. } => ("s".to_owned(), value.to_string()),
        RangeError::Hyper { what, value, .. } => (what.to_owned(), value.to_string()),
        other => panic!("unexpected refusal: {other}"),
    }
}

fn check(rule: Rule, name: &str, json: &str) {
    let vectors: Vectors = serde_json::from_str(json).expect("well formed vectors");
    assert_eq!(vectors.rule, name);
    assert!(vectors.made_by.contains("make.py"));
    assert!(vectors.updates.len() >= 300 && vectors.schedules.len() >= 10 && vectors.refused.len() >= 4);
    for (i, case) in vectors.schedules.iter().enumerate() {
        let h = &case.hyper;
        let hyper = Hyper {
            beta1: n(&h.beta1),
            beta2: n(&h.beta2),
            eps: n(&h.eps),
            lr: n(&h.lr),
            weight_decay: n(&h.weight_decay),
        };
        let mut products = (n(&case.p1), n(&case.p2));
        for (t, expected) in case.steps.iter().enumerate() {
            let got = next_schedule(rule, &hyper, products).expect("in range");
            products = (got.p1, got.p2);
            let expected = expected.each_ref().map(|x| n::<u64>(x));
            assert_eq!([got.p1, got.p2, got.a, got.c], expected, "schedule {i}, step {t}");
        }
        if let Some(what) = &case.refused {
            let (got, _) = refusal(next_schedule(rule, &hyper, products).expect_err("out of range"));
            assert_eq!(got, *what, "schedule {i}");
        }
    }
    for (i, case) in vectors.updates.iter().enumerate() {
        let (constants, before, g) = case.input.read();
        let got = update(rule, &constants, i, before, g).unwrap_or_else(|e| panic!("update {i}: {e}"));
        let [w, m, v, s, u] = &case.after;
        assert_eq!(got.after, Cell { w: n(w), m: n(m), v: n(v) }, "update {i}");
        assert_eq!((got.s, got.u), (n(s), n(u)), "update {i}");
        assert_eq!((got.before, got.g), (before, g), "update {i}");
    }
    for (i, case) in vectors.refused.iter().enumerate() {
        let (constants, before, g) = case.input.read();
        let got = refusal(update(rule, &constants, i, before, g).expect_err("out of range"));
        assert_eq!(got, (case.what.clone(), case.value.clone()), "refused {i}");
    }
}

#[test]
fn adamw_equals_the_independent_vectors() {
    check(Rule::AdamW, "adamw", include_str!("../../../testdata/reference/adamw.json"));
}

#[test]
fn sgd_equals_the_independent_vectors() {
    check(Rule::Sgd, "sgd", include_str!("../../../testdata/reference/sgd.json"));
}
