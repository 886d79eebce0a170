//! Addresses are known beforehand, and doing it twice does nothing.

use chain::{ChainError, DelaySecs, InitCode, LogSteps, VerifierAddition};
use ledger::{Address, Salt};
use serde_json::json;

use crate::support::{
    STRANGER_KEY,
    anvil::Anvil,
    refusal,
    world::{OPEN, accept_all, plan, refuse_all},
};

#[tokio::test]
async fn contracts_stand_at_their_predicted_addresses() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    let plan = plan(&writer, DelaySecs(7));
    assert!(!writer.client().is_deployed(&plan.anchor).await.unwrap());
    for code in [&plan.registry, &plan.anchor] {
        let deployed = writer.deploy(code).await.unwrap();
        assert_eq!(deployed.address, code.address());
        assert!(deployed.sent.is_some_and(|sent| sent.gas > 21_000));
        assert!(writer.client().is_deployed(code).await.unwrap());
    }
    let registry = writer.client().registry_of(plan.anchor.address()).await.unwrap();
    assert_eq!(registry, plan.registry.address());
}

#[tokio::test]
async fn deploying_twice_sends_nothing() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    let first = writer.deploy(&accept_all()).await.unwrap();
    let block = writer.client().latest_block().await.unwrap();
    let second = writer.deploy(&accept_all()).await.unwrap();
    assert_eq!((second.address, second.code_len, second.sent), (first.address, 8, None));
    assert_eq!(writer.client().latest_block().await.unwrap(), block);
}

#[tokio::test]
async fn anyone_deploys_to_the_same_address() {
    let anvil = Anvil::start();
    let ours = plan(&anvil.writer().await, DelaySecs(0));
    let stranger = anvil.writer_with(STRANGER_KEY).await;
    assert_eq!(stranger.deploy(&ours.registry).await.unwrap().address, ours.registry.address());
}

#[tokio::test]
async fn chain_without_create2_deployer_is_named() {
    let anvil = Anvil::with_args(&["--disable-default-create2-deployer"]);
    let writer = anvil.writer().await;
    let error = writer.deploy(&accept_all()).await.unwrap_err();
    let expected = "0x4e59b44847b379578588920ca78fbf26c0b4956c".parse::<Address>().unwrap();
    assert!(
        matches!(error, ChainError::NoCode { what: "CREATE2 deployer", address, chain }
            if address == expected && chain == writer.client().chain()),
        "{error}"
    );
}

#[tokio::test]
async fn too_large_creation_code_is_not_sent() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    let error = writer.deploy(&InitCode::verifier(vec![0; 49_153], Salt([0; 32]))).await.unwrap_err();
    assert!(matches!(error, ChainError::InitCodeTooLarge { max: 49_152, got: 49_153, .. }), "{error}");
    assert_eq!(writer.client().latest_block().await.unwrap().number, 0);
}

#[tokio::test]
async fn failing_constructor_leaves_nothing_and_says_so() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    // PUSH0 PUSH0 REVERT
    let code = InitCode::verifier(vec![0x5f, 0x5f, 0xfd], Salt([0; 32]));
    let error = writer.deploy(&code).await.unwrap_err();
    assert!(matches!(error, ChainError::Reverted { operation: "deploy", .. }), "{error}");
    assert!(!writer.client().is_deployed(&code).await.unwrap());
}

#[tokio::test]
async fn verifier_waits_for_the_delay_then_stands_for_ever() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    let plan = plan(&writer, DelaySecs(1_000));
    let registry = writer.deploy(&plan.registry).await.unwrap().address;
    let verifier = writer.deploy(&accept_all()).await.unwrap().address;
    let size = LogSteps(2);

    let first = writer.add_verifier(registry, OPEN, size, verifier).await.unwrap();
    let VerifierAddition::Waiting { ready_at, sent: Some(_) } = first else { panic!("{first:?}") };
    let again = writer.add_verifier(registry, OPEN, size, verifier).await.unwrap();
    assert_eq!(again, VerifierAddition::Waiting { ready_at, sent: None });
    assert_eq!(writer.client().verifier_of(registry, OPEN, size).await.unwrap(), None);

    anvil.request("evm_increaseTime", json!([1_001])).await;
    anvil.request("evm_mine", json!([])).await;
    let added = writer.add_verifier(registry, OPEN, size, verifier).await.unwrap();
    assert!(matches!(&added, VerifierAddition::Active(sent) if sent.len() == 1), "{added:?}");
    assert_eq!(writer.client().verifier_of(registry, OPEN, size).await.unwrap(), Some(verifier));
    let again = writer.add_verifier(registry, OPEN, size, verifier).await.unwrap();
    assert_eq!(again, VerifierAddition::Active(Vec::new()));

    let other = writer.deploy(&refuse_all()).await.unwrap().address;
    let error = writer.add_verifier(registry, OPEN, size, other).await.unwrap_err();
    assert!(
        matches!(error, ChainError::OtherVerifier { steps: 4, expected, got } if expected == other && got == verifier),
        "{error}"
    );
}

#[tokio::test]
async fn verifier_without_code_is_refused() {
    let anvil = Anvil::start();
    let writer = anvil.writer().await;
    let registry = writer.deploy(&plan(&writer, DelaySecs(0)).registry).await.unwrap().address;
    let nobody = Address([0x77; 20]);
    let revert = refusal(writer.add_verifier(registry, OPEN, LogSteps(0), nobody).await);
    assert_eq!(revert.name(), Some("VerifierWithoutCode"));
    assert_eq!(revert.arg("verifier"), Some(nobody.to_string().as_str()));
}
