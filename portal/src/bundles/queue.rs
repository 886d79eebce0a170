//! Which bundle is checked when: the folder is looked through in turn, and one bundle is checked at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ledger::{Digest, RunId, SealedRecord};
use store::{RunDir, StoreError};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{self, JoinError, JoinSet},
};

use super::{
    Options, SharedKeys, Shelf,
    check::{Job, Outcome, Told, anchored, check, open},
    disk::Stop,
    fetching::Fetching,
    remote::{Mirror, Remote, RemoteError},
    survey::{Surveyed, candidates, survey},
    upload::{Uploads, settle},
};
use crate::{
    index::{Arrival, ArrivalState, Index, IndexError, RunEntry, RunKey, Verification},
    time::now,
};

/// What a verification says of the program that made it.
pub(super) const VERSION: &str = concat!("cairn ", env!("CARGO_PKG_VERSION"));

/// Shortest time between two notes of progress.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// Verifications that are looked at; a run has one for each of its bundles.
const MAX_KNOWN: u32 = 1_000;

/// Why a round did not end. The next one begins anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The folder cannot be read.
    #[error("folder of bundles: {0}")]
    Folder(#[from] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The records of a bundle that passed cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A check ended without saying how.
    #[error("a check broke off: {0}")]
    Check(#[from] JoinError),
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Bundles in the folder.
    pub n_bundles: usize,
    /// Bundles that were checked.
    pub n_checked: usize,
}

/// Takes in the bundles of a folder.
pub struct Intake {
    index: Index,
    keys: SharedKeys,
    options: Options,
    shelf: Arc<Shelf>,
    stop: Stop,
    wake: Arc<Notify>,
    seen: BTreeMap<String, Seen>,
    fetching: Option<Fetching>,
    mirror: Option<Mirror>,
    /// The folder's name in the index.
    folder: String,
}

/// What became of a directory.
struct Seen {
    print: Option<Digest>,
    run: Option<RunKey>,
    /// Steps and epochs of the run on chain when it was looked at.
    chain: (u64, u64),
    state: ArrivalState,
    at: Instant,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A directory with its run.
struct Found {
    name: String,
    print: Option<Digest>,
    run: RunEntry,
    /// Why it is not read, if it is not.
    refused: Option<String>,
    dir: Option<RunDir>,
}

impl Intake {
    /// Nothing was looked at yet.
    pub fn new(index: Index, keys: SharedKeys, options: Options) -> Self {
        let (stop, wake) = (Stop::default(), Arc::new(Notify::new()));
        let uploads = options.max_upload.map(|max_bytes| {
            let signals = (stop.clone(), wake.clone());
            Uploads::new((index.clone(), keys.clone()), options.folder.clone(), max_bytes, signals)
        });
        let fetch = options.fetch.clone();
        let fetching = fetch.map(|fetch| Fetching::new(index.clone(), fetch, &options, wake.clone()));
        let shelf = Arc::new(Shelf::new(keys.clone(), uploads, fetching.as_ref().map(Fetching::counts)));
        let folder = options.folder.display().to_string();
        Self { index, keys, options, shelf, stop, wake, seen: BTreeMap::new(), fetching, mirror: None, folder }
    }

    /// The folder is a copy of what a store has, and what comes into it otherwise goes there. It is made if it is not there.
    ///
    /// # Errors
    /// If the folder cannot be used, or another portal uses it.
    pub fn with_remote(mut self, remote: Remote) -> Result<Self, RemoteError> {
        let mirror = Mirror::new(remote, &self.options, self.wake.clone())?;
        self.shelf.count(mirror.traffic());
        self.mirror = Some(mirror);
        Ok(self)
    }

    /// The bundles that passed.
    pub fn shelf(&self) -> Arc<Shelf> {
        self.shelf.clone()
    }

    /// Looks and checks until `stop` is ready; a check that is being made ends early then. Failures are logged and tried again.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop: Pin<&mut _> = pin!(stop);
        if let Err(error) = self.index.forget_arrivals(&self.folder, None).await {
            tracing::warn!(%error, "bundles: {error}");
        }
        if self.options.max_upload.is_some()
            && let Err(error) = settle(&self.options.folder)
        {
            tracing::warn!(%error, "bundles: {error}");
        }
        let end = watch::Sender::new(false);
        let ended = || {
            let mut end = end.subscribe();
            async move { drop(end.wait_for(|end| *end).await) }
        };
        let mut beside = JoinSet::new();
        if let Some(fetching) = self.fetching.take() {
            beside.spawn(fetching.run(ended()));
        }
        if let Some(mirror) = self.mirror.take() {
            beside.spawn(mirror.run(ended()));
        }
        loop {
            let signal = self.stop.clone();
            tokio::select! {
                () = &mut stop => {
                    signal.set();
                    break;
                }
                round = self.round() => if let Err(error) = round {
                    tracing::warn!(%error, "bundles: {error}");
                },
            }
            tokio::select! {
                () = &mut stop => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.options.interval) => {}
            }
        }
        end.send_replace(true);
        while beside.join_next().await.is_some() {}
    }

    /// Looks through the folder once, and checks what is due.
    ///
    /// # Errors
    /// [`IntakeError`]; what was checked before stays so.
    pub async fn round(&mut self) -> Result<Round, IntakeError> {
        let (folder, limits) = (self.options.folder.clone(), self.options.limits);
        let (found, more) = task::spawn_blocking(move || candidates(&folder, &limits)).await??;
        if more {
            let limit = limits.max_bundles;
            tracing::warn!(limit, "bundles: the folder has more than {limit}, those behind are not looked at");
        }
        for name in self.seen.keys().filter(|name| !found.contains_key(*name)) {
            self.index.forget_arrivals(&self.folder, Some(name)).await?;
            self.shelf.remove(name);
        }
        self.seen.retain(|name, _| found.contains_key(name));
        let n_bundles = found.len();
        let mut due = Vec::new();
        for (name, run) in found {
            if let Some(found) = self.look(name, run).await? {
                self.note(&found, &found.arrival(ArrivalState::Queued, None)).await?;
                due.push(found);
            }
        }
        let n_checked = due.len();
        for found in due {
            self.take(found).await?;
        }
        Ok(Round { n_bundles, n_checked })
    }

    /// Whether a directory is due, and of which run of the index it is.
    async fn look(&mut self, name: String, run: RunId) -> Result<Option<Found>, IntakeError> {
        let entries = self.index.runs_by_id(run).await?;
        if entries.is_empty() {
            // The chain may say more later; until then nothing is read.
            return Ok(None);
        }
        let (folder, limits, of, stop) =
            (self.options.folder.clone(), self.options.limits, name.clone(), self.stop.clone());
        let looked = task::spawn_blocking(move || {
            let surveyed = survey(&folder, &of, &limits).map_err(|error| error.to_string())?;
            let dir = open(&folder.join(&of), &stop);
            Ok::<_, String>((surveyed, dir.map_err(|_| "run.json: missing, or not of a run".to_owned())))
        });
        let (print, dir) = match looked.await? {
            Ok((Surveyed { print }, dir)) => (Some(print), dir),
            Err(refusal) => (None, Err(refusal)),
        };
        // The description says which contract's run it is; without one it is shown with all that claim the id.
        let of = dir.as_ref().ok().map(|dir| dir.run().description().clone());
        let entry = entries.into_iter().find(|entry| {
            of.as_ref().is_none_or(|run| {
                (run.run, run.identity.chain_id, run.identity.contract) == (entry.run, entry.chain, entry.contract)
            })
        });
        let Some(run) = entry else { return Ok(None) };
        if self.seen.get(&name).is_some_and(|seen| !seen.is_due(print, &run, &self.options)) {
            return Ok(None);
        }
        let (refused, dir) = match dir {
            Ok(dir) => (None, Some(dir)),
            Err(refusal) => (Some(refusal), None),
        };
        Ok(Some(Found { name, print, run, refused, dir }))
    }

    async fn note(&self, found: &Found, arrival: &Arrival) -> Result<(), IntakeError> {
        Ok(self.index.note_arrival(&self.folder, found.run.key, arrival).await?)
    }

    /// Checks one bundle and notes what came of it.
    async fn take(&mut self, found: Found) -> Result<(), IntakeError> {
        let mut arrival = found.arrival(ArrivalState::Checking, None);
        let state = match (&found.refused, &found.dir) {
            (None, Some(dir)) => {
                let outcome = self.check(&found, dir.clone(), &mut arrival).await?;
                self.conclude(&found, dir, outcome, &mut arrival).await?
            }
            (refused, _) => {
                arrival.detail.clone_from(refused);
                self.shelf.remove(&found.name);
                ArrivalState::Refused
            }
        };
        (arrival.state, arrival.changed_at) = (state, now());
        let (name, run, detail) = (&found.name, found.run.run, arrival.detail.clone().unwrap_or_default());
        match state {
            ArrivalState::Passed => tracing::info!(%run, name, "bundle {name} passed every check"),
            _ => tracing::warn!(%run, name, state = state.code(), detail, "bundle {name}: {}: {detail}", state.code()),
        }
        self.note(&found, &arrival).await?;
        let chain = (found.run.size.0, found.run.counter);
        let seen = Seen { print: found.print, run: Some(found.run.key), chain, state, at: Instant::now() };
        self.seen.insert(found.name, seen);
        Ok(())
    }

    /// Makes the checks on a thread of their own: it is not waited for when the portal stops, as making a key takes minutes.
    async fn check(&self, found: &Found, dir: RunDir, arrival: &mut Arrival) -> Result<Outcome, IntakeError> {
        let known = self.index.verifications(found.run.key, MAX_KNOWN).await?;
        let known = known.into_iter().filter(|known| known.failure.is_none() && known.version == VERSION);
        let known: BTreeSet<Digest> = known.map(|known| known.manifest).collect();
        let job = Job {
            run: found.run.clone(),
            epochs: anchored(&self.index, &found.run).await?,
            known,
            keys: self.keys.clone(),
            stop: self.stop.clone(),
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        let (done, mut ended) = oneshot::channel();
        thread::Builder::new().name("bundle".to_owned()).spawn(move || {
            // Nobody listens any more once the portal stops.
            let outcome = check(&job, &dir, &|word| drop(tell.send(word)));
            drop(done.send(outcome));
        })?;
        self.note(found, arrival).await?;
        let mut noted = Instant::now();
        let outcome = loop {
            tokio::select! {
                biased;
                Some(word) = told.recv() => {
                    arrival.hear(word);
                    if noted.elapsed() >= TOLD_AGAIN {
                        arrival.changed_at = now();
                        self.note(found, arrival).await?;
                        noted = Instant::now();
                    }
                }
                outcome = &mut ended => break outcome,
            }
        };
        while let Ok(word) = told.try_recv() {
            arrival.hear(word);
        }
        Ok(outcome.unwrap_or_else(|_| Outcome::Stands(ArrivalState::Unable, "the check broke off".to_owned())))
    }

    /// Notes a verification, if there is one.
    async fn conclude(
        &self,
        found: &Found,
        dir: &RunDir,
        outcome: Outcome,
        arrival: &mut Arrival,
    ) -> Result<ArrivalState, IntakeError> {
        let verification = |named: super::check::Named, failure: Option<String>| Verification {
            manifest: named.manifest,
            size: named.size,
            root: named.root,
            failure,
            version: VERSION.to_owned(),
            checked_at: now(),
        };
        match outcome {
            Outcome::Passed(named, facts) => {
                let description = dir.run().description();
                self.index.note_policy(description.policy_digest, &description.policy).await?;
                if self.index.n_records(found.run.key, named.size).await? < named.size.0 {
                    self.note_records(found.run.key, dir.clone()).await?;
                }
                if facts.is_some() {
                    self.index.note_verification(found.run.key, &verification(named, None)).await?;
                }
                self.shelf.put(&found.name, found.run.key, dir.path(), named.manifest, facts.map(|facts| *facts));
                Ok(ArrivalState::Passed)
            }
            Outcome::Failed(named, reason) => {
                self.index.note_verification(found.run.key, &verification(named, Some(reason.clone()))).await?;
                arrival.detail = Some(reason);
                self.shelf.remove(&found.name);
                Ok(ArrivalState::Failed)
            }
            Outcome::Stands(state, reason) => {
                arrival.detail = Some(reason);
                self.shelf.remove(&found.name);
                Ok(state)
            }
        }
    }

    /// Takes what the records of a bundle say into the index.
    async fn note_records(&self, run: RunKey, dir: RunDir) -> Result<(), IntakeError> {
        let (send, mut batches) = mpsc::channel::<Vec<SealedRecord>>(2);
        let reading = task::spawn_blocking(move || {
            dir.visit_records(&mut |records| {
                // Nobody listens any more if the index failed.
                drop(send.blocking_send(records.to_vec()));
                Ok(())
            })
        });
        while let Some(batch) = batches.recv().await {
            self.index.note_records(run, &batch).await?;
        }
        reading.await??;
        Ok(())
    }
}

impl Found {
    fn arrival(&self, state: ArrivalState, detail: Option<String>) -> Arrival {
        Arrival {
            name: self.name.clone(),
            manifest: None,
            state,
            detail,
            done: 0,
            total: 0,
            report: Vec::new(),
            changed_at: now(),
        }
    }
}

impl Arrival {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Manifest(manifest) => self.manifest = Some(manifest),
            Told::Line(line) => self.report.push(line),
            Told::Proofs { done, total } => (self.done, self.total) = (done, total),
        }
    }
}

impl Seen {
    /// Whether a directory is to be checked again.
    fn is_due(&self, print: Option<Digest>, run: &RunEntry, options: &Options) -> bool {
        if self.print != print || self.run != Some(run.key) {
            return true;
        }
        match self.state {
            ArrivalState::Waiting => self.chain != (run.size.0, run.counter),
            ArrivalState::Unable | ArrivalState::Queued | ArrivalState::Checking => self.at.elapsed() >= options.again,
            ArrivalState::Refused => self.print.is_none() && self.at.elapsed() >= options.again,
            ArrivalState::Damaged | ArrivalState::Failed | ArrivalState::Passed => false,
        }
    }
}
