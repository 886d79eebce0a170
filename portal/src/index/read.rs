//! What the index answers.

use chain::{Announcement, BlockRef, Registration};
use ledger::{
    Address, ChainId, Digest, FieldElement, MerkleTree, Root, RunId, Salt, Selector, StepIndex, TreeSize, TxHash,
    tree::step_leaf,
};
use sqlx::any::AnyRow;

use super::{
    Index, RunKey, Source, SourceKey,
    error::{During, IndexError},
    list::{Status, status},
    policy::{Optimizer, optimizer},
    row::{Fields, int},
};

/// A source and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its key.
    pub key: SourceKey,
    /// What it is.
    pub source: Source,
    /// The last block that was read; none before the first.
    pub position: Option<BlockRef>,
}

/// What the chain says of a run, as far as the index knows. That its proofs and files were verified is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The events do not fit together: why.
    Conflict(String),
    /// Epochs are there that do not follow, or the contract's head has not said the same yet.
    Incomplete,
    /// The contract's head says the same, at this block, and nothing is anchored yet.
    Registered {
        /// The block.
        block: u64,
    },
    /// The contract's head says the same, at this block.
    Anchored {
        /// The block.
        block: u64,
    },
}

/// A registered run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// Its key.
    pub key: RunKey,
    /// The chain.
    pub chain: ChainId,
    /// The `RunAnchor`.
    pub contract: Address,
    /// Its id.
    pub run: RunId,
    /// Its first owner.
    pub registered_by: Address,
    /// Its owner now.
    pub owner: Address,
    /// What it is bound to.
    pub registration: Registration,
    /// Its optimizer, if a bundle with its policy's words was seen.
    pub optimizer: Optimizer,
    /// Number of parameters, by the same words.
    pub n_params: Option<u64>,
    /// When it was registered, unix seconds.
    pub registered_at: u64,
    /// Epochs that follow one another from the first step on.
    pub counter: u64,
    /// Steps in them.
    pub size: TreeSize,
    /// Root over these steps.
    pub root: Root,
    /// Digest of the state after them.
    pub state: FieldElement,
    /// Whether no epoch will follow.
    pub finalized: bool,
    /// Whether its verifiers accept nothing any more, when the head was last asked for.
    pub frozen: bool,
    /// What the chain says of it.
    pub standing: Standing,
    /// When its last epoch was anchored, unix seconds.
    pub anchored_at: Option<u64>,
    /// What the chain and the checked bundles say together.
    pub status: Status,
}

/// An anchored epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The contract's counter, from 1.
    pub counter: u64,
    /// First step.
    pub first_step: StepIndex,
    /// Steps of the run after it.
    pub size: TreeSize,
    /// Digest of the state before it.
    pub state_in: FieldElement,
    /// Digest of the state after it.
    pub state_out: FieldElement,
    /// Root over `size` leaves.
    pub root: Root,
    /// The verifier that accepted the proof.
    pub verifier: Address,
    /// Who sent it.
    pub submitter: Address,
    /// Block that holds the transaction.
    pub block: BlockRef,
    /// Time of the block, unix seconds.
    pub time: u64,
    /// The transaction.
    pub tx: TxHash,
    /// Gas that the whole transaction used, which may have anchored more than this epoch; none while it was not asked for.
    pub gas: Option<u64>,
}

/// A step of an anchored epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepEntry {
    /// Its position.
    pub step: StepIndex,
    /// D_t.
    pub digest: FieldElement,
    /// A_t.
    pub record_hash: Digest,
}

/// An announced bundle: the announcer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleEntry {
    /// What was announced.
    pub announcement: Announcement,
    /// By whom.
    pub announcer: Address,
    /// Block that holds the transaction.
    pub block: u64,
    /// Time of the block, unix seconds.
    pub time: u64,
    /// The transaction.
    pub tx: TxHash,
}

/// Where a searched value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    /// It is the run's id, owner, root, state, or a transaction or bundle of it.
    Run(RunKey),
    /// It is the hash of a step's record, statement or proof.
    Step(RunKey, StepIndex),
}

/// Every registered run with all that is shown of it. A run that is registered twice is listed by its first registration.
pub(super) const RUNS: &str = "SELECT run.*, source.chain_id, source.contract, \
    registered.owner AS registered_by, registered.selector, registered.genesis_state, registered.salt, \
    (SELECT COUNT(*) FROM finalized WHERE finalized.run_key = run.id) AS n_final, \
    policy.rule, policy.n_params \
    FROM run JOIN source ON source.id = run.source_id JOIN registered ON registered.run_key = run.id \
    LEFT JOIN policy ON policy.digest = run.policy \
    WHERE NOT EXISTS (SELECT 1 FROM registered earlier WHERE earlier.run_key = run.id \
     AND (earlier.block_number < registered.block_number \
      OR (earlier.block_number = registered.block_number AND earlier.log_index < registered.log_index)))";

/// Epochs with their blocks, and gas where it is known.
const EPOCHS: &str = "SELECT epoch.*, block.hash, block.time, receipt.gas FROM epoch \
    JOIN block ON block.source_id = epoch.source_id AND block.number = epoch.block_number \
    LEFT JOIN receipt ON receipt.source_id = epoch.source_id AND receipt.block_number = epoch.block_number \
    AND receipt.tx = epoch.tx";

impl EpochEntry {
    /// Steps in it.
    pub fn n_steps(&self) -> u64 {
        self.size.0.saturating_sub(self.first_step.0)
    }
}

impl StepEntry {
    /// The leaf in the run's tree.
    pub fn leaf(&self) -> Digest {
        step_leaf(self.step, self.digest, self.record_hash)
    }
}

const HITS: [&str; 15] = [
    "SELECT id AS run_key FROM run WHERE run_id = $1 LIMIT 100",
    "SELECT run_key FROM registered WHERE owner = $1 LIMIT 100",
    "SELECT run_key FROM role WHERE account = $1 AND kind = 'owner' LIMIT 100",
    "SELECT run_key FROM registered WHERE tx = $1 LIMIT 100",
    "SELECT run_key FROM epoch WHERE root = $1 LIMIT 100",
    "SELECT run_key FROM epoch WHERE state_out = $1 LIMIT 100",
    "SELECT run_key FROM epoch WHERE tx = $1 LIMIT 100",
    "SELECT run_key FROM finalized WHERE tx = $1 LIMIT 100",
    "SELECT run_key FROM announced WHERE infohash_v1 = $1 LIMIT 100",
    "SELECT run_key FROM announced WHERE infohash_v2 = $1 LIMIT 100",
    "SELECT run_key FROM announced WHERE tx = $1 LIMIT 100",
    "SELECT run_key FROM role WHERE tx = $1 LIMIT 100",
    "SELECT run_key FROM audited WHERE auditor = $1 LIMIT 100",
    "SELECT run_key FROM audited WHERE attestation = $1 LIMIT 100",
    "SELECT run_key FROM audited WHERE tx = $1 LIMIT 100",
];

const STEP_HITS: [&str; 3] = [
    "SELECT run_key, step FROM step WHERE digest = $1 LIMIT 100",
    "SELECT run_key, step FROM step WHERE record_hash = $1 LIMIT 100",
    "SELECT proof.run_key, proof.step FROM proof JOIN step ON step.run_key = proof.run_key AND step.step = proof.step \
     AND step.record_hash = proof.record_hash WHERE proof.digest = $1 LIMIT 100",
];

impl Index {
    /// All sources, in the order in which they were added.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sources(&self) -> Result<Vec<SourceEntry>, IndexError> {
        let select = "SELECT * FROM source ORDER BY id";
        let rows = sqlx::query(select).fetch_all(&self.pool).await.during("sources")?;
        rows.iter().map(source).collect()
    }

    /// The last block that was read of a source; none before the first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn position(&self, source: SourceKey) -> Result<Option<BlockRef>, IndexError> {
        let select = sqlx::query("SELECT block_number, block_hash FROM source WHERE id = $1").bind(source.0);
        let row = select.fetch_one(&self.pool).await.during("position")?;
        position(&Fields(&row))
    }

    /// Blocks that the index remembers, from the newest below `below` down.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn blocks_below(&self, source: SourceKey, below: u64, limit: u32) -> Result<Vec<BlockRef>, IndexError> {
        let select =
            "SELECT number, hash FROM block WHERE source_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
        let rows = sqlx::query(select).bind(source.0).bind(int("block", below)?).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("blocks")?;
        let block = |row| {
            let row = Fields(row);
            Ok(BlockRef { number: row.uint("number")?, hash: Digest(row.array("hash")?) })
        };
        rows.iter().map(block).collect()
    }

    /// Runs that the contract's head has not confirmed as they are, those first that were asked for longest ago. A conflict
    /// is not among them: no head settles it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unconfirmed(&self, source: SourceKey, limit: u32) -> Result<Vec<(RunKey, RunId)>, IndexError> {
        let select = "SELECT id, run_id FROM run WHERE source_id = $1 AND fault IS NULL \
            AND EXISTS (SELECT 1 FROM registered WHERE registered.run_key = run.id) \
            AND (confirmed_counter IS NULL OR confirmed_counter <> counter \
                 OR EXISTS (SELECT 1 FROM epoch WHERE epoch.run_key = run.id AND epoch.counter > run.counter)) \
            ORDER BY COALESCE(asked_block, -1), id LIMIT $2";
        self.due(select, source, limit).await
    }

    /// Runs that the contract's head confirmed longest ago: verifiers may be frozen, and nodes may leave out an event.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn confirmed_longest_ago(
        &self,
        source: SourceKey,
        limit: u32,
    ) -> Result<Vec<(RunKey, RunId)>, IndexError> {
        let select = "SELECT id, run_id FROM run WHERE source_id = $1 AND confirmed_counter = counter \
            ORDER BY asked_block, id LIMIT $2";
        self.due(select, source, limit).await
    }

    async fn due(
        &self,
        select: &'static str,
        source: SourceKey,
        limit: u32,
    ) -> Result<Vec<(RunKey, RunId)>, IndexError> {
        let rows = sqlx::query(select).bind(source.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("runs to ask for")?;
        rows.iter().map(|row| Ok((RunKey(Fields(row).int("id")?), Fields(row).run("run_id")?))).collect()
    }

    /// Block of the last epoch of a run that followed, or of its registration.
    ///
    /// # Errors
    /// If the database fails, or the run is not registered any more.
    pub async fn last_event(&self, run: RunKey) -> Result<u64, IndexError> {
        let select = "SELECT COALESCE(\
            (SELECT MAX(epoch.block_number) FROM epoch WHERE epoch.run_key = run.id AND epoch.counter <= run.counter), \
            (SELECT MIN(registered.block_number) FROM registered WHERE registered.run_key = run.id)) AS block_number \
            FROM run WHERE run.id = $1";
        let row = sqlx::query(select).bind(run.0).fetch_one(&self.pool).await.during("last event")?;
        Fields(&row).uint("block_number")
    }

    /// A run by its id: one for each contract that registered it, and honest contracts do so for one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn runs_by_id(&self, run: RunId) -> Result<Vec<RunEntry>, IndexError> {
        let sql = format!("{RUNS} AND run.run_id = $1 ORDER BY run.id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run.to_field().as_bytes().to_vec());
        entries(rows.fetch_all(&self.pool).await.during("run")?)
    }

    /// Registered runs, the newest first; `before` is the last key of the page before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn runs(&self, before: Option<RunKey>, limit: u32) -> Result<Vec<RunEntry>, IndexError> {
        let sql = format!("{RUNS} AND run.id < $1 ORDER BY run.id DESC LIMIT $2");
        let before = before.map_or(i64::MAX, |key| key.0);
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(before).bind(i64::from(limit));
        entries(rows.fetch_all(&self.pool).await.during("runs")?)
    }

    /// A run by its key; none if a reorganisation took it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn run(&self, run: RunKey) -> Result<Option<RunEntry>, IndexError> {
        let sql = format!("{RUNS} AND run.id = $1");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run.0);
        Ok(entries(rows.fetch_all(&self.pool).await.during("run")?)?.pop())
    }

    /// Epochs of a run after a counter, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn epochs(&self, run: RunKey, after: u64, limit: u32) -> Result<Vec<EpochEntry>, IndexError> {
        let sql = format!(
            "{EPOCHS} WHERE epoch.run_key = $1 AND epoch.counter > $2 ORDER BY epoch.counter, epoch.block_number LIMIT $3"
        );
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run.0).bind(int("counter", after)?).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("epochs")?;
        rows.iter().map(epoch).collect()
    }

    /// The epoch of a run that carries a step.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn epoch_of(&self, run: RunKey, step: StepIndex) -> Result<Option<EpochEntry>, IndexError> {
        let sql = format!(
            "{EPOCHS} WHERE epoch.run_key = $1 AND epoch.first_step <= $2 AND epoch.size > $2 \
             ORDER BY epoch.counter, epoch.block_number LIMIT 1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run.0).bind(int("step", step.0)?);
        row.fetch_optional(&self.pool).await.during("epoch")?.as_ref().map(epoch).transpose()
    }

    /// Steps of a run from one on, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn steps(&self, run: RunKey, first: StepIndex, limit: u32) -> Result<Vec<StepEntry>, IndexError> {
        let select =
            "SELECT step, digest, record_hash FROM step WHERE run_key = $1 AND step >= $2 ORDER BY step LIMIT $3";
        let rows = sqlx::query(select).bind(run.0).bind(int("step", first.0)?).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("steps")?;
        rows.iter().map(step).collect()
    }

    /// The tree over the first steps of a run, for inclusion and consistency proofs.
    ///
    /// # Errors
    /// [`IndexError::Stored`] if steps are missing.
    pub async fn tree(&self, run: RunKey, size: TreeSize) -> Result<MerkleTree, IndexError> {
        let select = "SELECT step, digest, record_hash FROM step WHERE run_key = $1 AND step < $2 ORDER BY step";
        let rows = sqlx::query(select).bind(run.0).bind(int("size", size.0)?);
        let mut tree = MerkleTree::new();
        for row in rows.fetch_all(&self.pool).await.during("tree")? {
            let entry = step(&row)?;
            let step = entry.step;
            let expected = tree.size().next_step();
            if step != expected {
                return Err(IndexError::Stored { what: "step", reason: format!("expected {expected}, got {step}") });
            }
            tree.push(entry.leaf());
        }
        if tree.size() != size {
            let reason = format!("expected {size}, got {}", tree.size());
            return Err(IndexError::Stored { what: "steps of the run", reason });
        }
        Ok(tree)
    }

    /// Announced bundles of a run, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn bundles(&self, run: RunKey, limit: u32) -> Result<Vec<BundleEntry>, IndexError> {
        let select = "SELECT announced.*, block.time FROM announced JOIN block ON block.source_id = announced.source_id \
            AND block.number = announced.block_number WHERE run_key = $1 \
            ORDER BY block_number DESC, log_index DESC LIMIT $2";
        let rows = sqlx::query(select).bind(run.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("bundles")?;
        rows.iter().map(bundle).collect()
    }

    /// What has these bytes as an id, an account, a hash or a state: at most some hundred hits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find(&self, bytes: &[u8]) -> Result<Vec<Hit>, IndexError> {
        let mut hits = Vec::new();
        for sql in HITS {
            let rows = sqlx::query(sql).bind(bytes.to_vec()).fetch_all(&self.pool).await.during("search")?;
            for row in &rows {
                hits.push(Hit::Run(RunKey(Fields(row).int("run_key")?)));
            }
        }
        for sql in STEP_HITS {
            let rows = sqlx::query(sql).bind(bytes.to_vec()).fetch_all(&self.pool).await.during("search")?;
            for row in &rows {
                hits.push(Hit::Step(RunKey(Fields(row).int("run_key")?), StepIndex(Fields(row).uint("step")?)));
            }
        }
        hits.sort();
        hits.dedup();
        Ok(hits)
    }
}

fn source(row: &AnyRow) -> Result<SourceEntry, IndexError> {
    let row = Fields(row);
    let source = Source {
        chain: ChainId(row.uint("chain_id")?),
        contract: Address(row.array("contract")?),
        attestations: row.opt_array("attestations")?.map(Address),
        first_block: row.uint("first_block")?,
    };
    Ok(SourceEntry { key: SourceKey(row.int("id")?), source, position: position(&row)? })
}

fn position(row: &Fields<'_>) -> Result<Option<BlockRef>, IndexError> {
    let (number, hash) = (row.opt_uint("block_number")?, row.opt_array("block_hash")?);
    Ok(number.zip(hash).map(|(number, hash)| BlockRef { number, hash: Digest(hash) }))
}

pub(super) fn entries(rows: Vec<AnyRow>) -> Result<Vec<RunEntry>, IndexError> {
    rows.iter().map(run).collect()
}

fn run(row: &AnyRow) -> Result<RunEntry, IndexError> {
    let row = Fields(row);
    let counter = row.uint("counter")?;
    let block = row.opt_uint("confirmed_block")?;
    let confirmed = block.filter(|_| matches!(row.opt_uint("confirmed_counter"), Ok(Some(at)) if at == counter));
    let standing = match (row.opt_text("fault")?, confirmed) {
        (Some(fault), _) => Standing::Conflict(fault),
        (None, Some(block)) if row.int("n_ahead")? == 0 => match counter {
            0 => Standing::Registered { block },
            _ => Standing::Anchored { block },
        },
        (None, _) => Standing::Incomplete,
    };
    let genesis_state = row.field("genesis_state")?;
    Ok(RunEntry {
        key: RunKey(row.int("id")?),
        chain: ChainId(row.uint("chain_id")?),
        contract: Address(row.array("contract")?),
        run: row.run("run_id")?,
        registered_by: Address(row.array("registered_by")?),
        owner: Address(row.array("owner")?),
        registration: Registration {
            salt: Salt(row.array("salt")?),
            selector: Selector(row.array("selector")?),
            genesis_state,
            policy_digest: row.field("policy")?,
            parent: row.opt_field("parent")?.map(RunId::from),
        },
        optimizer: optimizer(&row)?,
        n_params: row.opt_uint("n_params")?,
        registered_at: row.uint("registered_time")?,
        counter,
        size: TreeSize(row.uint("size")?),
        root: row.opt_array("root")?.map_or_else(ledger::tree::empty_root, Root),
        state: row.opt_field("state")?.unwrap_or(genesis_state),
        finalized: row.int("n_final")? > 0,
        frozen: row.int("frozen")? != 0,
        standing,
        anchored_at: row.opt_uint("anchored_time")?.filter(|time| *time > 0),
        status: status(&row)?,
    })
}

fn epoch(row: &AnyRow) -> Result<EpochEntry, IndexError> {
    let row = Fields(row);
    Ok(EpochEntry {
        counter: row.uint("counter")?,
        first_step: StepIndex(row.uint("first_step")?),
        size: TreeSize(row.uint("size")?),
        state_in: row.field("state_in")?,
        state_out: row.field("state_out")?,
        root: Root(row.array("root")?),
        verifier: Address(row.array("verifier")?),
        submitter: Address(row.array("submitter")?),
        block: BlockRef { number: row.uint("block_number")?, hash: Digest(row.array("hash")?) },
        time: row.uint("time")?,
        tx: TxHash(row.array("tx")?),
        gas: row.opt_uint("gas")?,
    })
}

fn step(row: &AnyRow) -> Result<StepEntry, IndexError> {
    let row = Fields(row);
    let record_hash = Digest(row.array("record_hash")?);
    Ok(StepEntry { step: StepIndex(row.uint("step")?), digest: row.field("digest")?, record_hash })
}

fn bundle(row: &AnyRow) -> Result<BundleEntry, IndexError> {
    let row = Fields(row);
    let announcement = Announcement {
        size: TreeSize(row.uint("size")?),
        manifest_digest: Digest(row.array("manifest_digest")?),
        infohash_v1: row.array("infohash_v1")?,
        infohash_v2: Digest(row.array("infohash_v2")?),
    };
    let (block, time) = (row.uint("block_number")?, row.uint("time")?);
    let (announcer, tx) = (Address(row.array("announcer")?), TxHash(row.array("tx")?));
    Ok(BundleEntry { announcement, announcer, block, time, tx })
}
