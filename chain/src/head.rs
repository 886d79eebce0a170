//! What the contracts store: read from a node, or proved without one.

use ledger::{Address, Digest, FieldElement, Root, RunId, Selector, TreeSize};
use serde::{Deserialize, Serialize};

/// Binary logarithm of an epoch's number of steps, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogSteps(pub u8);

/// A block by number and hash: reads at the hash cannot mix two histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: Digest,
}

/// What the contract stores about a run, apart from its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOnChain {
    /// Its owner.
    pub owner: Address,
    /// Circuit family.
    pub selector: Selector,
    /// Digest of the state before step 0.
    pub genesis_state: FieldElement,
    /// Digest of the policy.
    pub policy_digest: FieldElement,
    /// Its parent.
    pub parent: Option<RunId>,
}

/// Last anchored state of a run, read at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Root over `size` leaves; the empty tree's while nothing is anchored.
    pub root: Root,
    /// Digest of the state after the last step; the genesis state while nothing is anchored.
    pub state: FieldElement,
    /// Epochs anchored; the contract's counter of the last one.
    pub counter: u64,
    /// Steps anchored.
    pub size: TreeSize,
    /// Time of the last anchoring, unix seconds.
    pub anchored_at: u64,
    /// Whether the run takes no more epochs.
    pub finalized: bool,
    /// The block at which all this holds.
    pub block: BlockRef,
}
