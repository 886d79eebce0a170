//! The file that names receivers of webhooks.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde::Deserialize;

use super::message::{Secret, SecretError};
use crate::{
    api::query::RunQuery,
    index::{RunFilter, RunSort},
};

/// Longest file.
const MAX_BYTES: u64 = 1 << 20;

/// A receiver.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What it is called: what it was told is kept under this name.
    pub name: String,
    /// Where messages go. May hold a password.
    pub url: Url,
    /// What they are signed with.
    pub secret: Secret,
    /// Which runs it is told of.
    pub filter: RunFilter,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is longer than any such file.
    #[error("{}: expected at most {MAX_BYTES} bytes, got {got}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        got: u64,
    },
    /// It is not the JSON that is expected.
    #[error("{}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A field of a receiver is wrong.
    #[error("{}: hook {hook:?}, {field}: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The receiver.
        hook: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hooks: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    secret_file: PathBuf,
    #[serde(default)]
    runs: String,
}

impl Hook {
    /// Reads `{"hooks": [{"name", "url", "secret_file", "runs"}]}`. `runs` is a filter as in `/api/v1/runs?…` without
    /// status, search, sort and page: messages tell of changes of the status. Secrets are beside the file if their path is
    /// relative.
    ///
    /// # Errors
    /// [`HookError`], at the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Vec<Self>, HookError> {
        let text = read(path)?;
        let file: File =
            serde_json::from_str(&text).map_err(|source| HookError::Json { path: path.to_owned(), source })?;
        let mut names = BTreeSet::new();
        let mut hooks = Vec::new();
        for entry in file.hooks {
            let wrong = |field, reason: String| HookError::Field {
                path: path.to_owned(),
                hook: entry.name.clone(),
                field,
                reason,
            };
            if entry.name.is_empty() || !names.insert(entry.name.clone()) {
                return Err(wrong("name", "expected a name that no other hook has".to_owned()));
            }
            let url: Url = entry.url.parse().map_err(|error| wrong("url", format!("{error}")))?;
            if !matches!(url.scheme(), "https" | "http") {
                return Err(wrong("url", format!("expected https or http, got {:?}", url.scheme())));
            }
            let secret = read(&path.parent().unwrap_or(Path::new("")).join(&entry.secret_file))?;
            let secret = secret.parse().map_err(|error: SecretError| wrong("secret_file", error.to_string()))?;
            let filter = filter(&entry.runs).map_err(|reason| wrong("runs", reason))?;
            hooks.push(Self { name: entry.name, url, secret, filter });
        }
        Ok(hooks)
    }
}

fn read(path: &Path) -> Result<String, HookError> {
    let failed = |source| HookError::Read { path: path.to_owned(), source };
    let got = fs::metadata(path).map_err(failed)?.len();
    if got > MAX_BYTES {
        return Err(HookError::TooLong { path: path.to_owned(), got });
    }
    fs::read_to_string(path).map_err(failed)
}

fn filter(text: &str) -> Result<RunFilter, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let query = RunQuery::parse(&pairs).map_err(|error| error.to_string())?;
    let whole = RunQuery { filter: query.filter.clone(), ..RunQuery::default() };
    if query != whole
        || !query.filter.statuses.is_empty()
        || query.filter.optimizer.is_some()
        || query.sort != RunSort::default()
    {
        return Err(
            "expected chain, contract, owner, policy, parent, min_steps, max_steps, from and before only".to_owned()
        );
    }
    Ok(query.filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_by_what_changes_is_refused() {
        assert_eq!(filter("").unwrap(), RunFilter::default());
        assert_eq!(filter("chain=5").unwrap().chain.map(|chain| chain.0), Some(5));
        for text in ["status=verified", "optimizer=adamw", "sort=steps", "limit=3", "q=0x00", "chain=x", "colour=red"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
