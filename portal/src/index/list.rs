//! Lists of runs: which, in which order, and from where on.

use std::{fmt, str::FromStr};

use ledger::{Address, ChainId, FieldElement, RunId, Selector};
use sqlx::{Any, any::AnyArguments, query::Query};

use super::{
    Index, RunKey,
    error::{During, IndexError},
    policy::Optimizer,
    read::{RUNS, RunEntry, entries},
    row::{Fields, int},
};

/// What a run's events, the contract's head and the verified bundles amount to. Computed whenever it is shown; nothing sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The contract's head says what the events say, and a bundle of exactly this size and root passed every check.
    Verified,
    /// The contract's head says what the events say; no bundle was checked yet.
    BundleNotSeen,
    /// Bundles that passed cover fewer steps than are anchored.
    PartlyCovered,
    /// The run's verifiers accept nothing any more.
    Frozen,
    /// The events do not fit together.
    Conflict,
    /// A bundle that was announced on chain for this run failed its checks, and none passed.
    Invalid,
    /// The run is bound to a policy; nothing is anchored yet.
    Registered,
    /// Epochs are missing, or the contract's head has not said the same yet.
    Unconfirmed,
}

impl Status {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Verified,
        Self::BundleNotSeen,
        Self::PartlyCovered,
        Self::Frozen,
        Self::Conflict,
        Self::Invalid,
        Self::Registered,
        Self::Unconfirmed,
    ];

    /// The word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::BundleNotSeen => "bundle_not_seen",
            Self::PartlyCovered => "partly_covered",
            Self::Frozen => "frozen",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Registered => "registered",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Verified => "anchored and verified",
            Self::BundleNotSeen => "anchored, bundle not seen",
            Self::PartlyCovered => "partly covered",
            Self::Frozen => "verifier frozen",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Registered => "registered, nothing anchored",
            Self::Unconfirmed => "not confirmed yet",
        }
    }

    /// One sentence of what it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Verified => {
                "The contract holds this root and state, and a bundle of exactly these steps passed every check here."
            }
            Self::BundleNotSeen => {
                "The contract checked an epoch proof for every step. This portal has not checked the files of the run."
            }
            Self::PartlyCovered => {
                "Files were checked here for an earlier part of the run, not for all that is anchored."
            }
            Self::Frozen => "The verifier that accepted this run was stopped by its guardian. Do not rely on it.",
            Self::Conflict => "The chain's events of this run contradict each other. Do not rely on it.",
            Self::Invalid => "A bundle that was announced for this run failed its checks.",
            Self::Registered => "The run is bound to a policy on chain. No epoch is anchored.",
            Self::Unconfirmed => "The events seen so far were not confirmed by the contract's own head.",
        }
    }
}

/// A word that is no [`Status`], no [`RunSort`], no [`Optimizer`] or no [`Cursor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct WordError {
    /// What is understood.
    pub expected: &'static str,
    /// What came, its first 40 characters.
    pub got: String,
}

impl WordError {
    pub(super) fn new(expected: &'static str, got: &str) -> Self {
        Self { expected, got: got.chars().take(40).collect() }
    }
}

impl FromStr for Status {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let expected =
            "verified, bundle_not_seen, partly_covered, frozen, conflict, invalid, registered or unconfirmed";
        Self::ALL.into_iter().find(|status| status.code() == text).ok_or_else(|| WordError::new(expected, text))
    }
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only these, which a search found.
    pub keys: Option<Vec<RunKey>>,
    /// Only with one of these statuses; all if empty.
    pub statuses: Vec<Status>,
    /// Only of this chain.
    pub chain: Option<ChainId>,
    /// Only of this contract.
    pub contract: Option<Address>,
    /// Only of this owner.
    pub owner: Option<Address>,
    /// Only with this optimizer.
    pub optimizer: Option<Optimizer>,
    /// Only under this policy.
    pub policy: Option<FieldElement>,
    /// Only those that started from the end of this run.
    pub parent: Option<RunId>,
    /// At least so many anchored steps.
    pub min_steps: Option<u64>,
    /// At most so many anchored steps.
    pub max_steps: Option<u64>,
    /// Registered then or later, unix seconds.
    pub from: Option<u64>,
    /// Registered before, unix seconds.
    pub before: Option<u64>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunSort {
    /// Last registered first.
    #[default]
    Newest,
    /// First registered first.
    Oldest,
    /// Most anchored steps first.
    Steps,
    /// Last anchored first.
    Anchored,
}

impl RunSort {
    /// All orders.
    pub const ALL: [Self; 4] = [Self::Newest, Self::Oldest, Self::Steps, Self::Anchored];

    /// The word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Steps => "steps",
            Self::Anchored => "anchored",
        }
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Oldest => "oldest first",
            Self::Steps => "most steps first",
            Self::Anchored => "last anchored first",
        }
    }

    /// Column, direction, and the comparison that means "after".
    fn column(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Newest => ("run.registered_time", "DESC", "<"),
            Self::Oldest => ("run.registered_time", "ASC", ">"),
            Self::Steps => ("run.size", "DESC", "<"),
            Self::Anchored => ("run.anchored_time", "DESC", "<"),
        }
    }

    fn value(self, run: &RunEntry) -> Result<i64, IndexError> {
        match self {
            Self::Newest | Self::Oldest => int("time", run.registered_at),
            Self::Steps => int("size", run.size.0),
            Self::Anchored => int("time", run.anchored_at.unwrap_or(0)),
        }
    }
}

impl FromStr for RunSort {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let expected = "newest, oldest, steps or anchored";
        Self::ALL.into_iter().find(|sort| sort.code() == text).ok_or_else(|| WordError::new(expected, text))
    }
}

/// Where a page ended, in the order that it was asked for in. As text: `value-key`, both decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    value: i64,
    key: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.value, self.key)
    }
}

impl FromStr for Cursor {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok());
        let parts = text.split_once('-').and_then(|(value, key)| Some((number(value)??, number(key)??)));
        let (value, key) = parts.ok_or_else(|| WordError::new("a cursor of the page before", text))?;
        Ok(Self { value, key })
    }
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunEntry>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Cursor>,
}

/// A verifier contract that accepted epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifierEntry {
    /// The chain.
    pub chain: ChainId,
    /// The `RunAnchor`.
    pub contract: Address,
    /// Selector of the runs that it accepted epochs of.
    pub selector: Selector,
    /// The verifier.
    pub verifier: Address,
    /// Epochs that it accepted.
    pub n_epochs: u64,
    /// Runs that they are of.
    pub n_runs: u64,
    /// Whether it accepts nothing any more, when the contract was last asked.
    pub frozen: bool,
    /// When it last accepted one, unix seconds.
    pub last_at: u64,
}

impl Index {
    /// A page of registered runs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(
        &self,
        filter: &RunFilter,
        sort: RunSort,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunPage, IndexError> {
        let mut conditions = Conditions::of(filter)?;
        let (column, direction, beyond) = sort.column();
        if let Some(Cursor { value, key }) = after {
            let (value, key) = (conditions.bind(Value::Int(value)), conditions.bind(Value::Int(key)));
            conditions.and(format!("({column} {beyond} {value} OR ({column} = {value} AND run.id {beyond} {key}))"));
        }
        let n_asked = i64::from(limit) + 1;
        let limit_at = conditions.bind(Value::Int(n_asked));
        let order = format!("ORDER BY {column} {direction}, run.id {direction}");
        let page = format!("SELECT run.id {LISTED}{} {order} LIMIT {limit_at}", conditions.text());
        let sql = format!("{RUNS} AND run.id IN ({page}) {order}");
        let rows = conditions.query(sql).fetch_all(&self.pool).await.during("list")?;
        let mut runs = entries(rows)?;
        let is_last = runs.len() < n_asked as usize;
        runs.truncate(limit as usize);
        let next = match runs.last() {
            Some(last) if !is_last => Some(Cursor { value: sort.value(last)?, key: last.key.0 }),
            _ => None,
        };
        Ok(RunPage { runs, next })
    }

    /// Verifiers that accepted epochs, those that did so last first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn verifiers(&self, limit: u32) -> Result<Vec<VerifierEntry>, IndexError> {
        let select = "SELECT source.chain_id, source.contract, registered.selector, epoch.verifier, COUNT(*) AS n_epochs, \
            COUNT(DISTINCT epoch.run_key) AS n_runs, MAX(run.frozen) AS frozen, MAX(block.time) AS last_at \
            FROM epoch JOIN source ON source.id = epoch.source_id JOIN run ON run.id = epoch.run_key \
            JOIN registered ON registered.run_key = epoch.run_key \
            JOIN block ON block.source_id = epoch.source_id AND block.number = epoch.block_number \
            GROUP BY source.chain_id, source.contract, registered.selector, epoch.verifier \
            ORDER BY MAX(block.time) DESC, epoch.verifier LIMIT $1";
        let rows = sqlx::query(select).bind(i64::from(limit)).fetch_all(&self.pool).await.during("verifiers")?;
        let verifier = |row| {
            let row = Fields(row);
            Ok(VerifierEntry {
                chain: ChainId(row.uint("chain_id")?),
                contract: Address(row.array("contract")?),
                selector: Selector(row.array("selector")?),
                verifier: Address(row.array("verifier")?),
                n_epochs: row.uint("n_epochs")?,
                n_runs: row.uint("n_runs")?,
                frozen: row.int("frozen")? != 0,
                last_at: row.uint("last_at")?,
            })
        };
        rows.iter().map(verifier).collect()
    }
}

/// The status in a row of [`RUNS`].
pub(super) fn status(row: &Fields<'_>) -> Result<Status, IndexError> {
    let word = row.opt_text("status")?.unwrap_or_default();
    word.parse().map_err(|error: WordError| IndexError::Stored { what: "status", reason: error.to_string() })
}

/// What a placeholder stands for.
pub(super) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
}

/// Registered runs by what is kept of them. [`Conditions`] follow.
pub(super) const LISTED: &str = "FROM run JOIN source ON source.id = run.source_id \
    LEFT JOIN policy ON policy.digest = run.policy WHERE run.registered_time IS NOT NULL";

/// Conditions on what [`LISTED`] names, and the values of their placeholders.
#[derive(Default)]
pub(super) struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    pub(super) fn of(filter: &RunFilter) -> Result<Self, IndexError> {
        let mut out = Self::default();
        if let Some(keys) = &filter.keys {
            // No key is listed if the search found nothing.
            let keys: Vec<String> = keys.iter().map(|key| key.0.to_string()).chain(["-1".to_owned()]).collect();
            out.and(format!("run.id IN ({})", keys.join(", ")));
        }
        if !filter.statuses.is_empty() {
            let words: Vec<String> = filter.statuses.iter().map(|status| format!("'{}'", status.code())).collect();
            out.and(format!("run.status IN ({})", words.join(", ")));
        }
        match filter.optimizer {
            Some(known @ Optimizer::Known(_)) => out.and(format!("policy.rule = '{}'", known.code())),
            Some(Optimizer::Unknown) => out.and("policy.rule IS NULL".to_owned()),
            None => {}
        }
        let bytes = [
            ("source.contract", filter.contract.map(|contract| contract.0.to_vec())),
            ("run.owner", filter.owner.map(|owner| owner.0.to_vec())),
            ("run.policy", filter.policy.map(|policy| policy.as_bytes().to_vec())),
            ("run.parent", filter.parent.map(|parent| parent.to_field().as_bytes().to_vec())),
        ];
        for (column, value) in bytes {
            if let Some(value) = value {
                let at = out.bind(Value::Bytes(value));
                out.and(format!("{column} = {at}"));
            }
        }
        let ints = [
            ("source.chain_id =", filter.chain.map(|chain| chain.0)),
            ("run.size >=", filter.min_steps),
            ("run.size <=", filter.max_steps),
            ("run.registered_time >=", filter.from),
            ("run.registered_time <", filter.before),
        ];
        for (comparison, value) in ints {
            if let Some(value) = value {
                let at = out.bind(Value::Int(int("filter", value)?));
                out.and(format!("{comparison} {at}"));
            }
        }
        Ok(out)
    }

    fn and(&mut self, condition: String) {
        self.sql.push(condition);
    }

    /// The placeholder of a value.
    pub(super) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// All of them, each behind an `AND`.
    pub(super) fn text(&self) -> String {
        self.sql.iter().map(|condition| format!(" AND {condition}")).collect()
    }

    pub(super) fn query(self, sql: String) -> Query<'static, Any, AnyArguments> {
        // The text is made of our own words; whatever was typed is bound.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for value in self.values {
            query = match value {
                Value::Int(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }
}
