//! Every value that an auditor may hold leads to its run.

use ledger::{Digest, FieldElement, StepIndex};
use portal::index::Hit;

use crate::support::{
    database::on_each,
    history::{History, OWNER, batch, source, tx},
};

#[tokio::test]
async fn a_run_is_found_by_each_of_its_values() {
    on_each(async |index| {
        let key = source(index).await;
        let mut history = History::new(1);
        let mut logs = history.with_epochs(1);
        let (root, state) = (history.log.root(), history.log.state);
        logs.extend([history.anchored(3, 2), history.announced(4), history.finalized(5)]);
        index.apply(key, &batch(None, 9, logs)).await.unwrap();
        let run = index.runs(None, 1).await.unwrap()[0].key;
        let id = history.log.run.to_field();
        let values: [(&str, &[u8]); 11] = [
            ("run", id.as_bytes()),
            ("owner", &OWNER.0),
            ("root", &root.0),
            ("newest root", &history.log.root().0),
            ("state", state.as_bytes()),
            ("registration", &tx(1).0),
            ("epoch", &tx(3).0),
            ("announcement", &tx(4).0),
            ("finalization", &tx(5).0),
            ("infohash v1", &[2; 20]),
            ("infohash v2", &[3; 32]),
        ];
        for (what, value) in values {
            assert_eq!(index.find(value).await.unwrap(), [Hit::Run(run)], "{what}");
        }
        for value in [FieldElement::from(1_003).as_bytes(), &Digest::of(&3u64.to_be_bytes()).0] {
            assert_eq!(index.find(value).await.unwrap(), [Hit::Step(run, StepIndex(3))]);
        }
        for foreign in [&[9; 32][..], &[], b"' OR 1=1 --"] {
            assert_eq!(index.find(foreign).await.unwrap(), []);
        }
    })
    .await;
}
