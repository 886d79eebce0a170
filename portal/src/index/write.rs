//! What changes the index: a batch of events, a step back, and the contract's word on a head.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chain::{
    AnchorEvent, AnchorLog, AttestationEvent, BlockHeader, BlockRef, EpochEvent, Head, LogPlace, SubmitterRight,
};
use ledger::{Digest, FieldElement, Root, RunId, TreeSize};
use sqlx::{Any, AnyConnection, any::AnyArguments, query::Query};

use super::{
    Index, RunKey, SourceKey,
    error::{During, IndexError},
    fold::{fold, unfold},
    row::{Fields, int, placeholders},
    settle::settle,
};

/// Blocks below the position whose hashes are kept although they hold no event. Reorganisations that reach deeper go back
/// to the last event before.
const KEPT_BLOCKS: u64 = 4_096;

/// Rows of steps and of blocks in one statement. Values find their places by name, one name after the other: with more rows
/// that takes longer than another statement.
const STEPS_PER_INSERT: usize = 32;
const BLOCKS_PER_INSERT: usize = 64;

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
        keep_blocks(&mut tx, source, batch).await?;
        let mut known = HashMap::new();
        let (mut n_events, mut runs, mut steps) = (0, BTreeSet::new(), Vec::new());
        for log in &batch.logs {
            let run = match known.get(&log.run) {
                Some(run) => *run,
                None => run_key(&mut tx, source, log.run).await?,
            };
            known.insert(log.run, run);
            if insert(&mut tx, source, run, log).await? {
                n_events += 1;
                runs.insert(run);
                if let AnchorEvent::Anchored(epoch) = &log.event {
                    steps.extend(step_rows(run, &log.place, epoch)?);
                }
            }
        }
        insert_steps(&mut tx, source, &steps).await?;
        fold(&mut tx, &runs).await?;
        let runs: Vec<_> = runs.into_iter().collect();
        settle(&mut tx, &runs).await?;
        forget_blocks(&mut tx, source, batch).await?;
        tx.commit().await.during("apply")?;
        Ok(Applied { n_events, runs })
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
        unfold(&mut tx, &runs).await?;
        fold(&mut tx, &runs).await?;
        let runs: Vec<_> = runs.into_iter().collect();
        settle(&mut tx, &runs).await?;
        for run in &runs {
            sqlx::query(DELETE_UNNAMED).bind(run.0).execute(&mut *tx).await.during(operation)?;
        }
        tx.commit().await.during(operation)?;
        Ok(Applied { n_events, runs })
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
        settle(&mut tx, &[run]).await?;
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

/// Deletes blocks from a height on and below another that hold no event.
const DELETE_BARE_BLOCKS: &str = "DELETE FROM block WHERE source_id = $1 AND number >= $2 AND number < $3 \
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

/// Remembers the blocks of a batch, and refuses another one at the same height.
async fn keep_blocks(db: &mut AnyConnection, source: SourceKey, batch: &Batch) -> Result<(), IndexError> {
    let mut blocks: BTreeMap<u64, &BlockHeader> = BTreeMap::new();
    for block in batch.logs.iter().map(|log| &log.place.block).chain([&batch.to]) {
        let expected = blocks.entry(block.at.number).or_insert(block).at.hash;
        same_block(block, expected)?;
    }
    let blocks: Vec<_> = blocks.into_values().collect();
    for part in blocks.chunks(BLOCKS_PER_INSERT) {
        let rows = placeholders(part.len(), 4);
        let sql = format!("INSERT INTO block (source_id, number, hash, time) VALUES {rows} ON CONFLICT DO NOTHING");
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
        for block in part {
            insert = insert
                .bind(source.0)
                .bind(int("block", block.at.number)?)
                .bind(block.at.hash.0.to_vec())
                .bind(int("block time", block.time)?);
        }
        let n_new = insert.execute(&mut *db).await.during("block")?.rows_affected();
        if n_new != part.len() as u64 {
            for block in part {
                let row = sqlx::query("SELECT hash FROM block WHERE source_id = $1 AND number = $2")
                    .bind(source.0)
                    .bind(int("block", block.at.number)?);
                let row = row.fetch_one(&mut *db).await.during("block")?;
                same_block(block, Digest(Fields(&row).array("hash")?))?;
            }
        }
    }
    Ok(())
}

/// Refuses a block other than the one that is known at its height.
fn same_block(block: &BlockHeader, expected: Digest) -> Result<(), IndexError> {
    let BlockRef { number, hash: got } = block.at;
    if expected == got { Ok(()) } else { Err(IndexError::OtherHistory { block: number, expected, got }) }
}

/// Forgets blocks that hold no event, of those that fell out of the window by this batch.
async fn forget_blocks(db: &mut AnyConnection, source: SourceKey, batch: &Batch) -> Result<(), IndexError> {
    let below = |number: u64| int("block", number.saturating_sub(KEPT_BLOCKS));
    let (from, to) = (below(batch.after.map_or(0, |at| at.number))?, below(batch.to.at.number)?);
    sqlx::query(DELETE_BARE_BLOCKS).bind(source.0).bind(from).bind(to).execute(db).await.during("forget blocks")?;
    Ok(())
}

async fn run_key(db: &mut AnyConnection, source: SourceKey, run: RunId) -> Result<RunKey, IndexError> {
    let operation = "run";
    let id = run.to_field().as_bytes().to_vec();
    let select = sqlx::query("SELECT id FROM run WHERE source_id = $1 AND run_id = $2").bind(source.0).bind(id.clone());
    if let Some(row) = select.fetch_optional(&mut *db).await.during(operation)? {
        return Ok(RunKey(Fields(&row).int("id")?));
    }
    // Nobody else adds runs of a source whose position is ours to move.
    let insert = sqlx::query("INSERT INTO run (source_id, run_id) VALUES ($1, $2) RETURNING id");
    let row = insert.bind(source.0).bind(id).fetch_one(db).await.during(operation)?;
    Ok(RunKey(Fields(&row).int("id")?))
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
    Ok(query.execute(&mut *db).await.during("event")?.rows_affected() == 1)
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

/// A step as it is kept.
struct StepRow {
    block: i64,
    log_index: i64,
    run: RunKey,
    position: i64,
    step: i64,
    digest: Vec<u8>,
    record_hash: Vec<u8>,
}

/// The steps of an epoch.
fn step_rows(run: RunKey, place: &LogPlace, epoch: &EpochEvent) -> Result<Vec<StepRow>, IndexError> {
    let (block, log_index) = (int("block", place.block.at.number)?, int("log index", place.log_index)?);
    let steps = epoch.digests.iter().zip(&epoch.record_hashes);
    let row = |(position, (digest, record)): (u64, (&FieldElement, &Digest))| {
        Ok(StepRow {
            block,
            log_index,
            run,
            position: int("position", position)?,
            step: int("step", epoch.first_step.0.saturating_add(position))?,
            digest: digest.as_bytes().to_vec(),
            record_hash: record.0.to_vec(),
        })
    };
    (0..).zip(steps).map(row).collect()
}

/// Steps, many rows at a time.
async fn insert_steps(db: &mut AnyConnection, source: SourceKey, steps: &[StepRow]) -> Result<(), IndexError> {
    for part in steps.chunks(STEPS_PER_INSERT) {
        let rows = placeholders(part.len(), 8);
        let sql = format!(
            "INSERT INTO step (source_id, block_number, log_index, run_key, position, step, digest, record_hash) VALUES {rows}"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for StepRow { block, log_index, run, position, step, digest, record_hash } in part {
            query = query
                .bind(source.0)
                .bind(*block)
                .bind(*log_index)
                .bind(run.0)
                .bind(*position)
                .bind(*step)
                .bind(digest.clone())
                .bind(record_hash.clone());
        }
        query.execute(&mut *db).await.during("steps")?;
    }
    Ok(())
}
