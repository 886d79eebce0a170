//! Bundles that were announced on chain, one of each run.

use chain::Announcement;
use ledger::{Address, ChainId, Digest, TreeSize};

use super::{
    Index, RunKey, RunName,
    error::{During, IndexError},
    row::{Fields, int},
};

/// The bundle that was announced of a run: the announcer's word on where its files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The run's key.
    pub key: RunKey,
    /// The run.
    pub name: RunName,
    /// Block of its registration: no event of it is before.
    pub first_block: u64,
    /// Its epochs on chain.
    pub counter: u64,
    /// What was announced: as many steps as one of these epochs ends with.
    pub announcement: Announcement,
}

/// Announcements of runs whose events the contract confirmed, which end with one of their epochs; the largest of each run,
/// and of several of a size the last.
const OFFERS: &str = "SELECT * FROM (\
    SELECT run.id, source.chain_id, source.contract, run.run_id, run.counter, announced.size, announced.manifest_digest, \
     announced.infohash_v1, announced.infohash_v2, \
     (SELECT MIN(registered.block_number) FROM registered WHERE registered.run_key = run.id) AS first_block, \
     ROW_NUMBER() OVER (PARTITION BY run.id \
      ORDER BY announced.size DESC, announced.block_number DESC, announced.log_index DESC) AS place \
    FROM run JOIN source ON source.id = run.source_id JOIN announced ON announced.run_key = run.id \
    WHERE run.id > $1 AND run.fault IS NULL AND run.n_ahead = 0 AND run.confirmed_counter = run.counter \
     AND EXISTS (SELECT 1 FROM epoch WHERE epoch.run_key = run.id AND epoch.counter <= run.counter \
      AND epoch.size = announced.size)\
    ) AS offer WHERE place = 1 AND first_block IS NOT NULL ORDER BY id LIMIT $2";

impl Index {
    /// Bundles that were announced of runs behind one, in the order of their keys.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn offers(&self, after: Option<RunKey>, limit: u32) -> Result<Vec<Offer>, IndexError> {
        let rows = sqlx::query(OFFERS).bind(after.map_or(int("key", 0)?, |key| key.0)).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("announced bundles")?;
        let offer = |row| {
            let row = Fields(row);
            let (chain, contract) = (ChainId(row.uint("chain_id")?), Address(row.array("contract")?));
            Ok(Offer {
                key: RunKey(row.int("id")?),
                name: RunName { chain, contract, run: row.run("run_id")? },
                first_block: row.uint("first_block")?,
                counter: row.uint("counter")?,
                announcement: Announcement {
                    size: TreeSize(row.uint("size")?),
                    manifest_digest: Digest(row.array("manifest_digest")?),
                    infohash_v1: row.array("infohash_v1")?,
                    infohash_v2: Digest(row.array("infohash_v2")?),
                },
            })
        };
        rows.iter().map(offer).collect()
    }
}
