//! The file operations a store needs, what each promises, and the real disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What a directory entry is. Links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, device, socket or pipe: nothing a run has.
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 are replaced, so that no such name equals one of ours.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// Storage of one run.
///
/// **Durability**: when a writing call returns `Ok`, its effect survives a crash. When it returns an error or
/// the process dies in it, the effect may have happened, not happened, or, for [`Self::write`] and
/// [`Self::append`], happened for a prefix of the bytes.
/// **Consistency**: [`Self::rename`] replaces its target at once: readers see the old file or the new one.
pub trait FileSystem: Send + Sync {
    /// Opens a regular file for reading; a link or device is an error.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Reads `len` bytes from `offset` of a regular file.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a directory and those above it; fine if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes `bytes` to a new file; a file or link that has the name is removed first.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Adds `bytes` to the end of a file.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to `len` bytes.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Moves a file, replacing the target; both are in the same directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(open_regular(path)?))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = open_regular(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let file_type = entry.file_type()?;
            let kind = match file_type {
                _ if file_type.is_file() => EntryKind::File,
                _ if file_type.is_dir() => EntryKind::Directory,
                _ => EntryKind::Other,
            };
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        sync_parent(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let make = || OpenOptions::new().create_new(true).write(true).open(path);
        let mut file = match make() {
            // Whatever has the name goes away: a link is not followed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                make()?
            }
            made => made?,
        };
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        regular(path)?;
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        regular(path)?;
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_parent(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        sync_parent(path)
    }
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Checked before opening: opening a pipe would wait for a writer.
    regular(path)?;
    File::open(path)
}

/// Refuses links, directories, devices and pipes.
pub(crate) fn regular(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// A new name is durable once its directory is.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        #[cfg(unix)]
        Some(parent) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Prefix of files that are being written; hidden, so never part of a bundle.
pub(crate) const TEMPORARY_PREFIX: &str = ".tmp-";

/// Replaces `dir/name` by `bytes` at once: writes a temporary file, then renames it.
pub(crate) fn replace(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!("{TEMPORARY_PREFIX}{name}"));
    fs.write(&temporary, bytes)?;
    fs.rename(&temporary, path)
}
