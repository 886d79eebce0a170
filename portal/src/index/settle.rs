//! What of a run is kept because every list asks for it: status, owner, time and words of its registration. All of it is computed
//! here and nowhere else, from what the chain said and what was checked, in the transaction that changed any of that.

use sqlx::AnyConnection;

use super::{
    RunKey,
    error::{During, IndexError},
    row::{RUNS_PER_STATEMENT, keys},
};

/// Values of the first registration of a run.
macro_rules! registered {
    ($columns:literal) => {
        concat!(
            "(SELECT ",
            $columns,
            " FROM registered JOIN block ON block.source_id = registered.source_id AND block.number = registered.block_number \
             WHERE registered.run_key = run.id ORDER BY registered.block_number, registered.log_index LIMIT 1)"
        )
    };
}

/// What is kept of each run. [`super::Status`] says what the words mean.
const SETTLE: &str = concat!(
    "UPDATE run SET (registered_time, policy, parent) = ",
    registered!("block.time, registered.policy, registered.parent"),
    ", owner = COALESCE((SELECT role.account FROM role WHERE role.run_key = run.id AND role.kind = 'owner' \
      ORDER BY role.block_number DESC, role.log_index DESC LIMIT 1), ",
    registered!("registered.owner"),
    "), status = CASE WHEN run.fault IS NOT NULL THEN 'conflict' \
     WHEN run.confirmed_counter IS NULL OR run.confirmed_counter <> run.counter OR run.n_ahead > 0 THEN 'unconfirmed' \
     WHEN run.frozen <> 0 THEN 'frozen' \
     WHEN run.counter = 0 THEN 'registered' \
     WHEN EXISTS (SELECT 1 FROM verification v WHERE v.run_key = run.id AND v.failure IS NULL AND v.size = run.size \
      AND v.root = run.root) THEN 'verified' \
     WHEN EXISTS (SELECT 1 FROM verification v JOIN epoch ON epoch.run_key = v.run_key AND epoch.size = v.size \
      AND epoch.root = v.root WHERE v.run_key = run.id AND v.failure IS NULL) THEN 'partly_covered' \
     WHEN EXISTS (SELECT 1 FROM verification v JOIN announced ON announced.run_key = v.run_key \
      AND announced.manifest_digest = v.manifest_digest WHERE v.run_key = run.id AND v.failure IS NOT NULL) THEN 'invalid' \
     ELSE 'bundle_not_seen' END"
);

/// Computes what is kept of some runs.
pub(super) async fn settle(db: &mut AnyConnection, runs: &[RunKey]) -> Result<(), IndexError> {
    for part in runs.chunks(RUNS_PER_STATEMENT) {
        let sql = format!("{SETTLE} WHERE id IN ({})", keys(part));
        sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).execute(&mut *db).await.during("settle")?;
    }
    Ok(())
}

/// Computes what is kept of every run.
pub(super) async fn settle_all(db: &mut AnyConnection) -> Result<(), IndexError> {
    sqlx::query(SETTLE).execute(db).await.during("settle")?;
    Ok(())
}
