//! Events become runs: once, whatever their order.

use ledger::{StepIndex, TreeSize};
use portal::index::{Confirmation, Standing};

use crate::support::{
    database::on_each,
    history::{History, OWNER, SOURCE, batch, block, only_run, source, tx, whole},
};

#[tokio::test]
async fn a_run_is_what_its_events_say() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(3);
        logs.extend([history.announced(5), history.finalized(6)]);
        let applied = index.apply(key, &batch(None, 9, logs)).await.unwrap();
        assert_eq!(applied.n_events, 6);

        let (run, epochs) = whole(index).await;
        assert_eq!(applied.runs, [run.key]);
        assert_eq!((run.chain, run.contract, run.run), (SOURCE.chain, SOURCE.contract, history.log.run));
        assert_eq!((run.registered_by, run.owner, run.registration), (OWNER, OWNER, history.registration));
        assert_eq!(run.registered_at, block(0, 1).time);
        assert_eq!((run.counter, run.size, run.root), (3, TreeSize(6), history.log.root()));
        assert_eq!((run.state, run.finalized, run.frozen), (history.log.state, true, false));

        assert_eq!(epochs.iter().map(|epoch| epoch.counter).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(epochs.windows(2).all(|pair| pair[0].state_out == pair[1].state_in));
        assert_eq!((epochs[2].root, epochs[2].tx, epochs[2].block), (run.root, tx(4), block(0, 4).at));
        assert_eq!(epochs[2].time, block(0, 4).time);

        let steps = index.steps(run.key, StepIndex(4), 10).await.unwrap();
        assert_eq!(steps.iter().map(|step| step.step.0).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(index.tree(run.key, TreeSize(6)).await.unwrap().root(), run.root);
        assert_eq!(index.tree(run.key, TreeSize(4)).await.unwrap().root(), epochs[1].root);
        let bundles = index.bundles(run.key, 10).await.unwrap();
        assert_eq!((bundles.len(), bundles[0].announcement.size, bundles[0].announcer), (1, TreeSize(6), OWNER));
    })
    .await;
}

#[tokio::test]
async fn a_run_is_anchored_only_once_the_contract_said_so() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        index.apply(key, &batch(None, 1, vec![history.registered(1)])).await.unwrap();
        let run = only_run(index).await;
        assert_eq!(run.standing, Standing::Incomplete);
        let agrees = index.confirm(run.key, block(0, 1).at, Some(&history.head(1, false)), false).await.unwrap();
        assert_eq!(agrees, Confirmation::Agrees);
        assert_eq!(only_run(index).await.standing, Standing::Registered { block: 1 });

        let epoch = history.anchored(2, 2);
        index.apply(key, &batch(Some(1), 2, vec![epoch])).await.unwrap();
        assert_eq!(only_run(index).await.standing, Standing::Incomplete, "the contract was asked before this epoch");
        assert_eq!(index.unconfirmed(key, 5).await.unwrap(), [(run.key, run.run)]);
        assert_eq!(index.confirmed_longest_ago(key, 5).await.unwrap(), []);
        index.confirm(run.key, block(0, 2).at, Some(&history.head(2, false)), true).await.unwrap();
        let run = only_run(index).await;
        assert_eq!((run.standing, run.frozen), (Standing::Anchored { block: 2 }, true));
        assert_eq!(index.unconfirmed(key, 5).await.unwrap(), []);
        assert_eq!(index.confirmed_longest_ago(key, 5).await.unwrap(), [(run.key, run.run)]);
    })
    .await;
}

#[tokio::test]
async fn another_word_of_the_contract_is_not_a_confirmation() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = history.with_epochs(2);
        index.apply(key, &batch(None, 5, logs)).await.unwrap();
        let run = only_run(index).await;
        let true_head = history.head(5, false);
        let other = [
            chain::Head { counter: 3, ..true_head },
            chain::Head { size: TreeSize(5), ..true_head },
            chain::Head { root: ledger::Root([7; 32]), ..true_head },
            chain::Head { state: ledger::FieldElement::from(7), ..true_head },
            chain::Head { finalized: true, ..true_head },
        ];
        for head in other {
            index.confirm(run.key, block(0, 5).at, Some(&true_head), false).await.unwrap();
            assert_eq!(only_run(index).await.standing, Standing::Anchored { block: 5 });
            let differs = index.confirm(run.key, block(0, 5).at, Some(&head), false).await.unwrap();
            let expected = Some((head.counter, head.size));
            assert_eq!(differs, Confirmation::Differs { expected, got: (2, TreeSize(4)) });
            assert_eq!(only_run(index).await.standing, Standing::Incomplete, "{head:?}");
        }
        index.confirm(run.key, block(0, 5).at, Some(&true_head), false).await.unwrap();
        let unknown = index.confirm(run.key, block(0, 5).at, None, false).await.unwrap();
        assert_eq!(unknown, Confirmation::Differs { expected: None, got: (2, TreeSize(4)) });
        assert_eq!(only_run(index).await.standing, Standing::Incomplete);
    })
    .await;
}

#[tokio::test]
async fn runs_that_the_contract_does_not_confirm_do_not_hide_others() {
    on_each(async |index| {
        let key = source(index).await;
        let histories: Vec<_> = (1..=5).map(History::new).collect();
        let logs = histories.iter().map(|history| history.registered(1)).collect();
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let mut asked = Vec::new();
        for number in 1..=3 {
            for (run, id) in index.unconfirmed(key, 2).await.unwrap() {
                index.confirm(run, block(0, number).at, None, false).await.unwrap();
                asked.push(id);
            }
        }
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn events_that_come_twice_change_nothing() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(3);
        logs.extend([history.announced(5), history.finalized(6)]);
        index.apply(key, &batch(None, 9, logs.clone())).await.unwrap();
        let before = whole(index).await;
        logs.extend(logs.clone());
        let applied = index.apply(key, &batch(Some(9), 9, logs)).await.unwrap();
        assert_eq!((applied.n_events, applied.runs), (0, vec![]));
        assert_eq!(whole(index).await, before);
        assert_eq!(index.steps(before.0.key, StepIndex(0), 100).await.unwrap().len(), 6);
        assert_eq!(index.bundles(before.0.key, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn any_order_of_events_gives_the_same_run() {
    // Rotations of forwards and backwards: each event is first once, and last once.
    for shift in 0..6 {
        for backwards in [false, true] {
            on_each(async |index| {
                let key = source(index).await;
                let mut history = History::new(1);
                let mut logs = history.with_epochs(4);
                logs.push(history.finalized(7));
                logs.rotate_left(shift);
                if backwards {
                    logs.reverse();
                }
                let mut after = None;
                for log in logs {
                    index.apply(key, &batch(after, 9, vec![log])).await.unwrap();
                    after = Some(9);
                }
                let run = only_run(index).await;
                assert_eq!(
                    (run.counter, run.root, run.finalized),
                    (4, history.log.root(), true),
                    "{shift} {backwards}"
                );
                let head = history.head(9, true);
                assert_eq!(
                    index.confirm(run.key, block(0, 9).at, Some(&head), false).await.unwrap(),
                    Confirmation::Agrees
                );
            })
            .await;
        }
    }
}

#[tokio::test]
async fn epochs_behind_a_gap_wait_for_it_to_close() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(4);
        let missing = logs.remove(2);
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let run = only_run(index).await;
        assert_eq!((run.counter, run.size, run.standing), (1, TreeSize(2), Standing::Incomplete));
        assert_eq!(index.last_event(run.key).await.unwrap(), 2, "the gap begins behind the first epoch");
        index.apply(key, &batch(Some(9), 9, vec![missing])).await.unwrap();
        let run = only_run(index).await;
        assert_eq!((run.counter, run.root), (4, history.log.root()));
    })
    .await;
}

#[tokio::test]
async fn an_unregistered_run_is_not_listed_and_not_counted() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(2);
        let registration = logs.remove(0);
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        assert_eq!(index.runs(None, 10).await.unwrap(), []);
        assert_eq!(index.unconfirmed(key, 10).await.unwrap(), []);
        index.apply(key, &batch(Some(9), 9, vec![registration])).await.unwrap();
        assert_eq!(only_run(index).await.counter, 2);
    })
    .await;
}

#[tokio::test]
async fn an_epoch_of_many_steps_is_kept_whole() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let logs = vec![history.registered(1), history.anchored(2, 2_048), history.anchored(3, 1)];
        index.apply(key, &batch(None, 3, logs)).await.unwrap();
        let run = only_run(index).await;
        assert_eq!((run.size, run.root), (TreeSize(2_049), history.log.root()));
        assert_eq!(index.tree(run.key, run.size).await.unwrap().root(), run.root);
    })
    .await;
}

#[tokio::test]
async fn pages_of_runs_cover_all_of_them_once() {
    on_each(async |index| {
        let key = source(index).await;
        let logs = (1..=7).map(|run| History::new(run).registered(run)).collect();
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = index.runs(before, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.key);
            seen.extend(page.iter().map(|run| run.run));
        }
        let expected: Vec<_> = (1..=7).rev().map(|run| History::new(run).log.run).collect();
        assert_eq!(seen, expected);
    })
    .await;
}
