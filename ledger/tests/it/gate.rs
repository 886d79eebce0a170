//! The gate gives the answers of `testdata/gate/cases.json`, which the contracts' tests read too.

use std::{collections::BTreeSet, path::Path};

use ledger::{
    FieldElement, Selector, TreeSize,
    gate::{Gate, GateError, GateRefusal, RunFacts},
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    name: String,
    known: bool,
    facts: Facts,
    gate: Value,
    state: FieldElement,
    refusal: String,
}

#[derive(Deserialize)]
struct Facts {
    #[serde(rename = "final")]
    finalized: bool,
    frozen: bool,
    policy: FieldElement,
    selector: Selector,
    state: FieldElement,
    steps: TreeSize,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/gate/cases.json");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file: Value = serde_json::from_slice(&bytes).expect("the cases parse");
    serde_json::from_value(file["cases"].take()).expect("a list of cases")
}

#[test]
fn cases_give_their_answers() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let gate = Gate::parse(case.gate.to_string().as_bytes()).expect("a gate");
        let Facts { finalized, frozen, policy, selector, state, steps } = case.facts;
        let facts = RunFacts { selector, finalized, frozen, steps, state, policy };
        let answer = gate.check(case.known.then_some(&facts), case.state);
        let name = answer.as_ref().err().map_or("none", GateRefusal::name);
        assert_eq!(name, case.refusal, "{}", case.name);
        // All of them are told, the contract's answer first.
        let all = gate.refusals(case.known.then_some(&facts), case.state);
        assert_eq!(all.first().cloned(), answer.err(), "{}", case.name);
        seen.insert(case.refusal);
    }
    assert_eq!(seen.len(), 8, "every answer occurs: {seen:?}");
}

#[test]
fn refusals_name_what_disagrees() {
    let case = cases().into_iter().find(|case| case.refusal == "too_few_steps").expect("a case");
    let gate = Gate::parse(case.gate.to_string().as_bytes()).expect("a gate");
    let facts = RunFacts {
        selector: case.facts.selector,
        finalized: true,
        frozen: false,
        steps: TreeSize(7),
        state: case.facts.state,
        policy: case.facts.policy,
    };
    let refusal = gate.check(Some(&facts), case.state).expect_err("one step too few");
    assert_eq!(refusal, GateRefusal::TooFewSteps { expected: TreeSize(8), got: TreeSize(7) });
    assert_eq!(refusal.to_string(), "expected at least 8 steps, got 7");
}

#[test]
fn everything_that_a_run_fails_is_named() {
    let word = FieldElement::from;
    let gate = Gate {
        min_steps: TreeSize(8),
        must_be_final: true,
        policies: vec![word(1), word(2)],
        selectors: Vec::new(),
        v: Default::default(),
    };
    let selector = Selector([0xad, 0xa0, 0, 1]);
    let facts =
        RunFacts { selector, finalized: false, frozen: true, steps: TreeSize(7), state: word(5), policy: word(3) };
    let refusals = gate.refusals(Some(&facts), word(6));
    let told: Vec<_> = refusals.iter().map(|r| (r.name(), r.expected(), r.got())).collect();
    let text = |value: u64| word(value).to_string();
    let expected = [
        ("not_final", "final".to_owned(), "not final".to_owned()),
        ("selector_frozen", "not stopped".to_owned(), format!("{selector} stopped")),
        ("selector_not_allowed", "none at all".to_owned(), selector.to_string()),
        ("policy_not_allowed", format!("{} or {}", text(1), text(2)), text(3)),
        ("too_few_steps", "8".to_owned(), "7".to_owned()),
        ("state_differs", text(5), text(6)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn other_keys_types_and_versions_are_refused() {
    let good = cases().swap_remove(0).gate;
    let change = |key: &str, value: Value| {
        let mut gate = good.clone();
        gate[key] = value;
        Gate::parse(gate.to_string().as_bytes())
    };
    let version = change("v", json!(2)).expect_err("another version").to_string();
    assert!(version.contains("expected format version 1, got 2"), "{version}");
    for (key, value) in [
        ("min_step", json!(1)),
        ("min_steps", json!(-1)),
        ("must_be_final", json!("yes")),
        ("policies", json!(["0x01"])),
        ("policies", json!([format!("0x{}", "ff".repeat(32))])),
        ("selectors", json!(["ada00001"])),
    ] {
        assert!(matches!(change(key, value.clone()), Err(GateError::Json(_))), "{key}: {value}");
    }
    assert!(matches!(Gate::parse(b"{}"), Err(GateError::Json(_))));
    assert!(matches!(Gate::parse(b""), Err(GateError::Json(_))));
}
