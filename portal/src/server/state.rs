//! What handlers share.

use std::{fmt, ops::Deref, sync::Arc};

use ledger::MerkleTree;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    closed::ClosedPages,
    island::Island,
    limit::{Limiter, Rate},
    metrics::{Gauges, Metrics},
    refusal::Refusal,
    trees::Trees,
};
use crate::{
    bundles::Shelf,
    dump::Dumps,
    follow::{Follower, Health},
    index::{Index, IndexError, RunEntry, RunFilter, SourceKey},
    seeders::Seeders,
    time::now,
};

/// How the portal serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What one address may ask.
    pub rate: Rate,
    /// Whether a proxy in front writes `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// Connections that may listen to live updates.
    pub max_listeners: usize,
    /// What visitors' browsers verify with.
    pub island: Option<Island>,
    /// Where a dump is written each day, if any is.
    pub dumps: Option<Dumps>,
    /// What trackers say of announced bundles.
    pub seeders: Seeders,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            behind_proxy: false,
            max_listeners: 256,
            dumps: None,
            island: None,
            seeders: Seeders::default(),
        }
    }
}

/// What handlers share. Clones are the same.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The parts of an [`AppState`].
pub struct Shared {
    index: Index,
    followers: Vec<(SourceKey, watch::Receiver<Health>)>,
    options: Options,
    limiter: Limiter,
    metrics: Metrics,
    listeners: Arc<Semaphore>,
    shelf: Option<Arc<Shelf>>,
    trees: Trees,
    closed: ClosedPages,
    draining: watch::Sender<bool>,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("options", &self.options).finish_non_exhaustive()
    }
}

impl AppState {
    /// What is needed to serve an index that these followers keep, without bundles.
    pub fn new(index: Index, followers: &[Follower], options: Options) -> Self {
        Self::with_bundles(index, followers, options, None)
    }

    /// The same, and to serve the bundles that passed.
    pub fn with_bundles(index: Index, followers: &[Follower], options: Options, shelf: Option<Arc<Shelf>>) -> Self {
        Self(Arc::new(Shared {
            limiter: Limiter::new(options.rate),
            listeners: Arc::new(Semaphore::new(options.max_listeners)),
            index,
            followers: followers.iter().map(|follower| (follower.source(), follower.health())).collect(),
            options,
            metrics: Metrics::default(),
            shelf,
            trees: Trees::default(),
            closed: ClosedPages::default(),
            draining: watch::Sender::new(false),
        }))
    }
}

impl Shared {
    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The bundles that passed; none if the portal takes none.
    pub fn shelf(&self) -> Option<&Arc<Shelf>> {
        self.shelf.as_ref()
    }

    /// The tree over the steps of a run.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn tree(&self, run: &RunEntry) -> Result<Arc<MerkleTree>, IndexError> {
        self.trees.of(&self.index, run).await
    }

    /// Pages of closed epochs.
    pub fn closed(&self) -> &ClosedPages {
        &self.closed
    }

    /// How it serves.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where a dump is written each day, if any is.
    pub fn dumps(&self) -> Option<&Dumps> {
        self.options.dumps.as_ref()
    }

    /// The buckets of addresses.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How the followers of this process do.
    pub fn followers(&self) -> Vec<(SourceKey, Health)> {
        self.followers.iter().map(|(key, health)| (*key, health.borrow().clone())).collect()
    }

    /// Takes one of the places for listeners.
    ///
    /// # Errors
    /// [`Refusal::TooManyListeners`].
    pub fn listen(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let limit = self.options.max_listeners;
        let taken = self.listeners.clone().try_acquire_owned();
        taken.map_err(|_| Refusal::TooManyListeners { limit, retry_after_s: 30 })
    }

    /// Connections that listen.
    pub fn n_listeners(&self) -> usize {
        self.options.max_listeners.saturating_sub(self.listeners.available_permits())
    }

    /// What the portal knows at this moment.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn gauges(&self) -> Result<Gauges, Refusal> {
        let sources = self.index.sources().await?;
        let followers = self.followers().into_iter().filter_map(|(key, health)| {
            let entry = sources.iter().find(|entry| entry.key == key)?;
            Some((*entry, health))
        });
        let followers = followers.collect();
        let facets = self.index.facets(&RunFilter::default(), now()).await?;
        let fetches = self.shelf.as_ref().and_then(|shelf| Some(shelf.fetches()?.counts()));
        let traffic = self.shelf.as_ref().and_then(|shelf| Some(shelf.traffic()?.counts()));
        Ok(Gauges { facets, sources, followers, listeners: self.n_listeners(), fetches, traffic })
    }

    /// Ends live updates; other requests are answered.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether live updates end.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}
