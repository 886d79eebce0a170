//! What the records of bundles say of their steps. A record counts while the chain has its hash at its step.

use ledger::{Digest, Hyper, SealedRecord, StepIndex, TreeSize, TxHash};
use sqlx::AnyConnection;

use super::{
    Index, RunKey, SourceKey,
    error::{During, IndexError},
    row::{Fields, int, placeholders},
};

/// Records taken in one transaction.
const RECORDS: usize = 1_000;

/// Rows of one statement.
const ROWS: usize = 200;

/// Key of the gradient's norm in a record's further metadata.
const GRADIENT_NORM: &str = "gradient_norm";

/// What the submitter says of a step. Its learning rate is proved to be within the policy, the rest is not proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepWord {
    /// The step.
    pub step: StepIndex,
    /// Raw, 32 fractional bits.
    pub learning_rate: u64,
    /// Loss before the step, decimal.
    pub loss: Option<String>,
    /// Norm of the gradient, decimal.
    pub gradient_norm: Option<String>,
    /// Time that proving took.
    pub prove_ms: Option<u64>,
}

impl StepWord {
    /// The learning rate.
    pub fn rate(&self) -> f64 {
        self.learning_rate as f64 / Hyper::ONE as f64
    }
}

/// Gas of a transaction, to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReceipt {
    /// Block of the transaction.
    pub block: u64,
    /// Hash of the block.
    pub hash: Digest,
    /// The transaction.
    pub tx: TxHash,
}

/// Records on chain and here: a record whose hash the chain does not have at this step is nobody's.
const COUNTING: &str = "FROM record JOIN step ON step.run_key = record.run_key AND step.step = record.step \
    AND step.record_hash = record.record_hash WHERE record.run_key = $1 AND record.step < $2";

impl Index {
    /// Notes what records of a bundle that passed say. Those that were noted before stay.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_records(&self, run: RunKey, records: &[SealedRecord]) -> Result<(), IndexError> {
        for part in records.chunks(RECORDS) {
            let mut tx = self.begin().await?;
            for rows in part.chunks(ROWS) {
                insert_records(&mut tx, run, rows).await?;
                insert_proofs(&mut tx, run, rows).await?;
            }
            tx.commit().await.during("records")?;
        }
        Ok(())
    }

    /// Whether the records of a run up to a size are here.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn n_records(&self, run: RunKey, size: TreeSize) -> Result<u64, IndexError> {
        let sql = format!("SELECT COUNT(*) AS n {COUNTING}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run.0).bind(int("size", size.0)?);
        Fields(&row.fetch_one(&self.pool).await.during("records")?).uint("n")
    }

    /// What is said of the first `size` steps of a run: of every `stride`th from `first` on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn step_words(
        &self,
        run: RunKey,
        size: TreeSize,
        (first, stride): (StepIndex, u64),
        limit: u32,
    ) -> Result<Vec<StepWord>, IndexError> {
        let sql = format!(
            "SELECT record.* {COUNTING} AND record.step >= $3 AND (record.step - $3) % $4 = 0 ORDER BY record.step LIMIT $5"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(run.0)
            .bind(int("size", size.0)?)
            .bind(int("step", first.0)?)
            .bind(int("stride", stride.max(1))?)
            .bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("step words")?;
        let word = |row| {
            let row = Fields(row);
            Ok(StepWord {
                step: StepIndex(row.uint("step")?),
                learning_rate: row.uint("learning_rate")?,
                loss: row.opt_text("loss")?,
                gradient_norm: row.opt_text("gradient_norm")?,
                prove_ms: row.opt_uint("prove_ms")?,
            })
        };
        rows.iter().map(word).collect()
    }

    /// Transactions with epochs whose gas was not asked for, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_receipts(&self, source: SourceKey, limit: u32) -> Result<Vec<OpenReceipt>, IndexError> {
        let select = "SELECT DISTINCT epoch.block_number, block.hash, epoch.tx FROM epoch \
            JOIN block ON block.source_id = epoch.source_id AND block.number = epoch.block_number \
            WHERE epoch.source_id = $1 AND NOT EXISTS (SELECT 1 FROM receipt WHERE receipt.source_id = epoch.source_id \
             AND receipt.block_number = epoch.block_number AND receipt.tx = epoch.tx) \
            ORDER BY epoch.block_number DESC, epoch.tx LIMIT $2";
        let rows = sqlx::query(select).bind(source.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("open receipts")?;
        let open = |row| {
            let row = Fields(row);
            let (hash, tx) = (Digest(row.array("hash")?), TxHash(row.array("tx")?));
            Ok(OpenReceipt { block: row.uint("block_number")?, hash, tx })
        };
        rows.iter().map(open).collect()
    }

    /// Notes the gas of a transaction; none if its node has no receipt. Nothing is noted if its block went meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_receipt(
        &self,
        source: SourceKey,
        open: &OpenReceipt,
        gas: Option<u64>,
    ) -> Result<(), IndexError> {
        let insert = "INSERT INTO receipt (source_id, block_number, tx, gas) \
            SELECT source_id, number, $3, $4 FROM block WHERE source_id = $1 AND number = $2 AND hash = $5 \
            ON CONFLICT (source_id, block_number, tx) DO NOTHING";
        sqlx::query(insert)
            .bind(source.0)
            .bind(int("block", open.block)?)
            .bind(open.tx.0.to_vec())
            .bind(gas.map(|gas| int("gas", gas)).transpose()?)
            .bind(open.hash.0.to_vec())
            .execute(&self.pool)
            .await
            .during("receipt")?;
        Ok(())
    }
}

async fn insert_records(db: &mut AnyConnection, run: RunKey, rows: &[SealedRecord]) -> Result<(), IndexError> {
    let sql = format!(
        "INSERT INTO record (run_key, step, record_hash, learning_rate, loss, gradient_norm, prove_ms) VALUES {} \
         ON CONFLICT (run_key, step, record_hash) DO NOTHING",
        placeholders(rows.len(), 7)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for sealed in rows {
        let record = sealed.record();
        let norm = record.meta.extra.get(GRADIENT_NORM).filter(|text| text.parse().is_ok_and(f64::is_finite));
        query = query
            .bind(run.0)
            .bind(int("step", record.step().0)?)
            .bind(sealed.hash().0.to_vec())
            .bind(int("learning rate", record.statement.hyper.lr)?)
            .bind(record.meta.loss.as_ref().map(ToString::to_string))
            .bind(norm.cloned())
            .bind(record.meta.prove_ms.map(|ms| int("time", ms)).transpose()?);
    }
    query.execute(db).await.during("records").map(drop)
}

async fn insert_proofs(db: &mut AnyConnection, run: RunKey, rows: &[SealedRecord]) -> Result<(), IndexError> {
    let digests: Vec<_> =
        rows.iter().flat_map(|sealed| sealed.record().proofs().map(move |proof| (sealed, proof))).collect();
    for rows in digests.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO proof (run_key, step, record_hash, chunk, digest) VALUES {} \
             ON CONFLICT (run_key, step, record_hash, chunk) DO NOTHING",
            placeholders(rows.len(), 5)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (sealed, (chunk, digest)) in rows {
            query = query
                .bind(run.0)
                .bind(int("step", sealed.record().step().0)?)
                .bind(sealed.hash().0.to_vec())
                .bind(i64::from(chunk.0))
                .bind(digest.0.to_vec());
        }
        query.execute(&mut *db).await.during("proofs")?;
    }
    Ok(())
}
