//! Events as a chain gives them, without a chain: blocks by number and branch.

use chain::{
    AnchorEvent, AnchorLog, Announcement, BlockHeader, BlockRef, BundleEvent, EpochEvent, Head, LogPlace, Registration,
};
use ledger::{Address, ChainId, Digest, FieldElement, RunId, TxHash};
use portal::index::{Batch, EpochEntry, Index, RunEntry, Source, SourceKey};

use super::{
    epochs::LocalLog,
    world::{OPEN, registration},
};

pub const OWNER: Address = Address([0x0a; 20]);
pub const VERIFIER: Address = Address([0x0b; 20]);

/// The contract that all histories are of.
pub const SOURCE: Source =
    Source { chain: ChainId(31_337), contract: Address([0xcc; 20]), attestations: None, first_block: 0 };

/// One run of one branch of the chain.
pub struct History {
    /// Blocks of two branches at one height have two hashes.
    pub branch: u8,
    pub log: LocalLog,
    pub registration: Registration,
}

/// A block of a branch.
pub fn block(branch: u8, number: u64) -> BlockHeader {
    let hash = Digest::of(&[&[branch][..], &number.to_be_bytes()].concat());
    BlockHeader { at: BlockRef { number, hash }, time: 1_700_000_000 + 12 * number }
}

/// A batch that ends at a block of branch 0.
pub fn batch(after: Option<u64>, to: u64, logs: Vec<AnchorLog>) -> Batch {
    Batch { after: after.map(|number| block(0, number).at), to: block(0, to), logs }
}

/// The contract's key in an index.
pub async fn source(index: &Index) -> SourceKey {
    index.source(&SOURCE).await.unwrap()
}

/// The only run of an index.
pub async fn only_run(index: &Index) -> RunEntry {
    let runs = index.runs(None, 10).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

/// A run and all its epochs.
pub async fn whole(index: &Index) -> (RunEntry, Vec<EpochEntry>) {
    let run = only_run(index).await;
    let epochs = index.epochs(run.key, 0, 100).await.unwrap();
    (run, epochs)
}

impl History {
    pub fn new(run: u64) -> Self {
        let registration = registration(run as u8, OPEN, None);
        let log = LocalLog::new(RunId::from(FieldElement::from(run)), registration.genesis_state);
        Self { branch: 0, log, registration }
    }

    pub fn log(&self, number: u64, event: AnchorEvent) -> AnchorLog {
        let place = LogPlace {
            block: block(self.branch, number),
            log_index: self.log.run.to_field().as_bytes()[31].into(),
            tx: tx(number),
        };
        AnchorLog { place, run: self.log.run, event }
    }

    pub fn registered(&self, number: u64) -> AnchorLog {
        self.log(number, AnchorEvent::Registered { owner: OWNER, registration: self.registration })
    }

    /// The next epoch.
    pub fn anchored(&mut self, number: u64, n_steps: u64) -> AnchorLog {
        let (state_in, first_step) = (self.log.state, self.log.tree.size().next_step());
        let submission = self.log.next(n_steps);
        let epoch = EpochEvent {
            run: self.log.run,
            counter: submission.epoch.counter(),
            first_step,
            size: self.log.tree.size(),
            state_in,
            state_out: submission.state_out,
            root: submission.root_after,
            verifier: VERIFIER,
            submitter: OWNER,
            digests: submission.digests,
            record_hashes: submission.record_hashes,
            block: number,
            tx: tx(number),
        };
        self.log(number, AnchorEvent::Anchored(epoch))
    }

    pub fn finalized(&self, number: u64) -> AnchorLog {
        let (counter, size) = (self.log.epochs, self.log.tree.size());
        self.log(number, AnchorEvent::Finalized { counter, size, state: self.log.state, root: self.log.root() })
    }

    pub fn announced(&self, number: u64) -> AnchorLog {
        let announcement = Announcement {
            size: self.log.tree.size(),
            manifest_digest: Digest([1; 32]),
            infohash_v1: [2; 20],
            infohash_v2: Digest([3; 32]),
        };
        let bundle = BundleEvent { announcement, announcer: OWNER, block: number, tx: tx(number) };
        self.log(number, AnchorEvent::Announced(bundle))
    }

    /// What an honest contract says.
    pub fn head(&self, number: u64, finalized: bool) -> Head {
        Head {
            root: self.log.root(),
            state: self.log.state,
            counter: self.log.epochs,
            size: self.log.tree.size(),
            anchored_at: 0,
            finalized,
            block: block(self.branch, number).at,
        }
    }

    /// A registration in block 1 and `n_epochs` epochs of two steps, one a block from 2 on.
    pub fn with_epochs(&mut self, n_epochs: u64) -> Vec<AnchorLog> {
        let mut logs = vec![self.registered(1)];
        logs.extend((2..2 + n_epochs).map(|number| self.anchored(number, 2)));
        logs
    }
}

pub fn tx(number: u64) -> TxHash {
    TxHash(Digest::of(&[b"tx", &number.to_be_bytes()[..]].concat()).0)
}
