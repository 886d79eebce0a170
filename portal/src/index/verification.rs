//! Bundles that were checked in full. A row says what was checked and how it went; what it means for a run is computed when
//! the run is shown, from the epochs that the chain has then.

use ledger::{Digest, Root, TreeSize};

use super::{
    Index, RunKey,
    error::{During, IndexError},
    row::{Fields, int},
    settle::settle,
};

/// A bundle that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Digest of its manifest: which bundle.
    pub manifest: Digest,
    /// Steps in it.
    pub size: TreeSize,
    /// Root over them.
    pub root: Root,
    /// The check that failed and why; none if all passed.
    pub failure: Option<String>,
    /// Version of the program that checked.
    pub version: String,
    /// When, unix seconds.
    pub checked_at: u64,
}

impl Index {
    /// Notes that a bundle was checked. Of a bundle that was checked before, the last check counts.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_verification(&self, run: RunKey, checked: &Verification) -> Result<(), IndexError> {
        let insert = "INSERT INTO verification (run_key, manifest_digest, size, root, failure, version, checked_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run_key, manifest_digest) DO UPDATE SET size = excluded.size, \
            root = excluded.root, failure = excluded.failure, version = excluded.version, checked_at = excluded.checked_at";
        let mut tx = self.begin().await?;
        sqlx::query(insert)
            .bind(run.0)
            .bind(checked.manifest.0.to_vec())
            .bind(int("size", checked.size.0)?)
            .bind(checked.root.0.to_vec())
            .bind(checked.failure.clone())
            .bind(checked.version.clone())
            .bind(int("time", checked.checked_at)?)
            .execute(&mut *tx)
            .await
            .during("verification")?;
        settle(&mut tx, &[run]).await?;
        tx.commit().await.during("verification")
    }

    /// Checked bundles of a run, the last checked first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn verifications(&self, run: RunKey, limit: u32) -> Result<Vec<Verification>, IndexError> {
        let select = "SELECT * FROM verification WHERE run_key = $1 ORDER BY checked_at DESC, manifest_digest LIMIT $2";
        let rows = sqlx::query(select).bind(run.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("verifications")?;
        let checked = |row| {
            let row = Fields(row);
            Ok(Verification {
                manifest: Digest(row.array("manifest_digest")?),
                size: TreeSize(row.uint("size")?),
                root: Root(row.array("root")?),
                failure: row.opt_text("failure")?,
                version: row.opt_text("version")?.unwrap_or_default(),
                checked_at: row.uint("checked_at")?,
            })
        };
        rows.iter().map(checked).collect()
    }
}
