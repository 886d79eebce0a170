//! Webhooks: a receiver on the loopback, which checks signatures and sometimes refuses.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use portal::{
    hooks::{Hook, HookError, Options, TellError, Teller},
    index::Index,
};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{
    serving::filled,
    support::{
        database::on_each,
        history::{History, batch, block, source},
    },
};

/// 32 bytes that nobody else knows.
const KEY: [u8; 32] = [7; 32];

/// What came, and how it is answered.
#[derive(Clone, Default)]
struct Receiver {
    messages: Arc<Mutex<Vec<(String, Value)>>>,
    refuse: Arc<Mutex<bool>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/", post(take))
            .route("/away", post(async || Redirect::temporary("/")))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn taken(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.messages.lock().unwrap())
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signed = [header("webhook-id").as_bytes(), b".", header("webhook-timestamp").as_bytes(), b".", &body].concat();
    let mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap().chain_update(signed).finalize().into_bytes();
    if header("webhook-signature") != format!("v1,{}", STANDARD.encode(mac)) {
        return StatusCode::UNAUTHORIZED;
    }
    if *receiver.refuse.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let body = serde_json::from_slice(&body).unwrap();
    receiver.messages.lock().unwrap().push((header("webhook-id"), body));
    StatusCode::NO_CONTENT
}

/// A hook as its file names it.
fn hook(url: &str, runs: &str) -> Result<Hook, HookError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), format!("whsec_{}\n", STANDARD.encode(KEY))).unwrap();
    let entry =
        serde_json::json!({ "hooks": [{ "name": "market", "url": url, "secret_file": "secret", "runs": runs }] });
    let file = dir.path().join("hooks.json");
    fs::write(&file, entry.to_string()).unwrap();
    Hook::read(&file).map(|mut hooks| hooks.remove(0))
}

fn teller(index: &Index, url: &str, runs: &str) -> Teller {
    let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
    Teller::new(index.clone(), hook(url, runs).unwrap(), options).unwrap()
}

fn told(messages: &[(String, Value)]) -> Vec<(&str, u64)> {
    messages.iter().map(|(_, m)| (m["type"].as_str().unwrap(), m["data"]["steps"].as_u64().unwrap_or(0))).collect()
}

#[tokio::test]
async fn a_receiver_is_told_each_state_once_and_after_a_restart_nothing_twice() {
    on_each(async |index| {
        let receiver = Receiver::default();
        let url = receiver.start().await;
        let mut history = filled(index).await;
        assert_eq!(teller(index, &url, "").round().await.unwrap(), 3);
        assert_eq!(told(&receiver.taken()), [("run.changed", 6), ("run.changed", 0), ("run.changed", 0)]);
        assert_eq!(teller(index, &url, "").round().await.unwrap(), 0);
        let more = vec![history.anchored(10, 2)];
        index.apply(source(index).await, &batch(Some(9), 10, more)).await.unwrap();
        assert_eq!(teller(index, &url, "").round().await.unwrap(), 1);
        assert_eq!(told(&receiver.taken()), [("run.changed", 8)]);
        // A newer confirmation of the same head is no change.
        let run = index.runs_by_id(history.log.run).await.unwrap()[0].key;
        index.confirm(run, block(0, 10).at, Some(&history.head(10, false)), false).await.unwrap();
        assert_eq!(teller(index, &url, "").round().await.unwrap(), 1, "it is anchored now");
        let taken = receiver.taken();
        assert_eq!(taken[0].1["data"]["status"], "bundle_not_seen");
        index.apply(source(index).await, &batch(Some(10), 11, Vec::new())).await.unwrap();
        index.confirm(run, block(0, 11).at, Some(&history.head(11, false)), false).await.unwrap();
        assert_eq!(teller(index, &url, "").round().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_receiver_refused_is_told_again_with_the_same_id() {
    on_each(async |index| {
        let receiver = Receiver::default();
        let url = receiver.start().await;
        filled(index).await;
        let teller = teller(index, &url, "min_steps=1");
        *receiver.refuse.lock().unwrap() = true;
        let refused = teller.round().await;
        assert!(matches!(refused, Err(TellError::Refused { got: StatusCode::SERVICE_UNAVAILABLE })), "{refused:?}");
        *receiver.refuse.lock().unwrap() = false;
        assert_eq!(teller.round().await.unwrap(), 1);
        let first = receiver.taken();
        assert_eq!(told(&first), [("run.changed", 6)]);
        // A receiver under another name has been told nothing; the same state is the same message.
        let mut other = hook(&url, "min_steps=1").unwrap();
        other.name = "other".to_owned();
        Teller::new(index.clone(), other, Options::default()).unwrap().round().await.unwrap();
        assert_eq!(receiver.taken(), first);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_the_chain_took_back_is_told_as_gone() {
    on_each(async |index| {
        let receiver = Receiver::default();
        let url = receiver.start().await;
        let key = source(index).await;
        let history = History::new(1);
        index.apply(key, &batch(None, 1, Vec::new())).await.unwrap();
        index.apply(key, &batch(Some(1), 2, vec![history.registered(2)])).await.unwrap();
        let teller = teller(index, &url, "");
        teller.round().await.unwrap();
        index.roll_back(key, block(0, 2).at, Some(block(0, 1).at)).await.unwrap();
        assert_eq!(teller.round().await.unwrap(), 1);
        assert_eq!(teller.round().await.unwrap(), 0);
        let taken = receiver.taken();
        assert_eq!(told(&taken), [("run.changed", 0), ("run.gone", 0)]);
        assert_eq!(taken[1].1["data"]["run"], history.log.run.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_message_goes_nowhere_else() {
    on_each(async |index| {
        let receiver = Receiver::default();
        let url = format!("{}/away", receiver.start().await);
        filled(index).await;
        let refused = teller(index, &url, "").round().await;
        assert!(matches!(refused, Err(TellError::Refused { got: StatusCode::TEMPORARY_REDIRECT })), "{refused:?}");
        let silent = teller(index, "http://127.0.0.1:1/?token=hidden", "").round().await.unwrap_err();
        assert!(matches!(silent, TellError::Unreachable { .. }) && !silent.to_string().contains("hidden"), "{silent}");
        assert!(receiver.taken().is_empty());
    })
    .await;
}

#[test]
fn a_hook_that_cannot_work_is_refused_by_field() {
    for (url, runs, field) in
        [("file:///etc/passwd", "", "url"), ("nowhere", "", "url"), ("https://example.org", "status=verified", "runs")]
    {
        let refused = hook(url, runs);
        assert!(
            matches!(&refused, Err(HookError::Field { field: got, .. }) if *got == field),
            "{url} {runs}: {refused:?}"
        );
    }
}
