//! Bundles in an object store. What it has is copied to a folder, where bundles are verified and served from as they are from
//! any folder; what comes into the folder by upload or from peers is put into the store.
//!
//! | module | purpose |
//! |---|---|
//! | `copy` | the folder |
//! | `listing` | what the store has |
//!
//! The store has the objects of a run below the name of its directory: `PREFIX/run-0x…/steps.jsonl`. Several portals may share
//! one; each has a folder of its own.

mod copy;
mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    io::{Read, Write},
    path::PathBuf,
    pin::{Pin, pin},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    ClientConfigKey, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path as ObjectPath,
};
use store::StoreError;
use tokio::{
    sync::{Notify, mpsc},
    task::{self, JoinError},
};

use self::{
    copy::{Held, Local, Staging, WorkingCopy},
    listing::{Objects, Version},
};
use super::survey::Limits;
use crate::cause::with_causes;

pub use listing::ObjectsError;

/// Longest time without a byte.
const STALL: Duration = Duration::from_secs(30);

/// How long one request is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest pause after a look that failed.
const LONGEST: Duration = Duration::from_secs(300);

/// Bytes that are sent at once; longer files are sent in parts of as many.
const PART: usize = 8 << 20;

/// Parts on their way at once.
const MAX_PARTS: usize = 4;

/// Why a text does not name a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// Another kind.
    #[error("expected s3://BUCKET or s3://BUCKET/PREFIX")]
    Scheme,
    /// Not the name of a bucket.
    #[error("bucket {got:?}: expected 3 to 63 of a-z, 0-9, . and -")]
    Bucket {
        /// What is there.
        got: String,
    },
    /// Not a path.
    #[error("prefix: {reason}")]
    Prefix {
        /// What is wrong.
        reason: String,
    },
}

/// A place in an object store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    bucket: String,
    prefix: ObjectPath,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let place = text.strip_prefix("s3://").ok_or(LocationError::Scheme)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_of_buckets = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_of_buckets) {
            return Err(LocationError::Bucket { got: bucket.to_owned() });
        }
        let prefix = ObjectPath::parse(prefix).map_err(|error| LocationError::Prefix { reason: error.to_string() })?;
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix } = self;
        if prefix.is_root() { write!(f, "s3://{bucket}") } else { write!(f, "s3://{bucket}/{prefix}") }
    }
}

/// A store with bundles.
#[derive(Clone, Debug)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
}

impl Remote {
    /// Any store; bundles are below the prefix.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: ObjectPath) -> Self {
        Self { store, prefix }
    }

    /// A store that speaks S3. Credentials, region and endpoint are those of the environment (`AWS_…`).
    ///
    /// # Errors
    /// [`RemoteError::Store`] if the environment names none that can be used.
    pub fn s3(location: &Location) -> Result<Self, RemoteError> {
        let retry = RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() };
        let client = AmazonS3ConfigKey::Client;
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(&location.bucket)
            .with_retry(retry)
            // Files may take long; each has to go on.
            .with_config(client(ClientConfigKey::Timeout), "1 day")
            .with_config(client(ClientConfigKey::ReadTimeout), "120 seconds")
            .build()?;
        Ok(Self::new(Arc::new(store), location.prefix.clone()))
    }

    fn path(&self, name: &str, file: &str) -> ObjectPath {
        // Both were read from names, or are those of files that runs have: neither changes when it is encoded.
        file.split('/').fold(self.prefix.clone().join(name), |path, part| path.join(part))
    }
}

/// Why a look at a store was broken off. What is here stays, and the next look begins anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The store refused, failed, or cannot be reached.
    #[error("store of bundles: {}", said(.0))]
    Store(#[from] object_store::Error),
    /// It has too many objects.
    #[error("the store has more than {limit} objects")]
    Objects {
        /// Most that are listed.
        limit: usize,
    },
    /// An object or a file is not as long as it was listed.
    #[error("{key}: expected {expected} bytes, got {got}")]
    Length {
        /// Its name.
        key: String,
        /// As listed.
        expected: u64,
        /// Bytes that came, up to the first too many.
        got: u64,
    },
    /// Nothing came for a while.
    #[error("{key}: nothing came for {} s", STALL.as_secs())]
    Stall {
        /// The object.
        key: String,
    },
    /// A run that is to be put into the store cannot be read.
    #[error(transparent)]
    Run(#[from] StoreError),
    /// The folder cannot be written to.
    #[error("copy of bundles: {0}")]
    Folder(#[from] io::Error),
    /// Another process has it.
    #[error("{}: another portal works in this folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Work broke off.
    #[error("a look at the store broke off: {0}")]
    Task(#[from] JoinError),
}

/// What a store says, on one line, and not too long.
fn said(error: &object_store::Error) -> String {
    with_causes(error).chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}

/// What was done since the process began.
#[derive(Debug, Default)]
pub struct Traffic {
    fetched: AtomicU64,
    put: AtomicU64,
    removed: AtomicU64,
    failures: AtomicU64,
}

/// [`Traffic`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Objects that came.
    pub fetched: u64,
    /// Objects that were put into the store.
    pub put: u64,
    /// Runs that are not in the store any more.
    pub removed: u64,
    /// Looks that failed since the last one that did not.
    pub failures: u64,
}

impl Traffic {
    /// The figures now.
    pub fn counts(&self) -> TrafficCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrafficCounts {
            fetched: of(&self.fetched),
            put: of(&self.put),
            removed: of(&self.removed),
            failures: of(&self.failures),
        }
    }
}

/// Keeps a folder and a store level.
pub(super) struct Mirror {
    remote: Remote,
    copy: WorkingCopy,
    limits: Limits,
    interval: Duration,
    wake: Arc<Notify>,
    traffic: Arc<Traffic>,
    /// What has arrived of runs that are not whole yet.
    staged: BTreeMap<String, Objects>,
    /// What was said of runs, so that it is said once.
    said: BTreeMap<String, String>,
}

impl Mirror {
    /// # Errors
    /// If the folder cannot be used.
    pub(super) fn new(remote: Remote, bundles: &super::Options, wake: Arc<Notify>) -> Result<Self, RemoteError> {
        Ok(Self {
            copy: WorkingCopy::open(&bundles.folder)?,
            remote,
            limits: bundles.limits,
            interval: bundles.interval,
            wake,
            traffic: Arc::default(),
            staged: BTreeMap::new(),
            said: BTreeMap::new(),
        })
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// Looks again and again until `stop` is ready. Failures are logged, and tried again after growing pauses.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop: Pin<&mut _> = pin!(stop);
        loop {
            let n_failures = tokio::select! {
                () = &mut stop => return,
                looked = self.look() => match looked {
                    Ok(()) => {
                        self.traffic.failures.store(0, Ordering::Relaxed);
                        0
                    }
                    Err(error) => {
                        let n_failures = self.traffic.failures.fetch_add(1, Ordering::Relaxed) + 1;
                        tracing::warn!(%error, n_failures, "{error}");
                        n_failures
                    }
                },
            };
            let pause = self.interval.saturating_mul(1 << n_failures.min(10));
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause.min(LONGEST.max(self.interval))) => {}
            }
        }
    }

    /// Makes the folder what the store has, once.
    ///
    /// # Errors
    /// [`RemoteError`]; runs that are whole by then stay so.
    async fn look(&mut self) -> Result<(), RemoteError> {
        let listed = listing::list(&*self.remote.store, &self.remote.prefix, &self.limits).await?;
        if listed.more {
            self.say(
                "",
                format!("the store has more than {} runs, those behind are not looked at", self.limits.max_bundles),
            );
        }
        let held = self.copy.held()?;
        let names: BTreeSet<&String> = listed.runs.keys().chain(held.keys()).collect();
        self.said.retain(|name, _| name.is_empty() || names.contains(name));
        self.staged.retain(|name, _| listed.runs.contains_key(name));
        for name in names {
            match (listed.runs.get(name), held.get(name)) {
                (Some(Err(refusal)), _) => self.say(name, refusal.to_string()),
                (Some(Ok(objects)), None) => self.fetch(name, objects, &Objects::new()).await?,
                (Some(Ok(objects)), Some(Held::Copied(copied))) if copied != objects => {
                    self.fetch(name, objects, copied).await?;
                }
                // A later bundle of a run has more files.
                (Some(Ok(objects)), Some(Held::Ours)) => match self.copy.files(name) {
                    Ok(files) if files.len() > objects.len() => self.put(name).await?,
                    _ => self.fetch(name, objects, &Objects::new()).await?,
                },
                (None, Some(Held::Ours)) => self.put(name).await?,
                // Behind the limit there may be more of it.
                (None, Some(Held::Copied(_))) if !listed.more => self.remove(name)?,
                (Some(_), Some(Held::Foreign)) => {
                    self.say(name, "a directory that the store knows nothing of has its place".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Logs something about a run, unless it was the last that was said of it.
    fn say(&mut self, name: &str, text: String) {
        if self.said.get(name) != Some(&text) {
            tracing::warn!(name, reason = text, "store of bundles: {name}: {text}");
            self.said.insert(name.to_owned(), text);
        }
    }

    /// Copies what changed of a run, and then all of it into its place.
    async fn fetch(&mut self, name: &str, objects: &Objects, copied: &Objects) -> Result<(), RemoteError> {
        let mut staged = self.staged.remove(name).unwrap_or_default();
        let staging = self.copy.stage(name, &staged)?;
        for file in staged.keys().filter(|file| !objects.contains_key(*file)) {
            staging.drop(file)?;
        }
        staged.retain(|file, _| objects.contains_key(file));
        let fetched = self.fetch_files(name, &staging, (objects, copied), &mut staged).await;
        if let Err(error) = fetched {
            self.staged.insert(name.to_owned(), staged);
            return Err(error);
        }
        let whole = objects.clone();
        task::spawn_blocking(move || staging.place(whole)).await??;
        tracing::info!(name, n_files = objects.len(), "store of bundles: {name} is here");
        self.said.remove(name);
        self.wake.notify_one();
        Ok(())
    }

    async fn fetch_files(
        &self,
        name: &str,
        staging: &Staging,
        (objects, copied): (&Objects, &Objects),
        staged: &mut Objects,
    ) -> Result<(), RemoteError> {
        for (file, version) in objects {
            if staged.get(file) == Some(version) {
                continue;
            }
            staged.remove(file);
            let is_kept = copied.get(file) == Some(version) && staging.keep(file, version)?;
            if !is_kept {
                let path = self.remote.path(name, file);
                get(&*self.remote.store, &path, version, staging.path(file)?).await?;
                self.traffic.fetched.fetch_add(1, Ordering::Relaxed);
            }
            staged.insert(file.clone(), version.clone());
        }
        Ok(())
    }

    /// Puts a run that came otherwise into the store, its manifest last. One that cannot be read is passed over.
    async fn put(&mut self, name: &str) -> Result<(), RemoteError> {
        let files = match self.copy.files(name) {
            Ok(files) => files,
            Err(error) => {
                self.say(name, error.to_string());
                return Ok(());
            }
        };
        let mut objects = Objects::new();
        for Local { file, path: from, size, .. } in &files {
            let path = self.remote.path(name, file);
            let version = put(&*self.remote.store, &path, from.clone(), *size).await?;
            self.traffic.put.fetch_add(1, Ordering::Relaxed);
            objects.insert(file.clone(), version);
        }
        // What came in its place meanwhile is put there with the next look.
        if self.copy.files(name).ok().as_ref() != Some(&files) {
            return Ok(());
        }
        tracing::info!(name, n_files = objects.len(), "store of bundles: {name} was put into it");
        Ok(self.copy.note(name, objects)?)
    }

    fn remove(&mut self, name: &str) -> Result<(), RemoteError> {
        self.copy.remove(name)?;
        self.traffic.removed.fetch_add(1, Ordering::Relaxed);
        tracing::info!(name, "store of bundles: {name} is not in it any more");
        self.wake.notify_one();
        Ok(())
    }
}

/// Copies an object of this version to a file.
async fn get(store: &dyn ObjectStore, path: &ObjectPath, version: &Version, to: PathBuf) -> Result<(), RemoteError> {
    let options = GetOptions { if_match: version.e_tag.clone(), ..GetOptions::default() };
    let key = || path.to_string();
    let stalled = |_| RemoteError::Stall { key: key() };
    let expected = version.size;
    let answer = tokio::time::timeout(STALL + PATIENCE, store.get_opts(path, options)).await.map_err(stalled)??;
    let (send, mut pieces) = mpsc::channel::<Bytes>(4);
    let writer = task::spawn_blocking(move || -> io::Result<()> {
        let mut file = fs::File::create(to)?;
        while let Some(piece) = pieces.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.sync_all()
    });
    let (mut stream, mut got) = (answer.into_stream(), 0u64);
    let ended = loop {
        match tokio::time::timeout(STALL, stream.try_next()).await {
            Err(elapsed) => break Err(stalled(elapsed)),
            Ok(Err(error)) => break Err(error.into()),
            Ok(Ok(None)) => break Ok(()),
            Ok(Ok(Some(piece))) => {
                got = got.saturating_add(piece.len() as u64);
                // The writer ends early only if it fails, and says so then.
                if got > expected || send.send(piece).await.is_err() {
                    break Ok(());
                }
            }
        }
    };
    drop(send);
    writer.await??;
    ended?;
    if got == expected { Ok(()) } else { Err(RemoteError::Length { key: key(), expected, got }) }
}

/// Sends a file of so many bytes. Nothing stays of one that cannot be read to its end.
async fn put(store: &dyn ObjectStore, path: &ObjectPath, from: PathBuf, size: u64) -> Result<Version, RemoteError> {
    let (send, mut parts) = mpsc::channel::<Bytes>(1);
    let reader = task::spawn_blocking(move || -> io::Result<u64> {
        let (mut file, mut sum) = (fs::File::open(from)?, 0);
        loop {
            let mut part = Vec::new();
            sum += (&mut file).take(PART as u64).read_to_end(&mut part)? as u64;
            // Nobody listens any more if the store failed.
            if part.is_empty() || send.blocking_send(part.into()).is_err() {
                return Ok(sum);
            }
        }
    });
    let read = async |reader: task::JoinHandle<io::Result<u64>>| match reader.await?? {
        got if got == size => Ok(()),
        got => Err(RemoteError::Length { key: path.to_string(), expected: size, got }),
    };
    let done = if size <= PART as u64 {
        let whole = parts.recv().await.unwrap_or_default();
        drop(parts);
        read(reader).await?;
        store.put(path, PutPayload::from_bytes(whole)).await?
    } else {
        let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(path).await?, PART);
        let sent: Result<(), RemoteError> = async {
            while let Some(part) = parts.recv().await {
                upload.wait_for_capacity(MAX_PARTS).await?;
                upload.put(part);
            }
            read(reader).await
        }
        .await;
        if let Err(error) = sent {
            if let Err(left) = upload.abort().await {
                tracing::warn!(error = %left, "store of bundles: parts of {path} are left there: {left}");
            }
            return Err(error);
        }
        upload.finish().await?
    };
    match done.e_tag {
        Some(e_tag) => Ok(Version { size, e_tag: Some(e_tag), modified: None }),
        None => Ok(Version::from(&store.head(path).await?)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::StreamExt;
    use object_store::memory::InMemory;

    use super::*;

    /// Bytes that are not the same in two parts.
    fn file(n_bytes: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..n_bytes).map(|at| (at / PART * 31 + at % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, &bytes).unwrap();
        (folder, path, bytes)
    }

    #[tokio::test]
    async fn a_file_of_several_parts_is_put_and_copied_whole() {
        for n_bytes in [0, 1, PART, PART + 1, 2 * PART, 6 * PART + 7] {
            let (folder, from, bytes) = file(n_bytes);
            let (store, path) = (InMemory::new(), ObjectPath::from("run/state"));
            let version = put(&store, &path, from, n_bytes as u64).await.unwrap();
            assert_eq!(version.size, n_bytes as u64);
            assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == bytes, "{n_bytes}");
            let copy = folder.path().join("copy");
            get(&store, &path, &version, copy.clone()).await.unwrap();
            assert!(fs::read(copy).unwrap() == bytes, "{n_bytes}");
        }
    }

    #[tokio::test]
    async fn of_a_file_that_changed_its_length_meanwhile_nothing_stays() {
        for (n_bytes, listed) in [(3, 4), (2 * PART, 2 * PART - 1), (PART + 1, 3 * PART), (PART + 1, PART)] {
            let (_folder, from, _) = file(n_bytes);
            let store = InMemory::new();
            let refused = put(&store, &ObjectPath::from("run/state"), from, listed as u64).await.unwrap_err();
            let RemoteError::Length { expected, got, .. } = refused else { panic!("{refused}") };
            assert_eq!((expected, got), (listed as u64, n_bytes as u64));
            assert_eq!(store.list(None).count().await, 0);
        }
    }

    #[test]
    fn a_place_in_a_store_is_a_bucket_and_a_prefix() {
        let place = |text: &str| text.parse::<Location>().map(|place| place.to_string());
        assert_eq!(place("s3://runs-of-us"), Ok("s3://runs-of-us".to_owned()));
        assert_eq!(place("s3://runs-of-us/a/b/"), Ok("s3://runs-of-us/a/b".to_owned()));
        for wrong in ["bundles", "http://x/y", "s3:/x", "S3://runs"] {
            assert_eq!(place(wrong), Err(LocationError::Scheme), "{wrong}");
        }
        for wrong in ["s3://", "s3://ab", "s3://key:secret@runs/x", "s3://Runs", "s3://a_b_c"] {
            assert!(matches!(place(wrong), Err(LocationError::Bucket { .. })), "{wrong}");
        }
        for wrong in ["s3://runs/a//b", "s3://runs/../b", "s3://runs/a/./b", "s3://runs/\u{7}"] {
            assert!(matches!(place(wrong), Err(LocationError::Prefix { .. })), "{wrong}");
        }
    }
}
