//! Several files in one: a strict subset of POSIX `ustar`, so that any `tar` reads what is written here.
//!
//! One archive has one spelling: entries sorted by path, each path once, every header the one that path and length give
//! (mode 0644, no owner, no clock), zeros behind a file up to the next block of 512 bytes, two zero blocks at the end and
//! nothing behind them. A reader refuses everything else, so it never meets links, devices, absolute paths or second
//! names, and reads files where they are: nothing is unpacked.

use std::collections::BTreeMap;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use ledger::ArtifactPath;

use crate::fs::{Entry, EntryKind, FileSystem};

/// Bytes of a block; headers take one, files whole ones.
pub const BLOCK_BYTES: u64 = 512;

/// Longest path of an entry: the field of the header.
pub const MAX_NAME_BYTES: usize = 100;

/// Longest file: eleven octal digits.
pub const MAX_FILE_BYTES: u64 = (1 << 33) - 1;

/// Most entries.
pub const MAX_ENTRIES: usize = 1 << 22;

/// A file that is not an archive of ours, or cannot be made one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The operating system refused.
    #[error("archive: cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The header at this byte is not the one that its path and length give.
    #[error("archive, byte {offset}: the header of {path:?} has another spelling")]
    Header {
        /// Where it begins.
        offset: u64,
        /// The path as it is there, cut where it ends.
        path: String,
    },
    /// A path is none that an artifact may have.
    #[error("archive, byte {offset}: path {path:?}: {source}")]
    Path {
        /// Where the header begins.
        offset: u64,
        /// The path.
        path: String,
        /// What is wrong with it.
        source: ledger::manifest::PathError,
    },
    /// A path does not fit in a header.
    #[error("path {path} has {got} bytes, an archive's has at most {MAX_NAME_BYTES}")]
    PathLength {
        /// The path.
        path: ArtifactPath,
        /// Its bytes.
        got: usize,
    },
    /// Entries must be sorted by path, each path once.
    #[error("archive, byte {offset}: {path} must come after {after} and only once")]
    Order {
        /// Where the header begins.
        offset: u64,
        /// The entry.
        path: String,
        /// The entry before it.
        after: String,
    },
    /// A file is too long for the format.
    #[error("{path} has {got} bytes, a file of an archive has at most {MAX_FILE_BYTES}")]
    FileLength {
        /// The file.
        path: ArtifactPath,
        /// Its bytes.
        got: u64,
    },
    /// A file did not have the length that was announced for it.
    #[error("{path}: expected {expected} bytes, got {got}")]
    Changed {
        /// The file.
        path: ArtifactPath,
        /// Bytes announced.
        expected: u64,
        /// Bytes that came, one more where there were more.
        got: u64,
    },
    /// Bytes between files, or at the end, are not zero.
    #[error("archive, byte {offset}: expected zeros behind the file")]
    Padding {
        /// Where they begin.
        offset: u64,
    },
    /// The archive ends too early or too late.
    #[error("archive: expected {expected} bytes, got {got}")]
    Length {
        /// Where its last file says that it ends; what is there at least.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// Too many entries.
    #[error("archive: more than {MAX_ENTRIES} files")]
    TooMany,
    /// There is no such file in it.
    #[error("archive: {path} is missing")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file is longer than any of its kind.
    #[error("archive: {path} has {got} bytes, expected at most {limit}")]
    TooLong {
        /// The file.
        path: String,
        /// Most bytes.
        limit: u64,
        /// Its bytes.
        got: u64,
    },
}

impl ArchiveError {
    fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}

/// Writes an archive, file by file.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    out: W,
    offset: u64,
    last: Option<ArtifactPath>,
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive without files.
    pub fn new(out: W) -> Self {
        Self { out, offset: 0, last: None }
    }

    /// Adds a file of `len` bytes. Paths come in the order of their bytes.
    ///
    /// **Errors**: [`ArchiveError::Order`], [`ArchiveError::PathLength`], [`ArchiveError::FileLength`],
    /// [`ArchiveError::Changed`], [`ArchiveError::Io`].
    pub fn add(&mut self, path: &ArtifactPath, len: u64, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let name = path.as_str();
        if name.len() > MAX_NAME_BYTES {
            return Err(ArchiveError::PathLength { path: path.clone(), got: name.len() });
        }
        if len > MAX_FILE_BYTES {
            return Err(ArchiveError::FileLength { path: path.clone(), got: len });
        }
        if let Some(after) = self.last.as_ref().filter(|last| last.as_str() >= name) {
            let (path, after) = (name.to_owned(), after.to_string());
            return Err(ArchiveError::Order { offset: self.offset, path, after });
        }
        self.out.write_all(&header(name, len)).map_err(ArchiveError::io("write"))?;
        // One byte more tells a file that grew.
        let mut source = content.take(len + 1);
        let mut left = [0; 64 << 10];
        let mut got = 0;
        while got < len + 1 {
            let n = source.read(&mut left).map_err(ArchiveError::io("read a file"))?;
            if n == 0 {
                break;
            }
            got += n as u64;
            if got > len {
                break;
            }
            self.out.write_all(&left[..n]).map_err(ArchiveError::io("write"))?;
        }
        if got != len {
            return Err(ArchiveError::Changed { path: path.clone(), expected: len, got });
        }
        let padding = padding(len);
        self.out.write_all(&[0; BLOCK_BYTES as usize][..padding]).map_err(ArchiveError::io("write"))?;
        self.offset += BLOCK_BYTES + len + padding as u64;
        self.last = Some(path.clone());
        Ok(())
    }

    /// Ends the archive, and returns what it was written to.
    ///
    /// **Errors**: [`ArchiveError::Io`].
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.out.write_all(&[0; 2 * BLOCK_BYTES as usize]).map_err(ArchiveError::io("write"))?;
        self.out.flush().map_err(ArchiveError::io("write"))?;
        Ok(self.out)
    }
}

/// Zeros behind a file.
fn padding(len: u64) -> usize {
    // Below 512.
    (len.next_multiple_of(BLOCK_BYTES) - len) as usize
}

/// The only header of a file.
fn header(name: &str, len: u64) -> [u8; BLOCK_BYTES as usize] {
    let mut block = [0; BLOCK_BYTES as usize];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum counts itself as spaces.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Where a file is in the archive.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    len: u64,
}

/// Where an archive is.
#[derive(Debug)]
enum Medium {
    /// On the disk.
    #[cfg(unix)]
    File(File),
    /// In memory: a browser has nothing else.
    Memory(Vec<u8>),
}

impl Medium {
    /// Reads at most as many bytes as `buffer` has; none at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::File(file) => std::os::unix::fs::FileExt::read_at(file, buffer, offset),
            Self::Memory(bytes) => {
                let left = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                let n = left.len().min(buffer.len());
                buffer[..n].copy_from_slice(&left[..n]);
                Ok(n)
            }
        }
    }

    /// Fills `buffer`.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => (buffer, offset) = (&mut buffer[n..], offset + n as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// An archive whose files are read where they are, on the disk or in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    file: Arc<Medium>,
    places: Arc<BTreeMap<String, Place>>,
}

impl Archive {
    /// Opens an archive on the disk and reads all headers.
    ///
    /// **Errors**: [`ArchiveError`].
    #[cfg(unix)]
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        crate::fs::regular(path).map_err(ArchiveError::io("open"))?;
        let file = File::open(path).map_err(ArchiveError::io("open"))?;
        let end = file.metadata().map_err(ArchiveError::io("open"))?.len();
        Self::index(Medium::File(file), end)
    }

    /// Reads all headers of an archive in memory.
    ///
    /// **Errors**: [`ArchiveError`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ArchiveError> {
        let end = bytes.len() as u64;
        Self::index(Medium::Memory(bytes), end)
    }

    fn index(file: Medium, end: u64) -> Result<Self, ArchiveError> {
        let (mut places, mut offset, mut last) = (BTreeMap::new(), 0, String::new());
        loop {
            let block = block(&file, offset, end)?;
            if block == [0; BLOCK_BYTES as usize] {
                break;
            }
            let (name, len) = entry(&block, offset)?;
            if name <= last {
                return Err(ArchiveError::Order { offset, path: name, after: last });
            }
            let place = Place { offset: offset + BLOCK_BYTES, len };
            let padding = padding(len);
            let behind = place.offset + len;
            offset = behind + padding as u64;
            if offset > end {
                return Err(ArchiveError::Length { expected: offset, got: end });
            }
            let mut zeros = [0; BLOCK_BYTES as usize];
            file.read_exact_at(&mut zeros[..padding], behind).map_err(ArchiveError::io("read"))?;
            if zeros != [0; BLOCK_BYTES as usize] {
                return Err(ArchiveError::Padding { offset: behind });
            }
            if places.len() == MAX_ENTRIES {
                return Err(ArchiveError::TooMany);
            }
            places.insert(name.clone(), place);
            last = name;
        }
        if block(&file, offset + BLOCK_BYTES, end)? != [0; BLOCK_BYTES as usize] {
            return Err(ArchiveError::Padding { offset: offset + BLOCK_BYTES });
        }
        let expected = offset + 2 * BLOCK_BYTES;
        if end != expected {
            return Err(ArchiveError::Length { expected, got: end });
        }
        Ok(Self { file: Arc::new(file), places: Arc::new(places) })
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// A whole file of at most `limit` bytes.
    ///
    /// **Errors**: [`ArchiveError::Missing`], [`ArchiveError::TooLong`], [`ArchiveError::Io`].
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let place = self.places.get(path).ok_or_else(|| ArchiveError::Missing { path: path.to_owned() })?;
        if place.len > limit {
            return Err(ArchiveError::TooLong { path: path.to_owned(), limit, got: place.len });
        }
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset).map_err(ArchiveError::io("read"))?;
        Ok(bytes)
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let found = path.to_str().and_then(|path| self.places.get(path));
        found.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The block at `offset`.
fn block(file: &Medium, offset: u64, end: u64) -> Result<[u8; BLOCK_BYTES as usize], ArchiveError> {
    let expected = offset + BLOCK_BYTES;
    if expected > end {
        return Err(ArchiveError::Length { expected, got: end });
    }
    let mut block = [0; BLOCK_BYTES as usize];
    file.read_exact_at(&mut block, offset).map_err(ArchiveError::io("read"))?;
    Ok(block)
}

/// Path and length of a header that has their spelling.
fn entry(block: &[u8; BLOCK_BYTES as usize], offset: u64) -> Result<(String, u64), ArchiveError> {
    let name = block[..MAX_NAME_BYTES].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let digits = std::str::from_utf8(&block[124..135]).ok();
    let len = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok());
    match len {
        // A header that is spelled otherwise, of another kind, with an owner or a time, is not this one.
        Some(len) if header(&name, len) == *block => match name.parse::<ArtifactPath>() {
            Ok(_) => Ok((name, len)),
            Err(source) => Err(ArchiveError::Path { offset, path: name, source }),
        },
        _ => Err(ArchiveError::Header { offset, path: name }),
    }
}

/// A file of the archive, from its beginning.
struct Source {
    file: Arc<Medium>,
    left: Place,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(usize::try_from(self.left.len).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..len], self.left.offset)?;
        self.left = Place { offset: self.left.offset + n as u64, len: self.left.len - n as u64 };
        Ok(n)
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "an archive is not written to"))
}

/// The files as they are: paths are those of the archive. A directory without files is not told from none.
impl FileSystem for Archive {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Source { file: Arc::clone(&self.file), left: self.place(path)? }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let place = self.place(path)?;
        if offset.checked_add(len as u64).is_none_or(|end| end > place.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, place.offset + offset)?;
        Ok(bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let prefix = match dir.to_str() {
            Some("") => String::new(),
            Some(dir) => format!("{dir}/"),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let mut entries: Vec<Entry> = Vec::new();
        for path in self.places.range(prefix.clone()..).map(|(path, _)| path) {
            let Some(name) = path.strip_prefix(&prefix) else { break };
            let (name, kind) = match name.split_once('/') {
                Some((folder, _)) => (folder, EntryKind::Directory),
                None => (name, EntryKind::File),
            };
            // What is in a folder stands together.
            if entries.last().is_none_or(|last| last.name != name || last.kind != kind) {
                entries.push(Entry { name: name.to_owned(), kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn append(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
}
