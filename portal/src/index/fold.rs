//! What a run's events amount to: the epochs that follow one another from the first step on.
//!
//! The same checks as the contract makes, so that what a node invents or leaves out does not become a head: the counter is the
//! next, the first step is the run's size, the state is the one before, and the leaves give the root.

use std::collections::{BTreeSet, HashMap};

use ledger::{
    Digest, FieldElement, Root, StepIndex, TreeSize,
    tree::{CompactRange, step_leaf},
};
use sqlx::{AnyConnection, any::AnyRow};

use super::{
    RunKey,
    error::{During, IndexError},
    row::{Fields, RUNS_PER_STATEMENT, exactly, int, keys},
};

/// A run after some epochs.
struct Folded {
    counter: u64,
    tree: CompactRange,
    root: Root,
    state: FieldElement,
}

/// Forgets what the events of runs amounted to; [`fold`] begins at the first step again.
pub(super) async fn unfold(db: &mut AnyConnection, runs: &BTreeSet<RunKey>) -> Result<(), IndexError> {
    let reset = "UPDATE run SET counter = 0, size = 0, root = NULL, state = NULL, peaks = NULL, fault = NULL, \
                 n_ahead = 0, anchored_time = 0, confirmed_counter = NULL, confirmed_block = NULL, frozen = 0 WHERE id = $1";
    for run in runs {
        sqlx::query(reset).bind(run.0).execute(&mut *db).await.during("unfold")?;
    }
    Ok(())
}

/// Goes on from the last epoch of each run that followed, over all that follow it now.
pub(super) async fn fold(db: &mut AnyConnection, runs: &BTreeSet<RunKey>) -> Result<(), IndexError> {
    let runs: Vec<_> = runs.iter().copied().collect();
    for part in runs.chunks(RUNS_PER_STATEMENT) {
        let mut events = Events::of(db, part).await?;
        for run in part {
            events.fold(db, *run).await?;
        }
    }
    Ok(())
}

/// What is read of some runs before they are folded, by run.
struct Events {
    /// What they amounted to so far.
    before: Rows,
    registrations: Rows,
    /// From the last one on that followed.
    epochs: Rows,
    ends: Rows,
}

type Rows = HashMap<i64, Vec<AnyRow>>;

impl Events {
    async fn of(db: &mut AnyConnection, runs: &[RunKey]) -> Result<Self, IndexError> {
        Ok(Self {
            before: rows(db, runs, "SELECT id AS run_key, counter, size, state, peaks FROM run WHERE id", "id").await?,
            registrations: rows(db, runs, "SELECT run_key, genesis_state FROM registered WHERE run_key", "block_number")
                .await?,
            epochs: rows(
                db,
                runs,
                "SELECT epoch.run_key, epoch.block_number, epoch.log_index, epoch.counter, epoch.first_step, epoch.size, \
                 epoch.state_in, epoch.state_out, epoch.root \
                 FROM run JOIN epoch ON epoch.run_key = run.id AND epoch.counter >= run.counter WHERE run.id",
                "epoch.counter, epoch.block_number, epoch.log_index",
            )
            .await?,
            ends: rows(db, runs, "SELECT run_key, counter, size, state, root FROM finalized WHERE run_key", "counter")
                .await?,
        })
    }

    async fn fold(&mut self, db: &mut AnyConnection, run: RunKey) -> Result<(), IndexError> {
        let registrations = self.registrations.remove(&run.0).unwrap_or_default();
        // Without a registration nothing says where the first epoch must start.
        let Some(registration) = registrations.first() else { return Ok(()) };
        let before = self.before.remove(&run.0).unwrap_or_default();
        let Some(before) = before.first() else { return Ok(()) };
        let mut folded = Folded::start(&Fields(before), Fields(registration).field("genesis_state")?)?;
        let mut fault = (registrations.len() > 1).then(|| "the run is registered twice".to_owned());
        let mut n_same = 0;
        for row in self.epochs.remove(&run.0).unwrap_or_default() {
            let row = Fields(&row);
            let counter = row.uint("counter")?;
            if counter == folded.counter {
                // The last one that followed; a second would be another history of the same run.
                n_same += 1;
                if n_same > 1 || counter == 0 {
                    fault.get_or_insert_with(|| format!("epoch {counter} is there twice"));
                }
                continue;
            }
            if fault.is_some() || counter != folded.counter + 1 {
                break;
            }
            let leaves = leaves(db, run, &row).await?;
            match folded.next(&row, &leaves)? {
                Ok(next) => (folded, n_same) = (next, 1),
                Err(reason) => fault = Some(format!("epoch {counter}: {reason}")),
            }
        }
        let fault = match fault {
            Some(fault) => Some(fault),
            None => folded.against_end(&self.ends.remove(&run.0).unwrap_or_default())?,
        };
        folded.store(db, run, fault).await
    }
}

/// Rows of some runs, each run's in order. `select` ends with the column that must be one of the runs.
async fn rows(
    db: &mut AnyConnection,
    runs: &[RunKey],
    select: &'static str,
    order: &'static str,
) -> Result<Rows, IndexError> {
    let sql = format!("{select} IN ({}) ORDER BY {order}", keys(runs));
    let found = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_all(db).await.during("fold")?;
    let mut out = Rows::new();
    for row in found {
        out.entry(Fields(&row).int("run_key")?).or_default().push(row);
    }
    Ok(out)
}

/// The hashes of an epoch's leaves.
async fn leaves(db: &mut AnyConnection, run: RunKey, epoch: &Fields<'_>) -> Result<Vec<Digest>, IndexError> {
    let select = "SELECT step, digest, record_hash FROM step \
                  WHERE run_key = $1 AND step >= $2 AND step < $3 AND block_number = $4 AND log_index = $5 ORDER BY position";
    let rows = sqlx::query(select).bind(run.0).bind(epoch.int("first_step")?).bind(epoch.int("size")?);
    let rows = rows.bind(epoch.int("block_number")?).bind(epoch.int("log_index")?);
    let rows = rows.fetch_all(db).await.during("fold")?;
    let leaf = |row| {
        let row = Fields(row);
        let record = Digest(row.array("record_hash")?);
        Ok(step_leaf(StepIndex(row.uint("step")?), row.field("digest")?, record))
    };
    rows.iter().map(leaf).collect()
}

impl Folded {
    /// Where folding goes on.
    fn start(run: &Fields<'_>, genesis: FieldElement) -> Result<Self, IndexError> {
        let peaks = run.opt_bytes("peaks")?.unwrap_or_default();
        let peaks: Result<Vec<_>, _> = peaks.chunks(32).map(|peak| exactly("peaks", peak).map(Digest)).collect();
        let tree = CompactRange::from_peaks(TreeSize(run.uint("size")?), peaks?)
            .map_err(|error| IndexError::Stored { what: "peaks", reason: error.to_string() })?;
        let state = run.opt_field("state")?.unwrap_or(genesis);
        Ok(Self { counter: run.uint("counter")?, root: tree.root(), tree, state })
    }

    /// The run after one more epoch, or why it does not follow.
    fn next(&self, epoch: &Fields<'_>, leaves: &[Digest]) -> Result<Result<Self, String>, IndexError> {
        let (first, size) = (epoch.uint("first_step")?, epoch.uint("size")?);
        let (state_in, root) = (epoch.field("state_in")?, Root(epoch.array("root")?));
        if first != self.tree.size().0 {
            return Ok(Err(format!("expected first step {}, got {first}", self.tree.size())));
        }
        if state_in != self.state {
            return Ok(Err(format!("expected state {}, got {state_in}", self.state)));
        }
        let mut tree = self.tree.clone();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        if tree.size() != TreeSize(size) {
            return Ok(Err(format!("expected size {}, got {size}", tree.size())));
        }
        if tree.root() != root {
            return Ok(Err(format!("expected root {}, got {root}", tree.root())));
        }
        Ok(Ok(Self { counter: self.counter + 1, root, tree, state: epoch.field("state_out")? }))
    }

    /// What is wrong with the run's last word, if it has one that its epochs have reached.
    fn against_end(&self, ends: &[AnyRow]) -> Result<Option<String>, IndexError> {
        for row in ends {
            let row = Fields(row);
            let counter = row.uint("counter")?;
            let said = (counter, row.uint("size")?, row.field("state")?, Root(row.array("root")?));
            let here = (self.counter, self.tree.size().0, self.state, self.root);
            if self.counter >= counter && said != here {
                let (expected, got) = (self.root, said.3);
                return Ok(Some(format!(
                    "finalized otherwise after epoch {counter}: expected root {expected}, got {got}"
                )));
            }
        }
        Ok((ends.len() > 1).then(|| "the run is finalized twice".to_owned()))
    }

    async fn store(&self, db: &mut AnyConnection, run: RunKey, fault: Option<String>) -> Result<(), IndexError> {
        let peaks: Vec<u8> = self.tree.peaks().iter().flat_map(|peak| peak.0).collect();
        let update = "UPDATE run SET counter = $2, size = $3, root = $4, state = $5, peaks = $6, fault = $7, \
            n_ahead = (SELECT COUNT(*) FROM epoch WHERE epoch.run_key = run.id AND epoch.counter > $2), \
            anchored_time = COALESCE((SELECT block.time FROM epoch JOIN block ON block.source_id = epoch.source_id \
             AND block.number = epoch.block_number WHERE epoch.run_key = run.id ORDER BY epoch.counter DESC LIMIT 1), 0) \
            WHERE id = $1";
        sqlx::query(update)
            .bind(run.0)
            .bind(int("counter", self.counter)?)
            .bind(int("size", self.tree.size().0)?)
            .bind(self.root.0.to_vec())
            .bind(self.state.as_bytes().to_vec())
            .bind(peaks)
            .bind(fault)
            .execute(db)
            .await
            .during("fold")?;
        Ok(())
    }
}
