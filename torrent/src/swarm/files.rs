//! The files of one torrent, as the engine reads and writes them.
//!
//! The engine's own storage opens every file of a torrent at once, which a run of 100,000 steps does not survive, and sets
//! the length of files that it seeds, which would cut a log that has grown. This one opens files when they are needed,
//! a few at a time, takes paths from the metadata that was checked, follows no links, and writes only where something is
//! fetched.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use librqbit::storage::{BoxStorageFactory, StorageFactory, StorageFactoryExt, TorrentStorage};
use librqbit::{ManagedTorrentShared, TorrentMetadata};

use super::SwarmError;
use crate::metainfo::Metadata;

/// How many files are open at most.
const MAX_OPEN: usize = 128;

/// Whether files may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// They are seeded.
    Read,
    /// They are fetched.
    Write,
}

/// Makes the storage of one torrent, and knows what failed in it.
#[derive(Clone)]
pub(super) struct Files(Arc<Inner>);

struct Inner {
    root: PathBuf,
    /// Path of each file by the engine's count; none for padding.
    paths: Vec<Option<PathBuf>>,
    access: Access,
    open: Mutex<Open>,
    failure: OnceLock<SwarmError>,
}

#[derive(Default)]
struct Open {
    files: HashMap<usize, (Arc<File>, u64)>,
    clock: u64,
}

impl Files {
    /// The files of `metadata` in `root`.
    pub(super) fn new(metadata: &Metadata, root: &Path, access: Access) -> Self {
        let paths = metadata.listed().into_iter().map(|file| file.map(|file| file.path.below(root))).collect();
        let (open, failure) = (Mutex::default(), OnceLock::new());
        Self(Arc::new(Inner { root: root.to_owned(), paths, access, open, failure }))
    }

    /// The first thing that failed, if something did.
    pub(super) fn failure(&self) -> Option<SwarmError> {
        self.0.failure.get().cloned()
    }

    /// Waits until everything that was written is on the disk: files, and the directories that name them.
    pub(super) fn sync(&self) -> Result<(), SwarmError> {
        self.0.lock().files.clear();
        let files = self.0.paths.iter().flatten();
        let directories: BTreeSet<&Path> = files.clone().filter_map(|path| path.parent()).collect();
        for path in files.map(PathBuf::as_path).chain(directories) {
            let synced = match File::open(path) {
                Ok(opened) => opened.sync_all(),
                // It was not asked for.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            let failed =
                |source| SwarmError::Disk { operation: "sync", path: path.to_owned(), source: Arc::new(source) };
            synced.map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn factory(&self) -> BoxStorageFactory {
        self.clone().boxed()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // What is behind the lock is whole at any time.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, file: usize) -> anyhow::Result<&Path> {
        match self.paths.get(file) {
            Some(Some(path)) => Ok(path),
            _ => anyhow::bail!("file {file} is none of the torrent"),
        }
    }

    /// Keeps a failure to write, or to make what is written to.
    fn fail(&self, operation: &'static str, path: &Path, source: io::Error) -> anyhow::Error {
        let error = SwarmError::Disk { operation, path: path.to_owned(), source: Arc::new(source) };
        self.keep(error)
    }

    fn keep(&self, error: SwarmError) -> anyhow::Error {
        let text = error.to_string();
        // The first one is told.
        self.failure.set(error).ok();
        anyhow::anyhow!(text)
    }

    /// Opens a file, or takes one that is open.
    fn file(&self, at: usize) -> anyhow::Result<Arc<File>> {
        {
            let mut open = self.lock();
            open.clock += 1;
            let now = open.clock;
            if let Some((file, used)) = open.files.get_mut(&at) {
                *used = now;
                return Ok(Arc::clone(file));
            }
        }
        let path = self.path(at)?;
        let file = Arc::new(match self.access {
            Access::Read => File::open(path)?,
            Access::Write => self.create(path)?,
        });
        let mut open = self.lock();
        if open.files.len() >= MAX_OPEN {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(at, _)| *at);
            oldest.and_then(|at| open.files.remove(&at));
        }
        let now = open.clock;
        open.files.insert(at, (Arc::clone(&file), now));
        Ok(file)
    }

    /// Opens a file to write, with the directories above it; nothing on the way may be a link.
    fn create(&self, path: &Path) -> anyhow::Result<File> {
        let below = path.strip_prefix(&self.root)?;
        let mut at = self.root.clone();
        for component in below.components() {
            at.push(component);
            match fs::symlink_metadata(&at) {
                Ok(found) if found.file_type().is_symlink() => {
                    return Err(self.keep(SwarmError::Symlink { path: at }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(self.fail("look at", &at, error)),
            }
        }
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(|error| self.fail("create", above, error))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path).map_err(|error| self.fail("create", path, error))
    }
}

impl StorageFactory for Files {
    type Storage = Files;

    fn create(&self, _: &ManagedTorrentShared, metadata: &TorrentMetadata) -> anyhow::Result<Files> {
        // The engine's list is the one that was compared with the file tree; its names are not used.
        let (expected, got) = (self.0.paths.len(), metadata.file_infos.len());
        anyhow::ensure!(expected == got, "expected {expected} files, got {got}");
        Ok(self.clone())
    }

    fn clone_box(&self) -> BoxStorageFactory {
        self.factory()
    }
}

impl TorrentStorage for Files {
    fn init(&mut self, _: &ManagedTorrentShared, _: &TorrentMetadata) -> anyhow::Result<()> {
        Ok(())
    }

    fn pread_exact(&self, file: usize, offset: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        // A file that is not there yet is not made by looking at it.
        if self.0.access == Access::Write && !self.0.path(file)?.exists() {
            anyhow::bail!("{} is not there", self.0.path(file)?.display());
        }
        Ok(self.0.file(file)?.read_exact_at(buffer, offset)?)
    }

    fn pwrite_all(&self, file: usize, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(self.0.access == Access::Write, "what is seeded is not written");
        let opened = self.0.file(file)?;
        let path = self.0.path(file)?;
        opened.write_all_at(bytes, offset).map_err(|error| self.0.fail("write", path, error))
    }

    fn remove_file(&self, _: usize, _: &Path) -> anyhow::Result<()> {
        // What is there is removed by who put it there.
        Ok(())
    }

    fn remove_directory_if_empty(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn ensure_file_length(&self, file: usize, len: u64) -> anyhow::Result<()> {
        if self.0.access == Access::Read {
            return Ok(());
        }
        let opened = self.0.file(file)?;
        let path = self.0.path(file)?;
        opened.set_len(len).map_err(|error| self.0.fail("set the length of", path, error))
    }

    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        Ok(Box::new(self.clone()))
    }
}
