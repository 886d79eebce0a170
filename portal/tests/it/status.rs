//! A run's status follows from the chain and from what was checked; nothing sets it, and what the chain takes back it loses.

use ledger::{Digest, Root, TreeSize};
use portal::index::{Index, RunFilter, RunSort, SourceKey, Status, Verification};

use crate::support::{
    database::on_each,
    history::{History, batch, block, only_run, source},
};

fn checked(size: u64, root: Root, failure: Option<&str>) -> Verification {
    Verification {
        manifest: Digest([1; 32]),
        size: TreeSize(size),
        root,
        failure: failure.map(str::to_owned),
        version: "test".into(),
        checked_at: 1_700_000_000,
    }
}

async fn confirm(index: &Index, history: &History, number: u64, frozen: bool) {
    let key = only_run(index).await.key;
    index.confirm(key, block(0, number).at, Some(&history.head(number, false)), frozen).await.unwrap();
}

async fn status(index: &Index) -> Status {
    only_run(index).await.status
}

/// A run with one confirmed epoch of two steps, at block 2.
async fn anchored(index: &Index) -> (SourceKey, History) {
    let (key, mut history) = (source(index).await, History::new(1));
    index.apply(key, &batch(None, 2, history.with_epochs(1))).await.unwrap();
    confirm(index, &history, 2, false).await;
    (key, history)
}

#[tokio::test]
async fn only_the_contracts_word_makes_a_run_anchored() {
    on_each(async |index| {
        let (key, mut history) = (source(index).await, History::new(1));
        index.apply(key, &batch(None, 1, vec![history.registered(1)])).await.unwrap();
        assert_eq!(status(index).await, Status::Unconfirmed);
        confirm(index, &history, 1, false).await;
        assert_eq!(status(index).await, Status::Registered);
        let epoch = history.anchored(2, 2);
        index.apply(key, &batch(Some(1), 2, vec![epoch])).await.unwrap();
        assert_eq!(status(index).await, Status::Unconfirmed);
        confirm(index, &history, 2, false).await;
        assert_eq!(status(index).await, Status::BundleNotSeen);
        confirm(index, &history, 2, true).await;
        assert_eq!(status(index).await, Status::Frozen);
    })
    .await;
}

#[tokio::test]
async fn a_check_counts_for_exactly_the_size_and_root_that_the_chain_has() {
    on_each(async |index| {
        let (key, mut history) = anchored(index).await;
        let (run, root) = (only_run(index).await.key, history.log.root());
        index.note_verification(run, &checked(2, Root([7; 32]), None)).await.unwrap();
        assert_eq!(status(index).await, Status::BundleNotSeen, "another root");
        index.note_verification(run, &checked(3, root, None)).await.unwrap();
        assert_eq!(status(index).await, Status::BundleNotSeen, "another size");
        index.note_verification(run, &checked(2, root, None)).await.unwrap();
        assert_eq!(status(index).await, Status::Verified);

        let epoch = history.anchored(3, 2);
        index.apply(key, &batch(Some(2), 3, vec![epoch])).await.unwrap();
        assert_eq!(status(index).await, Status::Unconfirmed);
        confirm(index, &history, 3, false).await;
        assert_eq!(status(index).await, Status::PartlyCovered);
        let whole = Verification { manifest: Digest([2; 32]), ..checked(4, history.log.root(), None) };
        index.note_verification(run, &whole).await.unwrap();
        assert_eq!(status(index).await, Status::Verified);

        index.roll_back(key, block(0, 3).at, Some(block(0, 2).at)).await.unwrap();
        assert_eq!(status(index).await, Status::Unconfirmed, "the chain took the epoch back");
    })
    .await;
}

#[tokio::test]
async fn a_failed_check_counts_only_if_the_bundle_was_announced_on_chain() {
    on_each(async |index| {
        let (key, history) = anchored(index).await;
        let (run, root) = (only_run(index).await.key, history.log.root());
        index.note_verification(run, &checked(2, root, Some("step 1: proof refused"))).await.unwrap();
        assert_eq!(status(index).await, Status::BundleNotSeen, "a stranger's bundle says nothing of the run");
        index.apply(key, &batch(Some(2), 4, vec![history.announced(4)])).await.unwrap();
        assert_eq!(status(index).await, Status::Invalid);
        index.note_verification(run, &checked(2, root, None)).await.unwrap();
        assert_eq!(status(index).await, Status::Verified);
        assert_eq!(index.verifications(run, 10).await.unwrap(), [checked(2, root, None)]);
    })
    .await;
}

#[tokio::test]
async fn pages_of_each_order_hold_every_run_once() {
    on_each(async |index| {
        let key = source(index).await;
        let mut logs = Vec::new();
        for run in 1..=7u64 {
            let mut history = History::new(run);
            logs.push(history.registered(run / 2));
            logs.extend((0..run % 3).map(|epoch| history.anchored(10 + run + epoch, 2)));
        }
        index.apply(key, &batch(None, 40, logs)).await.unwrap();
        for sort in RunSort::ALL {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = index.list(&RunFilter::default(), sort, after, 2).await.unwrap();
                assert!(page.runs.len() <= 2);
                listed.extend(page.runs);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let mut keys: Vec<_> = listed.iter().map(|run| run.key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!((listed.len(), keys.len()), (7, 7), "{sort:?}");
            let is_sorted = match sort {
                RunSort::Newest => listed.is_sorted_by_key(|run| u64::MAX - run.registered_at),
                RunSort::Oldest => listed.is_sorted_by_key(|run| run.registered_at),
                RunSort::Steps => listed.is_sorted_by_key(|run| u64::MAX - run.size.0),
                RunSort::Anchored => listed.is_sorted_by_key(|run| u64::MAX - run.anchored_at.unwrap_or(0)),
            };
            assert!(is_sorted, "{sort:?}");
        }
        let some = RunFilter { min_steps: Some(1), max_steps: Some(2), ..RunFilter::default() };
        let sizes: Vec<_> = index.list(&some, RunSort::Steps, None, 9).await.unwrap().runs;
        assert_eq!(sizes.iter().map(|run| run.size.0).collect::<Vec<_>>(), [2, 2, 2]);
        let facets = index.facets(&some, 0).await.unwrap();
        assert_eq!((facets.total, facets.statuses), (3, vec![(Status::Unconfirmed, 3)]));
    })
    .await;
}
