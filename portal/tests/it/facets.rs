//! Facets count what each choice would show, and the list shows that.

use ledger::{FieldElement, Rule};
use portal::index::{Index, Optimizer, RunFilter, RunSort, Status, StepRange};

use crate::support::{
    bundle::KEPT,
    database::on_each,
    history::{History, batch, block, source},
};

/// Day of the first blocks of histories, and the one after.
const TODAY: u64 = 1_700_000_000;

/// Six runs of 0, 2, 4, … 10 steps, of which those with an even number are under a policy that is known.
async fn filled(index: &Index, known: FieldElement) {
    let key = source(index).await;
    let mut logs = Vec::new();
    for run in 1..=6u64 {
        let mut history = History::new(run);
        if run % 2 == 0 {
            history.registration.policy_digest = known;
        }
        logs.push(history.registered(run));
        logs.extend((1..run).map(|epoch| history.anchored(10 * run + epoch, 2)));
    }
    index.apply(key, &batch(None, 100, logs)).await.unwrap();
}

async fn listed(index: &Index, filter: &RunFilter) -> u64 {
    index.list(filter, RunSort::Newest, None, 100).await.unwrap().runs.len() as u64
}

#[tokio::test]
async fn each_facet_counts_what_its_list_shows() {
    on_each(async |index| {
        let policy = KEPT.run().policy;
        let digest = KEPT.run().policy_digest;
        filled(index, digest).await;
        let all = RunFilter::default();
        let before = index.facets(&all, TODAY).await.unwrap();
        assert_eq!((before.total, &before.optimizers), (6, &vec![(Optimizer::Unknown, 6)]));

        index.note_policy(digest, &policy).await.unwrap();
        index.note_policy(digest, &policy).await.unwrap();
        assert_eq!(index.policy(digest).await.unwrap(), Some(policy));
        assert_eq!(index.policy(FieldElement::from(9)).await.unwrap(), None);
        let chosen = [
            all.clone(),
            RunFilter { optimizer: Some(Optimizer::Known(policy.rule)), ..all.clone() },
            RunFilter { optimizer: Some(Optimizer::Unknown), min_steps: Some(4), ..all.clone() },
            RunFilter { min_steps: Some(10), max_steps: Some(99), ..all.clone() },
            RunFilter { statuses: vec![Status::Unconfirmed], from: Some(TODAY + 30), ..all.clone() },
            RunFilter { statuses: vec![Status::Verified], ..all.clone() },
        ];
        for filter in chosen {
            let facets = index.facets(&filter, TODAY).await.unwrap();
            assert_eq!(facets.total, listed(index, &filter).await, "{filter:?}");
            for (status, n) in facets.statuses {
                assert_eq!(
                    n,
                    listed(index, &RunFilter { statuses: vec![status], ..filter.clone() }).await,
                    "{filter:?}"
                );
            }
            for (chain, n) in facets.chains {
                assert_eq!(n, listed(index, &RunFilter { chain: Some(chain), ..filter.clone() }).await, "{filter:?}");
            }
            for (optimizer, n) in facets.optimizers {
                let one = RunFilter { optimizer: Some(optimizer), ..filter.clone() };
                assert_eq!(n, listed(index, &one).await, "{filter:?} {optimizer}");
            }
            for (StepRange { min, max }, n) in facets.sizes {
                let one = RunFilter { min_steps: Some(min), max_steps: max, ..filter.clone() };
                assert_eq!(n, listed(index, &one).await, "{filter:?} {min}");
            }
            for (time, n) in facets.since {
                let one = RunFilter { from: Some(time), before: None, ..filter.clone() };
                assert_eq!(n, listed(index, &one).await, "{filter:?} {time}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn optimizers_and_sizes_are_counted_apart() {
    on_each(async |index| {
        let policy = KEPT.run().policy;
        assert_eq!(policy.rule, Rule::AdamW);
        filled(index, KEPT.run().policy_digest).await;
        index.note_policy(KEPT.run().policy_digest, &policy).await.unwrap();
        let facets = index.facets(&RunFilter::default(), block(0, 3).time).await.unwrap();
        assert_eq!(facets.optimizers, [(Optimizer::Known(Rule::AdamW), 3), (Optimizer::Unknown, 3)]);
        let sizes: Vec<_> = facets.sizes.iter().map(|(range, n)| (range.min, range.max, *n)).collect();
        assert_eq!(sizes, [(0, Some(9), 5), (10, Some(99), 1)]);
        assert!(facets.since.iter().all(|(_, n)| *n == 6), "{:?}", facets.since);
        let run = index.runs(None, 1).await.unwrap().remove(0);
        assert_eq!((run.optimizer, run.n_params), (Optimizer::Known(Rule::AdamW), Some(policy.n_params)));
    })
    .await;
}
