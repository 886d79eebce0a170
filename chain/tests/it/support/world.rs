//! A deployment with verifiers that take or refuse everything.

use chain::{DelaySecs, DeployPlan, InitCode, LogSteps, Outcome, Registration, VerifierAddition, Writer};
use ledger::{Address, FieldElement, RunId, Salt, Selector};

use super::{anvil::Anvil, epochs::LocalLog};

/// Family whose test-only verifiers take everything.
pub const OPEN: Selector = Selector([0xad, 0xa0, 0, 1]);
/// Family whose test-only verifiers refuse everything.
pub const CLOSED: Selector = Selector([0xad, 0xa0, 0, 2]);

/// TEST ONLY: creation code of a contract that answers true to everything. Its code is
/// PUSH1 1 PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
const ACCEPT_ALL: [u8; 17] =
    [0x67, 0x60, 0x01, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3, 0x60, 0x00, 0x52, 0x60, 0x08, 0x60, 0x18, 0xf3];
/// TEST ONLY: creation code of a contract that refuses every proof. Its code is PUSH0 PUSH0 REVERT.
const REFUSE_ALL: [u8; 12] = [0x62, 0x5f, 0x5f, 0xfd, 0x60, 0x00, 0x52, 0x60, 0x03, 0x60, 0x1d, 0xf3];

/// A node with contracts on it.
pub struct World {
    pub anvil: Anvil,
    pub writer: Writer,
    pub registry: Address,
    pub contract: Address,
}

impl World {
    /// Deploys the contracts, and verifiers for epochs of 1, 2 and 4 steps.
    pub async fn new() -> Self {
        let anvil = Anvil::start();
        let writer = anvil.writer().await;
        let plan = plan(&writer, DelaySecs(0));
        let registry = writer.deploy(&plan.registry).await.expect("registry").address;
        let contract = writer.deploy(&plan.anchor).await.expect("anchor").address;
        for (family, code) in [(OPEN, accept_all()), (CLOSED, refuse_all())] {
            let verifier = writer.deploy(&code).await.expect("verifier").address;
            for log in 0..3 {
                let added = writer.add_verifier(registry, family, LogSteps(log), verifier).await.expect("added");
                assert!(matches!(added, VerifierAddition::Active(sent) if sent.len() == 2));
            }
        }
        Self { anvil, writer, registry, contract }
    }

    /// Registers a run and starts its log.
    pub async fn run(&self, salt: u8, selector: Selector) -> LocalLog {
        let registration = registration(salt, selector, None);
        let outcome = self.writer.register_run(self.contract, &registration).await.expect("registered");
        assert!(!outcome.was_there(), "registered before");
        LocalLog::new(outcome.into_inner().0, registration.genesis_state)
    }

    /// Appends an epoch to the log and anchors it.
    pub async fn anchor(&self, log: &mut LocalLog, n_steps: u64) -> ledger::Anchor {
        let submission = log.next(n_steps);
        match self.writer.anchor(self.contract, &submission, 0).await.expect("anchored") {
            Outcome::Done(anchor) => anchor,
            Outcome::Already(anchor) => panic!("anchored before: {anchor:?}"),
        }
    }
}

pub fn plan(writer: &Writer, delay: DelaySecs) -> DeployPlan {
    DeployPlan::new(writer.address(), writer.address(), delay, Salt([9; 32])).expect("artifacts are committed")
}

pub fn accept_all() -> InitCode {
    InitCode::verifier(ACCEPT_ALL.to_vec(), Salt([1; 32]))
}

pub fn refuse_all() -> InitCode {
    InitCode::verifier(REFUSE_ALL.to_vec(), Salt([1; 32]))
}

pub fn registration(salt: u8, selector: Selector, parent: Option<(RunId, FieldElement)>) -> Registration {
    Registration {
        salt: Salt([salt; 32]),
        selector,
        genesis_state: parent.map_or(FieldElement::from(1_111), |(_, state)| state),
        policy_digest: FieldElement::from(2_222),
        parent: parent.map(|(run, _)| run),
    }
}
