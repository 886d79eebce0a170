//! Bundles that were announced on chain and are not in the folder: which is fetched when.
//!
//! How a bundle comes here is somebody else's work ([`Transfer`]); this says what is wanted, one after the other, and remembers
//! what failed. Only runs that are anchored are wanted, so that filling a folder costs proofs. Nothing is believed of what
//! comes: the queue verifies it as any other bundle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::{RunId, TreeSize};
use store::{RunDir, layout::run_dir_name};
use tokio::{
    sync::Notify,
    task::{self, JoinError, JoinSet},
    time::Instant,
};

use super::upload::MARK;
use crate::index::{Index, IndexError, Offer, RunName};

/// Offers that are asked for at once.
const PAGE: u32 = 1_000;

/// Longest pause after a bundle that could not be fetched.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Longest pause after a bundle that came and did not hold.
const LONGEST_REFUSED: Duration = Duration::from_secs(24 * 3_600);

/// Longest reason that is logged, characters: peers may have put anything into it.
const MAX_REASON: usize = 500;

/// A bundle that is to come into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the chain says of it.
    pub offer: Offer,
    /// Most bytes that it may have.
    pub max_bytes: u64,
}

/// Why a bundle did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// It could not be fetched.
    #[error("{reason}")]
    Unable {
        /// Why.
        reason: String,
    },
    /// It came, or something else did, and it is not what was announced and anchored.
    #[error("{reason}")]
    Refused {
        /// The check that failed.
        reason: String,
    },
    /// It did not end in time.
    #[error("not here after {} s", limit.as_secs_f64())]
    Late {
        /// The limit.
        limit: Duration,
    },
}

/// A bundle on its way. Dropped, it ends.
pub type Transferring = Pin<Box<dyn Future<Output = Result<(), TransferError>> + Send>>;

/// What brings bundles.
pub trait Transfer: Send + Sync {
    /// Brings a bundle into the folder: all of it under the run's name, or nothing that has that name.
    fn transfer(&self, wanted: Wanted) -> Transferring;
}

/// How announced bundles are fetched.
#[derive(Clone)]
pub struct FetchOptions {
    /// What brings them.
    pub transfer: Arc<dyn Transfer>,
    /// How many at once.
    pub n_jobs: usize,
    /// How long one may take. What came by then is kept by those who bring it, or not.
    pub time_limit: Duration,
    /// Bytes in the folder above which nothing more is fetched.
    pub space: u64,
}

impl fmt::Debug for FetchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions").field("n_jobs", &self.n_jobs).finish_non_exhaustive()
    }
}

/// What was fetched since the process began.
#[derive(Debug, Default)]
pub struct Fetches {
    fetched: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    running: AtomicU64,
    missing: AtomicU64,
}

/// [`Fetches`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Bundles that came.
    pub fetched: u64,
    /// Attempts that brought none.
    pub failed: u64,
    /// Bundles that came and did not hold.
    pub refused: u64,
    /// Bundles on their way.
    pub running: u64,
    /// Announced bundles that are not here, those on their way among them.
    pub missing: u64,
}

impl Fetches {
    /// The figures now.
    pub fn counts(&self) -> FetchCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FetchCounts {
            fetched: of(&self.fetched),
            failed: of(&self.failed),
            refused: of(&self.refused),
            running: of(&self.running),
            missing: of(&self.missing),
        }
    }
}

/// Why a look was broken off. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchingError {
    #[error("folder of bundles: {0}")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("a look broke off: {0}")]
    Task(#[from] JoinError),
}

/// Fetches what is missing in a folder.
pub(super) struct Fetching {
    index: Index,
    folder: PathBuf,
    options: FetchOptions,
    /// Largest bundle.
    max_bytes: u64,
    /// Pause between two looks.
    interval: Duration,
    /// First pause after a bundle that did not hold.
    again: Duration,
    wake: Arc<Notify>,
    counts: Arc<Fetches>,
    tried: BTreeMap<RunName, Tried>,
    running: JoinSet<Result<(), TransferError>>,
    on_the_way: Vec<Attempt>,
    is_full: bool,
}

/// A bundle on its way.
struct Attempt {
    id: task::Id,
    wanted: Wanted,
    since: Instant,
}

/// What became of the attempts at an offer.
#[derive(Debug)]
struct Tried {
    offer: Offer,
    at: Instant,
    n_failures: u32,
    pause: Duration,
}

impl Tried {
    /// Whether it may be tried again. Another announcement or another epoch makes it a new one.
    fn is_due(&self, offer: &Offer) -> bool {
        self.offer != *offer || self.at.elapsed() >= self.pause
    }
}

/// What a folder has of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    Nothing,
    /// A directory that did not come by itself: it is never replaced.
    Own,
    /// A directory with so many steps.
    Steps(TreeSize),
}

impl Fetching {
    pub(super) fn new(index: Index, options: FetchOptions, bundles: &super::Options, wake: Arc<Notify>) -> Self {
        Self {
            index,
            folder: bundles.folder.clone(),
            options,
            max_bytes: bundles.limits.max_bytes,
            interval: bundles.interval,
            again: bundles.again,
            wake,
            counts: Arc::default(),
            tried: BTreeMap::new(),
            running: JoinSet::new(),
            on_the_way: Vec::new(),
            is_full: false,
        }
    }

    pub(super) fn counts(&self) -> Arc<Fetches> {
        self.counts.clone()
    }

    /// Looks and fetches until `stop` is ready; what is on its way ends then.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop: Pin<&mut _> = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                looked = self.look() => if let Err(error) = looked {
                    tracing::warn!(%error, "fetching: {error}");
                },
            }
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = self.running.join_next_with_id() => self.note(ended),
                () = tokio::time::sleep(self.interval) => {}
            }
        }
        self.running.shutdown().await;
    }

    /// Starts what is due, as far as there is room.
    async fn look(&mut self) -> Result<(), FetchingError> {
        let missing = self.missing().await?;
        let names: BTreeSet<RunName> = missing.iter().map(|offer| offer.name).collect();
        self.counts.missing.store(missing.len() as u64, Ordering::Relaxed);
        self.tried.retain(|name, _| names.contains(name));
        let mut due: Vec<Offer> = missing.into_iter().filter(|offer| self.is_due(offer)).collect();
        // Those that waited longest first, so that nobody's announcements keep out the others'.
        due.sort_by_key(|offer| (self.tried.get(&offer.name).map(|tried| tried.at), offer.key));
        if due.is_empty() || self.running.len() >= self.options.n_jobs {
            return Ok(());
        }
        let folder = self.folder.clone();
        let used = task::spawn_blocking(move || bytes(&folder)).await??;
        for offer in due {
            if self.running.len() >= self.options.n_jobs {
                break;
            }
            // Two contracts may have a run of one id, and the folder has one place for it.
            if self.on_the_way.iter().any(|other| other.wanted.offer.name.run == offer.name.run) {
                continue;
            }
            let kept = self.on_the_way.iter().map(|other| other.wanted.max_bytes);
            let room = kept.fold(self.options.space.saturating_sub(used), u64::saturating_sub);
            if room == 0 {
                let (space, was_full) = (self.options.space, std::mem::replace(&mut self.is_full, true));
                if !was_full {
                    tracing::warn!(used, space, "fetching: the folder has {used} bytes, and may have {space}");
                }
                break;
            }
            self.is_full = false;
            self.start(Wanted { offer, max_bytes: self.max_bytes.min(room) }).await?;
        }
        Ok(())
    }

    fn is_due(&self, offer: &Offer) -> bool {
        self.tried.get(&offer.name).is_none_or(|tried| tried.is_due(offer))
    }

    /// Offers of which the folder has fewer steps.
    async fn missing(&self) -> Result<Vec<Offer>, FetchingError> {
        let (mut missing, mut after) = (Vec::new(), None);
        loop {
            let page = self.index.offers(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(missing) };
            after = Some(last.key);
            let folder = self.folder.clone();
            let looked = task::spawn_blocking(move || {
                let is_missing = |offer: &Offer| match here(&folder, offer.name.run) {
                    Here::Nothing => true,
                    Here::Own => false,
                    Here::Steps(size) => size < offer.announcement.size,
                };
                page.into_iter().filter(is_missing).collect::<Vec<_>>()
            });
            missing.extend(looked.await?);
        }
    }

    async fn start(&mut self, wanted: Wanted) -> Result<(), FetchingError> {
        let Wanted { offer, max_bytes } = wanted;
        let mark = mark(&self.folder, offer.name.run);
        task::spawn_blocking(move || fs::File::create(mark)).await??;
        let run = offer.name.run;
        tracing::info!(%run, steps = offer.announcement.size.0, max_bytes, "bundle of run {run}: fetching");
        let transferring = self.options.transfer.transfer(wanted);
        let limit = self.options.time_limit;
        let running = self.running.spawn(async move {
            let late = |_| Err(TransferError::Late { limit });
            tokio::time::timeout(limit, transferring).await.unwrap_or_else(late)
        });
        self.on_the_way.push(Attempt { id: running.id(), wanted, since: Instant::now() });
        self.counts.running.store(self.on_the_way.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Notes how an attempt ended.
    fn note(&mut self, ended: Result<(task::Id, Result<(), TransferError>), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(TransferError::Unable { reason: error.to_string() })),
        };
        let Some(at) = self.on_the_way.iter().position(|attempt| attempt.id == id) else { return };
        let Attempt { wanted: Wanted { offer, .. }, since, .. } = self.on_the_way.swap_remove(at);
        self.counts.running.store(self.on_the_way.len() as u64, Ordering::Relaxed);
        let (run, fetch_ms) = (offer.name.run, since.elapsed().as_millis() as u64);
        let before = self.tried.remove(&offer.name).filter(|tried| tried.offer == offer);
        let n_failures = before.map_or(0, |tried| tried.n_failures);
        let (first, longest) = match &result {
            Ok(()) => {
                self.counts.fetched.fetch_add(1, Ordering::Relaxed);
                tracing::info!(%run, fetch_ms, "bundle of run {run}: fetched in {fetch_ms} ms");
                self.wake.notify_one();
                // The folder says that it is here. Should it not, this is not tried at once.
                (self.again, LONGEST)
            }
            Err(TransferError::Refused { .. }) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                (self.again, LONGEST_REFUSED)
            }
            Err(_) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                (self.interval, LONGEST)
            }
        };
        let pause = pause(first, n_failures, longest);
        if let Err(error) = &result {
            let (reason, wait) = (plain(&error.to_string()), pause.as_secs());
            let state = if matches!(error, TransferError::Refused { .. }) { "refused" } else { "failed" };
            tracing::warn!(
                %run, state, reason, fetch_ms, n_failures = n_failures + 1, wait_s = wait,
                "bundle of run {run}: {state}: {reason}; tried again in {wait} s"
            );
        }
        self.tried
            .insert(offer.name, Tried { offer, at: Instant::now(), n_failures: n_failures.saturating_add(1), pause });
    }
}

/// `first`, and twice as long after each failure.
fn pause(first: Duration, n_failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << n_failures.min(16)).min(longest)
}

/// Text on one line, and not too long.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// Says that a run's directory comes by fetching, and may be replaced so.
pub(super) fn mark(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!(".{}.fetched", run_dir_name(run)))
}

fn here(folder: &Path, run: RunId) -> Here {
    let dir = folder.join(run_dir_name(run));
    let is_file = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    match fs::symlink_metadata(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Here::Nothing,
        Ok(found) if found.is_dir() && (is_file(mark(folder, run)) || is_file(dir.join(MARK))) => {
            let checkpoint = RunDir::open(&dir).and_then(|dir| dir.checkpoint());
            // One that cannot be read is worth less than any.
            Here::Steps(checkpoint.map_or(TreeSize(0), |checkpoint| checkpoint.size))
        }
        _ => Here::Own,
    }
}

/// Bytes of all files below a folder; links are not followed. What goes away meanwhile has none.
fn bytes(folder: &Path) -> io::Result<u64> {
    let (mut sum, mut left) = (0u64, vec![folder.to_owned()]);
    while let Some(at) = left.pop() {
        let entries = match fs::read_dir(&at) {
            Err(error) if at == folder => return Err(error),
            Err(_) => continue,
            Ok(entries) => entries,
        };
        for entry in entries {
            let Ok(entry) = entry else { continue };
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                left.push(entry.path());
            } else if found.is_file() {
                sum = sum.saturating_add(found.len());
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_longest() {
        let pauses: Vec<u64> = [0, 1, 2, 5, 40].map(|n| pause(Duration::from_secs(15), n, LONGEST).as_secs()).to_vec();
        assert_eq!(pauses, [15, 30, 60, 480, 3_600]);
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(plain("no\n\u{1b}[31mpeer"), "no  [31mpeer");
        assert_eq!(plain(&"x".repeat(10_000)).len(), MAX_REASON);
    }

    #[test]
    fn bytes_are_of_hidden_files_too_and_not_of_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".run.fetching")).unwrap();
        fs::write(folder.path().join(".run.fetching/log"), [0; 70]).unwrap();
        fs::write(folder.path().join("one"), [0; 30]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/proc", folder.path().join("link")).unwrap();
        assert_eq!(bytes(folder.path()).unwrap(), 100);
        assert!(bytes(&folder.path().join("none")).is_err());
    }
}
