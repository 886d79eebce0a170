//! What happened to a run on chain, one line after the other.

use ledger::{Address, TxHash};

use super::{
    Index, RunKey,
    error::{During, IndexError},
    row::Fields,
};

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    /// `registered`, `anchored`, `finalized`, `announced`, `submitter_granted`, `submitter_withdrawn`, `owner_proposed`,
    /// `owner_changed`, `attested` or `revoked`.
    pub kind: &'static str,
    /// Its block.
    pub block: u64,
    /// Its position among the block's logs.
    pub log_index: u64,
    /// Time of the block, unix seconds.
    pub time: u64,
    /// The transaction.
    pub tx: TxHash,
    /// Steps that it speaks of, if it does.
    pub size: Option<u64>,
    /// The account that acted, or that was named.
    pub account: Option<Address>,
}

const EVENTS: &str = "SELECT event.kind, event.block_number, event.log_index, event.tx, event.size, event.account, block.time \
    FROM (SELECT 'registered' AS kind, source_id, block_number, log_index, tx, CAST(NULL AS BIGINT) AS size, \
    owner AS account FROM registered WHERE run_key = $1 \
    UNION ALL SELECT 'anchored', source_id, block_number, log_index, tx, size, submitter FROM epoch WHERE run_key = $1 \
    UNION ALL SELECT 'finalized', source_id, block_number, log_index, tx, size, NULL FROM finalized WHERE run_key = $1 \
    UNION ALL SELECT 'announced', source_id, block_number, log_index, tx, size, announcer FROM announced WHERE run_key = $1 \
    UNION ALL SELECT kind, source_id, block_number, log_index, tx, NULL, account FROM role WHERE run_key = $1 \
    UNION ALL SELECT kind, source_id, block_number, log_index, tx, size, auditor FROM audited WHERE run_key = $1) AS event \
    JOIN block ON block.source_id = event.source_id AND block.number = event.block_number \
    ORDER BY event.block_number DESC, event.log_index DESC LIMIT $2";

impl Index {
    /// Events of a run, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn run_events(&self, run: RunKey, limit: u32) -> Result<Vec<RunEvent>, IndexError> {
        let rows = sqlx::query(EVENTS).bind(run.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("events")?;
        let event = |row| {
            let row = Fields(row);
            Ok(RunEvent {
                kind: kind(&row)?,
                block: row.uint("block_number")?,
                log_index: row.uint("log_index")?,
                time: row.uint("time")?,
                tx: TxHash(row.array("tx")?),
                size: row.opt_uint("size")?,
                account: row.opt_array("account")?.map(Address),
            })
        };
        rows.iter().map(event).collect()
    }
}

fn kind(row: &Fields<'_>) -> Result<&'static str, IndexError> {
    let word = row.opt_text("kind")?.unwrap_or_default();
    Ok(match word.as_str() {
        "registered" => "registered",
        "anchored" => "anchored",
        "finalized" => "finalized",
        "announced" => "announced",
        "granted" => "submitter_granted",
        "withdrawn" => "submitter_withdrawn",
        "proposed" => "owner_proposed",
        "owner" => "owner_changed",
        "attested" => "attested",
        "revoked" => "revoked",
        _ => return Err(IndexError::Stored { what: "event", reason: format!("kind {word:?}") }),
    })
}
