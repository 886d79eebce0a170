//! The evidence of one step: every part of it counts, and is refused for its own reason.

use std::path::Path;
use std::sync::LazyLock;

use audit::evidence::{OnChain, StepEvidence};
use audit::{AuditError, Checks, Reason, State, StepKey};
use chain::{BlockRef, Head, RunOnChain};
use circuits::claim::ClaimError;
use circuits::keys::StepVerifyingKey;
use circuits::notes::step_shape;
use ledger::{Address, Digest, FieldElement, RunId, Selector, StepIndex, TreeSize};
use srs::{SrsSize, SrsVerifier};
use store::{ProofFiles, RunDir, VerifiedLog};

const STEP: StepIndex = StepIndex(5);

struct Demo {
    dir: RunDir,
    log: VerifiedLog,
    key: StepKey,
}

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let dir = RunDir::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/anchor/run")).expect("a run");
    let log = dir.verify_log(ProofFiles::Check).expect("a log");
    let shape = step_shape(dir.run().description()).expect("a shape");
    let srs = srs::dev::generate(SrsSize::new(shape.k).expect("a size"), &srs::silent).expect("the string");
    let key = StepVerifyingKey::generate(srs.params(), &shape).expect("a key");
    Demo { dir, log, key: StepKey { key, srs: SrsVerifier::from(&srs), whole: None } }
});

fn evidence(step: u64, size: u64) -> StepEvidence {
    let Demo { dir, log, key } = &*DEMO;
    let made = StepEvidence::of(dir, log, (StepIndex(step), TreeSize(size)), &[TreeSize(4)], key).expect("evidence");
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
        selector: Selector([0; 4]),
        genesis_state: run.genesis_state,
        policy_digest: run.policy_digest,
        parent: None,
    };
    OnChain { head, run }
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
    let uncovered: Vec<&str> =
        checks.made().iter().filter(|check| !check.is_ok()).map(|check| check.check.as_str()).collect();
    assert_eq!(uncovered, ["epoch proof"]);
    for step in [0, 7] {
        evidence(step, 8).check((run(), StepIndex(step)), Some(&on_chain()), &mut Checks::default()).expect("holds");
    }
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
