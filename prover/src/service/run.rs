//! One run of the service: which steps were accepted, and the state after them.
//!
//! An upload is checked against that state and applied to it before it is accepted, so that whatever has no place in the
//! number format is refused at once and by name; proving follows later and has nothing left to refuse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use circuits::opening::chunk_len;
use circuits::reference::{RangeError, State};
use ledger::{ChunkIndex, Digest, Hyper, Layout, Root, RunDescription, StepIndex, StepMeta};
use serde::{Deserialize, Serialize};
use store::{Inbox, PrivateDir, RunDir};
use tokio::sync::broadcast;

use super::api::{Event, RunStatus, StepState, StepStatus, WaitsFor};
use super::frame::Frame;
use super::refusal::Refusal;
use crate::session::read_state;
use crate::state_file;

/// Events that a slow listener may be behind.
const EVENTS: usize = 1024;

/// Tensors of an upload.
const TENSORS: [&str; 4] = ["g", "w", "m", "v"];

/// Who writes a run, by the header `Cairn-Writer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriterId(String);

impl TryFrom<String> for WriterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain { Ok(Self(text)) } else { Err("expected 8 to 64 characters of A-Z a-z 0-9 -".to_owned()) }
    }
}

impl From<WriterId> for String {
    fn from(id: WriterId) -> Self {
        id.0
    }
}

/// What the inbox keeps about a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub writer: WriterId,
    pub finished: bool,
}

/// A chunk of the next step, applied.
struct Part {
    after: State,
    digest: Digest,
    lr: u64,
}

/// What an upload says, besides its tensors.
pub(super) struct Upload {
    pub lr: u64,
    pub meta: StepMeta,
    pub gradient: Vec<i64>,
}

/// A run and what was accepted of it.
pub(super) struct Run {
    pub description: RunDescription,
    pub dir: PathBuf,
    /// Opened once: opening removes what an interrupted write left, and the worker's writes are not interrupted.
    pub private: PrivateDir,
    pub events: broadcast::Sender<Event>,
    state: Mutex<Progress>,
}

/// Everything that changes.
pub(super) struct Progress {
    /// The state after all accepted steps.
    head: State,
    /// Its SHA-256.
    head_digest: String,
    /// Steps accepted.
    pub accepted: u64,
    /// Steps in the log.
    pub proved: u64,
    /// Root of the log.
    pub root: Root,
    parts: BTreeMap<u32, Part>,
    pub inbox: Inbox,
    note: Note,
    /// Whether the manifest covers everything.
    pub manifest_written: bool,
    /// Why the last attempt to prove failed, and when to try again.
    pub trouble: Option<(String, Instant)>,
    /// Failures in a row.
    pub failures: u32,
    /// Whether the step that is due lies at the broker and nobody takes it.
    pub waits_for_workers: bool,
}

impl Run {
    /// The run after what is in its log and in its inbox.
    ///
    /// Errors: [`Refusal::Internal`] if files are damaged.
    pub fn load(dir: &RunDir, private: PrivateDir, (proved, root): (StepIndex, Root)) -> Result<Self, Refusal> {
        let description = dir.run().description().clone();
        let head = read_state(&private, proved).map_err(Refusal::internal)?;
        let manifest_written = dir.manifest().is_ok_and(|manifest| manifest.root() == root);
        let mut inbox = Inbox::open(&private).map_err(Refusal::internal)?;
        let note = inbox.note().map_err(Refusal::internal)?;
        let note = note.ok_or_else(|| Refusal::internal(format!("run {}: its inbox has no note", description.run)))?;
        let note: Note = serde_json::from_slice(&note).map_err(Refusal::internal)?;
        let waiting = inbox.waiting().map_err(Refusal::internal)?;
        // A step may have got in the log without its receipts.
        let mut settled: Vec<StepIndex> = waiting.iter().map(|(s, _)| *s).filter(|s| *s < proved).collect();
        settled.dedup();
        for step in settled {
            inbox.settle(step).map_err(Refusal::internal)?;
        }
        let progress = Progress {
            head_digest: state_digest(&head),
            head,
            accepted: proved.0,
            proved: proved.0,
            root,
            parts: BTreeMap::new(),
            inbox,
            note,
            manifest_written,
            trouble: None,
            failures: 0,
            waits_for_workers: false,
        };
        let (dir, events) = (dir.path().to_owned(), broadcast::channel(EVENTS).0);
        let run = Self { description, dir, private, events, state: Mutex::new(progress) };
        for (step, chunk) in waiting.into_iter().filter(|(s, _)| *s >= proved) {
            let mut progress = run.progress();
            let bytes = progress.inbox.read(step, chunk).map_err(Refusal::internal)?;
            run.apply(&mut progress, step, chunk, &bytes)
                .map_err(|e| Refusal::internal(format!("waiting chunk {chunk} of step {step}: {e}")))?;
        }
        Ok(run)
    }

    /// The lock. Nothing panics under it, and each change is whole, so a poisoned one is as good.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub fn status(&self) -> RunStatus {
        let progress = self.progress();
        let d = &self.description;
        RunStatus {
            run: d.run,
            run_dir: self.dir.display().to_string(),
            parent: d.parent,
            layout: d.layout.clone(),
            n_params: d.policy.n_params,
            n_chunks: d.policy.n_chunks,
            accepted_steps: progress.accepted,
            proved_steps: progress.proved,
            pending_chunks: progress.parts.keys().copied().collect(),
            state_sha256: progress.head_digest.clone(),
            finished: progress.note.finished,
            settled: progress.settled(),
            root: progress.root.to_string(),
            waits_for: progress.waits_for_workers.then_some(WaitsFor::Workers),
            error: progress.trouble.as_ref().map(|(reason, _)| reason.clone()),
        }
    }

    /// The state after all accepted steps, and their number.
    pub fn head(&self) -> (State, u64) {
        let progress = self.progress();
        (progress.head.clone(), progress.accepted)
    }

    /// Where a step stands.
    ///
    /// Errors: [`Refusal::StepOrder`] for a step of which nothing is here.
    pub fn step(&self, step: u64) -> Result<StepStatus, Refusal> {
        let progress = self.progress();
        let state = match step {
            s if s < progress.proved => StepState::Proved,
            s if s < progress.accepted => StepState::Accepted,
            s if s == progress.accepted && !progress.parts.is_empty() => StepState::Incomplete,
            got => return Err(Refusal::StepOrder { expected: progress.accepted, got }),
        };
        Ok(progress.step_status(step, state, false))
    }

    /// Whether `writer` may write.
    ///
    /// Errors: [`Refusal::SecondWriter`].
    pub fn check_writer(&self, writer: &WriterId) -> Result<(), Refusal> {
        if self.progress().note.writer == *writer { Ok(()) } else { Err(Refusal::SecondWriter {}) }
    }

    /// Makes `writer` the one who writes. Returns whether a reserved place in the queue is free again.
    ///
    /// Errors: [`Refusal::SecondWriter`], [`Refusal::Finished`].
    pub fn take_writer(&self, writer: WriterId, take_over: bool) -> Result<bool, Refusal> {
        let mut progress = self.progress();
        if progress.note.writer == writer {
            return Ok(false);
        }
        if !take_over {
            return Err(Refusal::SecondWriter {});
        }
        let step = StepIndex(progress.accepted);
        let freed = !progress.parts.is_empty();
        for chunk in std::mem::take(&mut progress.parts).into_keys() {
            progress.inbox.drop_upload(step, ChunkIndex(chunk)).map_err(Refusal::internal)?;
        }
        let finished = progress.note.finished;
        progress.write_note(Note { writer, finished })?;
        Ok(freed)
    }

    /// Takes no more steps from here on. Repeating it changes nothing.
    ///
    /// Errors: [`Refusal::Invalid`] while a step is incomplete.
    pub fn finish(&self) -> Result<(), Refusal> {
        let mut progress = self.progress();
        if progress.note.finished {
            return Ok(());
        }
        if !progress.parts.is_empty() {
            let reason = format!("step {} is incomplete", progress.accepted);
            return Err(Refusal::Invalid { field: "finish", reason });
        }
        let writer = progress.note.writer.clone();
        progress.write_note(Note { writer, finished: true })?;
        // Nobody listening is fine.
        let _ = self.events.send(Event::Finished {});
        Ok(())
    }

    /// Takes one chunk of the next step: checks it, applies it, stores it. `reserve` gets a place in the queue for a new
    /// step.
    ///
    /// Errors: [`Refusal`]; the run is as it was then.
    pub fn submit(
        &self,
        (step, chunk): (StepIndex, ChunkIndex),
        writer: &WriterId,
        body: &[u8],
        reserve: impl FnOnce() -> Result<(), Refusal>,
        release: impl FnOnce(),
    ) -> Result<StepStatus, Refusal> {
        let mut progress = self.progress();
        if progress.note.writer != *writer {
            return Err(Refusal::SecondWriter {});
        }
        let expected = self.description.policy.n_chunks;
        if chunk.0 >= expected {
            return Err(Refusal::NoChunk { expected, got: chunk.0 });
        }
        let digest = Digest::of(body);
        if let Some(before) = progress.seen(step, chunk)? {
            return match before == digest {
                true => Ok(progress.step_status(step.0, progress.step_state(step.0), true)),
                false => Err(Refusal::OtherUpload {
                    step: step.0,
                    chunk: chunk.0,
                    expected: before.to_string(),
                    got: digest.to_string(),
                }),
            };
        }
        if progress.note.finished {
            return Err(Refusal::Finished {});
        }
        if step.0 != progress.accepted {
            return Err(Refusal::StepOrder { expected: progress.accepted, got: step.0 });
        }
        let part = self.part(&progress, step, chunk, body)?;
        let first = progress.parts.is_empty();
        if first {
            reserve()?;
        }
        if let Err(error) = progress.inbox.put(step, chunk, body) {
            if first {
                release();
            }
            return Err(Refusal::internal(error));
        }
        self.take_part(&mut progress, chunk, part);
        let state = progress.step_state(step.0);
        if state == StepState::Accepted {
            progress.manifest_written = false;
            let _ = self.events.send(Event::Accepted { step: step.0 });
        }
        Ok(progress.step_status(step.0, state, false))
    }

    /// Gradient, learning rate and metadata of a step that waits.
    ///
    /// Errors: [`Refusal::Internal`].
    pub fn waiting_step(&self, step: StepIndex) -> Result<Upload, Refusal> {
        let n_chunks = self.description.policy.n_chunks;
        let mut whole: Option<Upload> = None;
        for chunk in (0..n_chunks).map(ChunkIndex) {
            let bytes = self.progress().inbox.read(step, chunk).map_err(Refusal::internal)?;
            let frame = Frame::parse(&bytes)?;
            let upload = self.upload(&frame, chunk)?;
            match &mut whole {
                None => whole = Some(upload),
                Some(whole) => whole.gradient.extend(upload.gradient),
            }
        }
        whole.ok_or_else(|| Refusal::internal("a run without chunks"))
    }

    /// Hyper-parameters of a step with learning rate `lr`.
    pub fn hyper(&self, lr: u64) -> Hyper {
        let p = &self.description.policy;
        Hyper { beta1: p.beta1, beta2: p.beta2, eps: p.eps, weight_decay: p.weight_decay, lr }
    }

    fn apply(&self, progress: &mut Progress, step: StepIndex, chunk: ChunkIndex, body: &[u8]) -> Result<(), Refusal> {
        if step.0 != progress.accepted {
            return Err(Refusal::StepOrder { expected: progress.accepted, got: step.0 });
        }
        let part = self.part(progress, step, chunk, body)?;
        self.take_part(progress, chunk, part);
        Ok(())
    }

    fn upload(&self, frame: &Frame<'_>, chunk: ChunkIndex) -> Result<Upload, Refusal> {
        frame.only(&TENSORS)?;
        let policy = &self.description.policy;
        let lr = frame.text("lr").ok_or(Refusal::Invalid { field: "lr", reason: "not given".to_owned() })?;
        let lr: u64 = lr
            .parse()
            .map_err(|_| Refusal::Invalid { field: "lr", reason: format!("{:?} is no raw Q32 value", cut(lr)) })?;
        if lr > policy.lr_max {
            let reason = format!("{lr} is above the policy's maximum {}", policy.lr_max);
            return Err(Refusal::Invalid { field: "lr", reason });
        }
        let meta: StepMeta = frame.json("meta")?.unwrap_or_default();
        meta.check().map_err(|e| Refusal::Invalid { field: "meta", reason: e.to_string() })?;
        let part = chunk_range(policy.n_params, policy.n_chunks, chunk);
        let gradient = frame.signed("g", part.len()).map_err(|e| self.name(e, part.start))?;
        Ok(Upload { lr, meta, gradient })
    }

    /// Checks an upload against the state, and applies it.
    fn part(&self, progress: &Progress, step: StepIndex, chunk: ChunkIndex, body: &[u8]) -> Result<Part, Refusal> {
        let policy = &self.description.policy;
        let frame = Frame::parse(body)?;
        let Upload { lr, gradient, .. } = self.upload(&frame, chunk)?;
        if let Some(other) = progress.parts.values().next().filter(|other| other.lr != lr) {
            let (expected, got) = (other.lr.to_string(), lr.to_string());
            return Err(Refusal::LearningRateDiffers { step: step.0, expected, got });
        }
        let range = chunk_range(policy.n_params, policy.n_chunks, chunk);
        let State { w, m, v, p1, p2 } = &progress.head;
        let part = |values: &[i64]| values[range.clone()].to_vec();
        let before = State { w: part(w), m: part(m), v: v[range.clone()].to_vec(), p1: *p1, p2: *p2 };
        self.check_state(&frame, &before, range.start)?;
        let fresh = step == StepIndex(0) && self.description.parent.is_none();
        let (after, _) = before
            .step(policy.rule, fresh, &self.hyper(lr), &gradient)
            .map_err(|e| self.explain(step, range.start, e))?;
        Ok(Part { after, digest: Digest::of(body), lr })
    }

    fn take_part(&self, progress: &mut Progress, chunk: ChunkIndex, part: Part) {
        progress.parts.insert(chunk.0, part);
        if progress.parts.len() < self.description.policy.n_chunks as usize {
            return;
        }
        let mut head = State { w: Vec::new(), m: Vec::new(), v: Vec::new(), ..progress.head };
        for part in std::mem::take(&mut progress.parts).into_values() {
            head.w.extend(part.after.w);
            head.m.extend(part.after.m);
            head.v.extend(part.after.v);
            (head.p1, head.p2) = (part.after.p1, part.after.p2);
        }
        progress.head_digest = state_digest(&head);
        progress.head = head;
        progress.accepted += 1;
    }

    /// Checks what the trainer says about the state it is in.
    fn check_state(&self, frame: &Frame<'_>, before: &State, offset: usize) -> Result<(), Refusal> {
        if let Some(got) = frame.text("state_sha256") {
            let expected = state_digest(before);
            if got != expected {
                let what = "SHA-256 of the state before the step".to_owned();
                return Err(Refusal::StateDiffers { what, expected, got: cut(got) });
            }
        }
        let differs = |tensor: &str, index: usize, expected: String, got: String| Refusal::StateDiffers {
            what: format!("{tensor} of {}", locate(&self.description.layout, offset + index)),
            expected,
            got,
        };
        for (name, expected) in [("w", &before.w), ("m", &before.m)] {
            if !frame.has(name) {
                continue;
            }
            let got = frame.signed(name, before.len()).map_err(|e| self.name(e, offset))?;
            if let Some(i) = (0..got.len()).find(|&i| got[i] != expected[i]) {
                return Err(differs(name, i, expected[i].to_string(), got[i].to_string()));
            }
        }
        if frame.has("v") {
            let got = frame.second_moments("v", before.len())?;
            if let Some(i) = (0..got.len()).find(|&i| got[i] != before.v[i]) {
                return Err(differs("v", i, before.v[i].to_string(), got[i].to_string()));
            }
        }
        Ok(())
    }

    /// Says which tensor of the model an index of a chunk is in.
    fn name(&self, refusal: Refusal, offset: usize) -> Refusal {
        match refusal {
            Refusal::Range { index: Some(index), reason, .. } => {
                match self.description.layout.locate(offset as u64 + index) {
                    Some((tensor, inside)) => Refusal::Range {
                        tensor: tensor.name.clone(),
                        index: Some(inside),
                        reason: format!("{}[{inside}]: {reason}", tensor.name),
                    },
                    None => Refusal::internal("an index outside of the layout"),
                }
            }
            other => other,
        }
    }

    fn explain(&self, step: StepIndex, offset: usize, error: RangeError) -> Refusal {
        let index = match &error {
            RangeError::Signed { index, .. }
            | RangeError::SecondMoment { index, .. }
            | RangeError::Root { index, .. }
            | RangeError::NotFresh { index, .. } => *index,
            RangeError::Hyper { what, .. } => {
                let reason = format!("step {step}: {error}");
                return Refusal::Range { tensor: (*what).to_owned(), index: None, reason };
            }
            _ => return Refusal::internal(error),
        };
        let reason = format!("step {step}: {error}");
        self.name(Refusal::Range { tensor: String::new(), index: Some(index as u64), reason }, offset)
    }
}

impl Progress {
    /// Whether every accepted step is in the log and, if finished, the manifest is written.
    pub fn settled(&self) -> bool {
        self.proved == self.accepted && (!self.note.finished || self.manifest_written)
    }

    /// Whether there is something for the worker to do now.
    pub fn has_work(&self, now: Instant) -> bool {
        !self.settled() && self.trouble.as_ref().is_none_or(|(_, retry)| *retry <= now)
    }

    /// Whether the run takes no more steps.
    pub fn finished(&self) -> bool {
        self.note.finished
    }

    /// Notes that an attempt failed: it is repeated after 1, 2, 4 … 64 s.
    pub fn stall(&mut self, reason: String) {
        let wait = Duration::from_secs(1 << self.failures.min(6));
        self.failures += 1;
        self.trouble = Some((reason, Instant::now() + wait));
    }

    fn step_state(&self, step: u64) -> StepState {
        match step {
            s if s < self.proved => StepState::Proved,
            s if s < self.accepted => StepState::Accepted,
            _ => StepState::Incomplete,
        }
    }

    fn step_status(&self, step: u64, state: StepState, repeated: bool) -> StepStatus {
        let is_last = step + 1 == self.accepted;
        StepStatus { step, state, state_sha256: is_last.then(|| self.head_digest.clone()), repeated }
    }

    /// Digest of a chunk that was accepted.
    fn seen(&self, step: StepIndex, chunk: ChunkIndex) -> Result<Option<Digest>, Refusal> {
        if let Some(digest) = self.inbox.receipt(step, chunk) {
            return Ok(Some(digest));
        }
        if step.0 == self.accepted {
            return Ok(self.parts.get(&chunk.0).map(|part| part.digest));
        }
        if (self.proved..self.accepted).contains(&step.0) {
            return Ok(Some(Digest::of(&self.inbox.read(step, chunk).map_err(Refusal::internal)?)));
        }
        Ok(None)
    }

    fn write_note(&mut self, note: Note) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(&note).map_err(Refusal::internal)?;
        self.inbox.write_note(&bytes).map_err(Refusal::internal)?;
        self.note = note;
        Ok(())
    }
}

/// SHA-256 of a state as a state file, `0x` hex.
pub(super) fn state_digest(state: &State) -> String {
    // States of a run were range-checked, which is all that encoding refuses.
    state_file::encode(state).map_or_else(|e| e.to_string(), |bytes| Digest::of(&bytes).to_string())
}

/// The parameters of a chunk.
fn chunk_range(n_params: u64, n_chunks: u32, chunk: ChunkIndex) -> std::ops::Range<usize> {
    let n = n_params as usize;
    let len = chunk_len(n, n_chunks as usize);
    let start = (chunk.0 as usize * len).min(n);
    start..(start + len).min(n)
}

fn locate(layout: &Layout, param: usize) -> String {
    layout.locate(param as u64).map_or_else(String::new, |(tensor, inside)| format!("{}[{inside}]", tensor.name))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
