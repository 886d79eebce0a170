//! Reads a `RunAnchor` into the index, and keeps it true: back-fill, live, reorganisations, nodes that fail.
//!
//! One round looks whether the index's block is still the node's, goes back if it is not, reads the next stretch of
//! blocks if it is, and at the newest block asks the contract for the heads of runs. Blocks just read are read again, since
//! nodes behind one address do not know the newest block all at once; events that come twice change nothing.

mod followed;

use std::{future::Future, pin::pin, time::Duration};

use chain::{BlockHeader, BlockRef, ChainError, Client};
use ledger::{Address, ChainId, RunId};
use tokio::sync::watch;

pub use followed::{Followed, FollowedError};

use crate::index::{Batch, Confirmation, Index, IndexError, RunKey, Source, SourceKey};

/// Blocks whose hashes are asked for in one go when looking for where two histories part.
const FORK_PAGE: u32 = 64;

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Blocks read in one round.
    pub page: u64,
    /// Blocks below the position that are read again in each round.
    pub overlap: u64,
    /// Runs in one round at the newest block whose heads are asked for because events of them are new or missing.
    pub n_heads: u32,
    /// Runs at each new block whose heads are asked for again.
    pub n_again: u32,
    /// Transactions in one round at the newest block whose gas is asked for.
    pub n_receipts: u32,
    /// Pause when there is nothing new.
    pub poll: Duration,
    /// Pause after the first failure; doubles with each one.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page: 5_000,
            overlap: 32,
            n_heads: 32,
            n_again: 4,
            n_receipts: 32,
            poll: Duration::from_secs(4),
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(60),
        }
    }
}

/// What is followed on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    /// The `RunAnchor`.
    pub anchor: Address,
    /// The `Attestations` for its runs, if it is followed too. That it is for this anchor is the caller's to check
    /// (`Client::anchor_of`).
    pub attestations: Option<Address>,
    /// The block that reading begins at.
    pub first_block: u64,
}

impl Contracts {
    /// A `RunAnchor` alone.
    pub fn anchor(anchor: Address, first_block: u64) -> Self {
        Self { anchor, attestations: None, first_block }
    }
}

/// Why a round did not end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The node failed, or the chain was reorganised while it was read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The index refused, or failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The node does not give a block below its newest: it lost it, or several nodes answer.
    #[error("no block {block}, though the newest was {newest}")]
    BlockMissing {
        /// Height of the block.
        block: u64,
        /// Height of the newest.
        newest: u64,
    },
    /// The node's chain begins after the source's first block.
    #[error("chain {chain} has {newest} blocks, the contract is to be read from block {first} on")]
    NotYet {
        /// The chain.
        chain: ChainId,
        /// The newest block.
        newest: u64,
        /// The source's first block.
        first: u64,
    },
}

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// It read up to a block, and there are more.
    Read {
        /// The block.
        to: BlockRef,
        /// Events that were new.
        n_events: usize,
    },
    /// The index is at the newest block.
    Level {
        /// The block.
        at: BlockRef,
        /// Events that were new.
        n_events: usize,
        /// Runs whose heads the contract confirmed.
        n_confirmed: usize,
    },
    /// The index's block is not the node's: it went back.
    RolledBack {
        /// Where it stood.
        from: BlockRef,
        /// Where it stands; none: before the first block.
        to: Option<BlockRef>,
        /// Events that were forgotten.
        n_events: usize,
    },
}

/// How a follower is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The newest block at which the index was level with the node.
    pub level_at: Option<u64>,
    /// Rounds that failed since the last one that did not.
    pub n_failures: u32,
    /// How the last round failed, if it did.
    pub error: Option<String>,
    /// Times that the index went back since the start.
    pub n_rollbacks: u64,
}

/// Follows one contract on one node.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    index: Index,
    source: Source,
    key: SourceKey,
    options: Options,
    health: watch::Sender<Health>,
}

impl Follower {
    /// Adds the contract to the index.
    ///
    /// # Errors
    /// As [`Index::source`].
    pub async fn new(
        client: Client,
        index: Index,
        contracts: Contracts,
        options: Options,
    ) -> Result<Self, FollowError> {
        let Contracts { anchor: contract, attestations, first_block } = contracts;
        let source = Source { chain: client.chain(), contract, attestations, first_block };
        let key = index.source(&source).await?;
        Ok(Self { client, index, source, key, options, health: watch::Sender::default() })
    }

    /// The source in the index.
    pub fn source(&self) -> SourceKey {
        self.key
    }

    /// How it is doing, from now on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Follows until `stop` is ready. Failures are noted, logged and tried again; nothing ends it early.
    ///
    /// It may be dropped at any time: rounds change the index all at once or not at all.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pause = tokio::select! {
                () = &mut stop => return,
                round = self.round() => self.note(round),
            };
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round.
    ///
    /// # Errors
    /// If the node or the index fails; the next round begins where this one did.
    pub async fn round(&self) -> Result<Round, FollowError> {
        let position = self.index.position(self.key).await?;
        if let Some(at) = position
            && !self.is_in_chain(at).await?
        {
            return self.go_back(at).await;
        }
        let newest = self.client.latest_block().await?;
        let next = position.map_or(self.source.first_block, |at| at.number.saturating_add(1));
        if position.is_none() && newest.number < self.source.first_block {
            let (chain, first) = (self.client.chain(), self.source.first_block);
            return Err(FollowError::NotYet { chain, newest: newest.number, first });
        }
        if position == Some(newest) {
            let due = self.index.unconfirmed(self.key, self.options.n_heads).await?;
            return self.confirm(newest, due, 0).await;
        }
        let last = newest.number.min(next.saturating_add(self.options.page.max(1) - 1));
        // The node may have lost blocks since the position was looked up; the next round finds out.
        let last = position.map_or(last, |at| last.max(at.number));
        let to =
            self.client.block(last).await?.ok_or(FollowError::BlockMissing { block: last, newest: newest.number })?;
        let n_events = self.read(position, next, to).await?;
        if last < newest.number {
            return Ok(Round::Read { to: to.at, n_events });
        }
        let mut due = self.index.unconfirmed(self.key, self.options.n_heads).await?;
        due.extend(self.index.confirmed_longest_ago(self.key, self.options.n_again).await?);
        self.confirm(to.at, due, n_events).await
    }

    /// Takes the events up to a block into the index, and gives how many were new.
    async fn read(&self, after: Option<BlockRef>, next: u64, to: BlockHeader) -> Result<usize, FollowError> {
        let from = next.saturating_sub(self.options.overlap).max(self.source.first_block);
        let logs = self.client.anchor_logs(self.source.contract, self.source.attestations, from, to.at).await?;
        Ok(self.index.apply(self.key, &Batch { after, to, logs }).await?.n_events)
    }

    /// Compares runs with the contract's heads at the newest block. If one differs, events were left out somewhere behind
    /// the last one that is known of it: these blocks are read once more.
    async fn confirm(
        &self,
        at: BlockRef,
        runs: Vec<(RunKey, RunId)>,
        mut n_events: usize,
    ) -> Result<Round, FollowError> {
        let mut differing = Vec::new();
        for (key, run) in &runs {
            if self.head(*key, *run, at).await? != Confirmation::Agrees {
                differing.push((*key, *run));
            }
        }
        let mut n_confirmed = runs.len() - differing.len();
        let mut from = None;
        for (key, _) in &differing {
            let last = self.index.last_event(*key).await?;
            from = Some(from.map_or(last, |block: u64| block.min(last)));
        }
        if let Some(from) = from {
            let to = self.client.header(at).await?;
            let logs = self.client.anchor_logs(self.source.contract, self.source.attestations, from, at).await?;
            n_events += self.index.apply(self.key, &Batch { after: Some(at), to, logs }).await?.n_events;
        }
        for (key, run) in differing {
            match self.head(key, run, at).await? {
                Confirmation::Agrees => n_confirmed += 1,
                Confirmation::Differs { expected, got } => {
                    let block = at.number;
                    tracing::warn!(%run, ?expected, ?got, block, "head of run {run} is not what its events give");
                }
            }
        }
        self.ask_gas().await?;
        Ok(Round::Level { at, n_events, n_confirmed })
    }

    /// Asks for the gas of epochs' transactions, once for each.
    async fn ask_gas(&self) -> Result<(), FollowError> {
        for open in self.index.open_receipts(self.key, self.options.n_receipts).await? {
            let gas = self.client.gas_in(open.tx, open.hash).await?;
            self.index.note_receipt(self.key, &open, gas).await?;
        }
        Ok(())
    }

    /// Compares a run with the contract's head.
    async fn head(&self, key: RunKey, run: RunId, at: BlockRef) -> Result<Confirmation, FollowError> {
        let head = self.client.head_at(self.source.contract, run, at).await?;
        let frozen = self.client.facts_at(self.source.contract, run, at).await?.is_some_and(|facts| facts.frozen);
        Ok(self.index.confirm(key, at, head.as_ref(), frozen).await?)
    }

    /// Whether a block is the node's at its height.
    async fn is_in_chain(&self, at: BlockRef) -> Result<bool, FollowError> {
        Ok(self.client.block(at.number).await?.is_some_and(|header| header.at == at))
    }

    /// Goes back to the newest block that the index and the node share.
    async fn go_back(&self, from: BlockRef) -> Result<Round, FollowError> {
        let to = self.shared(from).await?;
        let n_events = self.index.roll_back(self.key, from, to).await?.n_events;
        Ok(Round::RolledBack { from, to, n_events })
    }

    /// The newest block below one that the node has as well.
    async fn shared(&self, from: BlockRef) -> Result<Option<BlockRef>, FollowError> {
        let mut below = from.number;
        loop {
            let page = self.index.blocks_below(self.key, below, FORK_PAGE).await?;
            for block in &page {
                if self.is_in_chain(*block).await? {
                    return Ok(Some(*block));
                }
            }
            let Some(oldest) = page.last() else { return Ok(None) };
            below = oldest.number;
        }
    }

    /// Notes how a round went, and gives the pause before the next.
    fn note(&self, round: Result<Round, FollowError>) -> Duration {
        let Options { poll, backoff, max_backoff, .. } = self.options;
        let (chain, contract) = (self.client.chain(), self.source.contract);
        match round {
            Ok(round) => {
                self.health.send_modify(|health| {
                    (health.n_failures, health.error) = (0, None);
                    match round {
                        Round::Level { at, .. } => health.level_at = Some(at.number),
                        Round::RolledBack { .. } => health.n_rollbacks += 1,
                        Round::Read { .. } => {}
                    }
                });
                match round {
                    Round::Level { .. } => poll,
                    Round::Read { .. } => Duration::ZERO,
                    Round::RolledBack { from, to, n_events } => {
                        let to = to.map_or(0, |at| at.number);
                        tracing::warn!(%chain, %contract, from = from.number, to, n_events, "chain {chain} was reorganised");
                        Duration::ZERO
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%chain, %contract, %error, "contract {contract} on chain {chain} was not read: {error}");
                let mut pause = max_backoff;
                self.health.send_modify(|health| {
                    let factor = 1u32.checked_shl(health.n_failures).unwrap_or(u32::MAX);
                    pause = backoff.saturating_mul(factor).min(max_backoff);
                    health.n_failures = health.n_failures.saturating_add(1);
                    health.error = Some(error.to_string());
                });
                pause
            }
        }
    }
}
