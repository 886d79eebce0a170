//! What a store has, by the names of its objects. Names are anybody's: only those of runs and their files become paths.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, path::Path};
use serde::{Deserialize, Serialize};
use store::layout::{EPOCHS_DIR, PROOFS_DIR, RunFile};

use super::RemoteError;
use crate::bundles::survey::{Limits, TooMuch, run_of};

/// Most objects of a store.
const MAX_OBJECTS: usize = 1 << 21;

/// Longest name that is repeated, characters.
const MAX_NAME: usize = 200;

/// An object, as far as it tells whether it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Its bytes.
    pub(super) size: u64,
    /// The store's word for what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) e_tag: Option<String>,
    /// When it last changed, if there is no such word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
}

impl From<&ObjectMeta> for Version {
    fn from(object: &ObjectMeta) -> Self {
        let e_tag = object.e_tag.clone();
        let modified = e_tag.is_none().then(|| object.last_modified.to_rfc3339());
        Self { size: object.size, e_tag, modified }
    }
}

/// The objects of a run, by the name of the file in its directory. Each is one that runs have.
pub(super) type Objects = BTreeMap<String, Version>;

/// Why nothing of a run is fetched. What is here of it stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// An object that no run has.
    #[error("{key:?}: not a file of a run")]
    Foreign {
        /// Its name, cut.
        key: String,
    },
    /// The store lists names that are no paths, such as with `..` in them.
    #[error("a name is not a path: {reason}")]
    Name {
        /// What is wrong.
        reason: String,
    },
    /// Two objects are one file.
    #[error("{key:?}: listed twice")]
    Twice {
        /// The name.
        key: String,
    },
    /// More than a bundle may have.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// Runs of a store, by the names of their directories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) runs: BTreeMap<String, Result<Objects, ObjectsError>>,
    /// Whether there are more runs than are looked at.
    pub(super) more: bool,
}

/// Lists a store below a prefix.
///
/// A name that is no path ends the store's answer for all; each run is asked for by itself then, so that it ends no other's.
///
/// # Errors
/// [`RemoteError::Store`], [`RemoteError::Objects`].
pub(super) async fn list(store: &dyn ObjectStore, prefix: &Path, limits: &Limits) -> Result<Listing, RemoteError> {
    match all(store, prefix).await {
        Ok(found) => Ok(sort(prefix, &found, limits)),
        Err(RemoteError::Store(object_store::Error::InvalidPath { .. })) => one_by_one(store, prefix, limits).await,
        Err(error) => Err(error),
    }
}

async fn all(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<ObjectMeta>, RemoteError> {
    let (mut stream, mut found) = (store.list(Some(prefix)), Vec::new());
    while let Some(object) = stream.try_next().await? {
        if found.len() >= MAX_OBJECTS {
            return Err(RemoteError::Objects { limit: MAX_OBJECTS });
        }
        found.push(object);
    }
    Ok(found)
}

async fn one_by_one(store: &dyn ObjectStore, prefix: &Path, limits: &Limits) -> Result<Listing, RemoteError> {
    let mut listing = Listing::default();
    let mut left = MAX_OBJECTS;
    for run in store.list_with_delimiter(Some(prefix)).await?.common_prefixes {
        let Some(name) = run.filename().filter(|name| run_of(name).is_some()) else { continue };
        match all(store, &run).await {
            Ok(found) => {
                left = left.checked_sub(found.len()).ok_or(RemoteError::Objects { limit: MAX_OBJECTS })?;
                listing.runs.extend(sort(prefix, &found, limits).runs);
            }
            Err(RemoteError::Store(object_store::Error::InvalidPath { source })) => {
                let refusal = ObjectsError::Name { reason: cut(&source.to_string()) };
                listing.runs.insert(name.to_owned(), Err(refusal));
            }
            Err(error) => return Err(error),
        }
    }
    listing.limit(limits);
    Ok(listing)
}

impl Listing {
    /// Leaves out the runs behind the last that is looked at, by name.
    fn limit(&mut self, limits: &Limits) {
        while self.runs.len() > limits.max_bundles {
            self.runs.pop_last();
            self.more = true;
        }
    }
}

/// Which run and file each object is. Those of no run are not looked at, nor is what is hidden.
fn sort(prefix: &Path, found: &[ObjectMeta], limits: &Limits) -> Listing {
    let mut listing = Listing::default();
    for object in found {
        let key = object.location.as_ref();
        let Some(inside) = below(prefix, key) else { continue };
        let (name, file) = inside.split_once('/').unwrap_or((inside, ""));
        if run_of(name).is_none() {
            continue;
        }
        let run = listing.runs.entry(name.to_owned()).or_insert_with(|| Ok(Objects::new()));
        if let Ok(objects) = run
            && let Err(refusal) = add(objects, object, file, limits)
        {
            *run = Err(refusal);
        }
    }
    // A name without a file is a folder's mark in some stores.
    listing.runs.retain(|_, run| run.as_ref().map_or(true, |objects| !objects.is_empty()));
    for run in listing.runs.values_mut() {
        if let Ok(objects) = run
            && let Err(refusal) = limits.check_bytes(bytes(objects))
        {
            *run = Err(refusal.into());
        }
    }
    listing.limit(limits);
    listing
}

/// Bytes of all objects.
fn bytes(objects: &Objects) -> u64 {
    objects.values().fold(0, |sum, version| sum.saturating_add(version.size))
}

fn add(objects: &mut Objects, object: &ObjectMeta, file: &str, limits: &Limits) -> Result<(), ObjectsError> {
    let is_folder = object.size == 0 && ["", PROOFS_DIR, EPOCHS_DIR].contains(&file);
    if is_folder || file.split('/').any(|part| part.starts_with('.')) {
        return Ok(());
    }
    let key = || cut(object.location.as_ref());
    // Exactly the names that runs write: none leads anywhere else, and no two are one file on any disk.
    RunFile::parse(file).ok_or_else(|| ObjectsError::Foreign { key: key() })?;
    if objects.insert(file.to_owned(), object.into()).is_some() {
        return Err(ObjectsError::Twice { key: key() });
    }
    Ok(limits.check_files(objects.len() as u64)?)
}

/// What follows a prefix in the name of an object.
fn below<'a>(prefix: &Path, key: &'a str) -> Option<&'a str> {
    if prefix.is_root() { Some(key) } else { key.strip_prefix(prefix.as_ref())?.strip_prefix('/') }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        format!("run-0x{}", "00".repeat(31) + "07")
    }

    fn object(key: &str, size: u64) -> ObjectMeta {
        let last_modified = "2026-01-02T03:04:05Z".parse().unwrap();
        let (e_tag, version) = (Some(format!("\"{size}\"")), None);
        ObjectMeta { location: Path::parse(key).unwrap(), last_modified, size, e_tag, version }
    }

    fn sorted(prefix: &str, keys: &[(String, u64)], limits: &Limits) -> Listing {
        let found: Vec<_> = keys.iter().map(|(key, size)| object(key, *size)).collect();
        sort(&Path::parse(prefix).unwrap(), &found, limits)
    }

    #[test]
    fn runs_are_found_below_the_prefix_and_nothing_else_is() {
        let run = name();
        let keys = [
            (format!("a/b/{run}/run.json"), 5),
            (format!("a/b/{run}/proofs/step_000001.proof"), 7),
            (format!("a/b/{run}/.lock"), 0),
            (format!("a/b/{run}/proofs/"), 0),
            (format!("a/b/{run}.torrent"), 9),
            (format!("a/b/other/{run}/run.json"), 9),
            (format!("a/bb/{run}/run.json"), 9),
            (format!("a/b/{}/run.json", run.to_uppercase()), 9),
            ("a/b/run-0x07/run.json".to_owned(), 9),
        ];
        let listing = sorted("a/b", &keys, &Limits::default());
        let objects = listing.runs[&run].as_ref().unwrap();
        let sizes: Vec<_> = objects.iter().map(|(file, version)| (file.as_str(), version.size)).collect();
        assert_eq!(sizes, [("proofs/step_000001.proof", 7), ("run.json", 5)]);
        assert_eq!((listing.runs.len(), listing.more), (1, false));
    }

    #[test]
    fn a_run_with_a_file_that_runs_do_not_have_is_refused_and_no_other() {
        let (run, other) = (name(), format!("run-0x{}", "00".repeat(31) + "08"));
        let long = format!("{run}/{}", "x".repeat(900));
        let hostile = [
            format!("{run}/weights.bin"),
            format!("{run}/RUN.JSON"),
            format!("{run}/Proofs/step_000001.proof"),
            format!("{run}/proofs/step_1.proof"),
            format!("{run}/proofs/deep/step_000001.proof"),
            format!("{run}/run.json/inside"),
            format!("{run}/a\\..\\..\\b"),
            format!("{run}/%2e%2e/x"),
            format!("{run}/C:"),
            long,
        ];
        for key in hostile {
            let keys = [(key.clone(), 1), (format!("{run}/run.json"), 5), (format!("{other}/run.json"), 5)];
            let listing = sorted("", &keys, &Limits::default());
            let Err(ObjectsError::Foreign { key: said }) = &listing.runs[&run] else { panic!("{key}") };
            assert!(key.starts_with(said) && said.len() <= MAX_NAME, "{said}");
            assert!(listing.runs[&other].is_ok());
        }
    }

    #[test]
    fn one_file_is_one_object() {
        let run = name();
        // The store's paths have no slash at their ends, its names may.
        let keys = [(format!("{run}/run.json"), 5), (format!("{run}/run.json/"), 6)];
        let listing = sorted("", &keys, &Limits::default());
        assert!(matches!(&listing.runs[&run], Err(ObjectsError::Twice { .. })), "{listing:?}");
    }

    #[test]
    fn limits_are_of_files_bytes_and_runs() {
        let run = name();
        let keys: Vec<_> = (1..4).map(|step| (format!("{run}/proofs/step_00000{step}.proof"), 100)).collect();
        let limits = Limits { max_files: 3, max_bytes: 300, ..Limits::default() };
        assert!(sorted("", &keys, &limits).runs[&run].is_ok());
        let files = sorted("", &keys, &Limits { max_files: 2, ..limits });
        assert_eq!(files.runs[&run], Err(TooMuch::Files { limit: 2 }.into()));
        let bytes = sorted("", &keys, &Limits { max_bytes: 299, ..limits });
        assert_eq!(bytes.runs[&run], Err(TooMuch::Bytes { limit: 299 }.into()));
        let vast = [(format!("{run}/run.json"), u64::MAX), (format!("{run}/steps.jsonl"), u64::MAX)];
        assert!(matches!(sorted("", &vast, &limits).runs[&run], Err(ObjectsError::TooMuch(TooMuch::Bytes { .. }))));
        let runs: Vec<_> = (1..4).map(|n| (format!("run-0x{}0{n}/run.json", "00".repeat(31)), 1)).collect();
        let few = sorted("", &runs, &Limits { max_bundles: 2, ..limits });
        assert_eq!((few.runs.len(), few.more), (2, true));
    }
}
