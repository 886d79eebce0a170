//! One writer at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::error::StoreError;
use crate::fs::regular;

/// Held by the writer of a run; let go of when dropped, and by the operating system if the process dies.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// **Errors**: [`StoreError::Locked`] if another handle, in any process, holds it.
    pub(crate) fn take(run_dir: &Path) -> Result<Self, StoreError> {
        let path = run_dir.join(".lock");
        let file = open_lock(&path).map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { operation: "lock", path, source }),
        }
    }
}

/// Opens or makes the lock file; never what a link in its place points to.
fn open_lock(path: &Path) -> io::Result<File> {
    match OpenOptions::new().create_new(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            regular(path)?;
            OpenOptions::new().write(true).open(path)
        }
        made => made,
    }
}
