//! The file of a deployment: one text for one deployment, and verifiers that are added but never replaced.

use chain::{DelaySecs, DeployedVerifier, Deployment, DeploymentError, LogSteps};
use ledger::{Address, ChainId, Digest, Salt};

use crate::support::world::{CLOSED, OPEN};

fn deployment() -> Deployment {
    let (owner, guardian) = (Address([1; 20]), Address([2; 20]));
    Deployment::new(ChainId(11_155_111), owner, guardian, DelaySecs(172_800), Salt([0; 32])).expect("artifacts")
}

fn verifier(byte: u8, log_steps: u8) -> DeployedVerifier {
    let (address, key_digest) = (Address([byte; 20]), Digest([byte; 32]));
    DeployedVerifier { address, key_digest, log_steps: LogSteps(log_steps), selector: OPEN }
}

#[test]
fn text_of_a_record_is_read_back() {
    let mut record = deployment();
    record.verifiers.push(verifier(7, 2));
    let text = record.to_text().expect("a text");
    assert_eq!(Deployment::parse(text.as_bytes()).expect("a record"), record);
    let keys: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
    assert!(keys.is_sorted() && keys.len() == 10, "{keys:?}");
    record.plan().expect("addresses follow from the values");
}

#[test]
fn verifiers_are_added_and_never_replaced() {
    let mut record = deployment();
    let mut newer = deployment();
    newer.verifiers = vec![verifier(7, 2), verifier(8, 1), DeployedVerifier { selector: CLOSED, ..verifier(9, 0) }];
    record.merge(&newer).expect("new verifiers");
    record.merge(&newer).expect("again");
    record.merge(&deployment()).expect("what is recorded stays");
    let places: Vec<_> = record.verifiers.iter().map(|v| (v.selector, v.log_steps.0)).collect();
    assert_eq!(places, [(OPEN, 1), (OPEN, 2), (CLOSED, 0)]);
    newer.verifiers = vec![verifier(6, 2)];
    let error = record.merge(&newer).expect_err("the place is taken");
    assert!(
        matches!(&error, DeploymentError::Recorded { what: "verifier", expected, got }
            if *expected == Address([7; 20]).to_string() && *got == Address([6; 20]).to_string()),
        "{error}"
    );
}

#[test]
fn another_deployment_or_address_is_named() {
    let mut record = deployment();
    let mut other = deployment();
    other.guardian = Address([3; 20]);
    let error = record.merge(&other).expect_err("another guardian");
    assert!(matches!(error, DeploymentError::Recorded { what: "guardian", .. }), "{error}");
    let error = other.plan().expect_err("addresses of another guardian");
    assert!(matches!(error, DeploymentError::Address { what: "VerifierRegistry", .. }), "{error}");
    record.attestations = Address([9; 20]);
    let error = record.plan().expect_err("a changed address");
    assert!(
        matches!(error, DeploymentError::Address { what: "Attestations", got, .. } if got == Address([9; 20])),
        "{error}"
    );
}
