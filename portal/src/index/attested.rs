//! What auditors said of runs, and whether they stand by it.

use ledger::{Address, Digest, Root, TreeSize, TxHash};
use sqlx::any::AnyRow;

use super::{
    Index, RunKey,
    error::{During, IndexError},
    row::Fields,
};

/// An auditor's word about the first steps of a run. The contract took it only with a root that the run's own extends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationEntry {
    /// EIP-712 digest of the attestation.
    pub id: Digest,
    /// Who.
    pub auditor: Address,
    /// Steps that were audited.
    pub size: TreeSize,
    /// Root over these steps.
    pub root: Root,
    /// SHA-256 of the report.
    pub report: Digest,
    /// When it ends, unix seconds; none: never.
    pub expires_at: Option<u64>,
    /// Why the auditor took it back, if so.
    pub revoked: Option<String>,
    /// Block that holds the transaction.
    pub block: u64,
    /// Time of the block, unix seconds.
    pub time: u64,
    /// The transaction.
    pub tx: TxHash,
}

impl AttestationEntry {
    /// Whether the auditor stands by it at a time, unix seconds.
    pub fn stands(&self, at: u64) -> bool {
        self.revoked.is_none() && self.expires_at.is_none_or(|end| at < end)
    }
}

impl Index {
    /// Attestations of a run, the newest first, with those that were taken back or have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn attestations(&self, run: RunKey, limit: u32) -> Result<Vec<AttestationEntry>, IndexError> {
        let select = "SELECT said.*, block.time, (SELECT MIN(back.reason) FROM audited AS back \
            WHERE back.kind = 'revoked' AND back.source_id = said.source_id AND back.attestation = said.attestation \
            AND back.auditor = said.auditor) AS revoked \
            FROM audited AS said JOIN block ON block.source_id = said.source_id AND block.number = said.block_number \
            WHERE said.run_key = $1 AND said.kind = 'attested' \
            ORDER BY said.block_number DESC, said.log_index DESC LIMIT $2";
        let rows = sqlx::query(select).bind(run.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("attestations")?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &AnyRow) -> Result<AttestationEntry, IndexError> {
    let row = Fields(row);
    Ok(AttestationEntry {
        id: Digest(row.array("attestation")?),
        auditor: Address(row.array("auditor")?),
        size: TreeSize(row.uint("size")?),
        root: Root(row.array("root")?),
        report: Digest(row.array("report")?),
        expires_at: row.opt_uint("expires_at")?,
        revoked: row.opt_text("revoked")?,
        block: row.uint("block_number")?,
        time: row.uint("time")?,
        tx: TxHash(row.array("tx")?),
    })
}
