//! Trees of runs that were asked for lately: making one reads every leaf of its run.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ledger::MerkleTree;
use lru::LruCache;

use crate::index::{Index, IndexError, RunEntry, RunKey};

/// Leaves of all kept trees; each takes 64 bytes.
const MAX_LEAVES: u64 = 4_000_000;
/// Trees that are kept.
const MAX_TREES: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// The kept trees.
#[derive(Debug)]
pub struct Trees(Mutex<LruCache<RunKey, Arc<MerkleTree>>>);

impl Default for Trees {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_TREES)))
    }
}

impl Trees {
    /// The tree over the steps of a run. A kept one is taken if, and only if, it gives the run's root: what was true before a
    /// reorganisation does not.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn of(&self, index: &Index, run: &RunEntry) -> Result<Arc<MerkleTree>, IndexError> {
        let kept = self.lock().get(&run.key).cloned();
        if let Some(kept) = kept.filter(|kept| (kept.size(), kept.root()) == (run.size, run.root)) {
            return Ok(kept);
        }
        let made = Arc::new(index.tree(run.key, run.size).await?);
        let mut trees = self.lock();
        trees.pop(&run.key);
        let mut free = MAX_LEAVES.saturating_sub(trees.iter().map(|(_, tree)| tree.size().0).sum());
        while free < made.size().0
            && let Some((_, oldest)) = trees.pop_lru()
        {
            free += oldest.size().0;
        }
        if free >= made.size().0 {
            trees.put(run.key, made.clone());
        }
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<RunKey, Arc<MerkleTree>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
