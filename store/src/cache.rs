//! Large artifacts that can be made again: proving keys, reference strings. Public, and checked when read.
//!
//! A file is `"cairnca1"`, the payload, and the SHA-256 of both; it appears under its name only when it is
//! whole.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use crate::fs::{TEMPORARY_PREFIX, sync_parent};

/// First bytes of every file, with the version of the format.
const MAGIC: &[u8; 8] = b"cairnca1";

/// Length of the digest.
const DIGEST: usize = 32;

/// Length of magic and digest.
const OVERHEAD: u64 = (MAGIC.len() + DIGEST) as u64;

/// Buffer between payload and hash.
const BUFFER: usize = 1 << 20;

/// Tells the temporary files of one process apart.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// What can be wrong with a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The operating system refused, or the caller's own reader or writer did.
    #[error("{}: cannot {operation}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A key is not 1 to 200 characters of `a-z 0-9 _ - .`, or begins with a dot.
    #[error("cache key {key:?} is not 1 to 200 characters of a-z 0-9 _ - . or begins with a dot")]
    Key {
        /// The refused key.
        key: String,
    },
    /// The file is not what was stored; remove it and make it again.
    #[error("{}: damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Name of an artifact: whatever it depends on must be in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// **Errors**: [`CacheError::Key`].
    pub fn new(key: impl Into<String>) -> Result<Self, CacheError> {
        let key = key.into();
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if key.is_empty() || key.len() > 200 || key.starts_with('.') || !key.bytes().all(allowed) {
            return Err(CacheError::Key { key });
        }
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A directory of artifacts. Any number of processes may use it at once.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    root: PathBuf,
}

impl ArtifactCache {
    /// Opens or creates the directory.
    ///
    /// **Errors**: [`CacheError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(failed("create", &root))?;
        Ok(Self { root })
    }

    /// Where an artifact is or would be.
    pub fn path(&self, key: &CacheKey) -> PathBuf {
        self.root.join(&key.0)
    }

    /// Whether there is such an artifact; it may be damaged.
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.path(key).is_file()
    }

    /// Lets `read` read the payload; none if there is no such artifact.
    ///
    /// The digest is compared after `read` returns, over whatever `read` left unread too.
    ///
    /// **Errors**: [`CacheError::Damaged`], which wins over an error of `read`; [`CacheError::Io`].
    pub fn read<T>(
        &self,
        key: &CacheKey,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<Option<T>, CacheError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed("open", &path))?,
        };
        let len = file.metadata().map_err(failed("open", &path))?.len();
        let damaged = |reason| CacheError::Damaged { path: path.clone(), reason };
        let payload = len.checked_sub(OVERHEAD).ok_or_else(|| damaged("too short"))?;
        let mut source = BufReader::with_capacity(BUFFER, file);
        let mut magic = [0; 8];
        source.read_exact(&mut magic).map_err(failed("read", &path))?;
        if &magic != MAGIC {
            return Err(damaged("not a file of this cache"));
        }
        let hasher = Sha256::new_with_prefix(magic);
        let mut hashing = HashingReader { source: (&mut source).take(payload), hasher };
        let value = read(&mut BufReader::with_capacity(BUFFER, &mut hashing));
        io::copy(&mut hashing, &mut io::sink()).map_err(failed("read", &path))?;
        let got: [u8; 32] = hashing.hasher.finalize().into();
        let mut expected = [0; DIGEST];
        source.read_exact(&mut expected).map_err(failed("read", &path))?;
        if got != expected {
            return Err(damaged("its SHA-256 differs"));
        }
        value.map(Some).map_err(failed("read", &path))
    }

    /// The payload where it is: the file is mapped into memory, not read, and stays mapped as long as a part of the result is
    /// kept. None if there is no such artifact. The payload begins at a multiple of 8 bytes.
    ///
    /// Length and digest are checked here, which reads the file once; its pages then belong to the system, which can take them back
    /// and read them again. The file that was mapped stays whole when it is replaced by [`Self::put`] or removed. Whoever writes
    /// into it in place, or cuts it, changes what is mapped: the owner of the directory must not let that happen.
    ///
    /// **Errors**: [`CacheError::Damaged`]; [`CacheError::Io`].
    pub fn map(&self, key: &CacheKey) -> Result<Option<Bytes>, CacheError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed("open", &path))?,
        };
        let damaged = |reason| CacheError::Damaged { path: path.clone(), reason };
        // Nothing cannot be mapped.
        if file.metadata().map_err(failed("open", &path))?.len() < OVERHEAD {
            return Err(damaged("too short"));
        }
        let map = map(&file).map_err(failed("map", &path))?;
        let (content, expected) = map.split_last_chunk::<DIGEST>().ok_or_else(|| damaged("too short"))?;
        if !content.starts_with(MAGIC) {
            return Err(damaged("not a file of this cache"));
        }
        let got: [u8; DIGEST] = Sha256::digest(content).into();
        if got != *expected {
            return Err(damaged("its SHA-256 differs"));
        }
        let payload = MAGIC.len()..content.len();
        Ok(Some(Bytes::from_owner(map).slice(payload)))
    }

    /// The payload as bytes; none if there is no such artifact.
    ///
    /// **Errors**: as [`Self::read`].
    pub fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, CacheError> {
        self.read(key, |source| {
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    /// Stores what `write` writes, replacing what was there at once.
    ///
    /// **Errors**: [`CacheError::Io`], and nothing was replaced.
    pub fn put(&self, key: &CacheKey, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CacheError> {
        let path = self.path(key);
        let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY_PREFIX}{}-{number}-{}", std::process::id(), key.0);
        let temporary = self.root.join(name);
        let written = write_whole(&temporary, write).and_then(|()| {
            fs::rename(&temporary, &path)?;
            sync_parent(&path)
        });
        written.map_err(|error| {
            // Best effort: the error that matters is the first one.
            let _ = fs::remove_file(&temporary);
            failed("write", &path)(error)
        })
    }

    /// Removes an artifact; fine if it is not there.
    ///
    /// **Errors**: [`CacheError::Io`].
    pub fn remove(&self, key: &CacheKey) -> Result<(), CacheError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(failed("remove", &path)),
        }
    }
}

#[expect(unsafe_code, reason = "a mapped file")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes must not change while they are borrowed. Files of the cache appear whole, by renaming, and nobody here
    // writes into one afterwards; that others don't is what `ArtifactCache::map` asks of the directory's owner.
    unsafe { Mmap::map(file) }
}

fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let mut sink = HashingWriter { sink: file, hasher: Sha256::new() };
    sink.write_all(MAGIC)?;
    // Small writes are gathered before they are hashed.
    let mut buffered = BufWriter::with_capacity(BUFFER, &mut sink);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    let digest: [u8; 32] = sink.hasher.finalize().into();
    let mut file = sink.sink;
    file.write_all(&digest)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

struct HashingReader<R> {
    source: R,
    hasher: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

struct HashingWriter<W> {
    sink: W,
    hasher: Sha256,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CacheError + 'a {
    move |source| CacheError::Io { operation, path: path.to_owned(), source }
}
