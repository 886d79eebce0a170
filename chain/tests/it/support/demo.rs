//! The run of `testdata/anchor/demo.json` on a node: contracts, verifier and registration stand, its epochs are ready.
//!
//! The tests of `cairn` include this file too.

use chain::{DelaySecs, DeployPlan, EpochSubmission, InitCode, LogSteps, Registration};
use ledger::{
    Address, Digest, EpochIndex, FieldElement, Root, RunId, Salt, Selector, StepIndex,
    tree::{CompactRange, step_leaf},
};
use serde_json::Value;

use super::anvil::Anvil;

/// Real epochs, two of 4 steps, that a real verifier accepts.
pub struct Demo {
    /// The node.
    pub anvil: Anvil,
    /// The run's owner, who is also owner and guardian of the registry.
    pub writer: chain::Writer,
    pub registry: Address,
    pub contract: Address,
    pub verifier: Address,
    /// `Attestations` of runs of `contract`.
    pub attestations: Address,
    pub selector: Selector,
    pub run: RunId,
    /// None of them is anchored yet.
    pub epochs: Vec<EpochSubmission>,
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
    serde_json::from_value(value[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(value[key].as_str().expect(key).trim_start_matches("0x")).expect(key)
}

/// The submission of an epoch; `range` is the tree before it, and then the tree after it.
fn submission(value: &Value, run: RunId, index: u64, range: &mut CompactRange) -> EpochSubmission {
    let proof = bytes(value, "proof");
    let (limbs, proof) = proof.split_at(12 * 32);
    let limbs: Vec<FieldElement> = limbs
        .chunks_exact(32)
        .map(|limb| FieldElement::from_be_bytes(limb.try_into().expect("32 bytes")).expect("a field element"))
        .collect();
    let digests: Vec<FieldElement> = parse(value, "digests");
    let record_hashes: Vec<Digest> = parse(value, "record_hashes");
    let peaks = range.peaks().to_vec();
    let steps = (range.size().0..).zip(digests.iter().zip(&record_hashes));
    steps.for_each(|(step, (digest, record))| range.push(step_leaf(StepIndex(step), *digest, *record)));
    assert_eq!(range.root(), parse::<Root>(value, "root_after"));
    EpochSubmission {
        run,
        epoch: EpochIndex(index),
        state_out: parse(value, "state_out"),
        digests,
        record_hashes,
        peaks,
        accumulator: limbs.try_into().expect("twelve limbs"),
        proof: proof.to_vec(),
        root_after: parse::<Root>(value, "root_after"),
    }
}

impl Demo {
    /// Deploys everything and registers the run.
    pub async fn new() -> Self {
        Self::on(Anvil::start()).await
    }

    /// The same on a node with settings of its own.
    pub async fn on(anvil: Anvil) -> Self {
        let text = include_str!("../../../../testdata/anchor/demo.json");
        let vectors: Value = serde_json::from_str(text).expect("the vectors parse");
        let writer = anvil.writer().await;
        let plan = DeployPlan::new(writer.address(), writer.address(), DelaySecs(0), Salt([0; 32])).expect("artifacts");
        let registry = writer.deploy(&plan.registry).await.expect("registry").address;
        let contract = writer.deploy(&plan.anchor).await.expect("anchor").address;
        // The run's id names the contract of the demo that made the vectors. Today's code is put there, so that a change
        // of the contract does not need new proofs.
        let place = parse::<Address>(&vectors, "contract");
        anvil.copy_code(contract, place).await;
        let attestations = attestations_of(&anvil, &plan, place).await;
        let contract = place;
        let code = InitCode::verifier(bytes(&vectors, "verifier_code"), Salt([0; 32]));
        let verifier = writer.deploy(&code).await.expect("verifier");
        assert!(verifier.code_len < 24_576);
        let selector: Selector = parse(&vectors, "selector");
        writer.add_verifier(registry, selector, LogSteps(2), verifier.address).await.expect("added");
        let registration = Registration {
            salt: parse(&vectors, "salt"),
            selector,
            genesis_state: parse(&vectors, "genesis_state"),
            policy_digest: parse(&vectors, "policy"),
            parent: None,
        };
        let (run, _) = writer.register_run(contract, &registration).await.expect("registered").into_inner();
        assert_eq!(run, parse::<RunId>(&vectors, "run"));
        let submissions = vectors["submissions"].as_array().expect("submissions");
        let mut range = CompactRange::new();
        let epochs =
            submissions.iter().zip(0..).map(|(value, index)| submission(value, run, index, &mut range)).collect();
        let verifier = verifier.address;
        Self { anvil, writer, registry, contract, verifier, attestations, selector, run, epochs }
    }
}

/// Puts `Attestations` on the node that are for an anchor at another place than the plan's.
async fn attestations_of(anvil: &Anvil, plan: &DeployPlan, anchor: Address) -> Address {
    let planned = &plan.standing[2];
    let mut code = planned.runtime.clone();
    let from = *plan.anchor.address().as_bytes();
    let places: Vec<usize> = (0..code.len() - 20).filter(|&at| code[at..at + 20] == from).collect();
    assert!(!places.is_empty(), "the code names its anchor");
    places.into_iter().for_each(|at| code[at..at + 20].copy_from_slice(anchor.as_bytes()));
    anvil.set_code(planned.address, &code).await;
    planned.address
}
