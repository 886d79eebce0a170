//! What changes the index: a batch of events, a step back, and the contract's word on a head.

use std::collections::BTreeSet;

use chain::{
    AnchorEvent, AnchorLog, AttestationEvent, BlockHeader, BlockRef, EpochEvent, Head, LogPlace, SubmitterRight,
};
use ledger::{Digest, Root, RunId, StepIndex, TreeSize};
use sqlx::{Any, AnyConnection, any::AnyArguments, query::Query};

use super::{
    Index, RunKey, SourceKey,
    error::{During, IndexError},
    fold::{fold, unfold},
    row::{Fields, int},
};

/// Blocks below the position whose hashes are kept although they hold no event. Reorganisations that reach deeper go back
/// to the last event before.
const KEPT_BLOCKS: u64 = 4_096;

/// Rows of steps in one statement: below the limits of both databases on parameters.
const STEPS_PER_INSERT: usize = 500;

/// Characters of a revocation's reason that are kept.
const MAX_REASON: usize = 1_000;

/// Events of one stretch of blocks.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Where the index stands: the batch is refused if it has moved meanwhile.
    pub after: Option<BlockRef>,
    /// Where it stands once the batch is in.
    pub to: BlockHeader,
    /// The events, in any order; those that the index has already change nothing.
    pub logs: Vec<AnchorLog>,
}

/// What a batch or a step back changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were new.
    pub n_events: usize,
    /// Runs that they are about.
    pub runs: Vec<RunKey>,
}

/// What the contract's own head says of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The same.
    Agrees,
    /// Something else: events are missing, or the chain was reorganised.
    Differs {
        /// The contract's counter and steps; none if it does not know the run.
        expected: Option<(u64, TreeSize)>,
        /// The index's.
        got: (u64, TreeSize),
    },
}

impl Index {
    /// Takes a batch: all of it, or nothing.
    ///
    /// # Errors
    /// [`IndexError::Moved`], [`IndexError::Above`], [`IndexError::OtherHistory`], or the database fails.
    pub async fn apply(&self, source: SourceKey, batch: &Batch) -> Result<Applied, IndexError> {
        let last = batch.to.at.number;
        let highest =
            batch.logs.iter().map(|log| log.place.block.at.number).chain(batch.after.map(|at| at.number)).max();
        if let Some(got) = highest.filter(|number| *number > last) {
            return Err(IndexError::Above { last, got });
        }
        let mut tx = self.begin().await?;
        move_position(&mut tx, source, batch.after, Some(batch.to.at)).await?;
        keep_block(&mut tx, source, &batch.to).await?;
        let (mut n_events, mut runs) = (0, BTreeSet::new());
        for log in &batch.logs {
            keep_block(&mut tx, source, &log.place.block).await?;
            let run = run_key(&mut tx, source, log.run).await?;
            if insert(&mut tx, source, run, log).await? {
                n_events += 1;
                runs.insert(run);
            }
        }
        for run in &runs {
            fold(&mut tx, *run).await?;
        }
        forget_blocks(&mut tx, source, last).await?;
        tx.commit().await.during("apply")?;
        Ok(Applied { n_events, runs: runs.into_iter().collect() })
    }

    /// Goes back to a block that the index knows, or (none) to before the first: all above it is forgotten.
    ///
    /// # Errors
    /// [`IndexError::Moved`], [`IndexError::UnknownBlock`], or the database fails.
    pub async fn roll_back(
        &self,
        source: SourceKey,
        after: BlockRef,
        to: Option<BlockRef>,
    ) -> Result<Applied, IndexError> {
        let operation = "roll back";
        let above = to.map_or(Ok(-1), |at| int("block", at.number))?;
        let mut tx = self.begin().await?;
        move_position(&mut tx, source, Some(after), to).await?;
        if let Some(to) = to {
            let known = sqlx::query("SELECT hash FROM block WHERE source_id = $1 AND number = $2 AND hash = $3");
            let known = known.bind(source.0).bind(above).bind(to.hash.0.to_vec());
            if known.fetch_optional(&mut *tx).await.during(operation)?.is_none() {
                return Err(IndexError::UnknownBlock { block: to.number, hash: to.hash });
            }
        }
        let mut runs = BTreeSet::new();
        let mut n_events = 0;
        for select in RUNS_ABOVE {
            let rows = sqlx::query(select).bind(source.0).bind(above).fetch_all(&mut *tx).await.during(operation)?;
            n_events += rows.len();
            for row in &rows {
                runs.insert(RunKey(Fields(row).int("run_key")?));
            }
        }
        let delete = sqlx::query("DELETE FROM block WHERE source_id = $1 AND number > $2").bind(source.0).bind(above);
        delete.execute(&mut *tx).await.during(operation)?;
        for run in &runs {
            unfold(&mut tx, *run).await?;
            fold(&mut tx, *run).await?;
            sqlx::query(DELETE_UNNAMED).bind(run.0).execute(&mut *tx).await.during(operation)?;
        }
        tx.commit().await.during(operation)?;
        Ok(Applied { n_events, runs: runs.into_iter().collect() })
    }

    /// Compares a run with the contract's head, and notes it if they agree: only then is the run shown as anchored.
    ///
    /// `head` was asked for at `block`; none: the contract does not know the run. `frozen`: whether the run's verifiers
    /// accept nothing any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn confirm(
        &self,
        run: RunKey,
        block: BlockRef,
        head: Option<&Head>,
        frozen: bool,
    ) -> Result<Confirmation, IndexError> {
        let operation = "confirm";
        let mut tx = self.begin().await?;
        let select = "SELECT counter, size, root, state, fault, \
                      (SELECT COUNT(*) FROM finalized WHERE finalized.run_key = run.id) AS n_final FROM run WHERE id = $1";
        let row = sqlx::query(select).bind(run.0).fetch_one(&mut *tx).await.during(operation)?;
        let row = Fields(&row);
        let got = (row.uint("counter")?, TreeSize(row.uint("size")?));
        let expected = head.map(|head| (head.counter, head.size));
        let here = (row.opt_array("root")?.map(Root), row.opt_field("state")?, row.int("n_final")? > 0);
        let is_whole = row.opt_text("fault")?.is_none() && expected == Some(got);
        let same = |head: &&Head| is_whole && here == (Some(head.root), Some(head.state), head.finalized);
        let agrees = head.filter(same).is_some();
        let update = if agrees {
            "UPDATE run SET confirmed_counter = counter, confirmed_block = $2, asked_block = $2, frozen = $3 WHERE id = $1"
        } else {
            "UPDATE run SET confirmed_counter = NULL, asked_block = $2, frozen = $3 WHERE id = $1"
        };
        let update = sqlx::query(update).bind(run.0).bind(int("block", block.number)?).bind(i64::from(frozen));
        update.execute(&mut *tx).await.during(operation)?;
        tx.commit().await.during(operation)?;
        Ok(if agrees { Confirmation::Agrees } else { Confirmation::Differs { expected, got } })
    }
}

/// Runs of the events above a block, from each table of events.
const RUNS_ABOVE: [&str; 6] = [
    "SELECT run_key FROM registered WHERE source_id = $1 AND block_number > $2",
    "SELECT run_key FROM epoch WHERE source_id = $1 AND block_number > $2",
    "SELECT run_key FROM finalized WHERE source_id = $1 AND block_number > $2",
    "SELECT run_key FROM announced WHERE source_id = $1 AND block_number > $2",
    "SELECT run_key FROM role WHERE source_id = $1 AND block_number > $2",
    "SELECT run_key FROM audited WHERE source_id = $1 AND block_number > $2",
];

/// Deletes a run that no event names any more.
const DELETE_UNNAMED: &str = "DELETE FROM run WHERE id = $1 \
    AND NOT EXISTS (SELECT 1 FROM registered WHERE run_key = run.id) \
    AND NOT EXISTS (SELECT 1 FROM epoch WHERE run_key = run.id) \
    AND NOT EXISTS (SELECT 1 FROM finalized WHERE run_key = run.id) \
    AND NOT EXISTS (SELECT 1 FROM announced WHERE run_key = run.id) \
    AND NOT EXISTS (SELECT 1 FROM role WHERE run_key = run.id) \
    AND NOT EXISTS (SELECT 1 FROM audited WHERE run_key = run.id)";

/// Deletes blocks below a height that hold no event.
const DELETE_BARE_BLOCKS: &str = "DELETE FROM block WHERE source_id = $1 AND number < $2 \
    AND NOT EXISTS (SELECT 1 FROM registered e WHERE e.source_id = block.source_id AND e.block_number = block.number) \
    AND NOT EXISTS (SELECT 1 FROM epoch e WHERE e.source_id = block.source_id AND e.block_number = block.number) \
    AND NOT EXISTS (SELECT 1 FROM finalized e WHERE e.source_id = block.source_id AND e.block_number = block.number) \
    AND NOT EXISTS (SELECT 1 FROM announced e WHERE e.source_id = block.source_id AND e.block_number = block.number) \
    AND NOT EXISTS (SELECT 1 FROM role e WHERE e.source_id = block.source_id AND e.block_number = block.number) \
    AND NOT EXISTS (SELECT 1 FROM audited e WHERE e.source_id = block.source_id AND e.block_number = block.number)";

/// Moves the position by compare-and-swap. First in every transaction: it also keeps other writers of the source out.
async fn move_position(
    db: &mut AnyConnection,
    source: SourceKey,
    from: Option<BlockRef>,
    to: Option<BlockRef>,
) -> Result<(), IndexError> {
    let number = to.map(|at| int("block", at.number)).transpose()?;
    let update = "UPDATE source SET block_number = $2, block_hash = $3 \
                  WHERE id = $1 AND block_hash IS NOT DISTINCT FROM $4";
    let moved = sqlx::query(update)
        .bind(source.0)
        .bind(number)
        .bind(to.map(|at| at.hash.0.to_vec()))
        .bind(from.map(|at| at.hash.0.to_vec()))
        .execute(db)
        .await
        .during("position")?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(IndexError::Moved) }
}

/// Remembers a block, and refuses another one at the same height.
async fn keep_block(db: &mut AnyConnection, source: SourceKey, block: &BlockHeader) -> Result<(), IndexError> {
    let operation = "block";
    let number = int("block", block.at.number)?;
    let insert = "INSERT INTO block (source_id, number, hash, time) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(source.0).bind(number).bind(block.at.hash.0.to_vec());
    let insert = insert.bind(int("block time", block.time)?).execute(&mut *db).await.during(operation)?;
    if insert.rows_affected() == 1 {
        return Ok(());
    }
    let row = sqlx::query("SELECT hash FROM block WHERE source_id = $1 AND number = $2").bind(source.0).bind(number);
    let expected = Digest(Fields(&row.fetch_one(db).await.during(operation)?).array("hash")?);
    let got = block.at.hash;
    if expected == got { Ok(()) } else { Err(IndexError::OtherHistory { block: block.at.number, expected, got }) }
}

async fn forget_blocks(db: &mut AnyConnection, source: SourceKey, last: u64) -> Result<(), IndexError> {
    let below = int("block", last.saturating_sub(KEPT_BLOCKS))?;
    sqlx::query(DELETE_BARE_BLOCKS).bind(source.0).bind(below).execute(db).await.during("forget blocks")?;
    Ok(())
}

async fn run_key(db: &mut AnyConnection, source: SourceKey, run: RunId) -> Result<RunKey, IndexError> {
    let operation = "run";
    let id = run.to_field().as_bytes().to_vec();
    let insert = sqlx::query("INSERT INTO run (source_id, run_id) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    insert.bind(source.0).bind(id.clone()).execute(&mut *db).await.during(operation)?;
    let row = sqlx::query("SELECT id FROM run WHERE source_id = $1 AND run_id = $2").bind(source.0).bind(id);
    Ok(RunKey(Fields(&row.fetch_one(db).await.during(operation)?).int("id")?))
}

/// An insertion into a table of events: place and run first.
macro_rules! event {
    ($table:literal, $columns:literal, $values:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (source_id, block_number, log_index, tx, run_key, ",
            $columns,
            ") VALUES ($1, $2, $3, $4, $5, ",
            $values,
            ") ON CONFLICT DO NOTHING"
        )
    };
}

/// Whether the event was new.
async fn insert(db: &mut AnyConnection, source: SourceKey, run: RunKey, log: &AnchorLog) -> Result<bool, IndexError> {
    let query = match &log.event {
        AnchorEvent::Registered { owner, registration } => {
            let sql = event!(
                "registered",
                "owner, selector, genesis_state, policy, salt, parent",
                "$6, $7, $8, $9, $10, $11"
            );
            placed(sql, source, run, &log.place)?
                .bind(owner.0.to_vec())
                .bind(registration.selector.0.to_vec())
                .bind(registration.genesis_state.as_bytes().to_vec())
                .bind(registration.policy_digest.as_bytes().to_vec())
                .bind(registration.salt.0.to_vec())
                .bind(registration.parent.map(|parent| parent.to_field().as_bytes().to_vec()))
        }
        AnchorEvent::Anchored(epoch) => {
            let sql = event!(
                "epoch",
                "counter, first_step, size, state_in, state_out, root, verifier, submitter",
                "$6, $7, $8, $9, $10, $11, $12, $13"
            );
            placed(sql, source, run, &log.place)?
                .bind(int("counter", epoch.counter)?)
                .bind(int("step", epoch.first_step.0)?)
                .bind(int("size", epoch.size.0)?)
                .bind(epoch.state_in.as_bytes().to_vec())
                .bind(epoch.state_out.as_bytes().to_vec())
                .bind(epoch.root.0.to_vec())
                .bind(epoch.verifier.0.to_vec())
                .bind(epoch.submitter.0.to_vec())
        }
        AnchorEvent::Finalized { counter, size, state, root } => {
            let sql = event!("finalized", "counter, size, state, root", "$6, $7, $8, $9");
            placed(sql, source, run, &log.place)?
                .bind(int("counter", *counter)?)
                .bind(int("size", size.0)?)
                .bind(state.as_bytes().to_vec())
                .bind(root.0.to_vec())
        }
        AnchorEvent::Announced(bundle) => {
            let sql = event!(
                "announced",
                "size, manifest_digest, infohash_v1, infohash_v2, announcer",
                "$6, $7, $8, $9, $10"
            );
            placed(sql, source, run, &log.place)?
                .bind(int("size", bundle.announcement.size.0)?)
                .bind(bundle.announcement.manifest_digest.0.to_vec())
                .bind(bundle.announcement.infohash_v1.to_vec())
                .bind(bundle.announcement.infohash_v2.0.to_vec())
                .bind(bundle.announcer.0.to_vec())
        }
        AnchorEvent::SubmitterSet { owner, submitter, right } => {
            let kind = if *right == SubmitterRight::Granted { "granted" } else { "withdrawn" };
            role(source, run, &log.place, kind, owner, submitter)?
        }
        AnchorEvent::OwnerProposed { from, to } => role(source, run, &log.place, "proposed", from, to)?,
        AnchorEvent::OwnerChanged { from, to } => role(source, run, &log.place, "owner", from, to)?,
        AnchorEvent::Audited(event) => audited(source, run, &log.place, event)?,
        // A kind that this version does not keep.
        _ => return Ok(false),
    };
    let is_new = query.execute(&mut *db).await.during("event")?.rows_affected() == 1;
    if let (true, AnchorEvent::Anchored(epoch)) = (is_new, &log.event) {
        insert_steps(db, source, run, &log.place, epoch).await?;
    }
    Ok(is_new)
}

type Insertion = Query<'static, Any, AnyArguments>;

fn placed(sql: &'static str, source: SourceKey, run: RunKey, place: &LogPlace) -> Result<Insertion, IndexError> {
    Ok(sqlx::query(sql)
        .bind(source.0)
        .bind(int("block", place.block.at.number)?)
        .bind(int("log index", place.log_index)?)
        .bind(place.tx.0.to_vec())
        .bind(run.0))
}

fn role(
    source: SourceKey,
    run: RunKey,
    place: &LogPlace,
    kind: &'static str,
    by: &ledger::Address,
    account: &ledger::Address,
) -> Result<Insertion, IndexError> {
    let sql = event!("role", "kind, by_account, account", "$6, $7, $8");
    Ok(placed(sql, source, run, place)?.bind(kind).bind(by.0.to_vec()).bind(account.0.to_vec()))
}

fn audited(
    source: SourceKey,
    run: RunKey,
    place: &LogPlace,
    event: &AttestationEvent,
) -> Result<Insertion, IndexError> {
    let sql = event!(
        "audited",
        "kind, attestation, auditor, size, root, report, expires_at, reason",
        "$6, $7, $8, $9, $10, $11, $12, $13"
    );
    let query = placed(sql, source, run, place)?;
    Ok(match event {
        AttestationEvent::Attested { id, auditor, steps, root, report, expires_at, .. } => query
            .bind("attested")
            .bind(id.0.to_vec())
            .bind(auditor.0.to_vec())
            .bind(int("steps", steps.0)?)
            .bind(root.0.to_vec())
            .bind(report.0.to_vec())
            // An end beyond what the index holds never comes.
            .bind(expires_at.and_then(|at| i64::try_from(at).ok()))
            .bind(None::<String>),
        AttestationEvent::Revoked { id, auditor, reason, .. } => query
            .bind("revoked")
            .bind(id.0.to_vec())
            .bind(auditor.0.to_vec())
            .bind(None::<i64>)
            .bind(None::<Vec<u8>>)
            .bind(None::<Vec<u8>>)
            .bind(None::<i64>)
            .bind(Some(shown(reason))),
    })
}

/// A text of a stranger as it is kept: without NUL, which PostgreSQL's texts do not hold, and not without end.
fn shown(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_REASON).collect()
}

/// The steps of an epoch, many rows at a time.
async fn insert_steps(
    db: &mut AnyConnection,
    source: SourceKey,
    run: RunKey,
    place: &LogPlace,
    epoch: &EpochEvent,
) -> Result<(), IndexError> {
    let steps: Vec<_> = epoch.digests.iter().zip(&epoch.record_hashes).collect();
    let (block, log_index) = (int("block", place.block.at.number)?, int("log index", place.log_index)?);
    let mut position = 0;
    for part in steps.chunks(STEPS_PER_INSERT) {
        // The first four values are the same for all rows.
        let rows: Vec<String> = (0..part.len()).map(|row| step_row(5 + 4 * row)).collect();
        let sql = format!(
            "INSERT INTO step (source_id, block_number, log_index, run_key, position, step, digest, record_hash) VALUES {}",
            rows.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(source.0).bind(block).bind(log_index).bind(run.0);
        for (digest, record) in part {
            let step = StepIndex(epoch.first_step.0.saturating_add(position));
            query = query
                .bind(int("position", position)?)
                .bind(int("step", step.0)?)
                .bind(digest.as_bytes().to_vec())
                .bind(record.0.to_vec());
            position += 1;
        }
        query.execute(&mut *db).await.during("steps")?;
    }
    Ok(())
}

/// Placeholders of one row of steps, whose own values begin at `first`.
fn step_row(first: usize) -> String {
    format!("($1, $2, $3, $4, ${}, ${}, ${}, ${})", first, first + 1, first + 2, first + 3)
}
