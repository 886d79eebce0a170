//! Announced bundles that are not here: which is asked for, when again, and what is left alone.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ledger::TreeSize;
use portal::{
    bundles::{FetchCounts, FetchOptions, Intake, Options, Transfer, TransferError, Transferring, Wanted},
    index::{Index, Status},
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::support::{
    bundle::{KEPT, KeptKeys, add, entry, manifest_of},
    database::on_each,
    history::{History, batch, block, source},
};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Comes,
    Fails,
    IsRefused,
    Hangs,
}

/// Brings what the test says, and keeps what it was asked for.
struct Courier {
    folder: PathBuf,
    fates: Mutex<VecDeque<Fate>>,
    asked: Mutex<Vec<Wanted>>,
    n_dropped: Arc<AtomicUsize>,
}

impl Courier {
    fn new(folder: &Path, fates: &[Fate]) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            fates: Mutex::new(fates.iter().copied().collect()),
            asked: Mutex::default(),
            n_dropped: Arc::default(),
        })
    }

    fn asked(&self) -> Vec<Wanted> {
        self.asked.lock().unwrap().clone()
    }
}

/// Counts when it goes.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Transfer for Courier {
    fn transfer(&self, wanted: Wanted) -> Transferring {
        self.asked.lock().unwrap().push(wanted);
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Fails);
        let (folder, dropped) = (self.folder.clone(), Dropped(self.n_dropped.clone()));
        Box::pin(async move {
            let _dropped = dropped;
            let reason = "as the test says\n".to_owned();
            match fate {
                Fate::Comes => {
                    KEPT.put(&folder);
                    Ok(())
                }
                Fate::Fails => Err(TransferError::Unable { reason }),
                Fate::IsRefused => Err(TransferError::Refused { reason }),
                Fate::Hangs => std::future::pending().await,
            }
        })
    }
}

/// A portal's intake at work.
struct Working {
    shelf: Arc<portal::bundles::Shelf>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Working {
    fn start(index: &Index, courier: &Arc<Courier>, change: impl FnOnce(&mut Options, &mut FetchOptions)) -> Self {
        let mut fetch =
            FetchOptions { transfer: courier.clone(), n_jobs: 1, time_limit: Duration::from_secs(60), space: u64::MAX };
        let interval = Duration::from_millis(5);
        let mut options = Options { interval, ..Options::new(courier.folder.clone()) };
        change(&mut options, &mut fetch);
        options.fetch = Some(fetch);
        let intake = Intake::new(index.clone(), Arc::new(KeptKeys::default()), options);
        let (shelf, (stop, stopped)) = (intake.shelf(), oneshot::channel::<()>());
        let ended = tokio::spawn(intake.run(async move {
            // Dropped, it is the word to stop too.
            let _ = stopped.await;
        }));
        Self { shelf, stop, ended }
    }

    fn counts(&self) -> FetchCounts {
        self.shelf.fetches().unwrap().counts()
    }

    async fn until(&self, is_so: impl Fn(&FetchCounts) -> bool) {
        let start = std::time::Instant::now();
        while !is_so(&self.counts()) {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) -> FetchCounts {
        let counts = self.counts();
        drop(self.stop);
        self.ended.await.unwrap();
        counts
    }
}

/// The kept run with both epochs and its bundle announced.
async fn announced(index: &Index) {
    let scratch = tempfile::tempdir().unwrap();
    let manifest = manifest_of(&KEPT.put(scratch.path()));
    let logs = vec![KEPT.registered(1, KEPT.registration()), KEPT.anchored(2, 0), KEPT.anchored(3, 1)];
    add(index, None, 9, [logs, vec![KEPT.announced(4, manifest)]].concat(), 2).await;
}

#[tokio::test]
async fn what_is_announced_is_fetched_and_goes_through_the_queue() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[Fate::Fails, Fate::Fails, Fate::Comes]);
        announced(index).await;
        let working = Working::start(index, &courier, |_, _| ());
        working.until(|counts| counts.fetched == 1).await;
        let start = std::time::Instant::now();
        while entry(index).await.status != Status::Verified {
            assert!(start.elapsed() < Duration::from_secs(120), "{:?}", entry(index).await.status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        working.until(|counts| counts.missing == 0).await;
        let expected = FetchCounts { fetched: 1, failed: 2, ..FetchCounts::default() };
        assert_eq!(working.stop().await, expected, "once it is here it is not asked for again");
        let asked = courier.asked();
        let offer = asked[0].offer;
        assert_eq!((offer.name.run, offer.first_block), (KEPT.run().run, 1));
        assert_eq!((offer.announcement.size, offer.counter), (TreeSize(8), 2));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_anchored_is_not_asked_for() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[]);
        let mut history = History::new(7);
        let mut logs = history.with_epochs(2);
        // Its size is between two epochs: nothing on chain says what its root should be.
        logs.push(history.announced(5));
        let key = source(index).await;
        for (at, log) in logs.iter_mut().enumerate() {
            if let chain::AnchorEvent::Announced(event) = &mut log.event {
                event.announcement.size = TreeSize(3);
                assert_eq!(at, 3);
            }
        }
        index.apply(key, &batch(None, 6, logs)).await.unwrap();
        let run = index.runs(None, 1).await.unwrap().remove(0);
        index.confirm(run.key, block(0, 6).at, Some(&history.head(6, false)), false).await.unwrap();
        assert_eq!(index.offers(None, 10).await.unwrap(), []);
        // The whole of it, before the contract said that the events are all there are.
        index.apply(key, &batch(Some(6), 8, vec![history.announced(7)])).await.unwrap();
        assert_eq!(index.offers(None, 10).await.unwrap().len(), 1);
        index.confirm(run.key, block(0, 8).at, None, false).await.unwrap();
        assert_eq!(index.offers(None, 10).await.unwrap(), [], "its head is not the events'");
        let working = Working::start(index, &courier, |_, _| ());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((working.stop().await, courier.asked().len()), (FetchCounts::default(), 0));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_hold_is_asked_for_again_once_there_is_something_new() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[Fate::IsRefused, Fate::IsRefused]);
        announced(index).await;
        let working = Working::start(index, &courier, |_, _| ());
        working.until(|counts| counts.refused == 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((courier.asked().len(), working.counts().missing), (1, 1), "it is remembered");
        // Another announcement.
        let again = KEPT.announced(11, ledger::Digest([9; 32]));
        add(index, Some(9), 12, vec![again], 2).await;
        working.until(|counts| counts.refused == 2).await;
        assert_eq!(courier.asked()[1].offer.announcement.manifest_digest, ledger::Digest([9; 32]));
        working.stop().await;
    })
    .await;
}

#[tokio::test]
async fn directories_that_did_not_come_so_are_left_alone() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[]);
        announced(index).await;
        // A trainer's, in the making.
        let own = folder.path().join(KEPT.name());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("steps.jsonl"), "being written").unwrap();
        let working = Working::start(index, &courier, |_, _| ());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((working.stop().await, courier.asked().len()), (FetchCounts::default(), 0));
        // One that was fetched, and is not whole.
        fs::write(folder.path().join(format!(".{}.fetched", KEPT.name())), "").unwrap();
        let working = Working::start(index, &courier, |_, _| ());
        working.until(|counts| counts.failed > 0).await;
        working.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_attempt_ends_with_its_time_or_with_the_portal() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[Fate::Hangs, Fate::Hangs]);
        announced(index).await;
        let working = Working::start(index, &courier, |_, fetch| fetch.time_limit = Duration::from_millis(50));
        working.until(|counts| counts.failed == 1).await;
        assert!(courier.n_dropped.load(Ordering::SeqCst) >= 1);
        working.stop().await;

        let courier = Courier::new(folder.path(), &[Fate::Hangs]);
        let working = Working::start(index, &courier, |_, _| ());
        working.until(|counts| counts.running == 1).await;
        assert_eq!(courier.n_dropped.load(Ordering::SeqCst), 0);
        working.stop().await;
        assert_eq!(courier.n_dropped.load(Ordering::SeqCst), 1);
    })
    .await;
}

#[tokio::test]
async fn a_folder_takes_no_more_than_it_may_have() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        let courier = Courier::new(folder.path(), &[Fate::Hangs]);
        announced(index).await;
        // What others left there counts.
        fs::create_dir(folder.path().join(".run.fetching")).unwrap();
        fs::write(folder.path().join(".run.fetching/log"), [0; 1_000]).unwrap();
        let working = Working::start(index, &courier, |_, fetch| fetch.space = 1_000);
        working.until(|counts| counts.missing == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(working.stop().await, FetchCounts { missing: 1, ..FetchCounts::default() });
        assert_eq!(courier.asked().len(), 0);
        let working = Working::start(index, &courier, |options, fetch| {
            fetch.space = 1_700;
            options.limits.max_bytes = 5_000;
        });
        working.until(|counts| counts.running == 1).await;
        assert_eq!(courier.asked()[0].max_bytes, 700, "what room there is, if that is less");
        working.stop().await;
    })
    .await;
}
