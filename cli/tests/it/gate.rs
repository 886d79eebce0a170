//! `cairn gate` and `cairn status`: a real run on a real node passes, and every requirement refuses by name.

use serde_json::{Value, json};

use crate::support::{Answer, Scratch, anvil::Anvil, cairn, demo::Demo};

/// A policy that the demo's run passes once both epochs are anchored and it is final.
fn policy(demo: &Demo) -> Value {
    let policy = &demo_vectors()["policy"];
    json!({ "min_steps": 8, "must_be_final": true, "policies": [policy], "selectors": [demo.selector], "v": 1 })
}

fn demo_vectors() -> Value {
    serde_json::from_str(include_str!("../../../testdata/anchor/demo.json")).expect("the vectors parse")
}

/// `cairn gate` of a run offered at a state.
fn gate(scratch: &Scratch, demo: &Demo, policy: &Value, run: &str, state: &str) -> Answer {
    let path = scratch.path("gate.json");
    std::fs::write(&path, policy.to_string()).expect("scratch space");
    let contract = demo.contract.to_string();
    let node = ["--rpc", &demo.anvil.url, "--contract", &contract];
    cairn(&[&["gate", "--policy", &path, "--run", run, "--state", state], &node[..]].concat())
}

/// Names of what was refused, with the values, from both outputs of a refusal.
#[track_caller]
fn refusals(answer: &Answer) -> Vec<(String, String, String)> {
    let line = answer.refused(1);
    let report = answer.json();
    assert_eq!(report["passes"], false);
    let list = report["refusals"].as_array().expect("refusals");
    let text = |value: &Value, key: &str| value[key].as_str().expect(key).to_owned();
    let list: Vec<_> = list.iter().map(|r| (text(r, "requirement"), text(r, "expected"), text(r, "got"))).collect();
    assert!(line.starts_with("cairn: check failed: gate: "), "{line}");
    for (name, _, got) in &list {
        assert!(line.contains(name), "{name}: {line}");
        let told = ["not final", "unknown"].contains(&got.as_str()) || line.contains(got.trim_end_matches(" stopped"));
        assert!(told, "{got}: {line}");
    }
    list
}

fn one(name: &str, expected: impl ToString, got: impl ToString) -> Vec<(String, String, String)> {
    vec![(name.to_owned(), expected.to_string(), got.to_string())]
}

#[tokio::test]
async fn real_run_passes_when_it_shows_what_is_asked_and_not_before() {
    let (scratch, demo) = (Scratch::new(), Demo::new().await);
    let good = policy(&demo);
    let run = demo.run.to_string();
    let state = demo.epochs[1].state_out.to_string();
    let genesis = demo_vectors()["genesis_state"].as_str().expect("a state").to_owned();

    let answer = gate(&scratch, &demo, &good, &run, &state);
    let names: Vec<_> = refusals(&answer).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["not_final", "too_few_steps", "state_differs"]);
    assert_eq!(answer.json()["facts"]["state"], genesis.as_str());

    demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect("a real proof");
    let half = demo.epochs[0].state_out.to_string();
    let answer = gate(&scratch, &demo, &good, &run, &half);
    let expected = [one("not_final", "final", "not final"), one("too_few_steps", 8, 4)].concat();
    assert_eq!(refusals(&answer), expected);
    let mut running = good.clone();
    (running["must_be_final"], running["min_steps"]) = (json!(false), json!(4));
    assert_eq!(gate(&scratch, &demo, &running, &run, &half).must()["passes"], true);

    demo.writer.anchor(demo.contract, &demo.epochs[1], 0).await.expect("a real proof");
    assert_eq!(refusals(&gate(&scratch, &demo, &good, &run, &state)), one("not_final", "final", "not final"));
    let contract = demo.contract.to_string();
    let finalize = ["admin", "finalize", "--run", &run, "--rpc", &demo.anvil.url, "--contract", &contract];
    let finalize = [&finalize[..], &["--anvil-dev-key"]].concat();
    assert!(cairn(&finalize).must()["transaction"].is_string());
    assert!(cairn(&finalize).must()["transaction"].is_null(), "it is final already");

    let report = gate(&scratch, &demo, &good, &run, &state).must();
    let block = demo.writer.client().latest_block().await.expect("a block");
    let facts = json!({
        "selector": demo.selector, "final": true, "frozen": false, "steps": 8, "state": state,
        "policy": good["policies"][0],
    });
    assert_eq!((&report["passes"], &report["facts"], &report["refusals"]), (&json!(true), &facts, &json!([])));
    assert_eq!((&report["block"], &report["block_hash"]), (&json!(block.number), &json!(block.hash)));

    // Each requirement on its own.
    let changed = |key: &str, value: Value| {
        let mut policy = good.clone();
        policy[key] = value;
        gate(&scratch, &demo, &policy, &run, &state)
    };
    assert_eq!(refusals(&changed("min_steps", json!(9))), one("too_few_steps", 9, 8));
    let got = &good["policies"][0].as_str().expect("a policy");
    assert_eq!(refusals(&changed("policies", json!([genesis]))), one("policy_not_allowed", &genesis, got));
    assert_eq!(refusals(&changed("policies", json!([]))), one("policy_not_allowed", "none at all", got));
    let other = "0xada00001";
    assert_eq!(refusals(&changed("selectors", json!([other]))), one("selector_not_allowed", other, demo.selector));
    let answer = gate(&scratch, &demo, &good, &run, &genesis);
    assert_eq!(refusals(&answer), one("state_differs", &state, &genesis));
    let answer = gate(&scratch, &demo, &good, &genesis, &state);
    assert_eq!(refusals(&answer), one("unknown_run", "registered", "unknown"));
    assert!(answer.json()["facts"].is_null());

    let selector = demo.selector.to_string();
    let freeze = ["registry", "freeze", "--rpc", &demo.anvil.url, "--contract", &contract, "--selector", &selector];
    let freeze = [&freeze[..], &["--anvil-dev-key"]].concat();
    assert!(cairn(&freeze).must()["transaction"].is_string());
    assert!(cairn(&freeze).must()["transaction"].is_null(), "it is stopped already");
    let stopped = one("selector_frozen", "not stopped", format!("{selector} stopped"));
    assert_eq!(refusals(&gate(&scratch, &demo, &good, &run, &state)), stopped);
}

#[tokio::test]
async fn policies_of_another_form_are_usage_errors_that_name_the_file() {
    let (scratch, demo) = (Scratch::new(), Demo::new().await);
    let good = policy(&demo);
    let (run, state) = (demo.run.to_string(), demo.epochs[1].state_out.to_string());
    let change = |key: &str, value: Value| {
        let mut policy = good.clone();
        policy[key] = value;
        policy
    };
    for (policy, word) in [
        (change("min_step", json!(1)), "unknown field `min_step`"),
        (change("v", json!(2)), "expected format version 1, got 2"),
        (change("min_steps", json!(-1)), "min_steps"),
        (change("min_steps", json!(1.5)), ""),
        (change("must_be_final", json!("yes")), "expected a boolean"),
        (change("policies", json!([format!("0x{}", "ff".repeat(32))])), "not below the field modulus"),
        (change("selectors", json!(["ada00001"])), "expected hex text that begins with 0x"),
        (json!({}), "missing field"),
        (json!([]), ""),
    ] {
        let answer = gate(&scratch, &demo, &policy, &run, &state);
        let line = answer.refused(2);
        assert!(line.contains("gate.json") && line.contains(word.trim_start_matches("min_steps")), "{policy}: {line}");
        assert!(answer.stdout.is_empty(), "{answer:#?}");
    }
    let contract = demo.contract.to_string();
    let node = ["--rpc", demo.anvil.url.as_str(), "--contract", &contract, "--run", &run];
    let answer = cairn(&[&["gate", "--policy", "/nonexistent/gate.json", "--state", &state], &node[..]].concat());
    assert!(answer.refused(2).contains("/nonexistent/gate.json"));
    let file = scratch.path("gate.json");
    std::fs::write(&file, good.to_string()).expect("scratch space");
    let answer = cairn(&[&["gate", "--policy", &file], &node[..]].concat());
    assert!(answer.refused(2).contains("--state is missing"));
    let nobody = "0x7777777777777777777777777777777777777777";
    let node = ["--rpc", demo.anvil.url.as_str(), "--contract", nobody, "--run", &run, "--state", &state];
    let answer = cairn(&[&["gate", "--policy", &file], &node[..]].concat());
    assert!(answer.refused(2).contains(&format!("no code at {nobody}")));
}

/// A run that is registered and has no epoch yet, by its directory.
#[tokio::test]
async fn directory_says_run_contract_and_state() {
    let (scratch, demo) = (Scratch::new(), Demo::new().await);
    let (contract, owner) = (demo.contract.to_string(), demo.writer.address().to_string());
    let run = scratch.trained(80, &["--contract", &contract, "--owner", &owner]);
    let run = run.to_str().expect("UTF-8");
    let rpc = demo.anvil.url.as_str();
    let before = cairn(&["status", "--run", run, "--rpc", rpc]).must();
    assert!(before["facts"].is_null(), "not registered: {before:#}");
    cairn(&["anchor", "--run", run, "--rpc", rpc, "--anvil-dev-key"]).must();
    let status = cairn(&["status", "--run", run, "--rpc", rpc]).must();
    let facts = json!({
        "selector": status["selector"], "final": false, "frozen": false, "steps": 0, "state": status["state"],
        "policy": status["policy"],
    });
    assert_eq!(status["facts"], facts, "{status:#}");
    let plan = cairn(&["anchor", "--run", run, "--dry-run", "--rpc", rpc]).must();
    assert!(plan["gas_of_rest"].is_null(), "nothing is aggregated: {plan:#}");

    let file = scratch.path("gate.json");
    let mut policy = json!({ "min_steps": 0, "must_be_final": false, "v": 1 });
    (policy["policies"], policy["selectors"]) = (json!([status["policy"]]), json!([status["selector"]]));
    std::fs::write(&file, policy.to_string()).expect("scratch space");
    let report = cairn(&["gate", "--policy", &file, "--run", run, "--rpc", rpc]).must();
    assert_eq!((&report["run"], &report["state"]), (&status["run"], &status["state"]));

    let elsewhere = cairn(&["gate", "--policy", &file, "--run", run, "--rpc", rpc, "--contract", &owner]);
    assert!(elsewhere.refused(1).contains("run identity"), "{elsewhere:#?}");
    let other = Anvil::with_args(&["--chain-id", "7"]);
    let elsewhere = cairn(&["gate", "--policy", &file, "--run", run, "--rpc", &other.url]);
    assert!(elsewhere.refused(1).contains("the run is for chain 31337"), "{elsewhere:#?}");
}
