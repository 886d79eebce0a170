//! What a list of runs is asked for, by pages and programs alike, and where a run is looked up.

use ledger::{Address, ChainId, RunId};

use crate::{
    index::{Cursor, Hit, Index, RunEntry, RunFilter, RunPage, RunSort},
    server::Refusal,
    time::{date, parse_date},
};

/// Runs of a page if nothing else is asked for.
const DEFAULT_LIMIT: u32 = 25;

/// Most lines of one answer; more come by cursor or as an export.
pub(crate) const MAX_LIMIT: u32 = 200;

/// Entries of a feed.
pub(crate) const MAX_ENTRIES: u32 = 50;

/// Longest text that is searched for, characters.
const MAX_SEARCH: usize = 200;

/// Name and value of each parameter, as they were typed.
pub(crate) type Pairs = Vec<(String, String)>;

/// A list of runs as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunQuery {
    /// What is searched for.
    pub(crate) search: Option<Needle>,
    /// Which runs, without the search.
    pub(crate) filter: RunFilter,
    /// In which order.
    pub(crate) sort: RunSort,
    /// From where on.
    pub(crate) cursor: Option<Cursor>,
    /// How many.
    pub(crate) limit: Option<u32>,
}

/// Bytes that are searched for: an id, an account, a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needle(Vec<u8>);

impl Needle {
    /// Reads hex with or without `0x`, and the `urn` of a magnet.
    fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected the hex digits of a run, root, state, transaction, account, infohash or record hash";
        if text.chars().count() > MAX_SEARCH {
            return Err(format!("{expected}, got more than {MAX_SEARCH} characters"));
        }
        let digits = ["0x", "0X", "urn:btih:", "urn:btmh:1220"].iter().find_map(|prefix| text.strip_prefix(prefix));
        match hex::decode(digits.unwrap_or(text)) {
            Ok(bytes) if matches!(bytes.len(), 20 | 32) => Ok(Self(bytes)),
            Ok(bytes) => Err(format!("{expected}, 20 or 32 bytes, got {}", bytes.len())),
            Err(error) => Err(format!("{expected}: {error}")),
        }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        format!("0x{}", hex::encode(&self.0))
    }
}

/// What was found for a query.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The page of runs.
    pub(crate) page: RunPage,
    /// Steps that the search hit, as run and step.
    pub(crate) steps: Vec<(RunEntry, ledger::StepIndex)>,
    /// The filter with what the search found.
    pub(crate) filter: RunFilter,
}

impl RunQuery {
    /// Reads the parameters. Empty ones, as forms send them, are not there.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub(crate) fn parse(pairs: &Pairs) -> Result<Self, Refusal> {
        let mut out = Self::default();
        for (name, value) in pairs {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "q" => out.search = Some(Needle::parse(value).map_err(|reason| malformed("q", reason))?),
                "status" => out.filter.statuses.push(typed("status", value)?),
                "chain" => out.filter.chain = Some(ChainId(number("chain", value)?)),
                "contract" => out.filter.contract = Some(typed("contract", value)?),
                "owner" => out.filter.owner = Some(typed("owner", value)?),
                "optimizer" => out.filter.optimizer = Some(typed("optimizer", value)?),
                "policy" => out.filter.policy = Some(typed("policy", value)?),
                "parent" => out.filter.parent = Some(typed("parent", value)?),
                "min_steps" => out.filter.min_steps = Some(number("min_steps", value)?),
                "max_steps" => out.filter.max_steps = Some(number("max_steps", value)?),
                "from" => out.filter.from = Some(day("from", value)?),
                "before" => out.filter.before = Some(day("before", value)?),
                "sort" => out.sort = typed("sort", value)?,
                "cursor" => out.cursor = Some(typed("cursor", value)?),
                "limit" => {
                    let limit = number("limit", value)?;
                    let in_range = u32::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let reason = || format!("expected 1 to {MAX_LIMIT}, got {limit}");
                    out.limit = Some(in_range.ok_or_else(|| malformed("limit", reason()))?);
                }
                _ => {
                    let name: String = name.chars().take(40).collect();
                    return Err(malformed("query", format!("there is no parameter {name:?}")));
                }
            }
        }
        out.filter.statuses.sort();
        out.filter.statuses.dedup();
        Ok(out)
    }

    /// The parameters of a feed: whatever they ask for, the runs that were anchored last.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub(crate) fn last_anchored(pairs: &Pairs) -> Result<Self, Refusal> {
        Ok(Self { sort: RunSort::Anchored, limit: Some(MAX_ENTRIES), ..Self::parse(pairs)? })
    }

    /// The same list as a query string, from another place on. What was typed is written anew, so nothing needs escaping.
    pub(crate) fn to_query(&self, cursor: Option<Cursor>) -> String {
        let RunFilter {
            statuses,
            chain,
            contract,
            owner,
            optimizer,
            policy,
            parent,
            min_steps,
            max_steps,
            from,
            before,
            keys: _,
        } = &self.filter;
        let mut parts: Vec<String> = statuses.iter().map(|status| format!("status={}", status.code())).collect();
        let mut add = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name}={value}")));
        add("q", self.search.as_ref().map(Needle::text));
        add("chain", chain.map(|chain| chain.to_string()));
        add("contract", contract.map(|contract| contract.to_string()));
        add("owner", owner.map(|owner| owner.to_string()));
        add("optimizer", optimizer.map(|optimizer| optimizer.code().to_owned()));
        add("policy", policy.map(|policy| policy.to_string()));
        add("parent", parent.map(|parent| parent.to_string()));
        add("min_steps", min_steps.map(|steps| steps.to_string()));
        add("max_steps", max_steps.map(|steps| steps.to_string()));
        add("from", from.map(date));
        add("before", before.map(date));
        add("sort", (self.sort != RunSort::default()).then(|| self.sort.code().to_owned()));
        add("limit", self.limit.map(|limit| limit.to_string()));
        add("cursor", cursor.map(|cursor| cursor.to_string()));
        parts.join("&")
    }

    /// The same list, from its start, with another filter.
    pub(crate) fn with(&self, change: impl FnOnce(&mut RunFilter)) -> Self {
        let mut out = Self { cursor: None, ..self.clone() };
        change(&mut out.filter);
        out
    }

    /// Asks the index.
    ///
    /// # Errors
    /// If the index fails.
    pub(crate) async fn run(&self, index: &Index) -> Result<Found, Refusal> {
        let (mut filter, mut steps) = (self.filter.clone(), Vec::new());
        if let Some(Needle(bytes)) = &self.search {
            let mut keys = Vec::new();
            for hit in index.find(bytes).await? {
                match hit {
                    Hit::Run(key) => keys.push(key),
                    Hit::Step(key, step) => {
                        keys.push(key);
                        if let Some(run) = index.run(key).await?.filter(|run| step.0 < run.size.0) {
                            steps.push((run, step));
                        }
                    }
                }
            }
            keys.sort();
            keys.dedup();
            filter.keys = Some(keys);
        }
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let page = index.list(&filter, self.sort, self.cursor, limit).await?;
        Ok(Found { page, steps, filter })
    }
}

/// The run of an address, and of a contract if one is named.
///
/// # Errors
/// [`Refusal::Malformed`], [`Refusal::NoRun`], [`Refusal::SeveralRuns`], or the index fails.
pub(crate) async fn resolve(index: &Index, run: &str, pairs: &Pairs) -> Result<RunEntry, Refusal> {
    let run: RunId = typed("run", run)?;
    let contract = parameter(pairs, "contract").map(|text| typed::<Address>("contract", text)).transpose()?;
    let mut found = index.runs_by_id(run).await?;
    found.retain(|entry| contract.is_none_or(|contract| contract == entry.contract));
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(Refusal::NoRun { run }),
        (Some(entry), []) => Ok(entry),
        (Some(entry), others) => {
            let contracts = others.iter().chain([&entry]).map(|entry| entry.contract).collect();
            Err(Refusal::SeveralRuns { run, contracts })
        }
    }
}

/// A parameter that is there and not empty.
pub(crate) fn parameter<'p>(pairs: &'p Pairs, name: &str) -> Option<&'p str> {
    pairs.iter().find(|(key, value)| key == name && !value.trim().is_empty()).map(|(_, value)| value.trim())
}

/// The parameters that an address takes besides `contract`.
///
/// # Errors
/// [`Refusal::Malformed`] for any other.
pub(crate) fn only(pairs: &Pairs, names: &[&str]) -> Result<(), Refusal> {
    match pairs.iter().find(|(name, _)| name != "contract" && !names.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let name: String = name.chars().take(40).collect();
            Err(malformed("query", format!("there is no parameter {name:?}")))
        }
    }
}

/// A whole number that the index can hold.
pub(crate) fn number(what: &'static str, text: &str) -> Result<u64, Refusal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && i64::try_from(*number).is_ok());
    number.ok_or_else(|| malformed(what, format!("expected a whole number up to {}", i64::MAX)))
}

/// Lines of an answer.
pub(crate) fn limit(pairs: &Pairs) -> Result<u32, Refusal> {
    let Some(text) = parameter(pairs, "limit") else { return Ok(MAX_LIMIT) };
    let limit = number("limit", text)?;
    let in_range = u32::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    in_range.ok_or_else(|| malformed("limit", format!("expected 1 to {MAX_LIMIT}, got {limit}")))
}

pub(crate) fn typed<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &'static str,
    text: &str,
) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| malformed(what, error.to_string()))
}

fn day(what: &'static str, text: &str) -> Result<u64, Refusal> {
    parse_date(text).ok_or_else(|| malformed(what, "expected a day as YYYY-MM-DD".to_owned()))
}

fn malformed(what: &'static str, reason: String) -> Refusal {
    Refusal::Malformed { what, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Pairs {
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn a_query_is_written_as_it_was_read() {
        let text = format!(
            "status=verified&status=frozen&q=0x{}&chain=31337&owner=0x{}&optimizer=sgd&min_steps=4&max_steps=9&from=2023-11-14\
             &before=2024-02-29&sort=steps&limit=7&cursor=12-3",
            "ab".repeat(32),
            "0a".repeat(20)
        );
        let query = RunQuery::parse(&pairs(&text)).unwrap();
        assert_eq!(query.to_query(query.cursor), text);
        assert_eq!(RunQuery::parse(&pairs(&query.to_query(query.cursor))).unwrap(), query);
    }

    #[test]
    fn empty_fields_of_a_form_ask_for_nothing() {
        assert_eq!(RunQuery::parse(&pairs("q=&status=&chain=&from=&sort=&min_steps=")).unwrap(), RunQuery::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let cases = [
            ("q=<script>", "q"),
            ("q=0x1234", "q"),
            ("status=good", "status"),
            ("chain=-1", "chain"),
            ("chain=9223372036854775808", "chain"),
            ("owner=0x12", "owner"),
            ("optimizer=lion", "optimizer"),
            ("min_steps=1e3", "min_steps"),
            ("max_steps=18446744073709551615", "max_steps"),
            ("from=yesterday", "from"),
            ("sort=up", "sort"),
            ("cursor=1", "cursor"),
            ("cursor=1--2", "cursor"),
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("colour=red", "query"),
        ];
        for (text, expected) in cases {
            let Err(Refusal::Malformed { what, .. }) = RunQuery::parse(&pairs(text)) else {
                panic!("{text} was taken")
            };
            assert_eq!(what, expected, "{text}");
        }
    }
}
