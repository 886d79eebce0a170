//! Where two runs part, step by step.

use ledger::{Digest, StepIndex};
use sqlx::any::AnyRow;

use super::{
    Index, RunEntry, StepEntry, StepWord,
    error::{During, IndexError},
    row::{Fields, int},
};

/// Steps of both runs, up to the last that both have.
const BOTH: &str = "FROM step a JOIN step b ON b.step = a.step AND b.run_key = $2";

/// Records that both chains carry, step by step.
const RECORDS: &str = "JOIN record ra ON ra.run_key = a.run_key AND ra.step = a.step AND ra.record_hash = a.record_hash \
    JOIN record rb ON rb.run_key = b.run_key AND rb.step = b.step AND rb.record_hash = b.record_hash";

impl Index {
    /// The first step that both runs have with different leaves. Leaves carry each run's own blinding: only those of one run on
    /// two contracts can be the same.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_other_leaf(
        &self,
        a: &RunEntry,
        b: &RunEntry,
    ) -> Result<Option<(StepEntry, StepEntry)>, IndexError> {
        let sql = format!(
            "SELECT a.step, a.digest AS digest_a, a.record_hash AS hash_a, b.digest AS digest_b, b.record_hash AS hash_b {BOTH} \
             WHERE a.run_key = $1 AND a.step < $3 AND (a.digest <> b.digest OR a.record_hash <> b.record_hash) \
             ORDER BY a.step LIMIT 1"
        );
        let entry = |row: &Fields<'_>, digest, hash| {
            let (step, record_hash) = (StepIndex(row.uint("step")?), Digest(row.array(hash)?));
            Ok::<_, IndexError>(StepEntry { step, digest: row.field(digest)?, record_hash })
        };
        let found = self.first(sql, a, b).await?;
        let pair = |row: &AnyRow| {
            let row = Fields(row);
            Ok((entry(&row, "digest_a", "hash_a")?, entry(&row, "digest_b", "hash_b")?))
        };
        found.as_ref().map(pair).transpose()
    }

    /// The first step whose records say something else of learning rate, loss or gradient. Only records that the chain carries
    /// at that step are looked at, of bundles that passed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_other_word(
        &self,
        a: &RunEntry,
        b: &RunEntry,
    ) -> Result<Option<(StepWord, StepWord)>, IndexError> {
        let sql = format!(
            "SELECT a.step, ra.learning_rate AS rate_a, ra.loss AS loss_a, ra.gradient_norm AS norm_a, ra.prove_ms AS ms_a, \
             rb.learning_rate AS rate_b, rb.loss AS loss_b, rb.gradient_norm AS norm_b, rb.prove_ms AS ms_b {BOTH} {RECORDS} \
             WHERE a.run_key = $1 AND a.step < $3 AND (ra.learning_rate <> rb.learning_rate \
             OR ra.loss IS DISTINCT FROM rb.loss OR ra.gradient_norm IS DISTINCT FROM rb.gradient_norm) \
             ORDER BY a.step LIMIT 1"
        );
        let word = |row: &Fields<'_>, [rate, loss, norm, ms]: [&'static str; 4]| {
            Ok::<_, IndexError>(StepWord {
                step: StepIndex(row.uint("step")?),
                learning_rate: row.uint(rate)?,
                loss: row.opt_text(loss)?,
                gradient_norm: row.opt_text(norm)?,
                prove_ms: row.opt_uint(ms)?,
            })
        };
        let found = self.first(sql, a, b).await?;
        let pair = |row: &AnyRow| {
            let row = Fields(row);
            let (ours, theirs) = (["rate_a", "loss_a", "norm_a", "ms_a"], ["rate_b", "loss_b", "norm_b", "ms_b"]);
            Ok((word(&row, ours)?, word(&row, theirs)?))
        };
        found.as_ref().map(pair).transpose()
    }

    /// Steps from the first on whose records both runs have here.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn n_common_words(&self, a: &RunEntry, b: &RunEntry) -> Result<u64, IndexError> {
        let sql = format!("SELECT COUNT(*) AS n {BOTH} {RECORDS} WHERE a.run_key = $1 AND a.step < $3");
        let row = self.first(sql, a, b).await?;
        row.as_ref().map_or(Ok(0), |row| Fields(row).uint("n"))
    }

    async fn first(&self, sql: String, a: &RunEntry, b: &RunEntry) -> Result<Option<AnyRow>, IndexError> {
        let below = int("size", a.size.0.min(b.size.0))?;
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(a.key.0).bind(b.key.0).bind(below);
        query.fetch_optional(&self.pool).await.during("difference")
    }
}
