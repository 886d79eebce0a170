//! The folder that a store's bundles are copied to. A run's directory changes all at once, and says itself which objects it is.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use ledger::{Manifest, RunId, manifest::MANIFEST_NAME};
use serde::{Deserialize, Serialize};
use store::{RunDir, StoreError};

use super::{
    RemoteError,
    listing::{Objects, Version},
};
use crate::bundles::{fetching::mark, survey::run_of, upload::MARK};

/// Which objects a directory is.
const RECORD: &str = ".objects";

/// Longest record, bytes: as many files as a bundle may have.
const MAX_RECORD: u64 = 256 << 20;

/// Lock of the folder.
const LOCK: &str = ".copy.lock";

/// Version of the record.
const RECORD_VERSION: u32 = 1;

/// The folder. No other process works in it.
pub(super) struct WorkingCopy {
    folder: PathBuf,
    _lock: fs::File,
}

/// A run's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It is these objects.
    Copied(Objects),
    /// It came here otherwise, and the store is to have it.
    Ours,
    /// Nobody knows where it is from. It is left alone.
    Foreign,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    objects: Objects,
}

/// A file that is to be put into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// Its name in the run.
    pub(super) file: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    modified: Option<SystemTime>,
}

/// A run's directory in the making.
pub(super) struct Staging {
    dir: PathBuf,
    name: String,
    folder: PathBuf,
}

impl WorkingCopy {
    /// Opens a folder, which is made if it is not there, and ends what an interruption left in it.
    ///
    /// # Errors
    /// [`RemoteError::Folder`]; [`RemoteError::InUse`].
    pub(super) fn open(folder: &Path) -> Result<Self, RemoteError> {
        fs::create_dir_all(folder)?;
        let lock = fs::File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => RemoteError::InUse { folder: folder.to_owned() },
            fs::TryLockError::Error(error) => error.into(),
        })?;
        let copy = Self { folder: folder.to_owned(), _lock: lock };
        for (before, name) in copy.named(".", ".replaced")? {
            if copy.dir(&name).exists() { remove(&before)? } else { fs::rename(before, copy.dir(&name))? }
        }
        for suffix in [".copying", ".gone"] {
            copy.named(".", suffix)?.keys().try_for_each(|left| remove(left))?;
        }
        Ok(copy)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Entries that are called after a run, between these, and the run's directory.
    fn named(&self, prefix: &str, suffix: &str) -> io::Result<BTreeMap<PathBuf, String>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let run = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix));
            if let Some(run) = run.filter(|run| run_of(run).is_some()) {
                found.insert(entry.path(), run.to_owned());
            }
        }
        Ok(found)
    }

    /// The runs' directories.
    pub(super) fn held(&self) -> io::Result<BTreeMap<String, Held>> {
        let mut held = BTreeMap::new();
        for (dir, name) in self.named("", "")? {
            let is_file = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
            let marked = run_of(&name).is_some_and(|run: RunId| is_file(mark(&self.folder, run)));
            let state = if !fs::symlink_metadata(&dir)?.is_dir() {
                Held::Foreign
            } else if is_file(dir.join(RECORD)) {
                Held::Copied(read_record(&dir))
            } else if marked || is_file(dir.join(MARK)) {
                Held::Ours
            } else {
                Held::Foreign
            };
            held.insert(name, state);
        }
        Ok(held)
    }

    /// A place to put the files of a run to, with nothing in it but what is still of these objects.
    pub(super) fn stage(&self, name: &str, staged: &Objects) -> io::Result<Staging> {
        let dir = self.folder.join(format!(".{name}.copying"));
        if staged.is_empty() && fs::symlink_metadata(&dir).is_ok() {
            remove(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Staging { dir, name: name.to_owned(), folder: self.folder.clone() })
    }

    /// Takes a run away.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let gone = self.folder.join(format!(".{name}.gone"));
        if fs::symlink_metadata(&gone).is_ok() {
            remove(&gone)?;
        }
        // At once out of sight.
        fs::rename(self.dir(name), &gone)?;
        remove(&gone)
    }

    /// Files of a run that came otherwise, as its manifest lists them, the manifest last.
    pub(super) fn files(&self, name: &str) -> Result<Vec<Local>, StoreError> {
        let dir = self.dir(name);
        let manifest: Manifest = RunDir::open(&dir)?.manifest()?;
        let names = manifest.files().iter().map(|entry| entry.path.to_string()).chain([MANIFEST_NAME.to_owned()]);
        names
            .map(|file| {
                let path = dir.join(&file);
                let found = fs::symlink_metadata(&path);
                let found = found.map_err(|source| StoreError::Io { operation: "read", path: path.clone(), source })?;
                Ok(Local { file, path, size: found.len(), modified: found.modified().ok() })
            })
            .collect()
    }

    /// Notes that a run that came otherwise is these objects now.
    pub(super) fn note(&self, name: &str, objects: Objects) -> io::Result<()> {
        write_record(&self.dir(name), objects)
    }
}

impl Staging {
    /// Where a file is to be put.
    pub(super) fn path(&self, file: &str) -> io::Result<PathBuf> {
        let path = self.dir.join(file);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        Ok(path)
    }

    /// Takes a file that did not change from the run's directory as it is. False if it is not there.
    pub(super) fn keep(&self, file: &str, version: &Version) -> io::Result<bool> {
        let (from, to) = (self.folder.join(&self.name).join(file), self.path(file)?);
        if !fs::symlink_metadata(&from).is_ok_and(|found| found.is_file() && found.len() == version.size) {
            return Ok(false);
        }
        if fs::symlink_metadata(&to).is_ok() {
            fs::remove_file(&to)?;
        }
        // Files are only ever replaced, so that two names for one are as good as a copy.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
        Ok(true)
    }

    /// Removes a file, if it is there.
    pub(super) fn drop(&self, file: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives the run its name, in place of what had it.
    pub(super) fn place(self, objects: Objects) -> io::Result<()> {
        write_record(&self.dir, objects)?;
        let (dir, before) = (self.folder.join(&self.name), self.folder.join(format!(".{}.replaced", self.name)));
        let is_there = fs::symlink_metadata(&dir).is_ok();
        if is_there {
            fs::rename(&dir, &before)?;
        }
        fs::rename(&self.dir, &dir)?;
        fs::File::open(&self.folder)?.sync_all()?;
        if is_there { remove(&before) } else { Ok(()) }
    }
}

/// The record of a directory; without one that can be read it is nothing, and fetched again.
fn read_record(dir: &Path) -> Objects {
    let path = dir.join(RECORD);
    let text = match fs::symlink_metadata(&path) {
        Ok(found) if found.len() <= MAX_RECORD => fs::read(&path).unwrap_or_default(),
        _ => return Objects::new(),
    };
    let record: Option<Record> = serde_json::from_slice(&text).ok();
    record.filter(|record| record.version == RECORD_VERSION).map(|record| record.objects).unwrap_or_default()
}

fn write_record(dir: &Path, objects: Objects) -> io::Result<()> {
    let text = serde_json::to_vec(&Record { version: RECORD_VERSION, objects })?;
    let new = dir.join(format!("{RECORD}.new"));
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(new, dir.join(RECORD))
}

/// Removes whatever is there; a link is not followed.
fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
