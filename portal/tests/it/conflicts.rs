//! Events that do not fit together: the run says why, and its head stays where it was.

use chain::{AnchorEvent, AnchorLog, EpochEvent};
use ledger::{Digest, FieldElement, Root, StepIndex, TreeSize};
use portal::index::{Confirmation, Index, Standing};

use crate::support::{
    database::on_each,
    history::{History, batch, block, only_run, source},
};

/// Two good epochs, then one changed by `change`; gives what the index says of the run.
async fn with_changed(index: &Index, change: fn(&mut EpochEvent)) -> String {
    let key = source(index).await;
    let mut history = History::new(1);
    let mut logs = history.with_epochs(2);
    let good = history.head(3, false);
    let mut changed = history.anchored(4, 2);
    let AnchorLog { event: AnchorEvent::Anchored(epoch), .. } = &mut changed else { unreachable!("made above") };
    change(epoch);
    logs.push(changed);
    index.apply(key, &batch(None, 9, logs)).await.unwrap();
    let run = only_run(index).await;
    assert_eq!((run.counter, run.size, run.root, run.state), (2, TreeSize(4), good.root, good.state));
    let confirmed = index.confirm(run.key, block(0, 9).at, Some(&good), false).await.unwrap();
    assert!(matches!(confirmed, Confirmation::Differs { .. }), "a head cannot outvote a conflict");
    let Standing::Conflict(reason) = only_run(index).await.standing else { panic!("{:?}", run.standing) };
    reason
}

#[tokio::test]
async fn an_epoch_that_does_not_follow_is_a_conflict() {
    type Change = (fn(&mut EpochEvent), &'static str);
    let changes: [Change; 7] = [
        (|epoch| epoch.first_step = StepIndex(5), "epoch 3: expected first step 4, got 5"),
        (|epoch| epoch.size = TreeSize(7), "epoch 3: expected size 6, got 7"),
        (|epoch| epoch.state_in = FieldElement::from(9), "epoch 3: expected state "),
        (|epoch| epoch.root = Root([9; 32]), "epoch 3: expected root "),
        (|epoch| epoch.digests[1] = FieldElement::from(9), "epoch 3: expected root "),
        (|epoch| epoch.record_hashes[0] = Digest([9; 32]), "epoch 3: expected root "),
        (|epoch| epoch.counter = 2, "epoch 2 is there twice"),
    ];
    for (change, expected) in changes {
        on_each(async |index| {
            let reason = with_changed(index, change).await;
            assert!(reason.starts_with(expected), "{reason}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_run_registered_or_finalized_twice_is_a_conflict() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(1);
        logs.push(history.registered(5));
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        assert_eq!(only_run(index).await.standing, Standing::Conflict("the run is registered twice".into()));
    })
    .await;
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(1);
        logs.extend([history.finalized(5), history.finalized(6)]);
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        assert_eq!(only_run(index).await.standing, Standing::Conflict("the run is finalized twice".into()));
    })
    .await;
}

#[tokio::test]
async fn epochs_after_the_last_one_are_a_conflict() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(2);
        logs.push(history.finalized(5));
        logs.push(history.anchored(6, 1));
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let Standing::Conflict(reason) = only_run(index).await.standing else { panic!("no conflict") };
        assert!(reason.starts_with("finalized otherwise after epoch 2: expected root "), "{reason}");
    })
    .await;
}
