//! Bundles in an object store: what it has is copied, verified and served, what comes here is put there, and nothing that it
//! says leads anywhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as UrlPath, Query, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::TryStreamExt;
use ledger::Digest;
use object_store::{
    ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder, memory::InMemory, path::Path as ObjectPath,
};
use portal::{
    bundles::{Intake, Limits, Options, Remote, RemoteError, Shelf, TrafficCounts},
    index::{ArrivalState, Index, Status},
    server::{self, AppState, router},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    serving::send,
    support::{
        bundle::{KEPT, KeptKeys, add, entry},
        database::on_each,
    },
    uploads::{anchored, archive},
};

/// A portal at work on a store.
struct Working {
    shelf: Arc<Shelf>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Working {
    fn start(index: &Index, remote: Remote, folder: &Path, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { interval: Duration::from_millis(10), ..Options::new(folder.to_owned()) };
        change(&mut options);
        let intake = Intake::new(index.clone(), Arc::new(KeptKeys::default()), options).with_remote(remote).unwrap();
        let (shelf, (stop, stopped)) = (intake.shelf(), oneshot::channel::<()>());
        let ended = tokio::spawn(intake.run(async move {
            // Dropped, it is the word to stop too.
            let _ = stopped.await;
        }));
        Self { shelf, stop, ended }
    }

    fn counts(&self) -> TrafficCounts {
        self.shelf.traffic().unwrap().counts()
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&TrafficCounts) -> bool) {
        let start = Instant::now();
        while !is_so(&self.counts()).await {
            assert!(start.elapsed() < Duration::from_secs(120), "not {what}: {:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> TrafficCounts {
        let counts = self.counts();
        drop(self.stop);
        self.ended.await.unwrap();
        counts
    }
}

/// Every file of a run's directory that is not hidden, with its bytes.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for part in ["", "epochs/", "proofs/"] {
        for entry in fs::read_dir(run.join(part)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_file() && !name.starts_with('.') {
                found.insert(format!("{part}{name}"), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// The kept run with its manifest.
fn kept() -> BTreeMap<String, Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    files(&KEPT.put(scratch.path()))
}

fn key(prefix: &str, file: &str) -> ObjectPath {
    ObjectPath::parse(format!("{prefix}/{}/{file}", KEPT.name())).unwrap()
}

async fn filled(files: &BTreeMap<String, Vec<u8>>) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    for (file, bytes) in files {
        store.put(&key("our/runs", file), bytes.clone().into()).await.unwrap();
    }
    store
}

fn in_memory(store: &Arc<InMemory>) -> Remote {
    Remote::new(store.clone(), ObjectPath::parse("our/runs").unwrap())
}

async fn state(index: &Index) -> Option<ArrivalState> {
    index.arrivals(entry(index).await.key, 1).await.unwrap().first().map(|arrival| arrival.state)
}

/// Names of a folder, hidden ones apart.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|found| found.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[tokio::test]
async fn what_a_store_has_is_copied_and_verified_and_goes_with_it() {
    on_each(async |index| {
        let (scratch, kept) = (tempfile::tempdir().unwrap(), kept());
        let folder = scratch.path().join("cache/bundles");
        let store = filled(&kept).await;
        store.put(&ObjectPath::parse("our/runs/README").unwrap(), "not a run".into()).await.unwrap();
        anchored(index).await;
        let working = Working::start(index, in_memory(&store), &folder, |_| ());
        working.until("verified", async |_| entry(index).await.status == Status::Verified).await;
        let run = folder.join(KEPT.name());
        assert_eq!((files(&run), names(&folder)), (kept.clone(), vec![KEPT.name()]));
        let n_files = kept.len() as u64;
        assert_eq!(working.counts(), TrafficCounts { fetched: n_files, ..TrafficCounts::default() });

        // One object changes, and it alone is fetched.
        let file = "proofs/step_000003.proof";
        let mut other = kept[file].clone();
        other[100] ^= 1;
        store.put(&key("our/runs", file), other.clone().into()).await.unwrap();
        working.until("damaged", async |_| state(index).await == Some(ArrivalState::Damaged)).await;
        assert_eq!((fs::read(run.join(file)).unwrap(), working.counts().fetched), (other, n_files + 1));
        assert_eq!(files(&run).len(), kept.len());
        store.put(&key("our/runs", file), kept[file].clone().into()).await.unwrap();
        working.until("whole again", async |_| state(index).await == Some(ArrivalState::Passed)).await;
        assert_eq!((working.stop().await.fetched, files(&run)), (n_files + 2, kept.clone()));

        // Another process knows what it has.
        let working = Working::start(index, in_memory(&store), &folder, |_| ());
        working.until("there", async |_| state(index).await == Some(ArrivalState::Passed)).await;
        assert_eq!(working.counts(), TrafficCounts::default());
        for file in kept.keys() {
            store.delete(&key("our/runs", file)).await.unwrap();
        }
        working.until("gone", async |counts| counts.removed == 1).await;
        working.until("forgotten", async |_| state(index).await.is_none()).await;
        assert_eq!(names(&folder), [""; 0]);
        assert_eq!(entry(index).await.status, Status::Verified, "it was verified all the same");
        working.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_uploaded_is_put_into_the_store() {
    on_each(async |index| {
        let (scratch, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = KEPT.put(made.path());
        let store = Arc::new(InMemory::new());
        anchored(index).await;
        let working =
            Working::start(index, in_memory(&store), scratch.path(), |options| options.max_upload = Some(1 << 20));
        let shelf = Some(working.shelf.clone());
        let app = router(AppState::with_bundles(index.clone(), &[], server::Options::default(), shelf));
        let put = Request::put("/api/v1/bundles").body(Body::from(archive(&run))).unwrap();
        assert_eq!(send(&app, put).await.status, StatusCode::ACCEPTED);
        let n_files = files(&run).len() as u64;
        working.until("put", async |counts| counts.put == n_files).await;
        for (file, bytes) in files(&run) {
            let there = store.get(&key("our/runs", &file)).await.unwrap().bytes().await.unwrap();
            assert_eq!(there, bytes, "{file}");
        }
        working.until("verified", async |_| entry(index).await.status == Status::Verified).await;
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len() as u64, n_files, "nothing else is there");
        // Neither sent nor fetched again.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let expected = TrafficCounts { put: n_files, ..TrafficCounts::default() };
        assert_eq!(working.stop().await, expected);

        // Another portal, with a folder of its own, has it from there.
        let other = tempfile::tempdir().unwrap();
        let working = Working::start(index, in_memory(&store), other.path(), |_| ());
        working.until("fetched", async |counts| counts.fetched == n_files).await;
        working.stop().await;
    })
    .await;
}

#[tokio::test]
async fn directories_that_the_store_knows_nothing_of_are_left_alone() {
    on_each(async |index| {
        let scratch = tempfile::tempdir().unwrap();
        let own = scratch.path().join(KEPT.name());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("steps.jsonl"), "being written").unwrap();
        anchored(index).await;
        let working = Working::start(index, in_memory(&filled(&kept()).await), scratch.path(), |_| ());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(working.counts(), TrafficCounts::default());
        assert_eq!(fs::read_to_string(own.join("steps.jsonl")).unwrap(), "being written");
        // And two portals do not work in one folder.
        let options = Options::new(scratch.path().to_owned());
        let intake = Intake::new(index.clone(), Arc::new(KeptKeys::default()), options);
        let refused = intake.with_remote(in_memory(&Arc::new(InMemory::new())));
        assert!(matches!(refused, Err(RemoteError::InUse { .. })), "{refused:?}");
        working.stop().await;
    })
    .await;
}

/// A server that speaks enough of S3, and says what the test wants.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    /// By their names, which need not be paths.
    objects: BTreeMap<String, Vec<u8>>,
    /// What it lists, and does not have.
    missing: Option<String>,
    /// Bytes that it adds to every object.
    added: usize,
    /// What it answers to everything.
    refusal: Option<StatusCode>,
}

impl Fake {
    async fn start() -> (Self, Remote) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/b", get(list)).route("/b/{*key}", get(object)).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let s3 = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true).with_bucket_name("b");
        let s3 = s3.with_access_key_id("id").with_secret_access_key("secret").with_region("here").with_retry(retry);
        let remote = Remote::new(Arc::new(s3.build().unwrap()), ObjectPath::parse("runs").unwrap());
        (fake, remote)
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.lock().unwrap());
    }

    fn put(&self, prefix: &str, files: &BTreeMap<String, Vec<u8>>) {
        self.change(|said| {
            said.objects.extend(files.iter().map(|(file, bytes)| (format!("{prefix}/{file}"), bytes.clone())));
        });
    }
}

async fn list(State(fake): State<Fake>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let said = fake.0.lock().unwrap();
    if let Some(refusal) = said.refusal {
        return refusal.into_response();
    }
    let (mut contents, mut prefixes) = (String::new(), BTreeSet::new());
    for (key, bytes) in said.objects.iter().filter(|(key, _)| key.starts_with(&query["prefix"])) {
        let inside = &key[query["prefix"].len()..];
        match inside.split_once('/').filter(|_| query.contains_key("delimiter")) {
            Some((folder, _)) => {
                prefixes.insert(format!("{}{folder}/", query["prefix"]));
            }
            None => contents.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
                 <ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                Digest::of(bytes),
                bytes.len()
            )),
        }
    }
    let prefixes = prefixes.into_iter().map(|p| format!("<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>"));
    let prefixes: String = prefixes.collect();
    format!("<ListBucketResult>{contents}{prefixes}<IsTruncated>false</IsTruncated></ListBucketResult>").into_response()
}

async fn object(State(fake): State<Fake>, UrlPath(key): UrlPath<String>) -> Response {
    let said = fake.0.lock().unwrap();
    match (said.refusal, said.objects.get(&key)) {
        (Some(refusal), _) => refusal.into_response(),
        (None, None) => StatusCode::NOT_FOUND.into_response(),
        (None, Some(_)) if said.missing.as_ref() == Some(&key) => StatusCode::NOT_FOUND.into_response(),
        (None, Some(bytes)) => {
            let tag = [("etag", format!("\"{}\"", Digest::of(bytes))), ("last-modified", TIME.to_owned())];
            (tag, Bytes::from([&bytes[..], &vec![b'x'; said.added]].concat())).into_response()
        }
    }
}

const TIME: &str = "Fri, 02 Jan 2026 03:04:05 GMT";

#[tokio::test]
async fn hostile_names_end_what_they_are_of_and_lead_nowhere() {
    on_each(async |index| {
        let (scratch, (fake, remote)) = (tempfile::tempdir().unwrap(), Fake::start().await);
        let folder = scratch.path().join("deep/er/copy");
        anchored(index).await;
        let other = format!("runs/run-0x{}01", "00".repeat(31));
        let evil = BTreeMap::from([("run.json".to_owned(), b"evil".to_vec())]);
        // Names that are no paths, of one run; and names of no run.
        for name in ["..", "../../../../outside", "proofs/../../../x", "a//b", "./x", ".."] {
            fake.put(&format!("{other}/{name}"), &evil);
        }
        for name in ["runs/run-..", "runs/run-0x07", "run-0x07", "runs/RUN-0x01", "elsewhere"] {
            fake.put(name, &evil);
        }
        fake.put(&format!("runs/{}", KEPT.name()), &kept());
        let working = Working::start(index, remote, &folder, |_| ());
        working.until("verified", async |_| entry(index).await.status == Status::Verified).await;
        assert_eq!(names(&folder), [KEPT.name()], "that of the other run ends no other's");
        assert_eq!(working.counts().failures, 0);

        // A name that is no path and of no run ends the store's answer: what is here stays.
        fake.put("runs/..", &evil);
        working.until("failing", async |counts| counts.failures > 1).await;
        assert_eq!((names(&folder), state(index).await), (vec![KEPT.name()], Some(ArrivalState::Passed)));
        working.stop().await;
        let outside: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!((outside.len(), outside[0].to_str()), (1, Some("deep")));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_or_lies_changes_nothing_here() {
    on_each(async |index| {
        let (scratch, (fake, remote)) = (tempfile::tempdir().unwrap(), Fake::start().await);
        anchored(index).await;
        fake.put(&format!("runs/{}", KEPT.name()), &kept());
        // Longer than it said, without end as far as anybody knows.
        fake.change(|said| said.added = 1 << 20);
        let working = Working::start(index, remote.clone(), scratch.path(), |_| ());
        working.until("failing", async |counts| counts.failures > 1).await;
        assert_eq!((names(scratch.path()), working.counts().fetched), (vec![], 0));
        fake.change(|said| said.added = 0);
        working.until("here", async |counts| counts.failures == 0 && counts.fetched > 0).await;
        working.until("verified", async |_| entry(index).await.status == Status::Verified).await;

        for refusal in [StatusCode::FORBIDDEN, StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND] {
            fake.change(|said| said.refusal = Some(refusal));
            working.until("failing", async |counts| counts.failures > 0).await;
            assert_eq!((names(scratch.path()), working.counts().removed), (vec![KEPT.name()], 0), "{refusal}");
            assert_eq!(state(index).await, Some(ArrivalState::Passed), "{refusal}");
            fake.change(|said| said.refusal = None);
            working.until("level", async |counts| counts.failures == 0).await;
        }
        working.stop().await;

        // Beyond a limit nothing is fetched.
        let small = tempfile::tempdir().unwrap();
        let limits = Limits { max_bytes: 1_000, ..Limits::default() };
        let working = Working::start(index, remote, small.path(), |options| options.limits = limits);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((working.stop().await, names(small.path())), (TrafficCounts::default(), vec![]));
    })
    .await;
}

#[tokio::test]
async fn what_came_before_a_store_broke_off_is_not_fetched_again() {
    on_each(async |index| {
        let (scratch, (fake, remote)) = (tempfile::tempdir().unwrap(), Fake::start().await);
        add(index, None, 5, vec![KEPT.registered(1, KEPT.registration())], 0).await;
        let (kept, run) = (kept(), format!("runs/{}", KEPT.name()));
        fake.put(&run, &kept);
        let (last, _) = kept.last_key_value().unwrap();
        fake.change(|said| said.missing = Some(format!("{run}/{last}")));
        let working = Working::start(index, remote, scratch.path(), |_| ());
        working.until("failing", async |counts| counts.failures > 2).await;
        let before_the_last = kept.len() as u64 - 1;
        assert_eq!((working.counts().fetched, names(scratch.path())), (before_the_last, vec![]));
        fake.change(|said| said.missing = None);
        working.until("here", async |counts| counts.failures == 0).await;
        assert_eq!(files(&scratch.path().join(KEPT.name())), kept);
        assert_eq!(working.stop().await.fetched, before_the_last + 1);
    })
    .await;
}
