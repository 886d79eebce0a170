//! Where the bytes of files come from.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::path::ContentPath;

/// The bytes of a torrent's files.
pub trait Content: Sync {
    /// Reads a file from `offset` on. A link or device is an error.
    fn open(&self, path: &ContentPath, offset: u64) -> io::Result<Box<dyn Read>>;
}

/// Files below a directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Content for Directory {
    fn open(&self, path: &ContentPath, offset: u64) -> io::Result<Box<dyn Read>> {
        // No component may be a link, or the torrent would have what is not in the directory.
        let (last, above) = path.components().split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = self.0.clone();
        for component in above {
            at.push(component);
            expect(fs::symlink_metadata(&at)?.is_dir(), "not a directory")?;
        }
        at.push(last);
        expect(fs::symlink_metadata(&at)?.is_file(), "not a regular file")?;
        let mut file = File::open(at)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }
}

fn expect(holds: bool, otherwise: &'static str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, otherwise)) }
}
