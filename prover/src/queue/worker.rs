//! The worker's side: takes one chunk after the other, proves it, sends the proof.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind};
use circuits::keys::MemoryLimit;
use srs::{SrsCache, SrsLabel};
use tokio::sync::watch;

use super::broker::{Answer, Broker, Notice};
use super::error::QueueError;
use crate::job::{ChunkJob, JobError, JobFileError, JobId};
use crate::shelf::{KeyShelf, ShelfError};

/// How long one request for a job waits at the broker.
const WAIT: Duration = Duration::from_secs(5);
/// After how long a job that this worker cannot do is given to another.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// Pause after an error of the broker.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a finished proof is sent before it is given up; then the job is given to somebody, and proved once more.
const SENDS: u32 = 20;

/// What a worker is told when it starts.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Reference strings.
    pub srs: SrsCache,
    /// Which of them.
    pub srs_label: SrsLabel,
    /// Largest k of a step circuit.
    pub max_step_k: u32,
    /// Most bytes that proofs may hold.
    pub memory: Option<MemoryLimit>,
    /// Name in the service's messages.
    pub name: String,
}

/// What a worker did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// It begins with a chunk.
    Taken(JobId),
    /// The proof is at the broker.
    Proved {
        /// Of which chunk.
        id: JobId,
        /// Time it took, keys not included.
        prove_ms: u64,
    },
    /// It gave a chunk back, which it cannot do.
    GivenBack(JobId, WorkError),
    /// A job cannot be read, and was thrown away; the service makes it anew if it still wants it.
    Unreadable(JobFileError),
    /// The broker does not answer. It tries again.
    Trouble(QueueError),
}

/// Why a worker cannot do a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The circuit is larger than the worker takes.
    #[error("the circuit has k = {got}, this worker takes at most {max}")]
    TooLarge {
        /// k of the circuit.
        got: u32,
        /// Largest k taken.
        max: u32,
    },
    /// There are no keys.
    #[error(transparent)]
    Keys(#[from] ShelfError),
    /// There is no proof.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Proving panicked.
    #[error("proving panicked")]
    Panicked,
}

/// Takes jobs until `stop` becomes true, one at a time; the one at hand is finished. `tell` hears what happens.
///
/// A worker that is killed is missed when its sign of life does not come: its job goes to another. The job is done when the
/// broker has the proof on disk, and not before. A broker that is away is asked again until it is back.
pub async fn work(broker: &Broker, config: WorkerConfig, mut stop: watch::Receiver<bool>, tell: impl Fn(Told)) {
    let shelf = Arc::new(KeyShelf::new(config.srs.clone(), config.srs_label.clone(), config.memory));
    while !*stop.borrow() {
        let taken = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            taken = broker.take(WAIT) => taken,
        };
        let done = match taken {
            Ok(None) => continue,
            Ok(Some(message)) => one(broker, &config, &shelf, &message, &tell).await,
            Err(error) => Err(error),
        };
        // An acknowledgement that is lost with a worker that ends lets another one prove the same again.
        let done = match done {
            Ok(()) => broker.flush().await,
            failed => failed,
        };
        if let Err(error) = done {
            tell(Told::Trouble(error));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn one(
    broker: &Broker,
    config: &WorkerConfig,
    shelf: &Arc<KeyShelf>,
    message: &jetstream::Message,
    tell: &impl Fn(Told),
) -> Result<(), QueueError> {
    let throw_away = || acknowledge(message, AckKind::Term);
    let Ok(notice) = serde_json::from_slice::<Notice>(&message.payload) else { return throw_away().await };
    let Some(bytes) = broker.job(notice).await? else {
        // It is in the log by now, or the broker lost it, and then the service puts it there again.
        return throw_away().await;
    };
    let job = match ChunkJob::decode(&bytes) {
        Ok(job) => job,
        Err(error) => {
            tell(Told::Unreadable(error));
            return throw_away().await;
        }
    };
    let id = job.id;
    tell(Told::Taken(id));
    // The service only says by it that somebody is at work.
    let _ = broker.sign(id).await;
    let (shelf, max) = (shelf.clone(), config.max_step_k);
    let mut proving = tokio::task::spawn_blocking(move || prove(&shelf, &job, max));
    let proved = loop {
        tokio::select! {
            proved = &mut proving => break proved.unwrap_or(Err(WorkError::Panicked)),
            () = tokio::time::sleep(broker.redelivered_after() / 3) => {
                // If it does not get there, somebody else gets the job too, which costs time only.
                let _ = acknowledge(message, AckKind::Progress).await;
                let _ = broker.sign(id).await;
            }
        }
    };
    match proved {
        Ok((proof, prove_ms)) => {
            let answer = Answer { job: notice.job.to_string(), worker: config.name.clone(), proof };
            let mut sends = 1;
            while let Err(error) = broker.reply(id, &answer).await {
                if sends == SENDS {
                    return Err(error);
                }
                sends += 1;
                tell(Told::Trouble(error));
                tokio::time::sleep(PAUSE).await;
            }
            acknowledge(message, AckKind::Ack).await?;
            tell(Told::Proved { id, prove_ms });
            Ok(())
        }
        Err(error) => {
            tell(Told::GivenBack(id, error));
            acknowledge(message, AckKind::Nak(Some(GIVE_BACK))).await
        }
    }
}

/// The proof, and the milliseconds it took.
fn prove(shelf: &KeyShelf, job: &ChunkJob, max: u32) -> Result<(Vec<u8>, u64), WorkError> {
    if job.shape.k > max {
        return Err(WorkError::TooLarge { got: job.shape.k, max });
    }
    let keys = shelf.get(&job.shape)?;
    let start = Instant::now();
    let proof = job.prove(keys.srs.params(), &keys.key, job.rest.rng())?;
    Ok((proof, start.elapsed().as_millis() as u64))
}

async fn acknowledge(message: &jetstream::Message, kind: AckKind) -> Result<(), QueueError> {
    message
        .ack_with(kind)
        .await
        .map_err(|error| QueueError::Broker { operation: "acknowledging a job", reason: error.to_string() })
}
