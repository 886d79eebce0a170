//! The files of the machine, until the portal stops: then every read fails, and with it the check that needs it.

use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use store::{Disk, FileSystem, fs::Entry};

/// Whether work is to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> io::Result<()> {
        // Not `Interrupted`, which readers take for "try again".
        if self.is_set() { Err(io::Error::other("the portal stops")) } else { Ok(()) }
    }
}

/// Files that are read until `stop`. Nothing is ever written.
pub(super) struct UntilStopped {
    pub(super) stop: Stop,
}

fn never<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the portal does not write to bundles"))
}

impl FileSystem for UntilStopped {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.stop.check()?;
        Ok(Box::new(Source { source: Disk.open(path)?, stop: self.stop.clone() }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.stop.check()?;
        Disk.read_at(path, offset, len)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.stop.check()?;
        Disk.list(dir)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        never()
    }

    fn write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        never()
    }

    fn append(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        never()
    }

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        never()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        never()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        never()
    }
}

struct Source {
    source: Box<dyn Read + Send>,
    stop: Stop,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.source.read(buffer)
    }
}
