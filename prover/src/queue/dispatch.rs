//! The service's side: gives the chunks of a step away and takes only what it asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use circuits::keys::StepVerifyingKey;
use futures_util::{FutureExt, StreamExt};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{Digest, RunId, StepIndex};
use tokio::runtime::Handle;

use super::broker::{Answer, Broker, Notice};
use super::error::QueueError;
use crate::job::{ChunkJob, JobId};
use crate::service::{Provers, ProversError, Work};

/// How often it looks whether its jobs are still in the queue and whether proofs came that it did not hear of.
const LOOK: Duration = Duration::from_secs(2);
/// Chunks that it wants to have given away, so that workers need not wait for the end of a step.
const OUT: u32 = 8;
/// Wrong proofs of one chunk after which it stops asking for a while.
const REFUSALS: u32 = 8;

/// Gives chunks to workers through a broker.
pub struct Dispatcher {
    broker: Broker,
    runtime: Handle,
    /// What the object store has of steps that are not in the log yet.
    stored: Mutex<BTreeMap<(RunId, StepIndex), Vec<Digest>>>,
    /// When a worker last gave a sign of life.
    seen: Mutex<Option<Instant>>,
}

impl Dispatcher {
    /// Gives chunks away through `broker`, whose connection lives in `runtime`.
    pub fn new(broker: Broker, runtime: Handle) -> Self {
        Self { broker, runtime, stored: Mutex::default(), seen: Mutex::default() }
    }

    async fn collect(&self, work: Work<'_>) -> Result<Vec<Vec<u8>>, QueueError> {
        let Work { srs, key, jobs, ahead, mut draining, on_chunk, on_wait } = work;
        let Some(first) = jobs.first() else { return Ok(Vec::new()) };
        let key = key.verifying_key();
        let packed: Vec<Packed> = jobs.iter().map(Packed::new).collect::<Result<_, _>>()?;
        let (run, step) = (first.id.run, first.id.step);
        self.remember(run, step, &packed);
        let mut hints = self.broker.listen(run, step).await?;
        let mut signs = self.broker.listen_for_signs().await?;
        let mut proofs: Vec<Option<Vec<u8>>> = vec![None; jobs.len()];
        let mut refusals = vec![0; jobs.len()];
        let mut ahead = Some(ahead);
        let (mut waits, mut renewed) = (false, Instant::now());
        loop {
            for (i, job) in jobs.iter().enumerate() {
                if proofs[i].is_some() {
                    continue;
                }
                let Some(answer) = self.look(job, &packed[i]).await? else { continue };
                match judge(job, &packed[i], &answer, srs.params(), &key) {
                    Ok(()) => {
                        proofs[i] = Some(answer.proof);
                        on_chunk(proofs.iter().flatten().count(), jobs.len());
                    }
                    Err(reason) => {
                        refusals[i] += 1;
                        self.refuse(job, &answer.worker, &reason, refusals[i]).await?;
                        self.broker.offer(job.id, packed[i].notice, &packed[i].bytes).await?;
                    }
                }
            }
            for jobs in ahead.take().into_iter().flatten() {
                self.give_ahead(jobs).await?;
            }
            if proofs.iter().all(Option::is_some) {
                return Ok(proofs.into_iter().flatten().collect());
            }
            let look = tokio::time::sleep(LOOK);
            tokio::pin!(look);
            loop {
                tokio::select! {
                    _ = draining.wait_for(|draining| *draining) => return Err(QueueError::Stopped),
                    hint = hints.next() => {
                        if hint.is_none() {
                            hints = self.broker.listen(run, step).await?;
                        }
                        // One look answers all that were heard by now.
                        while hints.next().now_or_never().flatten().is_some() {}
                        break;
                    }
                    sign = signs.next() => match sign {
                        None => signs = self.broker.listen_for_signs().await?,
                        Some(_) => {
                            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                            if std::mem::take(&mut waits) {
                                on_wait(false);
                            }
                        }
                    },
                    () = &mut look => {
                        if !waits && !self.is_anyone_there() {
                            waits = true;
                            eprintln!("cairn: run {run}, step {step}: waits for workers");
                            on_wait(true);
                        }
                        if waits && renewed.elapsed() >= self.broker.redelivered_after() {
                            renewed = Instant::now();
                            // Should the broker have lost sight of a job that it keeps, it is told of it anew.
                            for (i, job) in jobs.iter().enumerate().filter(|(i, _)| proofs[*i].is_none()) {
                                self.broker.withdraw(job.id).await?;
                                self.broker.offer(job.id, packed[i].notice, &packed[i].bytes).await?;
                            }
                        }
                        break;
                    }
                }
            }
        }
    }

    /// Whether a worker gave a sign of life within the time after which its job would be given to another.
    fn is_anyone_there(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|seen| seen.elapsed() < self.broker.redelivered_after())
    }

    /// Gives the chunks of a later step away. What comes of them is looked at when the step is due, and so is whether they are
    /// still there.
    async fn give_ahead(&self, jobs: &[ChunkJob]) -> Result<(), QueueError> {
        let Some(JobId { run, step, .. }) = jobs.first().map(|job| job.id) else { return Ok(()) };
        if self.stored.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(run, step)) {
            return Ok(());
        }
        let packed: Vec<Packed> = jobs.iter().map(Packed::new).collect::<Result<_, _>>()?;
        self.remember(run, step, &packed);
        for (job, packed) in jobs.iter().zip(&packed) {
            self.look(job, packed).await?;
        }
        Ok(())
    }

    /// What came for a chunk. One for which neither a job nor a proof is there is given away.
    async fn look(&self, job: &ChunkJob, packed: &Packed) -> Result<Option<Answer>, QueueError> {
        // In this order: a worker sends the proof before it says that the job is done, so none is proved again whose proof
        // comes between the two questions.
        let waits = self.broker.has(job.id, packed.notice).await?;
        let answer = self.broker.answer(job.id).await?;
        if !waits && answer.is_none() {
            self.broker.offer(job.id, packed.notice, &packed.bytes).await?;
        }
        Ok(answer)
    }

    /// Notes what the object store has of a step.
    fn remember(&self, run: RunId, step: StepIndex, packed: &[Packed]) {
        let digests = packed.iter().map(|p| p.notice.job).collect();
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert((run, step), digests);
    }

    async fn refuse(&self, job: &ChunkJob, worker: &str, reason: &str, refusals: u32) -> Result<(), QueueError> {
        let (step, chunk) = (job.id.step, job.id.chunk);
        eprintln!("cairn: run {}, step {step}, chunk {chunk}: proof of worker {worker} refused: {reason}", job.id.run);
        self.broker.discard(job.id).await?;
        if refusals < REFUSALS {
            return Ok(());
        }
        let (worker, reason) = (worker.to_owned(), reason.to_owned());
        Err(QueueError::Refused { step, chunk, refusals, worker, reason })
    }
}

impl Provers for Dispatcher {
    fn prove(&self, work: Work<'_>) -> Result<Vec<Vec<u8>>, ProversError> {
        self.runtime.block_on(self.collect(work)).map_err(|error| match error {
            QueueError::Stopped => ProversError::Stopped,
            other => ProversError::Elsewhere(Box::new(other)),
        })
    }

    fn ahead(&self, n_chunks: u32) -> usize {
        // One at least: whoever has nothing to do at the end of a step begins the next.
        (OUT / n_chunks.max(1)).saturating_sub(1).max(1) as usize
    }

    fn settled(&self, run: RunId, step: StepIndex) {
        let digests = self.stored.lock().unwrap_or_else(PoisonError::into_inner).remove(&(run, step));
        let forgotten = self.runtime.block_on(self.broker.forget(run, step, &digests.unwrap_or_default()));
        if let Err(error) = forgotten {
            // The broker forgets by itself, later.
            eprintln!("cairn: run {run}, step {step}: left at the broker: {error}");
        }
    }
}

/// A job as it is sent.
struct Packed {
    notice: Notice,
    bytes: Vec<u8>,
}

impl Packed {
    fn new(job: &ChunkJob) -> Result<Self, QueueError> {
        let bytes = job.encode()?;
        Ok(Self { notice: Notice { job: Digest::of(&bytes), bytes: bytes.len() as u64 }, bytes })
    }
}

/// Whether an answer is a proof of the job.
fn judge(
    job: &ChunkJob,
    packed: &Packed,
    answer: &Answer,
    params: &ParamsKZG<Bn256>,
    key: &StepVerifyingKey,
) -> Result<(), String> {
    let expected = packed.notice.job.to_string();
    if answer.job != expected {
        return Err(format!("it is for job {}, expected {expected}", answer.job));
    }
    job.check(params, key, &answer.proof).map_err(|error| error.to_string())
}
