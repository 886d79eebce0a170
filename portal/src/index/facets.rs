//! How many runs there are of each kind. A facet counts whatever the filter asks for in that facet itself, so that the other
//! choices are told too.

use ledger::ChainId;

use super::{
    Index,
    error::{During, IndexError},
    list::{Conditions, RunFilter, Status, Value, status},
    policy::{Optimizer, optimizer},
    read::RUNS,
    row::{Fields, int},
};

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

/// Seconds of a day.
pub const DAY: u64 = 86_400;

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
    n: u64,
}

impl Index {
    /// How many runs there are of each kind; `now` says which day is today, unix seconds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn facets(&self, filter: &RunFilter, now: u64) -> Result<Facets, IndexError> {
        let mut out =
            Facets { sizes: self.sizes(filter).await?, since: self.since(filter, now).await?, ..Facets::default() };
        for Group { status, chain, optimizer, n } in self.groups(filter).await? {
            let has_status = filter.statuses.is_empty() || filter.statuses.contains(&status);
            let has_chain = filter.chain.is_none_or(|asked| asked == chain);
            let has_optimizer = filter.optimizer.is_none_or(|asked| asked == optimizer);
            if has_chain && has_optimizer {
                add(&mut out.statuses, status, n);
            }
            if has_status && has_optimizer {
                add(&mut out.chains, chain, n);
            }
            if has_status && has_chain {
                add(&mut out.optimizers, optimizer, n);
            }
            if has_status && has_chain && has_optimizer {
                out.total += n;
            }
        }
        out.statuses.sort();
        out.chains.sort();
        out.optimizers.sort_by_key(|(optimizer, _)| Optimizer::ALL.iter().position(|other| other == optimizer));
        Ok(out)
    }

    async fn groups(&self, filter: &RunFilter) -> Result<Vec<Group>, IndexError> {
        let all = RunFilter { statuses: Vec::new(), chain: None, optimizer: None, ..filter.clone() };
        let conditions = Conditions::of(&all)?;
        let sql = format!(
            "SELECT status, chain_id, rule, COUNT(*) AS n FROM ({RUNS}) AS listed {} GROUP BY status, chain_id, rule",
            conditions.place()
        );
        let group = |row| {
            let row = Fields(row);
            let (status, optimizer) = (status(&row)?, optimizer(&row)?);
            Ok(Group { status, chain: ChainId(row.uint("chain_id")?), optimizer, n: row.uint("n")? })
        };
        conditions.query(sql).fetch_all(&self.pool).await.during("facets")?.iter().map(group).collect()
    }

    async fn sizes(&self, filter: &RunFilter) -> Result<Vec<(StepRange, u64)>, IndexError> {
        let conditions = Conditions::of(&RunFilter { min_steps: None, max_steps: None, ..filter.clone() })?;
        let counts = StepRange::ALL.map(|StepRange { min, max }| {
            let below = max.map(|max| format!(" AND size <= {max}")).unwrap_or_default();
            format!("size >= {min}{below}")
        });
        let counts = self.counts(conditions, &counts).await?;
        Ok(StepRange::ALL.into_iter().zip(counts).filter(|(_, n)| *n > 0).collect())
    }

    async fn since(&self, filter: &RunFilter, now: u64) -> Result<Vec<(u64, u64)>, IndexError> {
        let mut conditions = Conditions::of(&RunFilter { from: None, before: None, ..filter.clone() })?;
        let today = now / DAY * DAY;
        let times = SINCE_DAYS.map(|days| today.saturating_sub(days * DAY));
        let mut counts = Vec::new();
        for time in times {
            let at = conditions.bind(Value::Int(int("time", time)?));
            counts.push(format!("time >= {at}"));
        }
        let counts = self.counts(conditions, &counts).await?;
        Ok(times.into_iter().zip(counts).collect())
    }

    /// How many runs each of the tests lets through.
    async fn counts(&self, conditions: Conditions, tests: &[String]) -> Result<Vec<u64>, IndexError> {
        const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
        let sums = NAMES.iter().zip(tests).map(|(name, test)| format!("COUNT(CASE WHEN {test} THEN 1 END) AS {name}"));
        let sums: Vec<_> = sums.collect();
        let sql = format!("SELECT {} FROM ({RUNS}) AS listed {}", sums.join(", "), conditions.place());
        let row = conditions.query(sql).fetch_one(&self.pool).await.during("facets")?;
        NAMES[..sums.len()].iter().map(|name| Fields(&row).uint(name)).collect()
    }
}

fn add<T: PartialEq>(counts: &mut Vec<(T, u64)>, kind: T, n: u64) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, sum)) => *sum += n,
        None => counts.push((kind, n)),
    }
}
