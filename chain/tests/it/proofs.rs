//! What a node proves of a run, checked without it: the same as the contract answers, and nothing else.

use std::collections::BTreeMap;

use chain::{AnchoredProof, ChainError, LogSteps, StateError, StateProof};
use ledger::{Address, FieldElement, RunId};
use serde_json::{Value, json};

use crate::support::{
    demo::Demo,
    epochs::LocalLog,
    world::{OPEN, World, registration},
};

/// One size of epochs.
const SIZES: [LogSteps; 1] = [LogSteps(2)];

/// The proof with its JSON changed.
fn changed(proof: &AnchoredProof, change: impl FnOnce(&mut Value)) -> Result<AnchoredProof, StateError> {
    let mut json: Value = serde_json::from_slice(&proof.state.to_bytes().expect("JSON")).expect("JSON");
    change(&mut json);
    // Keys come out sorted, so it is canonical.
    let state = StateProof::parse(&serde_json::to_vec(&json).expect("JSON"))?;
    Ok(AnchoredProof { state, ..proof.clone() })
}

#[tokio::test]
async fn what_is_proved_is_what_the_contract_answers() {
    let demo = Demo::new().await;
    let client = demo.writer.client();
    let registered = client.prove_anchored(demo.contract, demo.run, &SIZES).await.expect("a proof");
    assert_eq!(registered.verify(demo.contract, demo.run).expect("it holds").head.counter, 0);
    for (n, epoch) in (1..).zip(&demo.epochs) {
        demo.writer.anchor(demo.contract, epoch, 0).await.expect("a real proof");
        let proof = client.prove_anchored(demo.contract, demo.run, &SIZES).await.expect("a proof");
        let again = StateProof::parse(&proof.state.to_bytes().expect("JSON")).expect("JSON");
        assert_eq!(again, proof.state);
        let proven = proof.verify(demo.contract, demo.run).expect("it holds");
        assert_eq!(proven.head.counter, n);
        assert_eq!(Some(proven.head), client.head(demo.contract, demo.run).await.expect("a head"));
        assert_eq!(Some(proven.run), client.run(demo.contract, demo.run).await.expect("a run"));
        assert_eq!(proven.registry, demo.registry);
        let placed: Vec<_> =
            proven.verifiers.iter().map(|(size, placed)| (*size, placed.address, placed.frozen)).collect();
        assert_eq!(placed, [(SIZES[0], demo.verifier, false)]);
    }
    // What was proved before stays proved of its block.
    let old = registered.verify(demo.contract, demo.run).expect("it holds");
    assert_eq!((old.head.counter, old.parent), (0, None));

    demo.writer.finalize(demo.contract, demo.run).await.expect("final");
    demo.writer.freeze(demo.registry, demo.selector).await.expect("frozen");
    let proof = client.prove_anchored(demo.contract, demo.run, &SIZES).await.expect("a proof");
    let proven = proof.verify(demo.contract, demo.run).expect("it holds");
    assert!(proven.head.finalized && proven.verifiers[&SIZES[0]].frozen);
}

#[tokio::test]
async fn a_childs_parent_is_proved_too() {
    let world = World::new().await;
    let mut log = world.run(1, OPEN).await;
    world.anchor(&mut log, 4).await;
    world.writer.finalize(world.contract, log.run).await.expect("final");
    let child = registration(2, OPEN, Some((log.run, log.state)));
    let (run, _) = world.writer.register_run(world.contract, &child).await.expect("registered").into_inner();
    world.anchor(&mut LocalLog::new(run, log.state), 2).await;
    let client = world.writer.client();
    let proof = client.prove_anchored(world.contract, run, &[LogSteps(1)]).await.expect("a proof");
    let proven = proof.verify(world.contract, run).expect("it holds");
    assert_eq!(proven.run.parent, Some(log.run));
    let parent = proven.parent.expect("it has one");
    assert_eq!(Some(parent), client.head(world.contract, log.run).await.expect("a head"));
    assert!(parent.finalized && parent.state == child.genesis_state);
}

#[tokio::test]
async fn every_part_of_a_proof_counts() {
    let demo = Demo::new().await;
    let client = demo.writer.client();
    demo.writer.anchor(demo.contract, &demo.epochs[0], 0).await.expect("a real proof");
    let earlier = client.prove_anchored(demo.contract, demo.run, &SIZES).await.expect("a proof");
    demo.writer.anchor(demo.contract, &demo.epochs[1], 0).await.expect("a real proof");
    let honest = client.prove_anchored(demo.contract, demo.run, &SIZES).await.expect("a proof");
    let refused = |proof: &AnchoredProof| proof.verify(demo.contract, demo.run).expect_err("it does not hold");
    let json =
        |change: &dyn Fn(&mut Value)| changed(&honest, change).and_then(|proof| proof.verify(demo.contract, demo.run));
    let earlier_json: Value = serde_json::from_slice(&earlier.state.to_bytes().expect("JSON")).expect("JSON");

    // Values: another head's, none, another code's.
    let error = json(&|state| state["accounts"][0]["slots"][3]["value"] = json!("0x7")).expect_err("another root");
    assert!(matches!(error, StateError::Storage { .. }), "{error}");
    let error = json(&|state| state["accounts"][0]["slots"][1]["value"] = json!("0x0")).expect_err("no epochs");
    assert!(matches!(error, StateError::Storage { .. }), "{error}");
    let error = json(&|state| state["accounts"][1]["slots"][0]["value"] = json!("0x1")).expect_err("another verifier");
    assert!(matches!(error, StateError::Storage { .. }), "{error}");
    for key in ["code_hash", "storage_root"] {
        let zeros = format!("0x{}", "00".repeat(32));
        let error = json(&|state| state["accounts"][2][key] = json!(zeros)).expect_err("another account");
        assert!(matches!(error, StateError::Account { .. }), "{key}: {error}");
    }
    let error = json(&|state| state["accounts"][0]["nonce"] = json!("0x10000000000000000")).expect_err("no nonce");
    assert!(matches!(error, StateError::Account { .. }), "{error}");

    // Nodes: missing, of an earlier block.
    let error = json(&|state| drop(state["accounts"][0]["proof"].as_array_mut().expect("nodes").pop()));
    assert!(matches!(error, Err(StateError::Account { .. })), "{error:?}");
    let error = json(&|state| state["accounts"][0]["slots"][1]["proof"] = json!([]));
    assert!(matches!(error, Err(StateError::Storage { .. })), "{error:?}");
    let error = json(&|state| state["accounts"][0] = earlier_json["accounts"][0].clone());
    assert!(matches!(error, Err(StateError::Account { .. })), "{error:?}");
    // The header of another block has another state.
    let error = json(&|state| state["header"] = earlier_json["header"].clone());
    assert!(matches!(error, Err(StateError::Account { .. })), "{error:?}");

    // Accounts and slots: missing, twice.
    let error = json(&|state| drop(state["accounts"].as_array_mut().expect("accounts").remove(2)));
    assert!(matches!(error, Err(StateError::NoAccount { address }) if address == demo.verifier), "{error:?}");
    let error = json(&|state| drop(state["accounts"][0]["slots"].as_array_mut().expect("slots").pop()));
    assert!(matches!(error, Err(StateError::NoSlot { .. })), "{error:?}");
    let error = json(&|state| {
        let first = state["accounts"][0].clone();
        state["accounts"].as_array_mut().expect("accounts").push(first);
    });
    assert!(matches!(error, Err(StateError::Twice { .. })), "{error:?}");

    // The header: cut, longer, nonsense.
    let header = |change: &dyn Fn(&mut String)| {
        json(&|state| {
            let mut text = state["header"].as_str().expect("hex").to_owned();
            change(&mut text);
            state["header"] = json!(text);
        })
    };
    for error in [header(&|h| h.push_str("00")), header(&|h| h.truncate(h.len() - 2)), header(&|h| *h = "0x".into())] {
        assert!(matches!(error, Err(StateError::Header { .. })), "{error:?}");
    }
    let error = json(&|state| state["more"] = json!(1));
    assert!(matches!(error, Err(StateError::Format(_))), "{error:?}");
    let error = json(&|state| state["v"] = json!(2));
    assert!(matches!(error, Err(StateError::Format(_))), "{error:?}");

    // Code: of other sources, of another account, another registry.
    let mut other = honest.clone();
    other.anchor_code[100] ^= 1;
    assert!(matches!(refused(&other), StateError::OtherContract { what: "RunAnchor", .. }));
    let mut other = honest.clone();
    other.registry_code.push(0);
    assert!(matches!(refused(&other), StateError::OtherContract { what: "VerifierRegistry", .. }));
    let swapped = AnchoredProof { anchor_code: honest.registry_code.clone(), ..honest.clone() };
    assert!(matches!(refused(&swapped), StateError::OtherContract { what: "RunAnchor", .. }));
    let mut other = honest.clone();
    other.verifier_codes.values_mut().for_each(|code| code[7] ^= 1);
    assert!(matches!(refused(&other), StateError::Code { .. }));
    let more = BTreeMap::from([(LogSteps(3), honest.verifier_codes[&SIZES[0]].clone())]);
    assert!(matches!(refused(&AnchoredProof { verifier_codes: more, ..honest.clone() }), StateError::NoSlot { .. }));

    // Questions that the proof does not answer.
    let elsewhere = honest.verify(Address([7; 20]), demo.run);
    assert!(matches!(elsewhere, Err(StateError::NoAccount { .. })), "{elsewhere:?}");
    let another = honest.verify(demo.contract, RunId::from(FieldElement::from(7)));
    assert!(matches!(another, Err(StateError::NoSlot { .. })), "{another:?}");
    assert!(honest.verify(demo.contract, demo.run).is_ok());
}

#[tokio::test]
async fn what_is_not_there_cannot_be_proved() {
    let demo = Demo::new().await;
    let client = demo.writer.client();
    let unknown = client.prove_anchored(demo.contract, RunId::from(FieldElement::from(7)), &SIZES).await;
    assert!(
        matches!(&unknown, Err(ChainError::Answer { reason, .. }) if reason.contains("does not know run")),
        "{unknown:?}"
    );
    let no_verifier = client.prove_anchored(demo.contract, demo.run, &[LogSteps(5)]).await;
    assert!(
        matches!(&no_verifier, Err(ChainError::Answer { reason, .. }) if reason.contains("no verifier of 32 steps")),
        "{no_verifier:?}"
    );
    let other = client.prove_anchored(demo.registry, demo.run, &SIZES).await;
    assert!(
        matches!(&other, Err(ChainError::Answer { reason, .. }) if reason.contains("RunAnchor is not the contract")),
        "{other:?}"
    );
}
