//! `cairn prover serve --nats` and `cairn prover worker`: processes, a real broker between them, and what a kill does.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::client::Service;
use super::{adamw, chunk, create, finish, run_dir, send, wait_for, with};
use crate::support::nats::Nats;
use crate::support::{Scratch, cairn, process, verify};

/// A worker in a process of its own, with a home in which there is nothing of the service but the reference strings.
struct Worker {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(nats: &Nats, name: &str) -> Self {
        let mut command = process(&["prover", "worker", "--nats", &nats.url(), "--name", name]);
        // As if each were a machine with one core.
        command.env("RAYON_NUM_THREADS", "1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("cairn starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut worker = Self { child, said: BufReader::new(stdout).lines() };
        assert_eq!(worker.next().expect("its first word"), json!({ "name": name }));
        worker
    }

    /// What it says next; none after its end.
    fn next(&mut self) -> Option<Value> {
        let line = self.said.next()?.expect("UTF-8");
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("a process");
    }

    /// SIGTERM; the steps and chunks that it said it proved.
    fn end(mut self) -> Vec<(u64, u64)> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let mut proved = Vec::new();
        while let Some(said) = self.next() {
            if said["event"] == "proved" {
                proved.push((said["step"].as_u64().expect("a step"), said["chunk"].as_u64().expect("a chunk")));
            }
        }
        assert_eq!(self.child.wait().expect("a process").code(), Some(0));
        proved
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(scratch: &Scratch, nats: &Nats) -> Service {
    Service::start(scratch, &["--nats", &nats.url(), "--redeliver-after", "1"])
}

/// Ten parameters, in chunks of `len`.
fn send_chunks(service: &Service, run: &str, step: u64, len: usize) {
    for (index, n) in (0..).zip((0..10).step_by(len).map(|start| len.min(10 - start))) {
        let answer =
            service.put(&format!("/v1/runs/{run}/steps/{step}/chunks/{index}"), &chunk(step + index, n).bytes());
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

fn in_chunks(n_chunks: u32) -> Value {
    with(adamw(), json!({ "n_chunks": n_chunks, "epoch_len": 1 }))
}

#[test]
fn a_worker_killed_in_the_middle_of_a_proof_is_replaced_and_the_step_is_proved_once() {
    let (scratch, nats) = (Scratch::new(), Nats::start());
    let service = serve(&scratch, &nats);
    let run = create(&service, &adamw());
    let waits = |status: &Value| status["waits_for"] == "workers";
    assert_eq!(send(&service, &run, 0, 10).status, 202);
    wait_for(&service, &run, "waiting for workers", waits);
    let mut first = Worker::start(&nats, "first");
    // It has to make the key and then the proof: whatever it is at when the signal comes, it has not sent anything.
    assert_eq!(first.next().expect("a job")["event"], "taken");
    wait_for(&service, &run, "in a worker's hands", |status| !waits(status));
    first.kill();
    let status = wait_for(&service, &run, "waiting for workers", waits);
    assert_eq!((&status["accepted_steps"], &status["proved_steps"]), (&json!(1), &json!(0)), "{status:#}");
    let second = Worker::start(&nats, "second");
    let status = finish(&service, &run);
    assert!(!waits(&status), "{status:#}");
    assert_eq!(second.end(), [(0, 0)]);
    assert_eq!(verify(run_dir(&status)).must()["steps_verified"], 1);
}

#[test]
fn two_workers_prove_a_run_in_chunks_whatever_is_killed_meanwhile() {
    let (scratch, mut nats) = (Scratch::new(), Nats::start());
    let mut service = serve(&scratch, &nats);
    let run = create(&service, &in_chunks(3));
    let workers = [Worker::start(&nats, "one"), Worker::start(&nats, "two")];
    const STEPS: u64 = 4;
    let start = Instant::now();
    for step in 0..STEPS {
        send_chunks(&service, &run, step, 4);
        match step {
            1 => {
                service.kill();
                service = serve(&scratch, &nats);
            }
            2 => {
                nats.down();
                // What comes while the broker is away is accepted all the same.
                let status = service.get(&format!("/v1/runs/{run}")).ok();
                assert_eq!(status["accepted_steps"], 3, "{status:#}");
                nats.up();
            }
            _ => {}
        }
    }
    let status = finish(&service, &run);
    println!("{STEPS} steps of 3 chunks, two workers, two kills: {} ms", start.elapsed().as_millis());
    let report = verify(run_dir(&status)).must();
    assert_eq!(report["steps_verified"], STEPS, "{report:#}");
    let mut proved: Vec<(u64, u64)> = workers.into_iter().flat_map(Worker::end).collect();
    proved.sort_unstable();
    proved.dedup();
    let all: Vec<(u64, u64)> = (0..STEPS).flat_map(|step| (0..3).map(move |chunk| (step, chunk))).collect();
    assert_eq!(proved, all);
}

#[test]
fn a_second_worker_takes_a_part_of_the_chunks() {
    let (scratch, nats) = (Scratch::new(), Nats::start());
    let service = Service::start(&scratch, &["--nats", &nats.url()]);
    let run = create(&service, &in_chunks(5));
    let proved = |n: u64| move |status: &Value| status["proved_steps"] == n;
    let mut workers = vec![Worker::start(&nats, "one")];
    // The first step of each number of workers has the making of keys in it.
    for step in 0..4 {
        if step == 2 {
            workers.push(Worker::start(&nats, "two"));
        }
        send_chunks(&service, &run, step, 2);
        wait_for(&service, &run, "proved", proved(step + 1));
    }
    let status = finish(&service, &run);
    assert_eq!(verify(run_dir(&status)).must()["steps_verified"], 4);
    let log = std::fs::read_to_string(run_dir(&status).join("steps.jsonl")).expect("a log");
    let times: Vec<u64> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("a record")["meta"]["prove_ms"].as_u64().expect("a time")
        })
        .collect();
    let parts: Vec<usize> = workers.into_iter().map(|worker| worker.end().len()).collect();
    println!("5 chunks: one worker {} ms, two workers {} ms; chunks proved by each {parts:?}", times[1], times[3]);
    assert_eq!(parts.iter().sum::<usize>(), 20, "each chunk is proved once");
}

#[test]
fn a_service_whose_broker_goes_away_accepts_and_says_why_it_does_not_prove() {
    let (scratch, mut nats) = (Scratch::new(), Nats::start());
    let service = serve(&scratch, &nats);
    let run = create(&service, &adamw());
    nats.down();
    assert_eq!(send(&service, &run, 0, 10).status, 202);
    let status = wait_for(&service, &run, "in trouble", |status| status["error"].is_string());
    let reason = status["error"].as_str().expect("a reason");
    assert!(reason.starts_with("NATS server, "), "{reason}");
}

#[test]
fn without_a_broker_neither_service_nor_worker_starts_and_both_say_so() {
    let scratch = Scratch::new();
    let mut nats = Nats::start();
    nats.down();
    let (url, token) = (nats.url(), scratch.path("token"));
    let serve = ["prover", "serve", "--listen", "127.0.0.1:0", "--token-file", &token, "--nats", &url];
    let worker = ["prover", "worker", "--nats", &url];
    for args in [&serve[..], &worker] {
        let refused = cairn(args);
        assert!(refused.refused(2).contains(&format!("no NATS server at {url}: ")), "{refused:?}");
    }
}
