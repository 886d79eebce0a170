//! What a reorganisation took away is as if it had never been.

use portal::index::{IndexError, Standing};

use crate::support::{
    database::on_each,
    history::{History, batch, block, only_run, source, whole},
};

#[tokio::test]
async fn going_back_gives_what_was_there_before() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(2);
        index.apply(key, &batch(None, 3, logs)).await.unwrap();
        let (before, head) = (whole(index).await, history.head(3, false));
        let mut more = vec![history.anchored(4, 4), history.anchored(5, 8), history.announced(5), history.finalized(6)];
        // One log a place: the announcement shares the block of an epoch.
        more[2].place.log_index += 100;
        index.apply(key, &batch(Some(3), 8, more)).await.unwrap();
        assert_eq!(only_run(index).await.counter, 4);

        let undone = index.roll_back(key, block(0, 8).at, Some(block(0, 3).at)).await.unwrap();
        assert_eq!((undone.n_events, undone.runs.len()), (4, 1));
        assert_eq!(whole(index).await, before);
        assert_eq!(index.position(key).await.unwrap(), Some(block(0, 3).at));
        let run = before.0.key;
        assert_eq!(index.bundles(run, 10).await.unwrap(), []);
        assert_eq!(index.steps(run, ledger::StepIndex(4), 10).await.unwrap(), []);
        index.confirm(run, block(0, 3).at, Some(&head), false).await.unwrap();
        assert_eq!(only_run(index).await.standing, Standing::Anchored { block: 3 });
    })
    .await;
}

#[tokio::test]
async fn another_history_takes_the_place_of_the_lost_one() {
    on_each(async |index| {
        let key = source(index).await;
        let (mut lost, mut kept) = (History::new(1), History::new(1));
        let logs = lost.with_epochs(3);
        index.apply(key, &batch(None, 6, logs)).await.unwrap();
        index.confirm(only_run(index).await.key, block(0, 6).at, Some(&lost.head(6, false)), false).await.unwrap();
        // The other branch shares blocks up to 2, that is the first epoch, and then anchors four steps at once.
        kept.with_epochs(1);
        kept.branch = 1;
        let other = kept.anchored(3, 2);
        index.roll_back(key, block(0, 6).at, Some(block(0, 2).at)).await.unwrap();
        let mut next = batch(Some(2), 7, vec![other, kept.anchored(4, 4)]);
        next.to = block(1, 7);
        index.apply(key, &next).await.unwrap();
        let run = only_run(index).await;
        assert_eq!((run.counter, run.size.0, run.root), (3, 8, kept.log.root()));
        assert_eq!(run.standing, Standing::Incomplete, "the same counter as the lost history's, and not confirmed");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_was_never_registered_is_forgotten() {
    on_each(async |index| {
        let key = source(index).await;
        let (mut first, mut second) = (History::new(1), History::new(2));
        let mut logs = first.with_epochs(1);
        logs.extend([second.registered(4), second.anchored(5, 2)]);
        index.apply(key, &batch(None, 6, logs)).await.unwrap();
        index
            .confirm(index.runs(None, 10).await.unwrap()[1].key, block(0, 6).at, Some(&first.head(6, false)), false)
            .await
            .unwrap();
        index.roll_back(key, block(0, 6).at, Some(block(0, 2).at)).await.unwrap();
        let run = only_run(index).await;
        assert_eq!(run.run, first.log.run);
        assert_eq!(run.standing, Standing::Anchored { block: 6 }, "its events are all still there");
        assert_eq!(index.find(second.log.run.to_field().as_bytes()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn going_back_to_a_block_that_was_never_seen_is_refused() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(2);
        index.apply(key, &batch(None, 6, logs)).await.unwrap();
        let before = whole(index).await;
        for unknown in [block(0, 5).at, block(1, 3).at] {
            let error = index.roll_back(key, block(0, 6).at, Some(unknown)).await.unwrap_err();
            assert!(
                matches!(&error, IndexError::UnknownBlock { block, hash }
                    if (*block, *hash) == (unknown.number, unknown.hash)),
                "{error}"
            );
        }
        assert_eq!(whole(index).await, before);
        assert_eq!(index.position(key).await.unwrap(), Some(block(0, 6).at));
    })
    .await;
}

#[tokio::test]
async fn going_back_before_the_first_block_forgets_everything() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(2);
        index.apply(key, &batch(None, 6, logs.clone())).await.unwrap();
        index.roll_back(key, block(0, 6).at, None).await.unwrap();
        assert_eq!(index.position(key).await.unwrap(), None);
        assert_eq!(index.runs(None, 10).await.unwrap(), []);
        assert_eq!(index.blocks_below(key, u64::from(u32::MAX), 10).await.unwrap(), []);
        index.apply(key, &batch(None, 6, logs)).await.unwrap();
        assert_eq!(only_run(index).await.root, history.log.root());
    })
    .await;
}

#[tokio::test]
async fn another_block_at_a_known_height_is_refused_with_its_whole_batch() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(1);
        index.apply(key, &batch(None, 4, logs)).await.unwrap();
        let before = whole(index).await;
        let good = history.anchored(5, 2);
        history.branch = 1;
        let other = history.announced(2);
        let error = index.apply(key, &batch(Some(4), 6, vec![good, other])).await.unwrap_err();
        let (here, there) = (block(0, 2).at.hash, block(1, 2).at.hash);
        assert!(
            matches!(&error, IndexError::OtherHistory { block: 2, expected, got } if (*expected, *got) == (here, there)),
            "{error}"
        );
        assert_eq!(whole(index).await, before, "nothing of the batch was taken");
        assert_eq!(index.position(key).await.unwrap(), Some(block(0, 4).at));
    })
    .await;
}
