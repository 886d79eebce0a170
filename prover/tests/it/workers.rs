//! Service and workers with a real nats-server between them.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use ledger::{ChunkIndex, Digest};
use prover::job::ChunkJob;
use prover::queue::{Broker, BrokerAddress, Dispatcher, QueueError, Redelivery, Told, WorkerConfig, work};
use prover::service::{Provers, ProversError, Work};
use prover::step::PreparedStep;
use srs::SrsLabel;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bench::{self, bench};
use crate::nats::Nats;

fn address(nats: &Nats) -> BrokerAddress {
    BrokerAddress { url: nats.url(), credentials: None }
}

/// What is at the broker, for those who do not keep to the rules.
async fn raw(nats: &Nats) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats.url()).await.expect("a connection"))
}

/// Server, service and runtime of one test.
struct Scene {
    runtime: Runtime,
    nats: Nats,
    draining: watch::Sender<bool>,
}

impl Scene {
    fn new() -> Self {
        Self { runtime: Runtime::new().expect("a runtime"), nats: Nats::start(), draining: watch::channel(false).0 }
    }

    /// The service's side. A silent worker is given up after a second.
    fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_after(Duration::from_secs(1))
    }

    /// The same, but no worker is given up because the machine is slow.
    fn patient_dispatcher(&self) -> Dispatcher {
        self.dispatcher_after(Duration::from_secs(60))
    }

    fn dispatcher_after(&self, patience: Duration) -> Dispatcher {
        let redelivery = Redelivery::After(patience);
        let broker = self.runtime.block_on(Broker::connect(&address(&self.nats), redelivery)).expect("a broker");
        Dispatcher::new(broker, self.runtime.handle().clone())
    }

    fn prove(&self, dispatcher: &Dispatcher, step: &PreparedStep) -> Result<Vec<Vec<u8>>, ProversError> {
        self.prove_with(dispatcher, step, &[], &mut |_| {})
    }

    fn prove_with(
        &self,
        dispatcher: &Dispatcher,
        step: &PreparedStep,
        ahead: &[&[ChunkJob]],
        on_wait: &mut dyn FnMut(bool),
    ) -> Result<Vec<Vec<u8>>, ProversError> {
        let bench = bench();
        dispatcher.prove(Work {
            srs: &bench.srs,
            key: &bench.key,
            jobs: &step.jobs,
            ahead,
            draining: self.draining.subscribe(),
            on_chunk: &mut |_, _| {},
            on_wait,
        })
    }

    /// What comes of a step while `others` do their part.
    fn prove_while<T>(
        &self,
        dispatcher: &Dispatcher,
        step: &PreparedStep,
        others: impl FnOnce(&dyn Fn() -> bool) -> T,
    ) -> (Result<Vec<Vec<u8>>, ProversError>, T) {
        /// A test that fails does not wait for its step.
        struct Stop<'a>(&'a watch::Sender<bool>);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.send_replace(true);
                }
            }
        }
        std::thread::scope(|scope| {
            let proving = scope.spawn(|| self.prove(dispatcher, step));
            let stop = Stop(&self.draining);
            let done = others(&|| proving.is_finished());
            drop(stop);
            (proving.join().expect("no panic"), done)
        })
    }

    /// A worker, and what it tells. It stops when the test ends.
    fn worker(&self, name: &str) -> Worker {
        let config = WorkerConfig {
            srs: bench::cache(),
            srs_label: SrsLabel::development(),
            max_step_k: 12,
            memory: None,
            name: name.to_owned(),
        };
        let broker =
            self.runtime.block_on(Broker::connect(&address(&self.nats), Redelivery::AsItIs)).expect("a broker");
        let (stop, stopping) = watch::channel(false);
        let (tell, told) = mpsc::channel();
        let task = self.runtime.spawn(async move {
            // The test may have seen enough.
            work(&broker, config, stopping, |what| drop(tell.send(what))).await;
        });
        Worker { task, stop, told }
    }

    /// Messages in the queue.
    fn queued(&self) -> u64 {
        self.runtime.block_on(async {
            let mut jobs = raw(&self.nats).await.get_stream("CAIRN_JOBS").await.expect("the queue");
            jobs.info().await.expect("the queue").state.messages
        })
    }

    /// Takes one job as a worker does, and says no more.
    async fn take(&self) -> (jetstream::Message, ChunkJob, Digest) {
        let broker = raw(&self.nats).await;
        let queue = broker.get_stream("CAIRN_JOBS").await.expect("the queue");
        let consumer: jetstream::consumer::PullConsumer = queue.get_consumer("provers").await.expect("the consumer");
        let mut batch =
            consumer.batch().max_messages(1).expires(Duration::from_secs(60)).messages().await.expect("a batch");
        let message = batch.next().await.expect("a job").expect("a job");
        let notice: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        let name = notice["job"].as_str().expect("a digest");
        let mut object = broker.get_object_store("cairn-jobs").await.expect("a store").get(name).await.expect("a job");
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut object, &mut bytes).await.expect("a job");
        (message, ChunkJob::decode(&bytes).expect("a job"), name.parse().expect("a digest"))
    }

    /// Sends bytes as the proof of a job.
    async fn reply(&self, id: prover::job::JobId, job: &str, worker: &str, proof: Vec<u8>) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Cairn-Job", job);
        headers.insert("Cairn-Worker", worker);
        let run = id.run.to_string();
        let subject = format!("cairn.proofs.{}.{}.{}", &run[2..], id.step, id.chunk);
        let broker = raw(&self.nats).await;
        let sent = broker.publish_with_headers(subject, headers, proof.into()).await;
        sent.expect("the broker takes it").await.expect("the broker takes it");
    }
}

struct Worker {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    told: mpsc::Receiver<Told>,
}

impl Worker {
    /// Lets it finish, and returns the chunks it proved.
    fn end(self, scene: &Scene) -> Vec<ChunkIndex> {
        // It listens until it ends.
        let _ = self.stop.send(true);
        scene.runtime.block_on(self.task).expect("it does not panic");
        let proved = |told| if let Told::Proved { id, .. } = told { Some(id.chunk) } else { None };
        self.told.try_iter().filter_map(proved).collect()
    }
}

fn own_proof(job: &ChunkJob) -> Vec<u8> {
    job.prove(bench().srs.params(), &bench().key, job.rest.rng()).expect("a proof")
}

fn assert_is_step(n_chunks: u32, step: PreparedStep, proofs: Vec<Vec<u8>>) {
    let expected: Vec<Vec<u8>> = step.jobs.iter().map(own_proof).collect();
    assert!(proofs == expected, "the proofs are those of the jobs");
    bench::prover(n_chunks).finish(step, proofs).expect("a step");
}

#[test]
fn two_workers_share_the_chunks_of_a_step() {
    let scene = Scene::new();
    let dispatcher = scene.patient_dispatcher();
    let step = bench::step(8);
    let workers = [scene.worker("one"), scene.worker("two")];
    let start = Instant::now();
    let proofs = scene.prove(&dispatcher, &step).expect("proofs");
    println!("8 chunks, two workers: {} ms", start.elapsed().as_millis());
    let mut proved: Vec<ChunkIndex> = workers.into_iter().flat_map(|w| w.end(&scene)).collect();
    proved.sort();
    assert_eq!(proved, (0..8).map(ChunkIndex).collect::<Vec<_>>(), "each chunk is proved once");
    let (run, index) = (step.statement.run, step.statement.step);
    assert_is_step(8, step, proofs);
    dispatcher.settled(run, index);
    assert_eq!(scene.queued(), 0);
    let left = scene.runtime.block_on(async {
        let broker = raw(&scene.nats).await;
        let proofs = broker.get_stream("CAIRN_PROOFS").await.expect("a stream").cached_info().state.messages;
        let store = broker.get_object_store("cairn-jobs").await.expect("a store");
        (proofs, store.list().await.expect("a list").count().await)
    });
    assert_eq!(left, (0, 0), "the broker keeps nothing of a step that is in the log");
}

#[test]
fn the_job_of_a_worker_that_falls_silent_goes_to_another() {
    let scene = Scene::new();
    let dispatcher = scene.dispatcher();
    let step = bench::step(1);
    let (proofs, worker) = scene.prove_while(&dispatcher, &step, |_| {
        let (message, job, _) = scene.runtime.block_on(scene.take());
        assert_eq!(job.id, step.jobs[0].id);
        drop(message);
        scene.worker("another")
    });
    assert_eq!(worker.end(&scene), [ChunkIndex(0)]);
    assert_is_step(1, step, proofs.expect("proofs"));
}

#[test]
fn what_is_delivered_or_sent_twice_counts_once() {
    let scene = Scene::new();
    let dispatcher = scene.dispatcher();
    let step = bench::step(2);
    // A service that stops and starts again, and one that runs beside it, offer the same jobs.
    scene.draining.send_replace(true);
    for _ in 0..2 {
        let stopped = scene.prove(&scene.dispatcher(), &step);
        assert!(matches!(stopped, Err(ProversError::Stopped)), "{:?}", stopped.err());
    }
    scene.draining.send_replace(false);
    assert_eq!(scene.queued(), 2);
    let (proofs, ()) = scene.prove_while(&dispatcher, &step, |_| {
        scene.runtime.block_on(async {
            // Both chunks are delivered twice or more, and proved by all who got them.
            let mut taken = [0; 2];
            while taken.iter().any(|&n| n < 2) {
                let (message, job, digest) = scene.take().await;
                scene.reply(job.id, &digest.to_string(), "twice", own_proof(&job)).await;
                let chunk = job.id.chunk.0 as usize;
                taken[chunk] += 1;
                if taken[chunk] >= 2 {
                    message.ack().await.expect("the broker hears");
                }
            }
        });
    });
    let (run, index) = (step.statement.run, step.statement.step);
    assert_is_step(2, step, proofs.expect("proofs"));
    dispatcher.settled(run, index);
    assert_eq!(scene.queued(), 0, "nobody proves it a third time");
}

#[test]
fn a_broker_that_is_killed_and_started_again_loses_nothing() {
    let mut scene = Scene::new();
    let dispatcher = scene.dispatcher();
    let step = bench::step(2);
    scene.draining.send_replace(true);
    assert!(matches!(scene.prove(&dispatcher, &step), Err(ProversError::Stopped)));
    scene.draining.send_replace(false);
    let worker = {
        scene.nats.down();
        let gone = scene.prove(&dispatcher, &step).expect_err("nobody answers");
        let ProversError::Elsewhere(error) = gone else { panic!("{gone:?}") };
        assert!(error.to_string().starts_with("NATS server, "), "{error}");
        scene.nats.up();
        assert_eq!(scene.queued(), 2, "the queue is on disk");
        scene.worker("after")
    };
    // The connection comes back by itself; the service asks again, as it does after every failure.
    let start = Instant::now();
    let proofs = loop {
        match scene.prove(&dispatcher, &step) {
            Ok(proofs) => break proofs,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(120), "{error}"),
        }
    };
    assert_eq!(worker.end(&scene).len(), 2);
    assert_is_step(2, step, proofs);
}

#[test]
fn wrong_proofs_are_refused_and_their_job_goes_to_another() {
    let scene = Scene::new();
    let dispatcher = scene.dispatcher();
    let step = bench::step(2);
    let mut other = step.jobs[0].clone();
    other.gradient[0] += 1_000;
    let lies = [vec![0; 100], own_proof(&step.jobs[1]), own_proof(&other)];
    let (proofs, worker) = scene.prove_while(&dispatcher, &step, |_| {
        scene.runtime.block_on(async {
            let mut lies = lies.into_iter();
            let mut told = 0;
            while told < 3 {
                let (message, job, digest) = scene.take().await;
                if job.id.chunk == ChunkIndex(1) {
                    message.ack_with(AckKind::Nak(Some(Duration::from_millis(300)))).await.expect("the broker hears");
                    continue;
                }
                scene.reply(job.id, &digest.to_string(), "liar", lies.next().expect("a lie")).await;
                if told == 0 {
                    // It says that it is still at it, for as long as the test lasts.
                    scene.runtime.spawn(async move {
                        while message.ack_with(AckKind::Progress).await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    });
                } else {
                    // It calls the job done, so that it is not delivered again unless the service asks again.
                    message.ack().await.expect("the broker hears");
                }
                told += 1;
            }
        });
        scene.worker("honest")
    });
    let mut proved = worker.end(&scene);
    proved.sort();
    assert_eq!(proved, [ChunkIndex(0), ChunkIndex(1)]);
    assert_is_step(2, step, proofs.expect("proofs"));
}

#[test]
fn a_step_of_which_only_lies_come_is_given_up_for_now_with_the_reason() {
    let scene = Scene::new();
    let dispatcher = scene.dispatcher();
    let step = bench::step(1);
    let (refused, ()) = scene.prove_while(&dispatcher, &step, |is_done| {
        while !is_done() {
            scene.runtime.block_on(scene.reply(step.jobs[0].id, "another", "liar", vec![1]));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let Err(ProversError::Elsewhere(error)) = refused else { panic!("{refused:?}") };
    let Some(QueueError::Refused { refusals: 8, worker, reason, .. }) = error.downcast_ref() else {
        panic!("{error:?}")
    };
    assert_eq!(worker, "liar");
    assert!(reason.starts_with("it is for job another, expected 0x"), "{reason}");
}

#[test]
fn the_chunks_of_the_steps_after_it_are_given_away_with_a_step() {
    let scene = Scene::new();
    let dispatcher = scene.patient_dispatcher();
    assert!(dispatcher.ahead(1) >= 1 && dispatcher.ahead(64) >= 1, "workers need not wait for the end of a step");
    let steps = bench::steps(2, 3);
    scene.draining.send_replace(true);
    let ahead = [steps[1].jobs.as_slice(), &steps[2].jobs];
    for _ in 0..2 {
        let stopped = scene.prove_with(&dispatcher, &steps[0], &ahead, &mut |_| {});
        assert!(matches!(stopped, Err(ProversError::Stopped)), "{:?}", stopped.err());
        assert_eq!(scene.queued(), 6, "each chunk lies in the queue once");
    }
    scene.draining.send_replace(false);
    let worker = scene.worker("ahead");
    let mut proved = 0;
    while proved < 6 {
        match worker.told.recv_timeout(Duration::from_secs(120)).expect("it proves") {
            Told::Proved { .. } => proved += 1,
            Told::Taken(_) => {}
            other => panic!("{other:?}"),
        }
    }
    worker.end(&scene);
    let start = Instant::now();
    while scene.queued() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "what is proved leaves the queue");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody works any more, and what was proved is neither lost nor given away again.
    for (i, step) in steps.iter().enumerate() {
        let ahead = if i == 0 { &ahead[..] } else { &[] };
        let proofs = scene.prove_with(&scene.patient_dispatcher(), step, ahead, &mut |_| {}).expect("proofs");
        assert_eq!(scene.queued(), 0);
        let expected: Vec<Vec<u8>> = step.jobs.iter().map(own_proof).collect();
        assert!(proofs == expected, "the proofs are those of the jobs");
    }
}

#[test]
fn it_says_when_it_waits_for_workers_and_when_it_does_not_any_more() {
    let scene = Scene::new();
    let dispatcher = scene.patient_dispatcher();
    let step = bench::step(1);
    let (tell, told) = mpsc::channel();
    let (proofs, worker) = std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| scene.prove_with(&dispatcher, &step, &[], &mut |waits| tell.send(waits).expect("it is heard")));
        let first = told.recv_timeout(Duration::from_secs(60));
        let worker = scene.worker("late");
        assert_eq!(first, Ok(true), "nobody is there");
        (waiting.join().expect("no panic"), worker)
    });
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [false]);
    assert_eq!(worker.end(&scene), [ChunkIndex(0)]);
    assert_is_step(1, step, proofs.expect("proofs"));
}

#[test]
fn a_broker_that_is_not_there_is_named_without_its_password() {
    let runtime = Runtime::new().expect("a runtime");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let address = BrokerAddress { url: format!("nats://me:secret@127.0.0.1:{port}"), credentials: None };
    let refused = runtime.block_on(Broker::connect(&address, Redelivery::AsItIs)).err().expect("nobody is there");
    assert!(matches!(refused, QueueError::Connect { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.starts_with(&format!("no NATS server at nats://127.0.0.1:{port}: ")), "{text}");
    assert!(!text.contains("secret"), "{text}");
}
