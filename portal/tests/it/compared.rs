//! The first step at which two runs differ, with its place under both roots.

use axum::http::StatusCode;
use chain::{AnchorEvent, AnchorLog};
use ledger::{Address, Decimal, Digest, FieldElement, MerkleTree, SealedRecord, StepIndex, tree::step_leaf};
use portal::index::{Index, Source, SourceKey};

use crate::{
    serving::{app, get},
    support::{
        bundle::KEPT,
        database::on_each,
        history::{History, SOURCE, batch, block, source},
    },
};

const ELSEWHERE: Address = Address([0xdd; 20]);

async fn elsewhere(index: &Index) -> SourceKey {
    index.source(&Source { contract: ELSEWHERE, ..SOURCE }).await.unwrap()
}

async fn confirm(index: &Index, history: &History, contract: Address) {
    let runs = index.runs_by_id(history.log.run).await.unwrap();
    let run = runs.into_iter().find(|run| run.contract == contract).unwrap();
    index.confirm(run.key, block(0, 30).at, Some(&history.head(30, false)), false).await.unwrap();
}

/// One run on two contracts. On the other, the last epoch has another record at step 5.
async fn twice(index: &Index, differs: bool) -> History {
    let mut one = History::new(1);
    let logs = one.with_epochs(3);
    index.apply(source(index).await, &batch(None, 30, logs.clone())).await.unwrap();
    confirm(index, &one, SOURCE.contract).await;
    let mut other = logs;
    if differs && let Some(AnchorEvent::Anchored(epoch)) = other.last_mut().map(|log| &mut log.event) {
        epoch.record_hashes[1] = Digest([9; 32]);
        let mut tree = History::new(1);
        tree.with_epochs(2);
        for (step, (digest, hash)) in (4..).zip(epoch.digests.iter().zip(&epoch.record_hashes)) {
            tree.log.tree.push(step_leaf(StepIndex(step), *digest, *hash));
        }
        epoch.root = tree.log.tree.root();
    }
    index.apply(elsewhere(index).await, &batch(None, 30, other)).await.unwrap();
    one
}

#[tokio::test]
async fn one_run_on_two_contracts_parts_at_the_step_whose_leaf_differs() {
    on_each(async |index| {
        let history = twice(index, true).await;
        let run = history.log.run;
        let address = format!("/compare?a={run}@{}&b={run}@{ELSEWHERE}", SOURCE.contract);
        let page = get(&app(index), &address).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        assert!(page.text().contains("two leaves for step 5"), "{}", page.text());
        // Both sides are drawn, up to the root of each contract.
        let runs = index.runs_by_id(run).await.unwrap();
        assert_ne!(runs[0].root, runs[1].root);
        for run in &runs {
            assert!(page.text().contains(&run.root.to_string()), "root of {}", run.contract);
        }
        assert_eq!(page.text().matches("the root that the contract holds, over 6 steps").count(), 2);
        assert!(!page.text().contains("not the root that"), "{}", page.text());
        assert!(page.text().contains(&Digest([9; 32]).to_string()));
    })
    .await;
}

#[tokio::test]
async fn one_run_on_two_contracts_may_be_the_same() {
    on_each(async |index| {
        let run = twice(index, false).await.log.run;
        let address = format!("/compare?a={run}@{}&b={run}@{ELSEWHERE}", SOURCE.contract);
        let page = get(&app(index), &address).await;
        assert!(page.text().contains("the same leaf for each of the 6 steps"), "{}", page.text());
    })
    .await;
}

/// A run of two epochs that carry these records.
fn with_records(run: u64, records: &[SealedRecord]) -> (History, Vec<AnchorLog>) {
    let mut history = History::new(run);
    let mut logs = history.with_epochs(2);
    let mut tree = MerkleTree::new();
    let epochs = logs.iter_mut().filter_map(|log| match &mut log.event {
        AnchorEvent::Anchored(epoch) => Some(epoch),
        _ => None,
    });
    for epoch in epochs {
        for (at, step) in (epoch.first_step.0..epoch.size.0).enumerate() {
            epoch.record_hashes[at] = records[step as usize].hash();
            tree.push(step_leaf(StepIndex(step), epoch.digests[at], epoch.record_hashes[at]));
        }
        epoch.root = tree.root();
    }
    history.log.tree = tree;
    (history, logs)
}

#[tokio::test]
async fn two_runs_part_at_the_step_whose_record_says_something_else() {
    on_each(async |index| {
        let records: Vec<_> = (0..4).map(|step| KEPT.dir.record(&KEPT.log.log, StepIndex(step)).unwrap()).collect();
        let mut others = records.clone();
        let mut record = others[3].clone().into_record();
        record.meta.loss = Some(Decimal::from_f64(0.125).unwrap());
        others[3] = record.seal().unwrap();
        let ((one, mut logs), (two, more)) = (with_records(1, &records), with_records(2, &others));
        logs.extend(more);
        index.apply(source(index).await, &batch(None, 30, logs)).await.unwrap();
        for history in [&one, &two] {
            confirm(index, history, SOURCE.contract).await;
        }
        let address = format!("/compare?a={}&b={}", one.log.run, two.log.run);
        let key = async |run| index.runs_by_id(run).await.unwrap()[0].key;
        index.note_records(key(one.log.run).await, &records).await.unwrap();
        let page = get(&app(index), &address).await;
        assert!(page.text().contains("no bundles of both passed here"), "{}", page.text());
        // A record that the chain does not carry at this step does not count.
        index.note_records(key(two.log.run).await, &records[3..]).await.unwrap();
        index.note_records(key(two.log.run).await, &records[..3]).await.unwrap();
        let page = get(&app(index), &address).await;
        assert!(page.text().contains("the same in the records of all 3 steps"), "{}", page.text());
        index.note_records(key(two.log.run).await, &others).await.unwrap();
        let page = get(&app(index), &address).await;
        for part in ["Before step 3, the records of both say the same", "0.125", &others[3].hash().to_string()] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
        assert_eq!(page.text().matches("the root that the contract holds, over 4 steps").count(), 2);
        assert!(!page.text().contains("not the root that"), "{}", page.text());
    })
    .await;
}

#[tokio::test]
async fn two_runs_without_bundles_are_not_compared_by_what_cannot_be_compared() {
    on_each(async |index| {
        let (mut one, mut two) = (History::new(1), History::new(2));
        two.registration.policy_digest = FieldElement::from(7);
        let logs = [one.with_epochs(2), two.with_epochs(1)].concat();
        index.apply(source(index).await, &batch(None, 30, logs)).await.unwrap();
        let page = get(&app(index), &format!("/compare?a={}&b={}", one.log.run, two.log.run)).await;
        assert!(page.text().contains("no bundles of both passed here"), "{}", page.text());
    })
    .await;
}
