//! All runs of the service, their keys, and the queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use circuits::keys::{EngineError, MemoryLimit, StepError};
use circuits::opening::chunk_len;
use circuits::reference::{State, check_hyper};
use circuits::step::shape::StepShape;
use ledger::{ChainId, ChunkIndex, Hyper, Layout, RunId, RunIdentity, StepIndex};
use srs::{SrsCache, SrsLabel, SrsSize};
use store::{Inbox, PrivateDir, RunDir, StoreError, layout::run_dir_name};
use tokio::sync::watch;

use super::api::{NewRun, RunStatus, StepStatus};
use super::frame::Frame;
use super::metrics::{Gauges, Metrics};
use super::provers::Provers;
use super::refusal::Refusal;
use super::run::{Note, Run, WriterId};
use crate::lineage::{LineageError, check_model};
use crate::session::{Parent, Places, RunPlan, Session, SessionError};
use crate::shelf::{KeyShelf, Keys, ShelfError};
use crate::step::ProveError;

/// What a service is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where runs are.
    pub places: Places,
    /// Reference strings.
    pub srs: SrsCache,
    /// Which of them.
    pub srs_label: SrsLabel,
    /// Steps that may wait for their proofs, all runs together.
    pub queue: usize,
    /// Largest body of a request in bytes.
    pub max_body: usize,
    /// Largest k of a step circuit.
    pub max_step_k: u32,
    /// Most bytes that proofs may hold.
    pub memory: Option<MemoryLimit>,
}

/// The service's state; shared by requests and the worker.
pub struct Hub {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    runs: Mutex<BTreeMap<RunId, Arc<Run>>>,
    keys: KeyShelf,
    /// Who makes the proofs.
    pub(super) provers: Box<dyn Provers>,
    /// Held while a run is made: asking twice at once makes one.
    creating: Mutex<()>,
    /// Steps accepted, or begun, and not yet proved.
    queued: AtomicUsize,
    /// Milliseconds that the last step took.
    pub(super) last_prove_ms: AtomicU64,
    draining: AtomicBool,
    drained: watch::Sender<bool>,
    work: Mutex<u64>,
    wake: Condvar,
}

impl Hub {
    /// Loads the runs that the service made before; `provers` make the proofs of what waits.
    ///
    /// Errors: [`SessionError`] when a directory cannot be listed. A run that cannot be loaded is reported on stderr and
    /// left alone.
    pub fn load(config: Config, provers: Box<dyn Provers>) -> Result<Arc<Self>, SessionError> {
        let hub = Self {
            keys: KeyShelf::new(config.srs.clone(), config.srs_label.clone(), config.memory),
            provers,
            config,
            metrics: Metrics::default(),
            runs: Mutex::default(),
            creating: Mutex::default(),
            queued: AtomicUsize::new(0),
            last_prove_ms: AtomicU64::new(1000),
            draining: AtomicBool::new(false),
            drained: watch::channel(false).0,
            work: Mutex::new(0),
            wake: Condvar::new(),
        };
        let artifacts = &hub.config.places.artifacts;
        let failed =
            |source| SessionError::Store(StoreError::Io { operation: "list", path: artifacts.clone(), source });
        std::fs::create_dir_all(artifacts).map_err(failed)?;
        for entry in std::fs::read_dir(artifacts).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Ok(dir) = RunDir::open(&path) else { continue };
            let run = dir.run().run();
            let private = &hub.config.places.private;
            if !Inbox::exists(private, run) {
                continue;
            }
            let private = PrivateDir::open_or_create(private, artifacts, run)?;
            match hub.load_run(&dir, private) {
                Ok(run) => hub.adopt(run),
                Err(error) => eprintln!("cairn: run {run} cannot be served: {error:?}"),
            }
        }
        Ok(Arc::new(hub))
    }

    fn load_run(&self, dir: &RunDir, private: PrivateDir) -> Result<Run, Refusal> {
        // The writer repairs what a kill left, and lets go of the lock again. If another process has it, there is nothing
        // to repair, and the worker waits for it.
        let places = &self.config.places;
        let (steps, root) = match Session::open(places, dir.path()) {
            Ok((session, recovery)) => {
                if !recovery.is_clean() {
                    eprintln!("cairn: run {}: repaired after an interruption: {recovery}", dir.run().run());
                }
                (session.steps(), session.writer().log().root())
            }
            Err(SessionError::Store(StoreError::Locked { .. })) => {
                let log = dir.log().map_err(Refusal::internal)?;
                (StepIndex(log.size().0), log.root())
            }
            Err(error) => return Err(refuse(error)),
        };
        Run::load(dir, private, (steps, root))
    }

    fn adopt(&self, run: Run) {
        let waiting = {
            let progress = run.progress();
            progress.accepted - progress.proved
        };
        let begun = usize::from(!run.status().pending_chunks.is_empty());
        self.queued.fetch_add(waiting as usize + begun, Ordering::SeqCst);
        self.lock_runs().insert(run.description.run, Arc::new(run));
        self.notify();
    }

    fn lock_runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<Run>>> {
        // Nothing panics under it.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run.
    ///
    /// Errors: [`Refusal::NoRun`].
    pub(super) fn run(&self, run: RunId) -> Result<Arc<Run>, Refusal> {
        self.lock_runs().get(&run).cloned().ok_or(Refusal::NoRun { run })
    }

    /// All runs.
    pub(super) fn runs(&self) -> Vec<Arc<Run>> {
        self.lock_runs().values().cloned().collect()
    }

    /// The keys of a step circuit, made if they are not in memory. One at a time.
    ///
    /// Errors: [`Refusal::Invalid`] if no proof of this circuit is within the memory limit; [`Refusal::Internal`].
    pub(super) fn keys(&self, shape: &StepShape) -> Result<Arc<Keys>, Refusal> {
        self.keys.get(shape).map_err(|error| match error {
            ShelfError::Key(StepError::Engine(error @ EngineError::Memory { .. })) => {
                Refusal::Invalid { field: "n_chunks", reason: error.to_string() }
            }
            error => Refusal::internal(error),
        })
    }

    /// Makes a run, or finds it if it is there already.
    ///
    /// Errors: [`Refusal`]; nothing is left of a refused one.
    pub(super) fn create(&self, writer: WriterId, body: &[u8]) -> Result<(RunStatus, Created), Refusal> {
        self.check_accepting()?;
        let frame = Frame::parse(body)?;
        let missing = Refusal::Invalid { field: "run", reason: "the frame's metadata has no text `run`".to_owned() };
        let new: NewRun = frame.json("run")?.ok_or(missing)?;
        let identity =
            RunIdentity { chain_id: ChainId(new.chain_id), contract: new.contract, owner: new.owner, salt: new.salt };
        let run = identity.run_id();
        let _one = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(existing) = self.run(run) {
            check_same(&existing, &new, &frame)?;
            existing.check_writer(&writer)?;
            return Ok((existing.status(), Created::Before));
        }
        let hyper =
            Hyper { beta1: new.beta1, beta2: new.beta2, eps: new.eps, weight_decay: new.weight_decay, lr: new.lr_max };
        check_hyper(new.rule, &hyper).map_err(|e| Refusal::Invalid { field: "run", reason: e.to_string() })?;
        for k in [new.epoch_k].into_iter().chain(new.step_k) {
            SrsSize::new(k).map_err(|e| Refusal::Invalid { field: "epoch_k, step_k", reason: e.to_string() })?;
        }
        if new.chain_id > ledger::ids::MAX_SMALL_INT {
            return Err(Refusal::Invalid { field: "chain_id", reason: "above 2^53 - 1".to_owned() });
        }
        let places = &self.config.places;
        let parent = match new.parent {
            None => None,
            Some(parent) if parent == run => {
                return Err(Refusal::Invalid { field: "parent", reason: "a run cannot be its own parent".to_owned() });
            }
            Some(parent) => {
                let dir = places.artifacts.join(run_dir_name(parent));
                if !dir.is_dir() {
                    return Err(Refusal::NoRun { run: parent });
                }
                if self.run(parent).is_ok_and(|served| !served.progress().finished() || !served.progress().settled()) {
                    let reason = "the parent must be finished and all its steps proved".to_owned();
                    return Err(Refusal::Invalid { field: "parent", reason });
                }
                Some(Parent::open(places, &dir).map_err(refuse)?)
            }
        };
        let (layout, start) = start(&frame, parent.as_ref())?;
        let shape = self.shape(&new, &layout, parent.as_ref())?;
        if let Some(parent) = &parent {
            check_model(&parent.run, &parent.shape, &layout, new.n_chunks, &shape).map_err(|e| refuse(e.into()))?;
        }
        let plan = RunPlan {
            identity,
            rule: new.rule,
            hyper,
            lr_max: new.lr_max,
            layout,
            n_chunks: new.n_chunks,
            epoch_len: new.epoch_len,
            epoch_k: new.epoch_k,
            dataset: new.dataset,
            notes: new.notes,
        };
        let keys = self.keys(&shape)?;
        if Inbox::exists(&places.private, run) {
            let private = PrivateDir::open_or_create(&places.private, &places.artifacts, run);
            let inbox = Inbox::open(&private.map_err(Refusal::internal)?).map_err(Refusal::internal)?;
            // Without the note an earlier attempt was killed before its answer, and this one completes it.
            if inbox.note().map_err(Refusal::internal)?.is_some() {
                return Err(Refusal::Leftover { run });
            }
        }
        let made = Session::create(places, &keys.srs, &keys.key, plan, &start, parent.as_ref());
        let (session, _) = made.map_err(|error| match error {
            SessionError::Store(StoreError::OtherRun { .. }) => {
                Refusal::OtherRun { run, what: "description".to_owned() }
            }
            SessionError::GenesisSeed { .. } => Refusal::Leftover { run },
            other => refuse(other),
        })?;
        drop(parent);
        let dir = RunDir::open(session.writer().dir().path()).map_err(Refusal::internal)?;
        let (steps, root) = (session.steps(), session.writer().log().root());
        drop(session);
        let private = PrivateDir::open_or_create(&places.private, &places.artifacts, run).map_err(Refusal::internal)?;
        let inbox = Inbox::open(&private).map_err(Refusal::internal)?;
        let note = serde_json::to_vec(&Note { writer, finished: false }).map_err(Refusal::internal)?;
        inbox.write_note(&note).map_err(Refusal::internal)?;
        let made = Run::load(&dir, private, (steps, root))?;
        let status = made.status();
        self.adopt(made);
        Ok((status, Created::Now))
    }

    fn shape(&self, new: &NewRun, layout: &Layout, parent: Option<&Parent>) -> Result<StepShape, Refusal> {
        let invalid = |field, reason: String| Refusal::Invalid { field, reason };
        if new.n_chunks == 0 || new.n_chunks as usize > ledger::record::MAX_CHUNKS {
            let reason = format!("expected 1 to {}, got {}", ledger::record::MAX_CHUNKS, new.n_chunks);
            return Err(invalid("n_chunks", reason));
        }
        let per_chunk = chunk_len(layout.n_params() as usize, new.n_chunks as usize);
        let max = self.config.max_step_k;
        match (new.step_k, parent) {
            (Some(k), _) if k > max => Err(invalid("step_k", format!("expected at most {max}, got {k}"))),
            (Some(k), _) => StepShape::choose_at(new.rule, per_chunk, k).map_err(|e| invalid("step_k", e.to_string())),
            // The state columns have to be laid out as the parent's.
            (None, Some(p)) if (p.shape.rule, p.shape.n_params) == (new.rule, per_chunk) => Ok(p.shape.clone()),
            (None, _) => StepShape::choose(new.rule, per_chunk, max).map_err(|e| invalid("n_chunks", e.to_string())),
        }
    }

    /// Takes one chunk of a step.
    ///
    /// Errors: [`Refusal`]; the run is as it was then.
    pub(super) fn submit(
        &self,
        run: RunId,
        place: (StepIndex, ChunkIndex),
        writer: &WriterId,
        body: &[u8],
    ) -> Result<StepStatus, Refusal> {
        self.check_accepting()?;
        let run = self.run(run)?;
        let status = run.submit(place, writer, body, || self.reserve(), || self.release())?;
        if !status.repeated {
            self.metrics.uploaded_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
            if status.state == super::api::StepState::Accepted {
                self.metrics.accepted.fetch_add(1, Ordering::Relaxed);
                self.notify();
            }
        }
        Ok(status)
    }

    fn reserve(&self) -> Result<(), Refusal> {
        let limit = self.config.queue;
        let more = |queued| (queued < limit).then_some(queued + 1);
        let reserved = self.queued.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        reserved.map(|_| ()).map_err(|_| Refusal::QueueFull { limit, retry_after_s: self.retry_after() })
    }

    /// One step less waits.
    pub(super) fn release(&self) {
        // Reserved before, so it is above 0.
        self.queued.fetch_sub(1, Ordering::SeqCst);
    }

    fn retry_after(&self) -> u64 {
        self.last_prove_ms.load(Ordering::Relaxed).div_ceil(1000).max(1)
    }

    /// Whether new work is taken.
    ///
    /// Errors: [`Refusal::Draining`].
    fn check_accepting(&self) -> Result<(), Refusal> {
        match self.is_draining() {
            true => Err(Refusal::Draining { retry_after_s: self.retry_after().max(5) }),
            false => Ok(()),
        }
    }

    /// Takes no more work; the worker ends after the step it is at.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.drained.send_replace(true);
        self.notify();
    }

    /// Whether it takes no more work.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Becomes true when it takes no more work.
    pub(super) fn draining(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }

    /// What the metrics page shows of this moment.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            runs: self.lock_runs().len(),
            queued: self.queued.load(Ordering::SeqCst),
            queue_limit: self.config.queue,
        }
    }

    /// Wakes the worker.
    pub(super) fn notify(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.wake.notify_all();
    }

    /// Number of notices so far.
    pub(super) fn notices(&self) -> u64 {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a notice after `seen`, at most a second.
    pub(super) fn wait(&self, seen: u64) {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        // Either way the worker looks again.
        let _ = self.wake.wait_timeout_while(work, Duration::from_secs(1), |notices| *notices == seen);
    }

    /// A run that has work, the one after `last` in turn.
    pub(super) fn next_with_work(&self, last: Option<RunId>) -> Option<Arc<Run>> {
        let now = Instant::now();
        let runs = self.runs();
        let (before, after): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| Some(run.description.run) <= last);
        after.into_iter().chain(before).find(|run| run.progress().has_work(now))
    }
}

/// Whether a run was made by this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// By this one.
    Now,
    /// By an earlier one.
    Before,
}

/// Layout and state that a run starts with.
fn start(frame: &Frame<'_>, parent: Option<&Parent>) -> Result<(Layout, State), Refusal> {
    let shapes = frame.shapes();
    if let Some(parent) = parent {
        let layout = parent.run.layout.clone();
        if !shapes.is_empty() {
            let w = frame.weights(&layout)?;
            if let Some(i) = (0..w.len()).find(|&i| w[i] != parent.state.w[i]) {
                let (tensor, index) = match layout.locate(i as u64) {
                    Some((tensor, index)) => (tensor.name.clone(), index),
                    None => (String::new(), i as u64),
                };
                return Err(Refusal::StateDiffers {
                    what: format!("{tensor}[{index}]"),
                    expected: parent.state.w[i].to_string(),
                    got: w[i].to_string(),
                });
            }
        }
        return Ok((layout, parent.state.clone()));
    }
    let layout = Layout::contiguous(shapes).map_err(|e| Refusal::Tensor {
        tensor: "weights".to_owned(),
        expected: "a layout".to_owned(),
        got: e.to_string(),
    })?;
    let w = frame.weights(&layout)?;
    Ok((layout, State::fresh(w)))
}

/// Checks that a request for a run that is there asks for the same run.
fn check_same(run: &Run, new: &NewRun, frame: &Frame<'_>) -> Result<(), Refusal> {
    let d = &run.description;
    let p = &d.policy;
    let differs = |what: &str| Refusal::OtherRun { run: d.run, what: what.to_owned() };
    let same = [
        ("rule", p.rule == new.rule),
        ("beta1", p.beta1 == new.beta1),
        ("beta2", p.beta2 == new.beta2),
        ("eps", p.eps == new.eps),
        ("weight decay", p.weight_decay == new.weight_decay),
        ("largest learning rate", p.lr_max == new.lr_max),
        ("number of chunks", p.n_chunks == new.n_chunks),
        ("epoch length", d.epoch_len == new.epoch_len),
        ("parent", d.parent == new.parent),
        ("dataset", d.dataset == new.dataset),
        ("note", new.notes.iter().all(|(key, value)| d.notes.get(key) == Some(value))),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(differs(what));
    }
    let shapes = frame.shapes();
    let theirs = d.layout.tensors().iter().map(|t| (t.name.clone(), t.shape.clone()));
    if d.parent.is_none() && !theirs.eq(shapes) {
        return Err(differs("layout"));
    }
    Ok(())
}

/// What a failed session is to the caller: refused input has its own answer, the rest is the service's fault.
pub(super) fn refuse(error: SessionError) -> Refusal {
    match &error {
        SessionError::Store(StoreError::Locked { .. }) => Refusal::Locked { reason: "locked".to_owned() },
        SessionError::Parent(inner) if matches!(**inner, SessionError::Store(StoreError::Locked { .. })) => {
            Refusal::Locked { reason: "the parent is locked".to_owned() }
        }
        SessionError::Lineage(LineageError::State { .. }) => Refusal::internal(error),
        SessionError::Lineage(_) | SessionError::ParentSecrets { .. } => {
            Refusal::Invalid { field: "parent", reason: public(&error) }
        }
        SessionError::Description(_) | SessionError::Layout(_) => {
            Refusal::Invalid { field: "run", reason: error.to_string() }
        }
        SessionError::Prove(ProveError::Capacity { .. }) => {
            Refusal::Invalid { field: "n_chunks", reason: error.to_string() }
        }
        _ => Refusal::internal(error),
    }
}

/// The error without paths of this machine.
fn public(error: &SessionError) -> String {
    match error {
        SessionError::ParentSecrets { .. } => "the parent's secret and final state are not in this home".to_owned(),
        other => other.to_string(),
    }
}
