//! One writer at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::StoreError;

/// Held by the writer of a run; let go of when dropped, and by the operating system if the process dies.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// **Errors**: [`StoreError::Locked`] if another handle, in any process, holds it.
    pub(crate) fn take(run_dir: &Path) -> Result<Self, StoreError> {
        let path = run_dir.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { operation: "lock", path, source }),
        }
    }
}
