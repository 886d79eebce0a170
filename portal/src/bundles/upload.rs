//! Bundles that strangers send: an archive that goes aside first, and into the folder only if the chain carries what it has.
//!
//! Records name their proofs by digest and are under the root, so an archive that gives an anchored root has the run's own
//! files: nobody takes the place of a run with something else. The queue verifies the proofs then, as of any bundle.

use std::{
    fmt, fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use ledger::{Digest, RunId, TreeSize, manifest::MANIFEST_NAME};
use store::{Archive, ArchiveError, FileSystem, RunDir, layout::run_dir_name};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::{self, JoinError},
};

use super::{
    SharedKeys,
    check::{Job, Named, admit, anchored},
    disk::Stop,
};
use crate::index::{ArrivalState, Index, IndexError};

/// Where a run is in an archive, as in a capsule.
const FOLDER: &str = "run";

/// The archive while it arrives.
const ARRIVING: &str = ".upload.tar";

/// The last archive that did not hold.
const QUARANTINE: &str = ".quarantine.tar";

/// Marks a directory that came by upload: no other is ever replaced.
pub(super) const MARK: &str = ".uploaded";

/// Longest time without a byte.
const STALL: Duration = Duration::from_secs(30);

/// Time after which an upload has to have had [`SLOWEST`] all along.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes a second.
const SLOWEST: u64 = 16 << 10;

/// Why an upload is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// Another one is arriving.
    #[error("another upload is arriving")]
    Busy,
    /// It is too long.
    #[error("an upload has at most {limit} bytes")]
    TooLarge {
        /// Most bytes.
        limit: u64,
    },
    /// It comes too slowly, or breaks off.
    #[error("the upload broke off after {got} bytes: {reason}")]
    BrokeOff {
        /// Bytes that came.
        got: u64,
        /// Why.
        reason: String,
    },
    /// It is not an archive of a run.
    #[error("{0}")]
    Archive(String),
    /// The index has no such run.
    #[error("no contract that this portal follows has a run {run}")]
    NoRun {
        /// The run.
        run: RunId,
    },
    /// The chain does not carry it, or its files do not agree.
    #[error("{reason}")]
    Refused {
        /// As it would stand in the folder.
        state: ArrivalState,
        /// Why.
        reason: String,
    },
    /// As many steps are here already, or a directory that did not come by upload.
    #[error("run {run} is here already")]
    Here {
        /// The run.
        run: RunId,
    },
    /// The folder cannot be written to.
    #[error("folder of bundles: {0}")]
    Folder(#[from] io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Work broke off.
    #[error("the upload was not handled: {0}")]
    Task(#[from] JoinError),
}

impl From<ArchiveError> for UploadError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error.to_string())
    }
}

/// An upload that is in the folder now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The run.
    pub run: RunId,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Its steps.
    pub size: TreeSize,
}

/// Takes uploads, one at a time.
pub struct Uploads {
    index: Index,
    keys: SharedKeys,
    folder: PathBuf,
    max_bytes: u64,
    slot: Semaphore,
    stop: Stop,
    wake: Arc<Notify>,
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

impl Uploads {
    pub(super) fn new(
        (index, keys): (Index, SharedKeys),
        folder: PathBuf,
        max_bytes: u64,
        (stop, wake): (Stop, Arc<Notify>),
    ) -> Self {
        Self { index, keys, folder, max_bytes, slot: Semaphore::new(1), stop, wake }
    }

    /// Most bytes of an upload.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Takes an upload: the archive is read where it arrives, and its files come into the folder all at once.
    ///
    /// # Errors
    /// [`UploadError`]; an archive that does not hold is put aside, in place of the one before.
    pub async fn take<E: fmt::Display>(
        &self,
        len: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Uploaded, UploadError> {
        let _one = self.slot.try_acquire().map_err(|_| UploadError::Busy)?;
        if len.is_some_and(|len| len > self.max_bytes) {
            return Err(UploadError::TooLarge { limit: self.max_bytes });
        }
        let arriving = self.folder.join(ARRIVING);
        let taken = match self.receive(&arriving, body).await {
            Ok(()) => self.place(&arriving).await,
            Err(error) => Err(error),
        };
        let aside = matches!(taken, Err(UploadError::Archive(_) | UploadError::Refused { .. }));
        let (from, to) = (arriving, self.folder.join(QUARANTINE));
        let put = move || if aside { fs::rename(&from, to) } else { fs::remove_file(&from) };
        if let Err(error) = task::spawn_blocking(put).await? {
            tracing::warn!(%error, "upload: {error}");
        }
        if taken.is_ok() {
            self.wake.notify_one();
        }
        taken
    }

    /// Writes the body to a file.
    async fn receive<E: fmt::Display>(
        &self,
        to: &Path,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), UploadError> {
        let (send, mut pieces) = mpsc::channel::<Bytes>(4);
        let path = to.to_owned();
        let writer = task::spawn_blocking(move || -> io::Result<()> {
            let mut file = fs::File::create(path)?;
            while let Some(piece) = pieces.blocking_recv() {
                file.write_all(&piece)?;
            }
            file.sync_all()
        });
        let (mut got, start) = (0u64, Instant::now());
        let broke_off = |got, reason: String| UploadError::BrokeOff { got, reason };
        let ended = loop {
            let piece = match tokio::time::timeout(STALL, body.next()).await {
                Err(_) => break Err(broke_off(got, format!("nothing came for {} s", STALL.as_secs()))),
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => break Err(broke_off(got, error.to_string())),
                Ok(Some(Ok(piece))) => piece,
            };
            got = got.saturating_add(piece.len() as u64);
            if got > self.max_bytes {
                break Err(UploadError::TooLarge { limit: self.max_bytes });
            }
            let took = start.elapsed();
            if took > PATIENCE && got / took.as_secs().max(1) < SLOWEST {
                break Err(broke_off(got, format!("less than {SLOWEST} bytes a second")));
            }
            if send.send(piece).await.is_err() {
                break Ok(());
            }
        };
        drop(send);
        let written = writer.await?;
        ended?;
        Ok(written?)
    }

    /// Compares an archive with its manifest and the chain, and puts its files into the folder.
    async fn place(&self, arriving: &Path) -> Result<Uploaded, UploadError> {
        let path = arriving.to_owned();
        let opened = task::spawn_blocking(move || -> Result<_, UploadError> {
            let archive = Archive::open(&path)?;
            let dir = RunDir::open_on(Arc::new(archive.clone()), FOLDER);
            Ok((archive, dir.map_err(|error| UploadError::Archive(error.to_string()))?))
        });
        let (archive, dir) = opened.await??;
        let run = dir.run().description().run;
        let identity = &dir.run().description().identity;
        let entries = self.index.runs_by_id(run).await?;
        let is_meant =
            |entry: &crate::index::RunEntry| (entry.chain, entry.contract) == (identity.chain_id, identity.contract);
        let entry = entries.into_iter().find(is_meant).ok_or(UploadError::NoRun { run })?;
        let epochs = anchored(&self.index, &entry).await?;
        let (keys, stop) = (self.keys.clone(), self.stop.clone());
        let job = Job { run: entry, epochs, known: Default::default(), keys, stop };
        let folder = self.folder.clone();
        let placed = task::spawn_blocking(move || -> Result<Named, UploadError> {
            let named = admit(&job, &dir).map_err(|(state, reason)| UploadError::Refused { state, reason })?;
            unpack(&folder, run, (&archive, &dir), named.size)?;
            Ok(named)
        });
        let Named { manifest, size, .. } = placed.await??;
        Ok(Uploaded { run, manifest, size })
    }
}

/// Ends what an interruption left in a folder.
pub(super) fn settle(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let Some(run) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".before")) else { continue };
        let (before, dir) = (folder.join(&name), folder.join(run));
        if !before.join(MARK).is_file() {
            continue;
        }
        if dir.exists() { fs::remove_dir_all(before)? } else { fs::rename(before, dir)? }
    }
    Ok(())
}

/// Writes the files that a manifest lists, and gives them the run's name all at once.
fn unpack(
    folder: &Path,
    run: RunId,
    (archive, source): (&Archive, &RunDir),
    size: TreeSize,
) -> Result<(), UploadError> {
    let name = run_dir_name(run);
    let at = |name: String| folder.join(name);
    let (dir, staging, before) = (at(name.clone()), at(format!(".{name}.uploading")), at(format!(".{name}.before")));
    let is_there = fs::symlink_metadata(&dir).is_ok();
    if is_there {
        let came_so = fs::symlink_metadata(dir.join(MARK)).is_ok_and(|mark| mark.is_file());
        let here = RunDir::open(&dir).and_then(|dir| dir.checkpoint());
        if !came_so || here.is_ok_and(|here| here.size >= size) {
            return Err(UploadError::Here { run });
        }
    }
    if fs::symlink_metadata(&staging).is_ok() {
        fs::remove_dir_all(&staging)?;
    }
    let manifest = source.manifest().map_err(|error| UploadError::Archive(error.to_string()))?;
    let files = manifest.files().iter().map(|entry| entry.path.as_str()).chain([MANIFEST_NAME]);
    fs::create_dir_all(&staging)?;
    for file in files {
        let to = staging.join(file);
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        let mut from = archive.open(&Path::new(FOLDER).join(file))?;
        let mut to = fs::File::create_new(to)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
    }
    fs::File::create_new(staging.join(MARK))?.sync_all()?;
    if is_there {
        fs::rename(&dir, &before)?;
    }
    fs::rename(&staging, &dir)?;
    fs::File::open(folder)?.sync_all()?;
    if is_there {
        fs::remove_dir_all(&before)?;
    }
    Ok(())
}
