//! Where the bytes of files come from.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::path::ContentPath;

/// The bytes of a torrent's files.
pub trait Content: Sync {
    /// Opens a file. A link or device is an error.
    fn open(&self, path: &ContentPath) -> io::Result<Box<dyn Source>>;
}

/// The bytes of one file.
pub trait Source {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// **Errors**: [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek};
        let mut file = self;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

impl Source for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Files below a directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Content for Directory {
    fn open(&self, path: &ContentPath) -> io::Result<Box<dyn Source>> {
        // No component may be a link, or the torrent would have what is not in the directory.
        let (last, above) = path.components().split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = self.0.clone();
        for component in above {
            at.push(component);
            expect(fs::symlink_metadata(&at)?.is_dir(), "not a directory")?;
        }
        at.push(last);
        expect(fs::symlink_metadata(&at)?.is_file(), "not a regular file")?;
        Ok(Box::new(File::open(at)?))
    }
}

fn expect(holds: bool, otherwise: &'static str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, otherwise)) }
}
