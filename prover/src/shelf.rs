//! Proving keys in memory, made when they are first asked for.

use std::sync::{Arc, Mutex, PoisonError};

use circuits::keys::{MemoryLimit, StepError, StepProvingKey};
use circuits::step::shape::StepShape;
use srs::{Srs, SrsCache, SrsError, SrsLabel, SrsSize};

/// Keys that are kept without a limit: one may have several hundred megabytes.
const KEPT: usize = 3;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The reference string.
    #[error(transparent)]
    Srs(#[from] SrsError),
    /// The circuit has no key.
    #[error(transparent)]
    Key(#[from] StepError),
}

/// Keys of one step circuit.
#[derive(Debug)]
pub struct Keys {
    /// The reference string.
    pub srs: Srs,
    /// The proving key.
    pub key: StepProvingKey,
}

/// The keys used last, for one reference string.
#[derive(Debug)]
pub struct KeyShelf {
    cache: SrsCache,
    label: SrsLabel,
    memory: Option<MemoryLimit>,
    kept: Mutex<Vec<(StepShape, Arc<Keys>)>>,
}

impl KeyShelf {
    /// An empty shelf for the reference string `label` of `cache`. With a limit, proofs are made within it and one key is kept.
    pub fn new(cache: SrsCache, label: SrsLabel, memory: Option<MemoryLimit>) -> Self {
        Self { cache, label, memory, kept: Mutex::default() }
    }

    /// The keys of a step circuit, made if they are not here. One at a time.
    ///
    /// Errors: [`ShelfError`].
    pub fn get(&self, shape: &StepShape) -> Result<Arc<Keys>, ShelfError> {
        // Nothing is half done if making a key panics.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(other, _)| other == shape) {
            let found = kept.remove(at);
            let keys = found.1.clone();
            kept.push(found);
            return Ok(keys);
        }
        let srs = self.cache.get(&self.label, SrsSize::new(shape.k)?, &srs::silent)?;
        let key = match self.memory {
            None => StepProvingKey::generate(srs.params(), shape)?,
            Some(limit) => {
                kept.clear();
                StepProvingKey::generate_within(srs.params(), shape, limit)?
            }
        };
        let keys = Arc::new(Keys { srs, key });
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((shape.clone(), keys.clone()));
        Ok(keys)
    }
}
