//! How many runs there are of each kind. A facet counts whatever the filter asks for in that facet itself, so that the other
//! choices are told too.

use ledger::ChainId;

use super::{
    Index,
    error::{During, IndexError},
    list::{Conditions, LISTED, RunFilter, Status, status},
    policy::{Optimizer, optimizer},
    row::Fields,
};
use crate::time::{DAY, day_of};

/// A range of numbers of anchored steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRange {
    /// At least.
    pub min: u64,
    /// At most; none if there is no end.
    pub max: Option<u64>,
}

impl StepRange {
    /// All of them: each number is in exactly one.
    pub const ALL: [Self; 5] = [
        Self { min: 0, max: Some(9) },
        Self { min: 10, max: Some(99) },
        Self { min: 100, max: Some(999) },
        Self { min: 1_000, max: Some(9_999) },
        Self { min: 10_000, max: None },
    ];
}

/// Days before today, from which on registrations are counted.
pub const SINCE_DAYS: [u64; 4] = [1, 7, 30, 365];

/// How many runs there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// By status, whichever statuses the filter asks for.
    pub statuses: Vec<(Status, u64)>,
    /// By chain, whichever chain the filter asks for.
    pub chains: Vec<(ChainId, u64)>,
    /// By optimizer, whichever optimizer the filter asks for.
    pub optimizers: Vec<(Optimizer, u64)>,
    /// By number of steps, whichever numbers the filter asks for.
    pub sizes: Vec<(StepRange, u64)>,
    /// Registered at this time or later, whichever times the filter asks for.
    pub since: Vec<(u64, u64)>,
    /// That the whole filter lets through.
    pub total: u64,
}

/// Runs that have these in common.
struct Group {
    status: Status,
    chain: ChainId,
    optimizer: Optimizer,
    /// In [`StepRange::ALL`].
    steps: usize,
    /// In [`SINCE_DAYS`]: the first that it counts for; their number if none.
    since: usize,
    /// Whether the filter's numbers of steps let them through, and its times.
    has_steps: bool,
    has_time: bool,
    n: u64,
}

impl Index {
    /// How many runs there are of each kind; `now` says which day is today, unix seconds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn facets(&self, filter: &RunFilter, now: u64) -> Result<Facets, IndexError> {
        let times = SINCE_DAYS.map(|days| day_of(now).saturating_sub(days * DAY));
        let mut out = Facets { since: times.map(|time| (time, 0)).to_vec(), ..Facets::default() };
        for group in self.groups(filter, &times).await? {
            let Group { status, chain, optimizer, n, .. } = group;
            let has_status = filter.statuses.is_empty() || filter.statuses.contains(&status);
            let has_chain = filter.chain.is_none_or(|asked| asked == chain);
            let has_optimizer = filter.optimizer.is_none_or(|asked| asked == optimizer);
            let has = [has_status, has_chain, has_optimizer, group.has_steps, group.has_time];
            let but = |facet: usize| has.iter().enumerate().all(|(at, has)| at == facet || *has);
            if but(0) {
                add(&mut out.statuses, status, n);
            }
            if but(1) {
                add(&mut out.chains, chain, n);
            }
            if but(2) {
                add(&mut out.optimizers, optimizer, n);
            }
            if but(3) {
                add(&mut out.sizes, StepRange::ALL[group.steps], n);
            }
            if but(4) {
                out.since.iter_mut().skip(group.since).for_each(|(_, sum)| *sum += n);
            }
            if has.iter().all(|has| *has) {
                out.total += n;
            }
        }
        out.statuses.sort();
        out.chains.sort();
        out.optimizers.sort_by_key(|(optimizer, _)| Optimizer::ALL.iter().position(|other| other == optimizer));
        out.sizes.sort_by_key(|(range, _)| range.min);
        Ok(out)
    }

    /// The runs that all but the filter's facets let through.
    async fn groups(&self, filter: &RunFilter, times: &[u64]) -> Result<Vec<Group>, IndexError> {
        let others = RunFilter {
            statuses: Vec::new(),
            chain: None,
            optimizer: None,
            min_steps: None,
            max_steps: None,
            from: None,
            before: None,
            ..filter.clone()
        };
        let conditions = Conditions::of(&others)?;
        let steps = first_of(StepRange::ALL.iter().map(|range| match range.max {
            Some(max) => format!("run.size <= {max}"),
            None => "1 = 1".to_owned(),
        }));
        let since = first_of(times.iter().map(|time| format!("run.registered_time >= {time}")));
        let has_steps = within("run.size", filter.min_steps, filter.max_steps.map(|max| max.saturating_add(1)));
        let has_time = within("run.registered_time", filter.from, filter.before);
        let sql = format!(
            "SELECT status, chain_id, rule, steps, since, has_steps, has_time, COUNT(*) AS n FROM \
             (SELECT run.status, source.chain_id, policy.rule, {steps} AS steps, {since} AS since, {has_steps} AS has_steps, \
              {has_time} AS has_time {LISTED}{}) AS listed \
             GROUP BY status, chain_id, rule, steps, since, has_steps, has_time",
            conditions.text()
        );
        let group = |row| {
            let row = Fields(row);
            let at = |name, end: usize| Ok(usize::try_from(row.uint(name)?).unwrap_or(end).min(end));
            Ok(Group {
                status: status(&row)?,
                chain: ChainId(row.uint("chain_id")?),
                optimizer: optimizer(&row)?,
                steps: at("steps", StepRange::ALL.len() - 1)?,
                since: at("since", times.len())?,
                has_steps: row.int("has_steps")? != 0,
                has_time: row.int("has_time")? != 0,
                n: row.uint("n")?,
            })
        };
        conditions.query(sql).fetch_all(&self.pool).await.during("facets")?.iter().map(group).collect()
    }
}

/// Number of the first test that a row passes; their number if it passes none.
fn first_of(tests: impl Iterator<Item = String>) -> String {
    let (mut cases, mut n) = (String::new(), 0);
    for test in tests {
        cases.push_str(&format!(" WHEN {test} THEN {n}"));
        n += 1;
    }
    format!("CAST(CASE{cases} ELSE {n} END AS BIGINT)")
}

/// Whether a column is in a range, as 0 or 1.
fn within(column: &str, from: Option<u64>, before: Option<u64>) -> String {
    let from = from.map(|from| format!(" AND {column} >= {from}")).unwrap_or_default();
    let before = before.map(|before| format!(" AND {column} < {before}")).unwrap_or_default();
    format!("CAST(CASE WHEN 1 = 1{from}{before} THEN 1 ELSE 0 END AS BIGINT)")
}

fn add<T: PartialEq>(counts: &mut Vec<(T, u64)>, kind: T, n: u64) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, sum)) => *sum += n,
        None => counts.push((kind, n)),
    }
}
