//! Nodes that are gone, silent, of another chain, or behind a network that loses messages.

use std::{sync::atomic::Ordering, time::Duration};

use chain::{ChainError, Client, Options, Signer, Writer};
use ledger::{Address, ChainId, FieldElement, RunId};
use tokio::net::TcpListener;

use crate::support::{
    anvil::{Anvil, quick},
    flaky::{Loss, relay},
    world::{OPEN, World, accept_all},
};

#[tokio::test]
async fn dead_node_is_reported_after_all_attempts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(&format!("http://{address}/v3/secret-key"), quick()).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Unreachable { operation: "chain id", node, attempts: 3, .. }
            if *node == address.to_string()),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("secret-key"), "{error:?}");
}

#[tokio::test]
async fn silent_node_is_a_timeout() {
    // Connections are taken into the backlog, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let after = Duration::from_millis(50);
    let options = Options { timeout: after, ..quick() };
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = Client::connect(&url, options).await.unwrap_err();
    assert!(matches!(error, ChainError::Timeout { attempts: 3, after: limit, .. } if limit == after), "{error}");
}

#[tokio::test]
async fn address_that_is_no_http_url_is_refused() {
    for url in ["", "127.0.0.1:8545", "ftp://127.0.0.1", "ws://127.0.0.1:1"] {
        let error = Client::connect(url, quick()).await.unwrap_err();
        assert!(matches!(error, ChainError::Url { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn other_chain_is_refused() {
    let anvil = Anvil::with_args(&["--chain-id", "4242"]);
    let client = anvil.client().await;
    client.expect_chain(ChainId(4_242)).unwrap();
    let error = client.expect_chain(ChainId(1)).unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { expected: ChainId(1), got: ChainId(4_242) }), "{error}");
}

#[tokio::test]
async fn address_without_contract_is_named() {
    let anvil = Anvil::start();
    let nobody = Address([0x11; 20]);
    let error = anvil.client().await.head(nobody, RunId::from(FieldElement::from(5))).await.unwrap_err();
    assert!(matches!(error, ChainError::NoCode { address, .. } if address == nobody), "{error}");
}

#[tokio::test]
async fn unknown_run_is_an_answer() {
    let world = World::new().await;
    let run = RunId::from(FieldElement::from(5));
    assert_eq!(world.writer.client().head(world.contract, run).await.unwrap(), None);
    assert_eq!(world.writer.client().run(world.contract, run).await.unwrap(), None);
}

#[tokio::test]
async fn lost_requests_are_repeated_up_to_the_limit() {
    let anvil = Anvil::start();
    let (url, seen) = relay(&anvil.url, "eth_chainId", Loss::Request, 2).await;
    let client = Client::connect(&url, quick()).await.unwrap();
    assert_eq!(client.chain(), ChainId(31_337));
    assert_eq!(seen.load(Ordering::SeqCst), 3);

    let (url, seen) = relay(&anvil.url, "eth_chainId", Loss::Request, 3).await;
    let error = Client::connect(&url, quick()).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { attempts: 3, .. }), "{error}");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn lost_answer_to_a_transaction_acts_once() {
    let anvil = Anvil::start();
    let (url, seen) = relay(&anvil.url, "eth_sendRawTransaction", Loss::Answer, 1).await;
    let client = Client::connect(&url, quick()).await.unwrap();
    let writer = Writer::new(client, Signer::anvil_development_key().unwrap());
    let deployed = writer.deploy(&accept_all()).await.unwrap();
    assert!(deployed.sent.is_some());
    assert_eq!(seen.load(Ordering::SeqCst), 2, "sent, and sent again");
    assert_eq!(writer.client().latest_block().await.unwrap().number, 1, "one transaction was mined");
}

#[tokio::test]
async fn anchoring_through_a_lossy_network_anchors_once() {
    for method in ["eth_estimateGas", "eth_sendRawTransaction", "eth_getTransactionReceipt", "eth_call"] {
        for loss in [Loss::Request, Loss::Answer] {
            let world = World::new().await;
            let mut log = world.run(1, OPEN).await;
            let (url, seen) = relay(&world.anvil.url, method, loss, 1).await;
            let client = Client::connect(&url, quick()).await.unwrap();
            let writer = Writer::new(client, Signer::anvil_development_key().unwrap());
            let anchor = writer.anchor(world.contract, &log.next(4), 0).await.unwrap().into_inner();
            assert_eq!((anchor.counter, anchor.root), (1, log.root()), "{method}");
            assert!(seen.load(Ordering::SeqCst) >= 2, "{method} was asked again");
        }
    }
}

#[test]
fn key_is_not_shown() {
    let text = format!("0x{}", "42".repeat(32));
    let signer = Signer::from_hex(&text).unwrap();
    assert!(!format!("{signer:?}").contains("4242"), "{signer:?}");
    let error = Signer::from_hex("0x42zz").unwrap_err();
    assert!(matches!(error, ChainError::Signer { .. }), "{error}");
    assert!(!error.to_string().contains("42zz"), "{error}");
}

#[test]
fn key_is_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("0x{}\n", "42".repeat(32))).unwrap();
    let from_text = Signer::from_hex(&"42".repeat(32)).unwrap();
    assert_eq!(Signer::from_file(&path).unwrap().address(), from_text.address());
    let error = Signer::from_file(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, ChainError::Signer { .. }), "{error}");
}
