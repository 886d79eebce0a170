//! `cairn prover serve` as trainers see it: a process, HTTP, files.

pub mod client;
mod workers;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Scratch, cairn, verify};
use client::{Answer, Frame, Service, WRITER};

/// Raw Q32 of AdamW with lr 0.01.
fn adamw() -> Value {
    json!({
        "rule": "adamw", "beta1": "3865470566", "beta2": "4290672329", "eps": "2749", "weight_decay": "0",
        "lr_max": "42949673", "epoch_len": 2, "salt": format!("0x{}", "11".repeat(32)),
    })
}

/// The same with other fields.
fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else { panic!("objects") };
    base.extend(more);
    Value::Object(base)
}

/// Weights of a model of ten parameters.
fn weights() -> Frame {
    Frame::default().i32("a", &[2, 3], &[1 << 20, -5, 0, 7, 1 << 23, -(1 << 24)]).i32("b", &[4], &[0, 1, 2, 3])
}

fn new_run(description: &Value) -> Frame {
    weights().text("run", &description.to_string())
}

/// The gradient of a step: small, and another for each step.
fn gradient(step: u64, n: usize) -> Vec<i32> {
    (0..n as i32).map(|i| (i + 1) * 1_000 * if (step as i32 + i) % 2 == 0 { 1 } else { -1 }).collect()
}

fn chunk(step: u64, n: usize) -> Frame {
    let meta = json!({ "loss": "0.5", "extra": { "batch": step.to_string() } });
    Frame::default().i32("g", &[n], &gradient(step, n)).text("lr", "42949673").text("meta", &meta.to_string())
}

fn create(service: &Service, description: &Value) -> String {
    let answer = service.post("/v1/runs", &new_run(description).bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["run"].as_str().expect("an id").to_owned()
}

fn send(service: &Service, run: &str, step: u64, n: usize) -> Answer {
    service.put(&format!("/v1/runs/{run}/steps/{step}/chunks/0"), &chunk(step, n).bytes())
}

/// Waits until the run's status is as asked.
fn wait_for(service: &Service, run: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let status = service.get(&format!("/v1/runs/{run}")).ok();
        if is(&status) {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(300), "not {what}: {status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn settled(service: &Service, run: &str) -> Value {
    wait_for(service, run, "settled", |status| status["settled"] == true)
}

fn finish(service: &Service, run: &str) -> Value {
    service.post(&format!("/v1/runs/{run}/finish"), b"").ok();
    settled(service, run)
}

fn run_dir(status: &Value) -> &Path {
    Path::new(status["run_dir"].as_str().expect("a directory"))
}

#[test]
fn steps_sent_over_http_become_a_run_that_everyone_can_verify() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    for step in 0..3 {
        let answer = send(&service, &run, step, 10);
        assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("accepted")), "{answer:?}");
    }
    let status = finish(&service, &run);
    assert_eq!((&status["accepted_steps"], &status["proved_steps"]), (&json!(3), &json!(3)), "{status:#}");
    let report = verify(run_dir(&status)).must();
    assert_eq!((&report["ok"], &report["steps_verified"]), (&json!(true), &json!(3)), "{report:#}");
    let log = std::fs::read_to_string(run_dir(&status).join("steps.jsonl")).expect("a log");
    assert!(log.lines().next().is_some_and(|line| line.contains(r#""extra":{"batch":"0"}"#)), "{log}");

    // What a buyer gets is checked by the buyer, and one changed unit is refused.
    let (path, opening) = (scratch.path("w.safetensors"), scratch.path("o.json"));
    let bytes = service.get(&format!("/v1/runs/{run}/states/3/weights")).body;
    std::fs::write(&path, &bytes).expect("scratch space");
    std::fs::write(&opening, service.get(&format!("/v1/runs/{run}/states/3/opening")).body).expect("scratch space");
    let dir = status["run_dir"].as_str().expect("a directory");
    let check = ["check-weights", "--run", dir, "--weights", &path, "--opening", &opening];
    cairn(&check).must();
    let mut changed = bytes.clone();
    let at = changed.len() - 8;
    let value = f64::from_le_bytes(changed[at..].try_into().expect("8 bytes")) + 2f64.powi(-24);
    changed[at..].copy_from_slice(&value.to_le_bytes());
    std::fs::write(&path, changed).expect("scratch space");
    assert!(cairn(&check).refused(1).contains("check failed: weights"));
}

#[test]
fn chunks_come_in_any_order_and_make_one_step() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let sgd = json!({ "rule": "sgd", "beta2": "0", "eps": "0", "n_chunks": 3, "epoch_len": 1 });
    let run = create(&service, &with(adamw(), sgd));
    for step in 0..2 {
        for (index, n) in [(2, 2), (0, 4), (1, 4)] {
            let frame = chunk(step + index, n);
            let answer = service.put(&format!("/v1/runs/{run}/steps/{step}/chunks/{index}"), &frame.bytes());
            let expected = if index == 1 { "accepted" } else { "incomplete" };
            assert_eq!((answer.status, &answer.json()["state"]), (202, &json!(expected)), "{answer:?}");
        }
    }
    let status = finish(&service, &run);
    let report = verify(run_dir(&status)).must();
    assert_eq!(report["steps_verified"], 2, "{report:#}");
}

#[test]
fn what_was_accepted_survives_a_kill_and_is_proved_once() {
    let scratch = Scratch::new();
    let mut service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    let first = service.post("/v1/runs", &new_run(&adamw()).bytes());
    assert_eq!(
        (first.status, first.json()["run"].as_str()),
        (200, Some(run.as_str())),
        "asking again makes no other run"
    );
    const STEPS: u64 = 8;
    for step in 0..STEPS {
        assert_eq!(send(&service, &run, step, 10).status, 202);
        if step == 3 || step == 5 {
            // Somewhere between accepting, proving and logging.
            std::thread::sleep(Duration::from_millis(150 * step));
            service.kill();
            service = Service::start(&scratch, &[]);
            let status = service.get(&format!("/v1/runs/{run}")).ok();
            assert_eq!(status["accepted_steps"], step + 1, "{status:#}");
        }
    }
    wait_for(&service, &run, "two proved", |status| status["proved_steps"].as_u64() >= Some(2));
    service.kill();
    let service = Service::start(&scratch, &[]);
    // Sent again after the answer got lost: every one is known, waiting or proved.
    for step in 0..STEPS {
        let answer = send(&service, &run, step, 10);
        assert_eq!((answer.status, &answer.json()["repeated"]), (200, &json!(true)), "{answer:?}");
    }
    let status = finish(&service, &run);
    let report = verify(run_dir(&status)).must();
    assert_eq!(report["steps_verified"], STEPS, "{report:#}");
    let proved = send(&service, &run, 0, 10);
    assert_eq!((proved.status, &proved.json()["state"]), (200, &json!("proved")), "{proved:?}");
    let other = service.put(&format!("/v1/runs/{run}/steps/0/chunks/0"), &chunk(1, 10).bytes());
    assert_eq!(other.refused(409), "other_upload");
}

/// What is left in the home of a run whose directory is gone neither becomes part of another run nor is overwritten.
#[test]
fn a_run_of_which_only_private_files_are_left_is_not_made_again() {
    let scratch = Scratch::new();
    let mut service = Service::start(&scratch, &[]);
    create(&service, &adamw());
    service.kill();
    std::fs::remove_dir_all(scratch.path("artifacts")).expect("scratch space");
    let service = Service::start(&scratch, &[]);
    assert_eq!(service.post("/v1/runs", &new_run(&adamw()).bytes()).refused(409), "leftover");
    assert_eq!(service.get("/v1/runs").ok(), json!({ "runs": [] }));
    create(&service, &with(adamw(), json!({ "salt": format!("0x{}", "55".repeat(32)) })));
}

#[test]
fn half_a_step_survives_a_kill_and_is_completed() {
    let scratch = Scratch::new();
    let mut service = Service::start(&scratch, &[]);
    let run = create(&service, &with(adamw(), json!({ "n_chunks": 2 })));
    let put = |service: &Service, chunk_index| {
        service.put(&format!("/v1/runs/{run}/steps/0/chunks/{chunk_index}"), &chunk(chunk_index, 5).bytes())
    };
    assert_eq!(put(&service, 1).status, 202);
    service.kill();
    service = Service::start(&scratch, &[]);
    let status = service.get(&format!("/v1/runs/{run}")).ok();
    assert_eq!((&status["pending_chunks"], &status["accepted_steps"]), (&json!([1]), &json!(0)), "{status:#}");
    assert_eq!(service.get(&format!("/v1/runs/{run}/steps/0")).ok()["state"], "incomplete");
    assert_eq!(put(&service, 1).status, 200);
    assert_eq!(put(&service, 0).status, 202);
    let status = finish(&service, &run);
    assert_eq!(verify(run_dir(&status)).must()["steps_verified"], 1);
}

#[test]
fn a_service_that_is_asked_to_stop_drains_and_goes_on_later() {
    let scratch = Scratch::new();
    let mut service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    for step in 0..6 {
        assert_eq!(send(&service, &run, step, 10).status, 202);
    }
    let mut events = service.events(&run);
    assert_eq!(events.next().expect("the first event").0, "status");
    assert_eq!(service.terminate(), Some(0));
    // The stream ended with the service, and told nothing that is not so.
    let told = events.filter(|(name, _)| name == "proved").count();
    let service = Service::start(&scratch, &[]);
    let status = service.get(&format!("/v1/runs/{run}")).ok();
    assert_eq!(status["accepted_steps"], 6, "{status:#}");
    assert!(status["proved_steps"].as_u64() >= Some(told as u64), "{told} told, {status:#}");
    let status = finish(&service, &run);
    assert_eq!(verify(run_dir(&status)).must()["steps_verified"], 6);
}

/// Each refusal has its own code, and leaves the run as it was.
#[test]
fn bad_uploads_are_refused_by_name_and_change_nothing() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &["--max-body", "1"]);
    let run = create(&service, &with(adamw(), json!({ "n_chunks": 2 })));
    let at = |step: &str, chunk: &str| format!("/v1/runs/{run}/steps/{step}/chunks/{chunk}");
    let before = service.get(&format!("/v1/runs/{run}")).ok();
    let g = |values: &[f64]| Frame::default().f64("g", &[values.len()], values).text("lr", "1").bytes();
    let ints = |values: &[i32]| Frame::default().i32("g", &[values.len()], values);
    let one = |value: f64| g(&[0.0, 0.0, value, 0.0, 0.0]);
    let zeros = [0; 5];
    let whole = ints(&zeros).text("lr", "1").bytes();
    let state = |w: &[i32]| ints(&zeros).text("lr", "1").i32("w", &[5], w).bytes();
    /// What it is, path, body, and the status, code and words that it is refused with.
    type Case<'a> = (&'a str, String, Vec<u8>, u16, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("not a number", at("0", "0"), one(f64::NAN), 422, "range", "a[2]"),
        ("infinite", at("0", "1"), one(f64::INFINITY), 422, "range", "b[1]"),
        ("out of range", at("0", "0"), one(128.0), 422, "range", "a[2]"),
        ("not a multiple", at("0", "0"), one(1e-9), 422, "range", "a[2]"),
        ("wrong shape", at("0", "0"), ints(&[0; 4]).text("lr", "1").bytes(), 422, "tensor", "[5]"),
        ("another tensor", at("0", "0"), ints(&zeros).i32("x", &[1], &[0]).text("lr", "1").bytes(), 422, "tensor", "x"),
        ("no gradient", at("0", "0"), Frame::default().text("lr", "1").bytes(), 422, "tensor", "g"),
        ("no lr", at("0", "0"), ints(&zeros).bytes(), 422, "invalid", "lr"),
        ("lr is no number", at("0", "0"), ints(&zeros).text("lr", "0.1").bytes(), 422, "invalid", "lr"),
        (
            "lr above the policy's",
            at("0", "0"),
            ints(&zeros).text("lr", "42949674").bytes(),
            422,
            "invalid",
            "42949673",
        ),
        (
            "meta is no JSON",
            at("0", "0"),
            ints(&zeros).text("lr", "1").text("meta", "{").bytes(),
            400,
            "malformed",
            "meta",
        ),
        (
            "meta has a bad key",
            at("0", "0"),
            ints(&zeros).text("lr", "1").text("meta", r#"{"extra":{"A b":"c"}}"#).bytes(),
            422,
            "invalid",
            "meta",
        ),
        ("a step too far", at("1", "0"), whole.clone(), 409, "step_out_of_order", "expected step 0, got 1"),
        ("no such chunk", at("0", "2"), whole.clone(), 404, "no_chunk", "2 chunks"),
        ("no step", at("x", "0"), whole.clone(), 400, "malformed", "step"),
        ("truncated frame", at("0", "0"), whole[..whole.len() - 1].to_vec(), 400, "malformed", "frame"),
        ("no frame", at("0", "0"), b"hello".to_vec(), 400, "malformed", "frame"),
        ("nothing", at("0", "0"), Vec::new(), 400, "malformed", "frame"),
        ("too large", at("0", "0"), vec![0; (1 << 20) + 1], 413, "too_large", "1048576"),
        ("another state", at("0", "0"), state(&[1 << 20, -5, 0, 7, 1]), 409, "state_differs", "a[4]"),
        (
            "another digest",
            at("0", "0"),
            ints(&zeros).text("lr", "1").text("state_sha256", "0x00").bytes(),
            409,
            "state_differs",
            "SHA-256",
        ),
        (
            "another run",
            format!("/v1/runs/0x{}/steps/0/chunks/0", "00".repeat(32)),
            whole.clone(),
            404,
            "no_run",
            "no run",
        ),
        ("no run", "/v1/runs/0/steps/0/chunks/0".to_owned(), whole.clone(), 400, "malformed", "run"),
    ];
    for (what, path, body, status, code, says) in cases {
        let answer = service.put(&path, &body);
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{what}: {answer:?}");
        assert!(answer.text().contains(says), "{what}: {answer:?}");
        assert_eq!(service.get(&format!("/v1/runs/{run}")).ok(), before, "{what}");
    }
    // The same chunk, honest, is taken; another learning rate beside it is not.
    assert_eq!(service.put(&at("0", "0"), &whole).status, 202);
    let other = ints(&zeros).text("lr", "2").bytes();
    assert_eq!(service.put(&at("0", "1"), &other).refused(409), "learning_rate_differs");
    assert_eq!(service.put(&at("0", "0"), &other).refused(409), "other_upload");
    assert_eq!(service.post(&format!("/v1/runs/{run}/finish"), b"").refused(422), "invalid");
    assert_eq!(service.put(&at("0", "1"), &whole).status, 202);
    finish(&service, &run);
    assert_eq!(service.put(&at("1", "0"), &whole).refused(409), "finished");
}

/// The connection breaks in the middle of a body.
#[test]
fn an_upload_that_breaks_off_leaves_the_run_as_it_was() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    let before = service.get(&format!("/v1/runs/{run}")).ok();
    let body = chunk(0, 10).bytes();
    let answer = service.break_off("PUT", &format!("/v1/runs/{run}/steps/0/chunks/0"), &body, body.len() / 2);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(service.get(&format!("/v1/runs/{run}")).ok(), before);
    assert_eq!(send(&service, &run, 0, 10).status, 202);
}

/// A result that leaves the range is refused when it is sent, not when it is proved.
#[test]
fn an_update_without_a_result_is_refused_before_it_is_accepted() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let largest = i32::MAX;
    let sgd = json!({ "rule": "sgd", "beta1": "0", "beta2": "0", "eps": "0", "lr_max": "4294967295" });
    let frame = Frame::default().i32("x", &[2], &[0, largest]).text("run", &with(adamw(), sgd).to_string());
    let answer = service.post("/v1/runs", &frame.bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    let run = answer.json()["run"].as_str().expect("an id").to_owned();
    let frame = Frame::default().i32("g", &[2], &[5, -1000]).text("lr", "4294967295");
    let answer = service.put(&format!("/v1/runs/{run}/steps/0/chunks/0"), &frame.bytes());
    assert_eq!(answer.refused(422), "range");
    let details = answer.json()["error"]["details"].clone();
    assert_eq!((&details["tensor"], &details["index"]), (&json!("x"), &json!(1)), "{details:#}");
    assert!(answer.text().contains("step 0: w'[1] = 2147484647"), "{answer:?}");
}

#[test]
fn bad_runs_are_refused_and_none_is_made() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &["--max-step-k", "14"]);
    let description = |more: Value| new_run(&with(adamw(), more)).bytes();
    let nan = Frame::default().f64("a", &[1], &[f64::NAN]).text("run", &adamw().to_string()).bytes();
    let missing = format!("0x{}", "22".repeat(32).replacen("22", "00", 1));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("no description", weights().bytes(), 422, "invalid"),
        ("not JSON", weights().text("run", "{").bytes(), 400, "malformed"),
        ("unknown field", description(json!({ "more": 1 })), 400, "malformed"),
        ("unknown rule", description(json!({ "rule": "lion" })), 400, "malformed"),
        ("a number for a string", description(json!({ "beta1": 5 })), 400, "malformed"),
        ("beta1 of 1", description(json!({ "beta1": "4294967296" })), 422, "invalid"),
        ("no eps", description(json!({ "eps": "0" })), 422, "invalid"),
        ("no chunks", description(json!({ "n_chunks": 0 })), 422, "invalid"),
        ("too many chunks", description(json!({ "n_chunks": 1025 })), 422, "invalid"),
        ("epoch of 3", description(json!({ "epoch_len": 3 })), 400, "malformed"),
        ("k too large", description(json!({ "step_k": 15 })), 422, "invalid"),
        ("k of 99", description(json!({ "epoch_k": 99 })), 422, "invalid"),
        ("bad note", description(json!({ "notes": { "A b": "c" } })), 422, "invalid"),
        ("large chain id", description(json!({ "chain_id": 1u64 << 53 })), 422, "invalid"),
        ("no such parent", description(json!({ "parent": missing })), 404, "no_run"),
        ("no weights", Frame::default().text("run", &adamw().to_string()).bytes(), 422, "tensor"),
        ("NaN", nan, 422, "range"),
        ("bytes", vec![7; 100], 400, "malformed"),
    ];
    for (what, body, status, code) in cases {
        let answer = service.post("/v1/runs", &body);
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{what}: {answer:?}");
        assert_eq!(service.get("/v1/runs").ok(), json!({ "runs": [] }), "{what}");
    }
    let run = create(&service, &adamw());
    let other = service.post("/v1/runs", &description(json!({ "lr_max": "1" })));
    assert_eq!(other.refused(409), "other_run");
    assert_eq!(service.get("/v1/runs").ok()["runs"].as_array().map(Vec::len), Some(1), "{run}");
}

#[test]
fn a_second_writer_is_refused_until_it_takes_over() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let run = create(&service, &with(adamw(), json!({ "n_chunks": 2 })));
    let path = format!("/v1/runs/{run}/steps/0/chunks/0");
    let writer = format!("/v1/runs/{run}/writer");
    let other = service.as_writer("another-writer");
    assert_eq!(service.put(&path, &chunk(0, 5).bytes()).status, 202);
    assert_eq!(other.put(&path, &chunk(0, 5).bytes()).refused(409), "second_writer");
    assert_eq!(other.post(&format!("/v1/runs/{run}/finish"), b"").refused(409), "second_writer");
    assert_eq!(
        other.post("/v1/runs", &new_run(&with(adamw(), json!({ "n_chunks": 2 }))).bytes()).refused(409),
        "second_writer"
    );
    assert_eq!(other.post(&writer, b"{}").refused(409), "second_writer");
    let status = other.post(&writer, br#"{"take_over":true}"#).ok();
    assert_eq!(status["pending_chunks"], json!([]), "half a step of another writer is dropped");
    assert_eq!(service.put(&path, &chunk(0, 5).bytes()).refused(409), "second_writer");
    assert_eq!(other.put(&path, &chunk(1, 5).bytes()).status, 202);
    for bad in ["", "short", "with space", &"x".repeat(65)] {
        assert_eq!(service.as_writer(bad).put(&path, b"").refused(400), "malformed", "{bad:?}");
    }
    assert_eq!(WRITER.len(), 16);
}

#[test]
fn a_full_queue_pushes_back_and_says_when_to_try_again() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &["--queue", "1"]);
    let run = create(&service, &adamw());
    let (mut pushed_back, mut step) = (0, 0);
    while step < 4 {
        let answer = send(&service, &run, step, 10);
        match answer.status {
            202 => step += 1,
            429 => {
                assert_eq!(answer.refused(429), "queue_full");
                let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
                assert!((1..60).contains(&seconds), "{answer:?}");
                pushed_back += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!(pushed_back > 0, "the queue was never full");
    let status = finish(&service, &run);
    assert_eq!(verify(run_dir(&status)).must()["steps_verified"], 4);
}

/// The description names every route, and none answers without the token.
#[test]
fn every_route_of_the_description_wants_the_token() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let description = service.anonymous("GET", "/v1/openapi.json", b"").ok();
    let printed: Value = serde_json::from_str(&cairn(&["prover", "openapi"]).stdout).expect("JSON");
    assert_eq!(description, printed);
    let mut guarded = 0;
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase();
            let filled = path.replace("{run}", &format!("0x{}", "00".repeat(32)));
            let filled = filled.replace("{step}", "0").replace("{chunk}", "0").replace("{state}", "0");
            let answer = service.anonymous(&method, &filled, b"");
            if operation.get("security").is_none() {
                assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
                continue;
            }
            guarded += 1;
            assert_eq!(answer.refused(401), "token", "{method} {path}");
            let wrong = service.with_token("0123456789abcdef").request(&method, &filled, b"");
            assert_eq!(wrong.refused(401), "token", "{method} {path}");
            // With the token the route is there: it answers, or says what it misses.
            let answer = service.request(&method, &filled, b"");
            assert!(answer.status == 200 || ["no_run", "malformed"].contains(&answer.code().as_str()), "{answer:?}");
        }
    }
    assert_eq!(guarded, 12);
    assert_eq!(service.get("/v1/nothing").refused(404), "no_route");
    assert_eq!(service.request("DELETE", "/v1/runs", b"").refused(405), "method");
}

#[test]
fn events_and_metrics_tell_what_happens() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    let events = service.events(&run);
    assert_eq!(send(&service, &run, 0, 10).status, 202);
    service.post(&format!("/v1/runs/{run}/finish"), b"").ok();
    let mut names = Vec::new();
    for (name, fields) in events {
        match name.as_str() {
            "status" => assert_eq!(fields["run"], run, "{fields:#}"),
            "accepted" | "proved" => assert_eq!(fields["step"], 0, "{fields:#}"),
            "proving" => assert_eq!((&fields["done"], &fields["of"]), (&json!(1), &json!(1))),
            _ => {}
        }
        let last = name == "settled";
        names.push(name);
        if last {
            break;
        }
    }
    for expected in ["status", "accepted", "proving", "proved", "finished", "settled"] {
        assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
    }
    let page = service.get("/metrics").text();
    for line in [
        "cairn_prover_steps_accepted_total 1",
        "cairn_prover_steps_proved_total 1",
        "cairn_prover_failures_total 0",
        "cairn_prover_queue_steps 0",
        "cairn_prover_step_seconds_count 1",
        "cairn_prover_requests_total{status=\"202\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
}

#[test]
fn a_child_starts_where_its_parent_ended() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let parent = create(&service, &adamw());
    for step in 0..2 {
        assert_eq!(send(&service, &parent, step, 10).status, 202);
    }
    let description = with(adamw(), json!({ "parent": parent, "salt": format!("0x{}", "33".repeat(32)) }));
    let frame = |weights: Frame| weights.text("run", &description.to_string()).bytes();
    let early = service.post("/v1/runs", &frame(Frame::default()));
    assert_eq!(early.refused(422), "invalid", "the parent is not finished");
    let status = finish(&service, &parent);
    // The first weights of the parent are not its last.
    let wrong = service.post("/v1/runs", &frame(weights()));
    assert_eq!(wrong.refused(409), "state_differs");
    let child = service.post("/v1/runs", &frame(Frame::default()));
    assert_eq!(child.status, 201, "{child:?}");
    let child = child.json();
    assert_eq!(child["state_sha256"], status["state_sha256"]);
    let id = child["run"].as_str().expect("an id");
    assert_eq!(send(&service, id, 0, 10).status, 202);
    // A parent with a child stays what it was when the service starts again, and may have another child.
    drop(service);
    let service = Service::start(&scratch, &[]);
    let again = service.get(&format!("/v1/runs/{parent}")).ok();
    assert_eq!((&again["settled"], &again["error"]), (&json!(true), &Value::Null), "{again:#}");
    let second = with(description.clone(), json!({ "salt": format!("0x{}", "44".repeat(32)) }));
    let second = service.post("/v1/runs", &Frame::default().text("run", &second.to_string()).bytes());
    assert_eq!(second.status, 201, "{second:?}");
    let child = finish(&service, id);
    let (dir, parents) = (child["run_dir"].as_str().expect("a directory"), run_dir(&status).to_str().expect("UTF-8"));
    let report = cairn(&["verify", "--all", "--run", dir, "--parent", parents]).must();
    assert_eq!((&report["ok"], &report["steps_verified"]), (&json!(true), &json!(1)), "{report:#}");
}

/// A run that another process has locked waits, and goes on.
#[test]
fn a_step_whose_run_is_in_use_waits_and_is_proved_later() {
    let scratch = Scratch::new();
    let service = Service::start(&scratch, &[]);
    let run = create(&service, &adamw());
    let dir = service.get(&format!("/v1/runs/{run}")).ok()["run_dir"].as_str().expect("a directory").to_owned();
    let lock = std::fs::File::options().write(true).open(Path::new(&dir).join(".lock")).expect("the lock's file");
    lock.lock().expect("the lock");
    assert_eq!(send(&service, &run, 0, 10).status, 202);
    let status = wait_for(&service, &run, "in trouble", |status| status["error"].is_string());
    assert_eq!(status["proved_steps"], 0, "{status:#}");
    drop(lock);
    let status = finish(&service, &run);
    assert_eq!((&status["proved_steps"], &status["error"]), (&json!(1), &Value::Null), "{status:#}");
}
