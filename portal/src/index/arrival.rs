//! Bundles in a portal's folder, and how far their checks are. What a check found is a [`super::Verification`].

use ledger::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Index, RunKey,
    error::{During, IndexError},
    row::{Fields, int},
};

/// How far a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArrivalState {
    /// Its turn has not come.
    Queued,
    /// It is being checked.
    Checking,
    /// The chain does not carry all of it yet, or it has no manifest yet.
    Waiting,
    /// A check could not be made, as a key or the disk failed. It is tried again.
    Unable,
    /// It is not a directory of a run, or too large: nothing of it was read.
    Refused,
    /// Its files are not those of its manifest. This says nothing of the bundle that the manifest names.
    Damaged,
    /// It does not hold.
    Failed,
    /// Every check passed.
    Passed,
}

impl ArrivalState {
    const ALL: [Self; 8] = [
        Self::Queued,
        Self::Checking,
        Self::Waiting,
        Self::Unable,
        Self::Refused,
        Self::Damaged,
        Self::Failed,
        Self::Passed,
    ];

    /// The word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Checking => "checking",
            Self::Waiting => "waiting",
            Self::Unable => "unable",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
            Self::Passed => "passed",
        }
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Queued => "waits for its turn",
            Self::Checking => "is being checked",
            Self::Waiting => "waits for the chain",
            Self::Unable => "could not be checked yet",
            Self::Refused => "refused",
            Self::Damaged => "damaged copy",
            Self::Failed => "does not hold",
            Self::Passed => "every check passed",
        }
    }
}

/// A line of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    /// What was checked.
    pub check: String,
    /// `passed`, `failed` or `not_covered`.
    pub state: String,
    /// Numbers, or what is wrong.
    pub detail: String,
    /// Whole milliseconds.
    pub ms: u64,
}

/// A bundle in a portal's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Name of its directory.
    pub name: String,
    /// Digest of its manifest, once it was read.
    pub manifest: Option<Digest>,
    /// How far it is.
    pub state: ArrivalState,
    /// Why it stands there, or what is being checked.
    pub detail: Option<String>,
    /// Step proofs that were verified.
    pub done: u64,
    /// Step proofs there are, once they are counted.
    pub total: u64,
    /// Lines of the report so far.
    pub report: Vec<ReportLine>,
    /// When this became so, unix seconds.
    pub changed_at: u64,
}

impl Index {
    /// Notes how far a bundle of a folder is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn note_arrival(&self, folder: &str, run: RunKey, arrival: &Arrival) -> Result<(), IndexError> {
        let insert = "INSERT INTO arrival \
            (folder, name, run_key, manifest_digest, state, detail, done, total, report, changed_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (folder, name, run_key) DO UPDATE SET \
            manifest_digest = excluded.manifest_digest, state = excluded.state, detail = excluded.detail, \
            done = excluded.done, total = excluded.total, report = excluded.report, changed_at = excluded.changed_at";
        let report = serde_json::to_string(&arrival.report)
            .map_err(|error| IndexError::Stored { what: "report", reason: error.to_string() })?;
        sqlx::query(insert)
            .bind(folder.to_owned())
            .bind(arrival.name.clone())
            .bind(run.0)
            .bind(arrival.manifest.map(|digest| digest.0.to_vec()))
            .bind(arrival.state.code())
            .bind(arrival.detail.clone())
            .bind(int("steps", arrival.done)?)
            .bind(int("steps", arrival.total)?)
            .bind(report)
            .bind(int("time", arrival.changed_at)?)
            .execute(&self.pool)
            .await
            .during("arrival")?;
        Ok(())
    }

    /// Forgets a folder's bundle of this name, or all of the folder's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_arrivals(&self, folder: &str, name: Option<&str>) -> Result<(), IndexError> {
        let delete = match name {
            Some(name) => sqlx::query("DELETE FROM arrival WHERE folder = $1 AND name = $2")
                .bind(folder.to_owned())
                .bind(name.to_owned()),
            None => sqlx::query("DELETE FROM arrival WHERE folder = $1").bind(folder.to_owned()),
        };
        delete.execute(&self.pool).await.during("forget arrivals")?;
        Ok(())
    }

    /// Bundles of a run in the folders of portals, the last changed first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn arrivals(&self, run: RunKey, limit: u32) -> Result<Vec<Arrival>, IndexError> {
        let select = "SELECT * FROM arrival WHERE run_key = $1 ORDER BY changed_at DESC, folder, name LIMIT $2";
        let rows = sqlx::query(select).bind(run.0).bind(i64::from(limit));
        let rows = rows.fetch_all(&self.pool).await.during("arrivals")?;
        rows.iter().map(|row| arrival(&Fields(row))).collect()
    }
}

fn arrival(row: &Fields<'_>) -> Result<Arrival, IndexError> {
    let word = row.opt_text("state")?.unwrap_or_default();
    let state = ArrivalState::ALL.into_iter().find(|state| state.code() == word);
    let state = state.ok_or_else(|| IndexError::Stored { what: "arrival", reason: format!("state {word:?}") })?;
    let report = row.opt_text("report")?.unwrap_or_default();
    let report = serde_json::from_str(&report)
        .map_err(|error| IndexError::Stored { what: "report", reason: error.to_string() })?;
    Ok(Arrival {
        name: row.opt_text("name")?.unwrap_or_default(),
        manifest: row.opt_array("manifest_digest")?.map(Digest),
        state,
        detail: row.opt_text("detail")?,
        done: row.uint("done")?,
        total: row.uint("total")?,
        report,
        changed_at: row.uint("changed_at")?,
    })
}
