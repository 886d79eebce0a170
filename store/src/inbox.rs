//! Uploads of a run that wait to be proved, and receipts of those that were: `<private>/run-<id>/inbox/`.
//!
//! An upload is one chunk of one step, as bytes whose meaning is the caller's; it holds a gradient, so it is private. A
//! receipt is its SHA-256, kept for good: whoever sends the same chunk again is told so, and another one is refused.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ledger::{ChunkIndex, Digest, RunId, StepIndex};
use zeroize::Zeroizing;

use crate::fs::{TEMPORARY_PREFIX, sync_parent};
use crate::layout::run_dir_name;
use crate::private::{PrivateDir, PrivateError, create_dir, failed};

/// Its name in the private directory.
const INBOX_DIR: &str = "inbox";
/// Largest length of one upload.
const MAX_UPLOAD_BYTES: u64 = 4 << 30;
/// Largest length of the service's own note.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// Place of an upload: step and chunk.
type Place = (StepIndex, ChunkIndex);

/// The inbox of one run. One process at a time uses it.
#[derive(Debug)]
pub struct Inbox {
    private: PrivateDir,
    root: PathBuf,
    receipts: BTreeMap<Place, Digest>,
}

impl Inbox {
    /// Opens or creates the inbox; drops what an interrupted write left and a torn last receipt.
    ///
    /// **Errors**: [`PrivateError::Io`], [`PrivateError::TooOpen`].
    pub fn open(private: &PrivateDir) -> Result<Self, PrivateError> {
        let root = private.path().join(INBOX_DIR);
        create_dir(&root)?;
        for entry in fs::read_dir(&root).map_err(failed("list", &root))? {
            let path = entry.map_err(failed("list", &root))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY_PREFIX)) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        let mut inbox = Self { private: private.clone(), root, receipts: BTreeMap::new() };
        inbox.read_receipts()?;
        Ok(inbox)
    }

    /// Whether a run has an inbox in the directory of private directories, that is, was made by the service. Creates nothing.
    pub fn exists(private: &Path, run: RunId) -> bool {
        private.join(run_dir_name(run)).join(INBOX_DIR).is_dir()
    }

    /// Stores an upload; on disk when this returns.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn put(&self, step: StepIndex, chunk: ChunkIndex, bytes: &[u8]) -> Result<(), PrivateError> {
        self.private.write(&self.upload(step, chunk), bytes)
    }

    /// An upload that is waiting.
    ///
    /// **Errors**: [`PrivateError::Missing`], [`PrivateError::Io`].
    pub fn read(&self, step: StepIndex, chunk: ChunkIndex) -> Result<Zeroizing<Vec<u8>>, PrivateError> {
        self.private.read(&self.upload(step, chunk), MAX_UPLOAD_BYTES)
    }

    /// The uploads that are waiting, in order.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn waiting(&self) -> Result<Vec<Place>, PrivateError> {
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let name = entry.map_err(failed("list", &self.root))?.file_name();
            places.extend(name.to_str().and_then(parse_upload));
        }
        places.sort();
        Ok(places)
    }

    /// Forgets an upload that was never proved.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn drop_upload(&self, step: StepIndex, chunk: ChunkIndex) -> Result<(), PrivateError> {
        let path = self.upload(step, chunk);
        match fs::remove_file(&path).map_err(failed("remove", &path)) {
            Err(PrivateError::Missing { .. }) | Ok(()) => sync_parent(&path).map_err(failed("write", &self.root)),
            Err(error) => Err(error),
        }
    }

    /// Digest of an upload that was proved.
    pub fn receipt(&self, step: StepIndex, chunk: ChunkIndex) -> Option<Digest> {
        self.receipts.get(&(step, chunk)).copied()
    }

    /// Turns the uploads of a step that is in the log into receipts. Repeating it changes nothing.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn settle(&mut self, step: StepIndex) -> Result<(), PrivateError> {
        let chunks: Vec<ChunkIndex> = self.waiting()?.into_iter().filter(|(s, _)| *s == step).map(|(_, c)| c).collect();
        let mut lines = String::new();
        let mut added = Vec::new();
        for &chunk in &chunks {
            if self.receipt(step, chunk).is_none() {
                let digest = Digest::of(&self.read(step, chunk)?);
                lines += &format!("{step} {chunk} {digest}\n");
                added.push((chunk, digest));
            }
        }
        // Receipts are on disk before the uploads they stand for are gone.
        self.append(&self.receipts_path(), lines.as_bytes())?;
        self.receipts.extend(added.into_iter().map(|(chunk, digest)| ((step, chunk), digest)));
        chunks.into_iter().try_for_each(|chunk| self.drop_upload(step, chunk))
    }

    /// The caller's own note about the run, such as who writes it; none before [`Self::write_note`].
    ///
    /// **Errors**: [`PrivateError::Io`], [`PrivateError::TooOpen`].
    pub fn note(&self) -> Result<Option<Vec<u8>>, PrivateError> {
        match self.private.read(&self.root.join("note.json"), MAX_NOTE_BYTES) {
            Err(PrivateError::Missing { .. }) => Ok(None),
            bytes => Ok(Some(bytes?.to_vec())),
        }
    }

    /// Replaces the note.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn write_note(&self, bytes: &[u8]) -> Result<(), PrivateError> {
        self.private.write(&self.root.join("note.json"), bytes)
    }

    fn upload(&self, step: StepIndex, chunk: ChunkIndex) -> PathBuf {
        self.root.join(format!("step_{:06}.chunk_{:03}", step.0, chunk.0))
    }

    fn receipts_path(&self) -> PathBuf {
        self.root.join("receipts")
    }

    fn read_receipts(&mut self) -> Result<(), PrivateError> {
        let path = self.receipts_path();
        let bytes = match self.private.read(&path, MAX_UPLOAD_BYTES) {
            Err(PrivateError::Missing { .. }) => return Ok(()),
            bytes => bytes?,
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = String::from_utf8_lossy(&bytes[..whole]);
        self.receipts.extend(lines.lines().filter_map(parse_receipt));
        if whole < bytes.len() {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
            file.set_len(whole as u64).and_then(|()| file.sync_all()).map_err(failed("cut", &path))?;
        }
        Ok(())
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed("open", path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("append to", path))?;
        sync_parent(path).map_err(failed("write", path))
    }
}

fn parse_upload(name: &str) -> Option<Place> {
    let (step, chunk) = name.strip_prefix("step_")?.split_once(".chunk_")?;
    Some((step.parse().ok()?, chunk.parse().ok()?))
}

fn parse_receipt(line: &str) -> Option<(Place, Digest)> {
    let mut words = line.split(' ');
    let (step, chunk, digest) = (words.next()?, words.next()?, words.next()?);
    Some(((step.parse().ok()?, chunk.parse().ok()?), digest.parse().ok()?))
}
