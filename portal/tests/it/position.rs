//! Where the index stands, and who may move it.

use ledger::Address;
use portal::index::{Index, IndexError, RunFilter, RunSort, Source, Status};

use crate::support::{
    database::{on_each, on_each_address},
    history::{History, SOURCE, batch, block, only_run, source},
};

#[tokio::test]
async fn a_batch_for_another_position_is_refused() {
    on_each(async |index| {
        let key = source(index).await;
        let history = History::new(1);
        index.apply(key, &batch(None, 4, vec![])).await.unwrap();
        for after in [None, Some(3), Some(5)] {
            let error = index.apply(key, &batch(after, 6, vec![history.registered(5)])).await.unwrap_err();
            assert!(matches!(error, IndexError::Moved), "{after:?}: {error}");
        }
        let error = index.roll_back(key, block(0, 3).at, None).await.unwrap_err();
        assert!(matches!(error, IndexError::Moved), "{error}");
        assert_eq!(index.runs(None, 1).await.unwrap(), []);
        assert_eq!(index.position(key).await.unwrap(), Some(block(0, 4).at));
    })
    .await;
}

#[tokio::test]
async fn events_and_positions_above_the_last_block_are_refused() {
    on_each(async |index| {
        let key = source(index).await;
        let history = History::new(1);
        let error = index.apply(key, &batch(None, 4, vec![history.registered(5)])).await.unwrap_err();
        assert!(matches!(error, IndexError::Above { last: 4, got: 5 }), "{error}");
        let error = index.apply(key, &batch(Some(5), 4, vec![])).await.unwrap_err();
        assert!(matches!(error, IndexError::Above { last: 4, got: 5 }), "{error}");
        assert_eq!(index.position(key).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn of_two_followers_at_once_one_moves_the_index() {
    on_each_address(async |address| {
        let (one, two) = (Index::open(address).await.unwrap(), Index::open(address).await.unwrap());
        let key = source(&one).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(3);
        let next = batch(None, 9, logs);
        let (first, second) = tokio::join!(one.apply(key, &next), two.apply(key, &next));
        let n_moved = [&first, &second].iter().filter(|done| done.is_ok()).count();
        assert_eq!(n_moved, 1, "{first:?} {second:?}");
        let refused = first.err().or(second.err()).unwrap();
        assert!(matches!(refused, IndexError::Moved), "{refused}");
        assert_eq!(only_run(&two).await.root, history.log.root());
    })
    .await;
}

#[tokio::test]
async fn an_index_is_found_again_by_the_next_program() {
    on_each_address(async |address| {
        let mut history = History::new(1);
        let index = Index::open(address).await.unwrap();
        let key = source(&index).await;
        let logs = history.with_epochs(2);
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let before = only_run(&index).await;
        index.close().await;
        let index = Index::open(address).await.unwrap();
        assert_eq!(source(&index).await, key);
        assert_eq!(only_run(&index).await, before);
        assert_eq!(index.position(key).await.unwrap(), Some(block(0, 9).at));
    })
    .await;
}

#[tokio::test]
async fn several_contracts_share_an_index_and_are_forgotten_apart() {
    on_each(async |index| {
        let mut history = History::new(1);
        let logs = history.with_epochs(2);
        let other = Source { contract: Address([0xdd; 20]), first_block: 1, ..SOURCE };
        let keys = [source(index).await, index.source(&other).await.unwrap()];
        for key in keys {
            index.apply(key, &batch(None, 9, logs.clone())).await.unwrap();
        }
        let both = index.runs_by_id(history.log.run).await.unwrap();
        assert_eq!(both.iter().map(|run| run.contract).collect::<Vec<_>>(), [SOURCE.contract, other.contract]);
        let error = index.source(&Source { first_block: 2, ..other }).await.unwrap_err();
        assert!(matches!(error, IndexError::FirstBlock { expected: 1, got: 2, .. }), "{error}");

        index.forget(other.chain, other.contract).await.unwrap();
        assert_eq!(only_run(index).await.contract, SOURCE.contract);
        let sources = index.sources().await.unwrap();
        assert_eq!(
            sources.iter().map(|entry| (entry.source, entry.position)).collect::<Vec<_>>(),
            [(SOURCE, Some(block(0, 9).at))]
        );
        let anew = index.source(&Source { first_block: 2, ..other }).await.unwrap();
        assert_eq!(index.position(anew).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn hashes_of_old_blocks_are_forgotten_unless_events_hang_on_them() {
    on_each(async |index| {
        let key = source(index).await;
        let history = History::new(1);
        index.apply(key, &batch(None, 10, vec![history.registered(3)])).await.unwrap();
        index.apply(key, &batch(Some(10), 4_100, vec![])).await.unwrap();
        index.apply(key, &batch(Some(4_100), 5_000, vec![])).await.unwrap();
        let kept = index.blocks_below(key, 10_000, 10).await.unwrap();
        assert_eq!(kept.iter().map(|block| block.number).collect::<Vec<_>>(), [5_000, 4_100, 3]);
    })
    .await;
}

/// What version 5 added.
const UNDO_5: [&str; 10] = [
    "DROP INDEX run_by_registered_time",
    "DROP INDEX run_by_size",
    "DROP INDEX run_by_anchored_time",
    "DROP INDEX run_by_parent",
    "ALTER TABLE run DROP COLUMN status",
    "ALTER TABLE run DROP COLUMN registered_time",
    "ALTER TABLE run DROP COLUMN policy",
    "ALTER TABLE run DROP COLUMN parent",
    "ALTER TABLE run DROP COLUMN owner",
    "DELETE FROM index_schema WHERE version = 5",
];

#[tokio::test]
async fn a_database_of_an_older_program_is_brought_forward() {
    on_each_address(async |address| {
        let index = Index::open(address).await.unwrap();
        let key = source(&index).await;
        let (mut one, two) = (History::new(1), History::new(2));
        let logs = vec![one.registered(3), two.registered(4), one.anchored(5, 2)];
        let runs = index.apply(key, &batch(None, 10, logs)).await.unwrap().runs;
        index.confirm(runs[0], block(0, 10).at, Some(&one.head(10, false)), false).await.unwrap();
        let listed = async |index: &Index| index.list(&RunFilter::default(), RunSort::Steps, None, 10).await.unwrap();
        let before = listed(&index).await;
        assert_eq!(
            before.runs.iter().map(|run| run.status).collect::<Vec<_>>(),
            [Status::BundleNotSeen, Status::Unconfirmed]
        );
        index.close().await;

        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(address).await.unwrap();
        for statement in UNDO_5 {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let again = Index::open(address).await.unwrap();
        assert_eq!(listed(&again).await, before);
        again.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    on_each_address(async |address| {
        let index = Index::open(address).await.unwrap();
        index.close().await;
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(address).await.unwrap();
        sqlx::query("INSERT INTO index_schema (version) VALUES (99)").execute(&pool).await.unwrap();
        pool.close().await;
        let error = Index::open(address).await.unwrap_err();
        assert!(matches!(error, IndexError::NewerSchema { got: 99, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_and_not_shown() {
    for address in ["", "index.db", "mysql://user:secret@localhost/x"] {
        let error = Index::open(address).await.unwrap_err();
        assert!(matches!(error, IndexError::Address { .. }), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
