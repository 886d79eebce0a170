//! `anchors.json`: which sizes and roots of a run stand on which chain.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, V1, small_int};
use crate::ids::{Address, ChainId, FieldElement, Root, RunId, TreeSize, TxHash};

/// Largest length of the file.
pub const MAX_ANCHORS_BYTES: usize = 64 << 20;

/// Bytes or values that are not a run's anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorsError {
    /// Not canonical JSON of an anchor log.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Counters must be 1, 2, 3 …
    #[error("expected counter {expected}, got {got}")]
    Counter {
        /// Counter that comes next.
        expected: u64,
        /// Counter found.
        got: u64,
    },
    /// Sizes must grow.
    #[error("counter {counter}: expected a size above {above}, got {got}")]
    Size {
        /// Counter of the anchor.
        counter: u64,
        /// Size of the anchor before.
        above: TreeSize,
        /// Size found.
        got: TreeSize,
    },
    /// The anchor of this counter is already recorded, with other values.
    #[error("counter {counter} is already recorded with other values")]
    Conflict {
        /// The counter.
        counter: u64,
    },
}

/// One epoch on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Block that holds the transaction.
    #[serde(with = "small_int")]
    pub block: u64,
    /// The chain.
    pub chain_id: ChainId,
    /// The `RunAnchor` contract.
    pub contract: Address,
    /// The contract's epoch counter after the transaction, from 1.
    #[serde(with = "small_int")]
    pub counter: u64,
    /// Gas that the transaction used.
    #[serde(with = "small_int")]
    pub gas: u64,
    /// Root that the contract stored.
    pub root: Root,
    /// Number of steps that the contract stored.
    pub size: TreeSize,
    /// State digest that the contract stored.
    pub state: FieldElement,
    /// The transaction.
    pub tx: TxHash,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorLog {
    anchors: Vec<Anchor>,
    run: RunId,
    v: V1,
}

/// What [`AnchorLog::push`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The anchor was added.
    Added,
    /// The very same anchor was there already: a repeated call after an interruption.
    AlreadyThere,
}

impl AnchorLog {
    /// No anchors yet.
    pub fn new(run: RunId) -> Self {
        Self { anchors: Vec::new(), run, v: V1 }
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The anchors by counter, from 1.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// Adds the next anchor.
    ///
    /// **Errors**: [`AnchorsError::Counter`], [`AnchorsError::Size`], [`AnchorsError::Conflict`].
    pub fn push(&mut self, anchor: Anchor) -> Result<Pushed, AnchorsError> {
        let counter = anchor.counter;
        if let Some(known) = self.anchors.iter().find(|known| known.counter == counter) {
            let same = *known == anchor;
            return if same { Ok(Pushed::AlreadyThere) } else { Err(AnchorsError::Conflict { counter }) };
        }
        follows(self.anchors.last(), &anchor)?;
        self.anchors.push(anchor);
        Ok(Pushed::Added)
    }

    /// The canonical bytes.
    ///
    /// **Errors**: [`AnchorsError::Canonical`] if a number is above 2^53 − 1.
    pub fn encode(&self) -> Result<Vec<u8>, AnchorsError> {
        Ok(canonical::encode(self)?)
    }

    /// Reads the file.
    ///
    /// **Errors**: [`AnchorsError::Canonical`], [`AnchorsError::Counter`], [`AnchorsError::Size`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AnchorsError> {
        let log: Self = canonical::decode(bytes, MAX_ANCHORS_BYTES)?;
        let mut last = None;
        for anchor in &log.anchors {
            follows(last, anchor)?;
            last = Some(anchor);
        }
        Ok(log)
    }
}

fn follows(last: Option<&Anchor>, next: &Anchor) -> Result<(), AnchorsError> {
    let (counter, above) = last.map_or((0, TreeSize(0)), |last| (last.counter, last.size));
    let expected = counter.saturating_add(1);
    if next.counter != expected {
        return Err(AnchorsError::Counter { expected, got: next.counter });
    }
    if next.size <= above {
        return Err(AnchorsError::Size { counter: next.counter, above, got: next.size });
    }
    Ok(())
}
