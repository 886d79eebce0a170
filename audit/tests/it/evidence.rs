//! The evidence of one step: every part of it counts, and is refused for its own reason.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use audit::circuit::selector;
use audit::epochs::check_code;
use audit::evidence::{OnChain, StepEvidence, VerifierOnChain};
use audit::{AuditError, Checks, EpochVerifyingKey, Reason, State, StepKey};
use chain::{BlockRef, Head, RunOnChain};
use circuits::claim::ClaimError;
use circuits::keys::StepVerifyingKey;
use circuits::notes::step_shape;
use epochcheck::EpochProofError;
use ledger::{Address, Digest, EpochIndex, FieldElement, RunId, Selector, StepIndex, TreeSize};
use serde_json::Value;
use srs::{SrsSize, SrsVerifier};
use store::{ProofFiles, RunDir, VerifiedLog};

const STEP: StepIndex = StepIndex(5);

struct Demo {
    dir: RunDir,
    log: VerifiedLog,
    key: StepKey,
    epoch_key: Arc<EpochVerifyingKey>,
    /// Of the registered verifier.
    code: Vec<u8>,
}

const EPOCH_KEY: &[u8] = include_bytes!("../../../testdata/anchor/epoch_key.vk");

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let dir = RunDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/anchor/run")).expect("a run");
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    let shape = step_shape(dir.run().description()).expect("a shape");
    let srs = srs::dev::generate(SrsSize::new(shape.k).expect("a size"), &srs::silent).expect("the string");
    let key = StepVerifyingKey::generate(srs.params(), &shape).expect("a key");
    // As it is in the cache: magic before it, a digest behind it.
    let epoch_key = EpochVerifyingKey::read(&mut &EPOCH_KEY[8..EPOCH_KEY.len() - 32]).expect("a key");
    let demo: Value = serde_json::from_str(include_str!("../../../testdata/anchor/demo.json")).expect("JSON");
    let code = hex::decode(&demo["verifier_code"].as_str().expect("code")[2..]).expect("hex");
    let key = StepKey { key, srs: SrsVerifier::from(&srs), whole: None };
    Demo { dir, log, key, epoch_key: Arc::new(epoch_key), code }
});

fn evidence(step: u64, size: u64) -> StepEvidence {
    let Demo { dir, log, key, epoch_key, .. } = &*DEMO;
    let earlier = [TreeSize(4)];
    let made = StepEvidence::of(dir, log, (StepIndex(step), TreeSize(size)), &earlier, key, |circuit| {
        assert_eq!((circuit.n_steps, circuit.k()), (4, 21));
        Ok(epoch_key.clone())
    })
    .expect("evidence");
    let read = StepEvidence::parse(&made.to_json().expect("JSON")).expect("evidence");
    assert_eq!(made, read);
    read
}

/// What the contract has after both epochs.
fn on_chain() -> OnChain {
    let (run, log) = (DEMO.dir.run().description(), &DEMO.log);
    let last = log.epochs.last().expect("two epochs");
    let head = Head {
        root: last.root_after,
        state: last.state_out,
        counter: 2,
        size: TreeSize(8),
        anchored_at: 1,
        finalized: false,
        block: BlockRef { number: 9, hash: Digest([9; 32]) },
    };
    let run = RunOnChain {
        owner: Address([1; 20]),
        selector: selector(run.policy.step_key_digest, None),
        genesis_state: run.genesis_state,
        policy_digest: run.policy_digest,
        parent: None,
    };
    let (registry, address) = (Address([2; 20]), Address([3; 20]));
    OnChain { head, run, verifier: VerifierOnChain::Placed { registry, address, code: DEMO.code.clone() } }
}

fn run() -> RunId {
    DEMO.dir.run().run()
}

/// The failed check and why.
fn failure(evidence: &StepEvidence, step: StepIndex, on_chain: &OnChain) -> audit::Failure {
    let mut checks = Checks::default();
    match evidence.check((run(), step), Some(on_chain), &mut checks) {
        Err(AuditError::Failed(failure)) => {
            let last = checks.made().last().expect("a line");
            assert_eq!((&last.check, last.state), (&failure.check, State::Failed));
            failure
        }
        other => panic!("{other:?}: {checks:?}"),
    }
}

#[test]
fn a_step_of_the_demo_holds() {
    let mut checks = Checks::default();
    evidence(5, 8).check((run(), STEP), Some(&on_chain()), &mut checks).expect("holds");
    assert_eq!(uncovered(&checks), Vec::<&str>::new());
    let detail = |name: &str| &checks.made().iter().find(|check| check.check == name).expect("a line").detail;
    let digest = circuits::convert::from_fr(&DEMO.epoch_key.digest());
    let key = format!("digest {digest} and τH are in the code of verifier {}", Address([3; 20]));
    assert!(detail("epoch key").starts_with(&key), "{}", detail("epoch key"));
    assert!(detail("epoch proof").ends_with("its key is the registered verifier's"), "{}", detail("epoch proof"));
    assert_eq!(evidence(5, 8).verifier(), Some((on_chain().run.selector, chain::LogSteps(2))));
    for step in [0, 7] {
        evidence(step, 8).check((run(), StepIndex(step)), Some(&on_chain()), &mut Checks::default()).expect("holds");
    }
}

fn uncovered<'a>(checks: &'a Checks<'_>) -> Vec<&'a str> {
    checks.made().iter().filter(|check| !check.is_ok()).map(|check| check.check.as_str()).collect()
}

#[test]
fn without_a_verifier_to_compare_with_the_key_is_the_portals_word() {
    let mut checks = Checks::default();
    evidence(5, 8).check((run(), STEP), None, &mut checks).expect("holds");
    assert_eq!(uncovered(&checks), ["registration on chain", "root on chain", "epoch key"]);
    let word = |checks: &Checks<'_>| checks.made().last().expect("a line").detail.clone();
    assert!(word(&checks).ends_with("the portal's word"), "{}", word(&checks));
    for verifier in [VerifierOnChain::NotAsked, VerifierOnChain::None { reason: "execution reverted".to_owned() }] {
        let mut checks = Checks::default();
        let chain = OnChain { verifier, ..on_chain() };
        evidence(5, 8).check((run(), STEP), Some(&chain), &mut checks).expect("holds");
        assert_eq!(uncovered(&checks), ["epoch key"]);
        assert!(word(&checks).ends_with("the portal's word"), "{}", word(&checks));
    }
}

/// The evidence with the key of another circuit: the same columns, two commitments exchanged.
fn another_key(evidence: &mut StepEvidence) {
    let mut bytes = hex::decode(evidence.epoch_key.as_deref().expect("a key")).expect("hex");
    let at = bytes.len() - 64;
    bytes[at..].rotate_left(32);
    evidence.epoch_key = Some(hex::encode(bytes));
}

#[test]
fn a_bad_epoch_proof_or_key_is_refused_for_its_reason() {
    let chain = on_chain();
    let refused = |check: &str, change: &dyn Fn(&mut StepEvidence)| {
        let mut bad = evidence(5, 8);
        change(&mut bad);
        let failure = failure(&bad, STEP, &chain);
        assert_eq!(failure.check, check, "{failure:?}");
        failure.reason
    };
    let is_refused =
        |reason: &Reason| matches!(reason, Reason::Epoch { epoch: EpochIndex(1), source: EpochProofError::Refused(_) });
    let reason = refused("epoch proof", &|e| {
        let proof = e.epoch_proof.as_mut().expect("a proof");
        let other = if &proof[3000..=3000] == "0" { "1" } else { "0" };
        proof.replace_range(3000..=3000, other);
    });
    assert!(is_refused(&reason), "{reason:?}");
    let reason = refused("epoch proof", &|e| e.epoch_proof = evidence(1, 4).epoch_proof);
    assert!(is_refused(&reason), "{reason:?}");
    let reason = refused("epoch proof", &|e| e.epoch_proof.as_mut().expect("a proof").push_str("00"));
    assert!(matches!(&*reason, Reason::Epoch { source: EpochProofError::Trailing { got: 1 }, .. }), "{reason:?}");
    let reason = refused("epoch proof", &|e| e.epoch_proof = None);
    assert!(matches!(&*reason, Reason::Differs { what: "epoch proof", .. }), "{reason:?}");
    // The proof is good, and of another record than this.
    let record = &DEMO.log.epochs[1];
    let reason = refused("epoch proof", &|e| {
        let (was, is) = (record.state_in.to_string(), record.state_out.to_string());
        e.epoch = e.epoch.as_ref().map(|epoch| epoch.replace(&was, &is));
    });
    assert!(is_refused(&reason), "{reason:?}");
    let reason = refused("epoch proof", &|e| {
        let (was, is) = (record.proof.to_string(), Digest([7; 32]).to_string());
        e.epoch = e.epoch.as_ref().map(|epoch| epoch.replace(&was, &is));
    });
    assert!(matches!(&*reason, Reason::Differs { what: "SHA-256 of the epoch proof", .. }), "{reason:?}");

    let reason = refused("epoch", &|e| e.epoch = None);
    assert!(matches!(&*reason, Reason::Differs { what: "epoch", .. }), "{reason:?}");

    let reason = refused("epoch key", &another_key);
    assert!(matches!(&*reason, Reason::VerifierCode { what: "key", .. }), "{reason:?}");
    let reason = refused("epoch key", &|e| e.epoch_key = None);
    assert!(matches!(&*reason, Reason::Differs { what: "epoch key", .. }), "{reason:?}");
    let reason = refused("epoch key", &|e| e.epoch_key.as_mut().expect("a key").truncate(1000));
    assert!(matches!(&*reason, Reason::EpochKey(EpochProofError::Key(_))), "{reason:?}");
    let reason = refused("epoch key", &|e| {
        let was = hex::encode("\"n_steps\":4");
        e.epoch_key = e.epoch_key.as_ref().map(|key| key.replace(&was, &hex::encode("\"n_steps\":8")));
    });
    assert!(matches!(&*reason, Reason::EpochShape { .. }), "{reason:?}");
    // Without a node nobody says which key is the right one: the proof still has to be of it.
    let mut bad = evidence(5, 8);
    another_key(&mut bad);
    let refused = bad.check((run(), STEP), None, &mut Checks::default());
    let Err(AuditError::Failed(failure)) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.check, "epoch proof");
    assert!(is_refused(&failure.reason), "{failure:?}");
}

#[test]
fn another_registered_verifier_is_refused() {
    let mut chain = on_chain();
    chain.run.selector = Selector([9; 4]);
    let refused = failure(&evidence(5, 8), STEP, &chain);
    assert_eq!(refused.check, "epoch key");
    assert!(matches!(&*refused.reason, Reason::Differs { what: "circuit family (selector)", .. }), "{refused:?}");

    let Demo { code, epoch_key, key, .. } = &*DEMO;
    check_code(code, epoch_key, &key.srs).expect("its own");
    let words = key.srs.pairing_words();
    let digest = *circuits::convert::from_fr(&epoch_key.digest()).as_bytes();
    for (what, number) in [("key", digest)].into_iter().chain(words.map(|word| ("reference string", word))) {
        let mut code = code.clone();
        let at = code.windows(32).position(|part| part == number).expect("it is there");
        code[at + 31] ^= 1;
        let refused = check_code(&code, epoch_key, &key.srs);
        assert!(
            matches!(refused, Err(Reason::VerifierCode { what: w, number: n }) if (w, n.0) == (what, number)),
            "{refused:?}"
        );
    }
    assert!(check_code(&[], epoch_key, &key.srs).is_err());
    let verifier = VerifierOnChain::Placed { registry: Address([2; 20]), address: Address([3; 20]), code: vec![0x60] };
    let refused = failure(&evidence(5, 8), STEP, &OnChain { verifier, ..on_chain() });
    assert_eq!(refused.check, "epoch key");
    assert!(matches!(&*refused.reason, Reason::VerifierCode { what: "key", .. }), "{refused:?}");
}

#[test]
fn evidence_of_another_version_is_none() {
    let json = String::from_utf8(evidence(5, 8).to_json().expect("JSON")).expect("text");
    assert!(json.starts_with(r#"{"v":2,"#), "{}", &json[..20]);
    let refused = StepEvidence::parse(json.replacen(r#""v":2"#, r#""v":1"#, 1).as_bytes());
    assert!(matches!(&refused, Err(AuditError::Evidence(error)) if error.to_string().contains("got 1")), "{refused:?}");
}

#[test]
fn a_bad_proof_is_a_bad_proof() {
    let mut bad = evidence(5, 8);
    let other = if bad.proofs[0].as_bytes()[6000] == b'0' { "1" } else { "0" };
    bad.proofs[0].replace_range(6000..=6000, other);
    let failure = failure(&bad, STEP, &on_chain());
    assert_eq!(failure.check, "step proof");
    assert!(matches!(&*failure.reason, Reason::Claim(ClaimError::Proof { step: STEP, .. })), "{failure:?}");
}

#[test]
fn every_other_part_is_refused_for_its_own_reason() {
    let chain = on_chain();
    let refused = |check: &str, change: &dyn Fn(&mut StepEvidence)| {
        let mut bad = evidence(5, 8);
        change(&mut bad);
        let failure = failure(&bad, STEP, &chain);
        assert_eq!(failure.check, check, "{failure:?}");
        failure.reason
    };
    let reason = refused("step proof", &|e| e.proofs = evidence(4, 8).proofs);
    assert!(matches!(&*reason, Reason::Claim(ClaimError::Commitment { column: "input", .. })), "{reason:?}");
    let reason = refused("step proof", &|e| e.proofs.clear());
    assert!(matches!(&*reason, Reason::Claim(ClaimError::ChunkCount { what: "proofs", .. })), "{reason:?}");
    let reason = refused("inclusion", &|e| e.inclusion.path.swap(0, 1));
    assert!(matches!(&*reason, Reason::Tree(_)), "{reason:?}");
    let reason = refused("inclusion", &|e| e.inclusion.index = StepIndex(4));
    assert!(matches!(&*reason, Reason::Differs { what: "position", .. }), "{reason:?}");
    let reason = refused("consistency with earlier roots", &|e| e.earlier[0].root = e.root);
    assert!(matches!(&*reason, Reason::Tree(_)), "{reason:?}");
    let reason = refused("root on chain", &|e| e.root = e.earlier[0].root);
    assert!(matches!(&*reason, Reason::Root { .. }), "{reason:?}");
    let reason = refused("root on chain", &|e| *e = StepEvidence { inclusion: evidence(1, 4).inclusion, ..e.clone() });
    assert!(matches!(&*reason, Reason::Differs { what: "anchored steps", .. }), "{reason:?}");
    let reason = refused("run.json, records", &|e| e.after = evidence(6, 8).after);
    assert!(matches!(&*reason, Reason::Differs { what: "previous record's hash", .. }), "{reason:?}");
    let reason = refused("run.json, records", &|e| e.before = None);
    assert!(matches!(&*reason, Reason::Differs { what: "step before", .. }), "{reason:?}");
    let reason = refused("run.json, records", &|e| e.record = evidence(4, 8).record);
    assert!(matches!(&*reason, Reason::Differs { what: "step", .. }), "{reason:?}");
    let reason = refused("record hash", &|e| {
        let record = DEMO.dir.record(&DEMO.log.log, STEP).expect("a record");
        let (state, other) = (record.record().state_out.to_string(), DEMO.dir.run().description().genesis_state);
        (e.record, e.after) = (e.record.replace(&state, &other.to_string()), None);
    });
    assert!(matches!(&*reason, Reason::StateAfter { step: STEP, .. }), "{reason:?}");
    let reason = refused("epoch", &|e| e.epoch = evidence(1, 4).epoch);
    assert!(matches!(&*reason, Reason::Differs { what: "statement digest in the epoch", .. }), "{reason:?}");
    let reason = refused("step key", &|e| e.tau_h.truncate(10));
    assert!(matches!(&*reason, Reason::Differs { what: "tau_h", .. }), "{reason:?}");
    let reason = refused("step key", &|e| e.step_key.truncate(10));
    assert!(matches!(&*reason, Reason::Key(_)), "{reason:?}");
}

#[test]
fn another_registration_is_refused() {
    let refused = |change: &dyn Fn(&mut OnChain)| {
        let mut chain = on_chain();
        change(&mut chain);
        let failure = failure(&evidence(5, 8), STEP, &chain);
        assert_eq!(failure.check, "registration on chain");
        match &*failure.reason {
            Reason::Differs { what, .. } => *what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|chain| chain.run.policy_digest = FieldElement::from(1)), "policy");
    assert_eq!(refused(&|chain| chain.run.genesis_state = FieldElement::from(1)), "genesis state");
    assert_eq!(refused(&|chain| chain.run.parent = Some(run())), "parent");
}
