//! The router in process: what it answers, what it refuses, and what every answer carries.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use futures_util::StreamExt;
use ledger::{Address, Digest, Root, RunId, StepIndex, TreeSize, tree::InclusionProof};
use portal::{
    index::{Index, Source},
    server::{AppState, Options, Rate, router},
};
use serde_json::Value;
use tower::ServiceExt;

use crate::support::{
    database::on_each,
    description::conforms,
    history::{History, SOURCE, batch, block, source},
};

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(body["error"]["message"].is_string() && body["error"]["details"].is_object(), "{body}");
        (self.status.as_u16(), body["error"]["code"].as_str().unwrap().to_owned())
    }
}

pub async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec();
    Answer { status, headers, body }
}

pub async fn get(app: &Router, path: &str) -> Answer {
    send(app, Request::get(path).body(Body::empty()).unwrap()).await
}

pub fn app(index: &Index) -> Router {
    router(AppState::new(index.clone(), &[], Options::default()))
}

/// Three runs, the first with three confirmed epochs of two steps and a bundle.
pub async fn filled(index: &Index) -> History {
    let key = source(index).await;
    let mut history = History::new(1);
    let mut logs = history.with_epochs(3);
    logs.push(history.announced(6));
    logs.extend([History::new(2).registered(7), History::new(3).registered(8)]);
    index.apply(key, &batch(None, 9, logs)).await.unwrap();
    let run = index.runs_by_id(history.log.run).await.unwrap()[0].key;
    index.confirm(run, block(0, 9).at, Some(&history.head(9, false)), false).await.unwrap();
    history
}

#[tokio::test]
async fn a_run_is_listed_and_shown_with_its_epochs_and_steps() {
    on_each(async |index| {
        let history = filled(index).await;
        let (app, id) = (app(index), history.log.run);
        let list = get(&app, "/api/v1/runs?limit=2").await.json();
        assert_eq!(list["runs"].as_array().unwrap().len(), 2);
        assert_eq!(list["facets"]["total"], 3);
        let cursor = list["next_cursor"].as_str().unwrap();
        let rest = get(&app, &format!("/api/v1/runs?limit=2&cursor={cursor}")).await.json();
        assert_eq!((rest["runs"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
        assert_eq!(rest["runs"][0]["run"], id.to_string());

        let run = get(&app, &format!("/api/v1/runs/{id}")).await.json();
        assert_eq!((&run["status"], &run["steps"], &run["epochs"]), (&"bundle_not_seen".into(), &6.into(), &3.into()));
        assert_eq!(run["root"], history.log.root().to_string());
        assert_eq!(run["registered_at"], "2023-11-14T22:13:32Z");
        assert!(run["meaning"].as_str().unwrap().contains("Not proved: that the gradient is honest"));

        let epochs = get(&app, &format!("/api/v1/runs/{id}/epochs?limit=2")).await.json();
        assert_eq!((&epochs["epochs"][1]["first_step"], &epochs["next_after"]), (&2.into(), &2.into()));
        let epochs = get(&app, &format!("/api/v1/runs/{id}/epochs?after=2")).await.json();
        assert_eq!((&epochs["epochs"][0]["steps_after"], &epochs["next_after"]), (&6.into(), &Value::Null));
        let steps = get(&app, &format!("/api/v1/runs/{id}/steps?from=1&limit=2")).await.json();
        assert_eq!((&steps["steps"][0]["step"], &steps["next_from"]), (&1.into(), &3.into()));
        let events = get(&app, &format!("/api/v1/runs/{id}/history")).await.json();
        let kinds: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
        assert_eq!(kinds, ["announced", "anchored", "anchored", "anchored", "registered"]);
        let bundles = get(&app, &format!("/api/v1/runs/{id}/bundles")).await.json();
        assert_eq!(bundles["announced"][0]["infohash_v1"], format!("0x{}", "02".repeat(20)));
        let verifiers = get(&app, "/api/v1/verifiers").await.json();
        assert_eq!((&verifiers["verifiers"][0]["epochs"], &verifiers["verifiers"][0]["runs"]), (&3.into(), &1.into()));
        assert_eq!(get(&app, "/api/v1/sources").await.json()["sources"][0]["block"], 9);
    })
    .await;
}

#[tokio::test]
async fn the_path_of_a_step_leads_to_the_anchored_root() {
    on_each(async |index| {
        let history = filled(index).await;
        let step = get(&app(index), &format!("/api/v1/runs/{}/steps/4", history.log.run)).await.json();
        let path: Vec<Digest> = serde_json::from_value(step["path"].clone()).unwrap();
        let leaf: Digest = serde_json::from_value(step["step"]["leaf"].clone()).unwrap();
        let root: Root = serde_json::from_value(step["root"].clone()).unwrap();
        assert_eq!(root, history.log.root());
        InclusionProof { index: StepIndex(4), path, size: TreeSize(6) }.verify(leaf, root).unwrap();
        assert_eq!(step["epoch"]["epoch"], 3);
    })
    .await;
}

#[tokio::test]
async fn every_value_finds_its_run_and_a_record_hash_its_step() {
    on_each(async |index| {
        let history = filled(index).await;
        let app = app(index);
        for value in [history.log.run.to_string(), history.log.root().to_string(), format!("0x{}", "03".repeat(32))] {
            let found = get(&app, &format!("/api/v1/runs?q={value}")).await.json();
            assert_eq!(found["runs"][0]["run"], history.log.run.to_string(), "{value}");
            assert_eq!(found["facets"]["total"], 1);
        }
        let record = Digest::of(&3u64.to_be_bytes());
        let found = get(&app, &format!("/api/v1/runs?q={record}")).await.json();
        assert_eq!(found["steps"][0]["step"], 3);
        let nothing = get(&app, &format!("/api/v1/runs?q=0x{}", "99".repeat(32))).await.json();
        assert_eq!((nothing["runs"].as_array().unwrap().len(), &nothing["facets"]["total"]), (0, &0.into()));
        let frozen = get(&app, "/api/v1/runs?status=frozen").await.json();
        assert_eq!((frozen["runs"].as_array().unwrap().len(), &frozen["facets"]["total"]), (0, &0.into()));
        let counts = frozen["facets"]["statuses"].as_array().unwrap();
        assert_eq!(counts.len(), 2, "statuses are counted whichever was asked for: {counts:?}");
    })
    .await;
}

#[tokio::test]
async fn refusals_have_one_envelope() {
    on_each(async |index| {
        let history = filled(index).await;
        let (app, id) = (app(index), history.log.run);
        let foreign = RunId::from(ledger::FieldElement::from(99));
        for (path, expected) in [
            ("/api/v1/nothing".to_owned(), (404, "no_route")),
            ("/api/v1/runs/0x12".to_owned(), (400, "malformed")),
            (format!("/api/v1/runs/{foreign}"), (404, "no_run")),
            (format!("/api/v1/runs/{id}?contract={}", Address([1; 20])), (404, "no_run")),
            (format!("/api/v1/runs/{id}?colour=red"), (400, "malformed")),
            (format!("/api/v1/runs/{id}/steps/6"), (404, "no_step")),
            (format!("/api/v1/runs/{id}/steps/-1"), (400, "malformed")),
            (format!("/api/v1/runs/{id}/export/keys.csv"), (404, "no_route")),
            ("/api/v1/runs?q=%3Cscript%3E".to_owned(), (400, "malformed")),
            ("/api/v1/runs/%FF".to_owned(), (400, "malformed")),
            ("/api/v1/runs?q=%FF".to_owned(), (400, "malformed")),
        ] {
            let (status, code) = get(&app, &path).await.refusal();
            assert_eq!((status, code.as_str()), expected, "{path}");
        }
        let post = send(&app, Request::post("/api/v1/runs").body(Body::empty()).unwrap()).await;
        assert_eq!(post.refusal(), (405, "method".into()));
    })
    .await;
}

#[tokio::test]
async fn a_run_that_two_contracts_have_is_told_apart_by_the_contract() {
    on_each(async |index| {
        let history = filled(index).await;
        let other = Source { contract: Address([0xdd; 20]), ..SOURCE };
        let key = index.source(&other).await.unwrap();
        index.apply(key, &batch(None, 9, vec![History::new(1).registered(3)])).await.unwrap();
        let (app, id) = (app(index), history.log.run);
        assert_eq!(get(&app, &format!("/api/v1/runs/{id}")).await.refusal(), (409, "several_runs".into()));
        for contract in [SOURCE.contract, other.contract] {
            let run = get(&app, &format!("/api/v1/runs/{id}?contract={contract}")).await.json();
            assert_eq!(run["contract"], contract.to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn exports_hold_every_line() {
    on_each(async |index| {
        let history = filled(index).await;
        let (app, id) = (app(index), history.log.run);
        let csv = get(&app, &format!("/api/v1/runs/{id}/export/steps.csv")).await;
        let lines: Vec<&str> = csv.text().lines().collect();
        assert_eq!((lines.len(), lines[0]), (7, "leaf,record_hash,statement_digest,step"));
        assert!(lines[6].ends_with(",5"), "{}", lines[6]);
        let jsonl = get(&app, &format!("/api/v1/runs/{id}/export/epochs.jsonl")).await;
        let epochs: Vec<Value> = jsonl.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(get(&app, "/api/v1/export/runs.csv").await.text().lines().count(), 4);
        assert_eq!(get(&app, "/api/v1/export/runs.jsonl?min_steps=1").await.text().lines().count(), 1);
    })
    .await;
}

#[tokio::test]
async fn feeds_and_badges_say_what_is_proved_and_what_is_not() {
    on_each(async |index| {
        let history = filled(index).await;
        let (app, id) = (app(index), history.log.run);
        for path in ["/feed.atom".to_owned(), format!("/runs/{id}/feed.atom")] {
            let feed = get(&app, &path).await;
            assert!(feed.text().contains(&format!("{id}")), "{path}");
            assert!(feed.text().contains("<updated>2023-11-14T"), "{}", feed.text());
        }
        assert_eq!(get(&app, &format!("/runs/{id}/feed.atom")).await.text().matches("<entry>").count(), 5);
        let badge = get(&app, &format!("/runs/{id}/badge.svg")).await;
        assert_eq!(badge.headers[header::CONTENT_TYPE], "image/svg+xml");
        assert!(badge.text().contains("anchored, bundle not seen · 6 steps"));
        assert!(badge.text().contains("Not proved: that the gradient is honest"));
        let json = get(&app, &format!("/api/v1/runs/{id}/badge.json")).await.json();
        assert_eq!(json["status"], "bundle_not_seen");
    })
    .await;
}

#[tokio::test]
async fn every_answer_is_guarded_and_nothing_is_sent_twice() {
    on_each(async |index| {
        filled(index).await;
        let app = app(index);
        for path in ["/health", "/metrics", "/api/v1/runs", "/api/v1/nothing"] {
            let headers = get(&app, path).await.headers;
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        }
        let tag = get(&app, "/api/v1/runs").await.headers[header::ETAG].clone();
        let again = |tag| Request::get("/api/v1/runs").header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
        let same = send(&app, again(tag.clone())).await;
        assert_eq!((same.status, same.body.len(), &same.headers[header::ETAG]), (StatusCode::NOT_MODIFIED, 0, &tag));
        // It would replace the policy of the page that the visitor has.
        assert!(!same.headers.contains_key(header::CONTENT_SECURITY_POLICY));
        index.apply(source(index).await, &batch(Some(9), 10, vec![History::new(4).registered(10)])).await.unwrap();
        assert_eq!(send(&app, again(tag)).await.status, StatusCode::OK);
        let packed = Request::get("/api/v1/runs").header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
        assert_eq!(send(&app, packed).await.headers[header::CONTENT_ENCODING], "gzip");
    })
    .await;
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_and_others_do_not() {
    on_each(async |index| {
        let rate = Rate { per_second: 0.001, burst: 2.0 };
        let options = Options { rate, behind_proxy: true, ..Options::default() };
        let app = router(AppState::new(index.clone(), &[], options));
        let from = |address: &str| {
            let request = Request::get("/api/v1/sources").header("x-forwarded-for", format!("203.0.113.9, {address}"));
            request.body(Body::empty()).unwrap()
        };
        for expected in [200, 200, 429] {
            assert_eq!(send(&app, from("192.0.2.1")).await.status.as_u16(), expected);
        }
        let refused = send(&app, from("192.0.2.1")).await;
        assert_eq!(refused.refusal(), (429, "too_many".into()));
        assert_eq!(refused.headers[header::RETRY_AFTER], "1000");
        assert_eq!(send(&app, from("192.0.2.2")).await.status, StatusCode::OK);
        assert_eq!(get(&app, "/health").await.status, StatusCode::OK, "whoever watches is not refused");
    })
    .await;
}

#[tokio::test]
async fn counters_follow_what_is_answered() {
    on_each(async |index| {
        filled(index).await;
        let app = app(index);
        get(&app, "/api/v1/runs").await.json();
        get(&app, "/api/v1/nothing").await;
        let page = get(&app, "/metrics").await;
        for line in [
            "cairn_portal_runs{status=\"bundle_not_seen\"} 1",
            "cairn_portal_runs{status=\"unconfirmed\"} 2",
            "cairn_portal_requests_total{status=\"200\"} 1",
            "cairn_portal_requests_total{status=\"404\"} 1",
            "cairn_portal_request_seconds_count 2",
        ] {
            assert!(page.text().lines().any(|found| found == line), "{line} in {}", page.text());
        }
    })
    .await;
}

#[tokio::test]
async fn listeners_are_told_of_changes_and_of_the_end() {
    on_each(async |index| {
        let history = filled(index).await;
        let options = Options { max_listeners: 1, ..Options::default() };
        let state = AppState::new(index.clone(), &[], options);
        let (app, path) = (router(state.clone()), format!("/api/v1/runs/{}/events", history.log.run));
        let response = app.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        let mut events = response.into_body().into_data_stream();
        let first = events.next().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("\"steps\":6"), "{first:?}");
        assert_eq!(get(&app, &path).await.refusal(), (503, "too_many_listeners".into()));

        let (key, mut more) = (source(index).await, history);
        let epoch = more.anchored(10, 2);
        index.apply(key, &batch(Some(9), 10, vec![epoch])).await.unwrap();
        let second = events.next().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&second).contains("\"steps\":8"), "{second:?}");
        state.drain();
        assert!(events.next().await.is_none());
        drop(events);
        assert_eq!(state.n_listeners(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_description_is_what_the_handlers_answer() {
    on_each(async |index| {
        let history = filled(index).await;
        let app = app(index);
        let description: Value = serde_json::from_str(&portal::description().unwrap()).unwrap();
        assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = description["paths"].as_object().unwrap();
        assert!(paths.len() > 15, "{}", paths.len());
        for (path, methods) in paths {
            let file = if path.starts_with("/api/v1/export") { "runs.csv" } else { "steps.csv" };
            let run = history.log.run.to_string();
            let asked = path.replace("{run}", &run).replace("{step}", "3").replace("{file}", file);
            // Uploads have tests of their own.
            let Some(described) = methods.get("get").map(|get| &get["responses"]) else { continue };
            let has_own = ["/events", "/evidence", "/bundle.torrent"].iter().any(|end| asked.ends_with(end));
            if has_own || asked.contains("/files/") || asked.starts_with("/dumps") {
                // A stream without end, whose words are tested above; and what needs a bundle or a folder of dumps: these have
                // tests of their own.
                continue;
            }
            let answer = get(&app, &asked).await;
            let response = &described[answer.status.as_str()];
            assert!(answer.status == StatusCode::OK && response.is_object(), "{path}: {}", answer.status);
            let content = response["content"].as_object().unwrap();
            let got = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
            let (expected, body) = content.iter().next().unwrap();
            assert!(got.starts_with(expected.as_str()), "{path}: expected {expected}, got {got}");
            if expected == "application/json" {
                conforms(&description, &body["schema"], &answer.json(), path);
            }
            if path.contains("{run}") {
                let foreign = asked.replace(&run, &format!("0x{}63", "00".repeat(31)));
                let answer = get(&app, &foreign).await;
                assert_eq!(answer.refusal(), (404, "no_run".into()), "{path}");
                assert!(described["404"].is_object(), "{path}");
            }
        }
    })
    .await;
}
