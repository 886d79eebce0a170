//! Errors of the index: one variant for each thing that can be wrong with it or with what it is given.

use ledger::{Address, ChainId, Digest};

/// Why the index cannot take or give what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The address of the database is not `sqlite:` or `postgres:`. The address is not repeated, as it may hold a password.
    #[error("database address is not usable: {reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed.
    #[error("{operation}: database failed")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// How.
        #[source]
        source: sqlx::Error,
    },
    /// The database was made by a newer program.
    #[error("index has schema {got}, this program knows {known}")]
    NewerSchema {
        /// Newest schema of this program.
        known: i64,
        /// Schema of the database.
        got: i64,
    },
    /// A number is larger than the database holds.
    #[error("{what} {got} is above {}", i64::MAX)]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// The number.
        got: u64,
    },
    /// A row does not hold what this program writes.
    #[error("index holds no {what}: {reason}")]
    Stored {
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The contract is indexed from another block on.
    #[error(
        "contract {contract} on chain {chain} is indexed from block {expected} on, not from {got}: rebuild the index"
    )]
    FirstBlock {
        /// The chain.
        chain: ChainId,
        /// The contract.
        contract: Address,
        /// Block that the index has.
        expected: u64,
        /// Block that was asked for.
        got: u64,
    },
    /// Another follower moved the index on: read its position again.
    #[error("index is not at the expected block any more")]
    Moved,
    /// An event stands above the block that the batch leads to.
    #[error("event in block {got} is above the batch's last block {last}")]
    Above {
        /// Last block of the batch.
        last: u64,
        /// Block of the event.
        got: u64,
    },
    /// The index does not remember a block that it should go back to.
    #[error("index has no block {block} with hash {hash}")]
    UnknownBlock {
        /// Height.
        block: u64,
        /// Hash.
        hash: Digest,
    },
    /// A block has another hash than the index has for it: the chain was reorganised.
    #[error("block {block}: index has {expected}, got {got}")]
    OtherHistory {
        /// Height.
        block: u64,
        /// Hash in the index.
        expected: Digest,
        /// Hash that came.
        got: Digest,
    },
}

/// Names what was being done when the database failed.
pub(super) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, IndexError>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, operation: &'static str) -> Result<T, IndexError> {
        self.map_err(|source| IndexError::Database { operation, source })
    }
}
