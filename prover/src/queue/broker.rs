//! What is kept at the broker.
//!
//! | name | kind | content |
//! |---|---|---|
//! | `CAIRN_JOBS` | work queue, `cairn.jobs.<run>.<step>.<chunk>` | one message a chunk that waits or is being proved |
//! | `CAIRN_PROOFS` | stream, `cairn.proofs.<run>.<step>.<chunk>` | the last proof that came for a chunk |
//! | `cairn-jobs` | object store | what the chunks' proofs are made of, by SHA-256 |
//!
//! Without being kept, signs of life of workers go to `cairn.signs.<run>.<step>.<chunk>`.
//!
//! `<run>` is 64 hex digits without `0x`. A message of the work queue is JSON, [`Notice`]; a proof is its bytes, with the
//! headers `Cairn-Job` (SHA-256 of the job) and `Cairn-Worker`. All three forget after a week.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::object_store::{self, InfoErrorKind, ObjectStore};
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Subscriber};
use ledger::{ChunkIndex, Digest, RunId, StepIndex};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::error::QueueError;
use crate::job::JobId;

const JOBS: &str = "CAIRN_JOBS";
const PROOFS: &str = "CAIRN_PROOFS";
const OBJECTS: &str = "cairn-jobs";
const CONSUMER: &str = "provers";
const HEADER_JOB: &str = "Cairn-Job";
const HEADER_WORKER: &str = "Cairn-Worker";
/// How long the broker keeps what nobody wants.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long one answer of the broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long moving one object may take.
const TRANSFER: Duration = Duration::from_secs(300);
/// Largest job that is read: 20 bytes for each of 2^22 parameters, and more than the rest.
const JOB_MAX: u64 = 100 << 20;

/// Where the broker is.
#[derive(Clone, Debug)]
pub struct BrokerAddress {
    /// `nats://host:4222`, `tls://…`; may have `user:password@` or `token@`.
    pub url: String,
    /// File with a user's credentials (JWT and seed).
    pub credentials: Option<PathBuf>,
}

impl BrokerAddress {
    /// The address without user and password.
    fn public(&self) -> String {
        match self.url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
            None => self.url.rsplit('@').next().unwrap_or_default().to_owned(),
        }
    }
}

/// Who says after how long a silent worker's job is given to another.
#[derive(Clone, Copy, Debug)]
pub enum Redelivery {
    /// The caller does.
    After(Duration),
    /// Whoever said so before; half a minute if nobody did.
    AsItIs,
}

/// What a message of the work queue says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Notice {
    /// SHA-256 of the job.
    pub job: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A proof that somebody put there.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub job: String,
    pub worker: String,
    pub proof: Vec<u8>,
}

/// A connection to the broker; it comes back by itself when it breaks.
#[derive(Clone)]
pub struct Broker {
    client: Client,
    context: Context,
    jobs: Stream,
    proofs: Stream,
    objects: ObjectStore,
    consumer: PullConsumer,
}

fn jobs_subject(id: JobId) -> String {
    format!("cairn.jobs.{}.{}.{}", run_token(id.run), id.step.0, id.chunk.0)
}

fn proofs_subject(id: JobId) -> String {
    format!("cairn.proofs.{}.{}.{}", run_token(id.run), id.step.0, id.chunk.0)
}

fn signs_subject(id: JobId) -> String {
    format!("cairn.signs.{}.{}.{}", run_token(id.run), id.step.0, id.chunk.0)
}

fn run_token(run: RunId) -> String {
    run.to_string().trim_start_matches("0x").to_owned()
}

/// Waits for an answer, but not for ever.
async fn ask<T, E: Display>(
    operation: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(limit, answer).await {
        Err(_) => Err(QueueError::Silent { operation, seconds: limit.as_secs() }),
        Ok(Err(error)) => Err(QueueError::Broker { operation, reason: error.to_string() }),
        Ok(Ok(value)) => Ok(value),
    }
}

impl Broker {
    /// Connects, and makes streams and object store if they are not there.
    ///
    /// Errors: [`QueueError`]; [`QueueError::Connect`] at once if nobody answers there.
    pub async fn connect(address: &BrokerAddress, redelivery: Redelivery) -> Result<Self, QueueError> {
        let options = ConnectOptions::new().name("cairn").request_timeout(Some(ANSWER)).connection_timeout(ANSWER);
        let options = match &address.credentials {
            None => options,
            Some(path) => options.credentials_file(path).await.map_err(|error| QueueError::Credentials {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?,
        };
        let refused = |reason: String| QueueError::Connect { url: address.public(), reason };
        let client = options.connect(&address.url).await.map_err(|error| refused(error.to_string()))?;
        let context = jetstream::new(client.clone());
        let stream = |name: &str, subjects: &str, retention| stream::Config {
            name: name.to_owned(),
            subjects: vec![subjects.to_owned()],
            retention,
            max_messages_per_subject: 1,
            max_age: KEEP,
            storage: StorageType::File,
            ..Default::default()
        };
        let jobs = stream(JOBS, "cairn.jobs.>", RetentionPolicy::WorkQueue);
        let jobs = ask("making the work queue (is JetStream enabled?)", ANSWER, context.get_or_create_stream(jobs));
        let jobs = jobs.await?;
        let proofs = stream(PROOFS, "cairn.proofs.>", RetentionPolicy::Limits);
        let proofs = ask("making the stream of proofs", ANSWER, context.get_or_create_stream(proofs)).await?;
        let objects = match context.get_object_store(OBJECTS).await {
            Ok(objects) => objects,
            Err(_) => {
                let config = object_store::Config {
                    bucket: OBJECTS.to_owned(),
                    max_age: KEEP,
                    storage: StorageType::File,
                    ..Default::default()
                };
                ask("making the object store", ANSWER, context.create_object_store(config)).await?
            }
        };
        let consumer = |ack_wait| pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            // A chunk is given away until it is done.
            max_deliver: -1,
            max_ack_pending: -1,
            ..Default::default()
        };
        let operation = "making the queue's consumer";
        let consumer = match redelivery {
            Redelivery::After(wait) => ask(operation, ANSWER, jobs.create_consumer(consumer(wait))).await?,
            Redelivery::AsItIs => {
                let config = consumer(Duration::from_secs(30));
                ask(operation, ANSWER, jobs.get_or_create_consumer(CONSUMER, config)).await?
            }
        };
        Ok(Self { client, context, jobs, proofs, objects, consumer })
    }

    /// After how long without a word a job is given to another worker.
    pub(super) fn redelivered_after(&self) -> Duration {
        self.consumer.cached_info().config.ack_wait
    }

    /// Whether a job is in the queue or in a worker's hands. Another one in its place is removed.
    pub(super) async fn has(&self, id: JobId, notice: Notice) -> Result<bool, QueueError> {
        let Some(there) = self.last(&self.jobs, &jobs_subject(id)).await? else { return Ok(false) };
        if serde_json::from_slice::<Notice>(&there.payload).is_ok_and(|there| there.job == notice.job) {
            return Ok(true);
        }
        // Somebody else's, or of another version of ours.
        self.withdraw(id).await?;
        Ok(false)
    }

    /// Removes a job, so that whoever holds it has lost it.
    ///
    /// By its number: a purge of its subject would also make the server forget other jobs that are to be redelivered.
    pub(super) async fn withdraw(&self, id: JobId) -> Result<(), QueueError> {
        let Some(there) = self.last(&self.jobs, &jobs_subject(id)).await? else { return Ok(()) };
        let removed = ask("removing a job", ANSWER, self.jobs.delete_message(there.sequence)).await;
        if removed.is_err() && self.last(&self.jobs, &jobs_subject(id)).await?.is_none() {
            // Its worker was done in between.
            return Ok(());
        }
        removed.map(|_| ())
    }

    /// Puts a job into the queue unless one is there. `bytes` have the digest of `notice`.
    pub(super) async fn offer(&self, id: JobId, notice: Notice, bytes: &[u8]) -> Result<(), QueueError> {
        let subject = jobs_subject(id);
        self.put(notice, bytes).await?;
        let body = serde_json::to_vec(&notice).expect("a digest and a number are JSON");
        // 0: only if there is none; somebody else's process may have been faster.
        let message = PublishMessage::build().payload(body.into()).expected_last_subject_sequence(0);
        let sent = async { self.context.send_publish(subject, message).await?.await };
        match tokio::time::timeout(ANSWER, sent).await {
            Err(_) => Err(QueueError::Silent { operation: "giving a job away", seconds: ANSWER.as_secs() }),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
            Ok(Err(error)) => Err(QueueError::Broker { operation: "giving a job away", reason: error.to_string() }),
            Ok(Ok(_)) => Ok(()),
        }
    }

    async fn put(&self, notice: Notice, mut bytes: &[u8]) -> Result<(), QueueError> {
        let name = notice.job.to_string();
        match self.objects.info(&name).await {
            Ok(info) if !info.deleted && info.size as u64 == notice.bytes => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => {
                return Err(QueueError::Broker { operation: "looking for a job", reason: error.to_string() });
            }
        }
        ask("storing a job", TRANSFER, self.objects.put(name.as_str(), &mut bytes)).await.map(|_| ())
    }

    /// The bytes of a job; none if they are gone or are others.
    pub(super) async fn job(&self, notice: Notice) -> Result<Option<Vec<u8>>, QueueError> {
        let name = notice.job.to_string();
        if notice.bytes > JOB_MAX {
            return Ok(None);
        }
        let mut object = match tokio::time::timeout(ANSWER, self.objects.get(&name)).await {
            Err(_) => return Err(QueueError::Silent { operation: "fetching a job", seconds: ANSWER.as_secs() }),
            Ok(Ok(object)) => object,
            Ok(Err(error)) if error.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
            Ok(Err(error)) => {
                return Err(QueueError::Broker { operation: "fetching a job", reason: error.to_string() });
            }
        };
        let mut bytes = Vec::new();
        let read = async {
            let mut limited = (&mut object).take(notice.bytes + 1);
            limited.read_to_end(&mut bytes).await
        };
        ask("fetching a job", TRANSFER, read).await?;
        Ok((Digest::of(&bytes) == notice.job).then_some(bytes))
    }

    /// Hears of proofs of a step as they come. What is heard is a hint: [`Self::answer`] tells what is there.
    pub(super) async fn listen(&self, run: RunId, step: StepIndex) -> Result<Subscriber, QueueError> {
        let subject = format!("cairn.proofs.{}.{}.*", run_token(run), step.0);
        ask("listening for proofs", ANSWER, self.client.subscribe(subject)).await
    }

    /// Hears of workers that are at work, whatever on.
    pub(super) async fn listen_for_signs(&self) -> Result<Subscriber, QueueError> {
        ask("listening for workers", ANSWER, self.client.subscribe("cairn.signs.>")).await
    }

    /// Tells whoever listens that a job is being worked at.
    pub(super) async fn sign(&self, id: JobId) -> Result<(), QueueError> {
        ask("giving a sign of life", ANSWER, self.client.publish(signs_subject(id), Vec::new().into())).await
    }

    /// The last proof that came for a job.
    pub(super) async fn answer(&self, id: JobId) -> Result<Option<Answer>, QueueError> {
        let found = self.last(&self.proofs, &proofs_subject(id)).await?;
        Ok(found.map(|message| {
            let text = |name| message.headers.get(name).map(|v| v.as_str().chars().take(80).collect());
            let header = |name| text(name).unwrap_or_default();
            Answer { job: header(HEADER_JOB), worker: header(HEADER_WORKER), proof: message.payload.to_vec() }
        }))
    }

    async fn last(&self, stream: &Stream, subject: &str) -> Result<Option<StreamMessage>, QueueError> {
        let operation = "looking for a message";
        match tokio::time::timeout(ANSWER, stream.get_last_raw_message_by_subject(subject)).await {
            Err(_) => Err(QueueError::Silent { operation, seconds: ANSWER.as_secs() }),
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(error)) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(error)) => Err(QueueError::Broker { operation, reason: error.to_string() }),
        }
    }

    /// Sends a proof, and waits until the broker has it on disk.
    pub(super) async fn reply(&self, id: JobId, answer: &Answer) -> Result<(), QueueError> {
        let message = PublishMessage::build()
            .payload(answer.proof.clone().into())
            .header(HEADER_JOB, answer.job.as_str())
            .header(HEADER_WORKER, answer.worker.as_str());
        let sent = async { self.context.send_publish(proofs_subject(id), message).await?.await };
        ask("sending a proof", ANSWER, sent).await.map(|_| ())
    }

    /// Removes the proofs that came for a job, and the job, so that whoever holds it has lost it.
    pub(super) async fn discard(&self, id: JobId) -> Result<(), QueueError> {
        self.withdraw(id).await?;
        let purge = self.proofs.purge().filter(proofs_subject(id));
        ask("removing a proof", ANSWER, purge.into_future()).await.map(|_| ())
    }

    /// Removes everything of a step; `jobs` are those of its chunks, in order.
    pub(super) async fn forget(&self, run: RunId, step: StepIndex, jobs: &[Digest]) -> Result<(), QueueError> {
        for (chunk, _) in (0..).map(ChunkIndex).zip(jobs) {
            self.withdraw(JobId { run, step, chunk }).await?;
        }
        let proofs = format!("cairn.proofs.{}.{}.*", run_token(run), step.0);
        ask("removing proofs", ANSWER, self.proofs.purge().filter(proofs).into_future()).await?;
        for job in jobs {
            ask("removing a job", ANSWER, self.objects.delete(job.to_string())).await?;
        }
        Ok(())
    }

    /// The next job of the queue; none if there is none in `wait`.
    pub(super) async fn take(&self, wait: Duration) -> Result<Option<jetstream::Message>, QueueError> {
        use futures_util::StreamExt;
        let operation = "taking a job";
        let batch = self.consumer.batch().max_messages(1).expires(wait);
        let mut batch = ask(operation, ANSWER, batch.messages()).await?;
        match tokio::time::timeout(wait + ANSWER, batch.next()).await {
            Err(_) => Err(QueueError::Silent { operation, seconds: (wait + ANSWER).as_secs() }),
            Ok(None) => Ok(None),
            Ok(Some(Ok(message))) => Ok(Some(message)),
            Ok(Some(Err(error))) => Err(QueueError::Broker { operation, reason: error.to_string() }),
        }
    }
}
