//! A record is accepted only as the honest continuation; each deviation has its own error.

use ledger::*;

use crate::support::{self, digest, element, next_record, point};

/// A run, and the head after two honest steps.
fn after_two() -> (SealedRun, ChainHead) {
    let run = support::run();
    let mut head = ChainHead::genesis(&run);
    for _ in 0..2 {
        let record = next_record(&run, &head).seal().unwrap();
        head.extend(&record).unwrap();
    }
    (run, head)
}

fn refusal(change: impl FnOnce(&mut StepRecord)) -> ChainError {
    let (run, mut head) = after_two();
    let mut record = next_record(&run, &head);
    change(&mut record);
    let before = head.clone();
    let refused = head.extend(&record.seal().unwrap()).expect_err("the record was changed");
    assert_eq!(head, before, "a refused record moves nothing");
    refused
}

#[test]
fn honest_records_continue_the_log() {
    let (run, head) = after_two();
    assert_eq!(head.next_step(), StepIndex(2));
    assert_eq!(head.state(), element("state 1 out"));
    assert!(!head.next_is_fresh());
    let genesis = ChainHead::genesis(&run);
    assert_eq!(genesis.last_record(), Digest::of(run.bytes()));
    assert!(genesis.next_is_fresh());
}

#[test]
fn a_foreign_run_is_refused() {
    let other = RunId::from(element("another run"));
    let expected = support::description().run;
    let refused = refusal(|record| record.statement.run = other);
    assert_eq!(refused, ChainError::Run { step: StepIndex(2), expected, got: other });
}

#[test]
fn a_skipped_or_repeated_step_is_refused() {
    for got in [StepIndex(3), StepIndex(1)] {
        let refused = refusal(|record| record.statement.step = got);
        assert_eq!(refused, ChainError::Step { expected: StepIndex(2), got });
    }
}

#[test]
fn a_broken_hash_chain_is_refused() {
    let (_, head) = after_two();
    let got = digest("elsewhere");
    let refused = refusal(|record| record.prev = got);
    assert_eq!(refused, ChainError::Prev { step: StepIndex(2), expected: head.last_record(), got });
}

#[test]
fn a_broken_link_between_states_is_refused() {
    let got = point("another state");
    let refused = refusal(|record| record.statement.chunks[1].input = got);
    let (step, chunk, expected) = (StepIndex(2), ChunkIndex(1), Box::new(point("output 1 1")));
    let got = Box::new(got);
    assert_eq!(refused, ChainError::Link { step, chunk, expected, got });
}

#[test]
fn fresh_is_refused_after_step_0_and_required_at_step_0() {
    let refused = refusal(|record| record.statement.fresh = true);
    assert_eq!(refused, ChainError::Fresh { step: StepIndex(2), expected: false, got: true });
    let run = support::run();
    let mut head = ChainHead::genesis(&run);
    let mut record = next_record(&run, &head);
    record.statement.fresh = false;
    let refused = head.extend(&record.seal().unwrap());
    assert_eq!(refused, Err(ChainError::Fresh { step: StepIndex(0), expected: true, got: false }));
}

#[test]
fn a_run_with_a_parent_is_never_fresh() {
    let mut description = support::description();
    description.parent = Some(element("parent").into());
    let run = description.seal().unwrap();
    let mut head = ChainHead::genesis(&run);
    let mut record = next_record(&run, &head);
    assert!(!record.statement.fresh);
    head.clone().extend(&record.clone().seal().unwrap()).unwrap();
    record.statement.fresh = true;
    let refused = head.extend(&record.seal().unwrap());
    assert_eq!(refused, Err(ChainError::Fresh { step: StepIndex(0), expected: false, got: true }));
}

#[test]
fn another_number_of_chunks_is_refused() {
    let refused = refusal(|record| {
        record.statement.chunks.pop();
        record.proofs.pop();
    });
    assert_eq!(refused, ChainError::ChunkCount { step: StepIndex(2), expected: 2, got: 1 });
}

#[test]
fn hyper_parameters_outside_the_policy_are_refused() {
    let step = StepIndex(2);
    let hyper = |field, expected, got| ChainError::Hyper { step, field, expected, got };
    assert_eq!(refusal(|record| record.statement.hyper.beta1 = 9), hyper("beta1", 1, 9));
    assert_eq!(refusal(|record| record.statement.hyper.beta2 = 9), hyper("beta2", 2, 9));
    assert_eq!(refusal(|record| record.statement.hyper.eps = 9), hyper("eps", 3, 9));
    let refused = refusal(|record| record.statement.hyper.weight_decay = 9);
    assert_eq!(refused, hyper("weight_decay", u64::MAX, 9));
    let refused = refusal(|record| record.statement.hyper.lr = 101);
    assert_eq!(refused, ChainError::LearningRate { step, max: 100, got: 101 });
}

#[test]
fn records_that_are_wrong_in_themselves_are_refused() {
    let run = support::run();
    let record = next_record(&run, &ChainHead::genesis(&run));
    let step = StepIndex(0);
    let seal = |change: fn(&mut StepRecord)| {
        let mut record = record.clone();
        change(&mut record);
        record.seal().map(|_| ())
    };
    assert_eq!(seal(|_| ()), Ok(()));
    let none = seal(|record| record.statement.chunks.clear());
    assert_eq!(none, Err(RecordError::ChunkCount { step, got: 0 }));
    let count = seal(|record| record.proofs.push(Digest([0; 32])));
    assert_eq!(count, Err(RecordError::ProofCount { step, expected: 2, got: 3 }));
    let key = seal(|record| drop(record.meta.extra.insert("Ä".to_owned(), String::new())));
    assert_eq!(key, Err(RecordError::MetaKey { key: "Ä".to_owned() }));
    let long = seal(|record| drop(record.meta.extra.insert("a".to_owned(), "x".repeat(1025))));
    assert_eq!(long, Err(RecordError::MetaSize { what: "bytes in a value", limit: 1024, got: 1025 }));
    let many = seal(|record| record.meta.extra.extend((0..65).map(|i| (format!("k{i}"), String::new()))));
    assert_eq!(many, Err(RecordError::MetaSize { what: "entries", limit: 64, got: 66 }));
}

#[test]
fn epochs_that_are_wrong_in_themselves_are_refused() {
    let seal = |change: fn(&mut EpochRecord)| {
        let mut record = support::epoch();
        change(&mut record);
        record.seal().map(|_| ())
    };
    let epoch = EpochIndex(0);
    assert_eq!(seal(|_| ()), Ok(()));
    let three = seal(|record| record.digests.truncate(3));
    assert_eq!(three, Err(EpochError::Steps { epoch, source: InstanceError::StepCount { got: 3 } }));
    let misaligned = seal(|record| record.first_step = StepIndex(2));
    assert_eq!(misaligned, Err(EpochError::Misaligned { epoch, first_step: StepIndex(2), n_steps: 4 }));
    let fresh = seal(|record| record.first_step = StepIndex(4));
    assert_eq!(fresh, Err(EpochError::Fresh { epoch, first_step: StepIndex(4) }));
    assert_eq!(seal(|record| record.wrap_k = Some(28)), Ok(()));
    let wrap = seal(|record| record.wrap_k = Some(29));
    assert_eq!(wrap, Err(EpochError::WrapK { epoch, got: 29 }));
}

#[test]
fn runs_that_are_wrong_in_themselves_are_refused() {
    let seal = |change: fn(&mut RunDescription)| {
        let mut description = support::description();
        change(&mut description);
        description.seal().map(|_| ())
    };
    let good = support::description();
    assert_eq!(seal(|_| ()), Ok(()));
    let other = seal(|run| run.identity.owner = Address([9; 20]));
    assert!(matches!(other, Err(RunError::Id { got, .. }) if got == good.run), "{other:?}");
    assert_eq!(seal(|run| run.parent = Some(run.run)), Err(RunError::OwnParent));
    let params = seal(|run| run.policy.n_params = 16);
    assert_eq!(params, Err(RunError::ParameterCount { expected: 15, got: 16 }));
    let layout = seal(|run| run.policy.layout_digest = FieldElement::ZERO);
    let expected = good.policy.layout_digest;
    assert_eq!(layout, Err(RunError::LayoutDigest { expected, got: FieldElement::ZERO }));
    for got in [0, 1025] {
        let mut description = support::description();
        description.policy.n_chunks = got;
        assert_eq!(description.seal().map(|_| ()), Err(RunError::ChunkCount { got }));
    }
    let name = run::DEVELOPMENT_SRS.to_owned();
    assert_eq!(seal(|run| run.srs.secure = true), Err(RunError::SrsLabel { secure: true, name }));
    let unnamed = seal(|run| run.srs.name = "a ceremony".to_owned());
    assert_eq!(unnamed, Err(RunError::SrsLabel { secure: false, name: "a ceremony".to_owned() }));
    let key = seal(|run| drop(run.notes.insert("A b".to_owned(), String::new())));
    assert_eq!(key, Err(RunError::NoteKey { key: "A b".to_owned() }));
}

#[test]
fn layouts_that_are_wrong_in_themselves_are_refused() {
    let name = |text: &str| text.to_owned();
    let none = Layout::contiguous(Vec::<(String, Vec<u64>)>::new());
    assert_eq!(none, Err(LayoutError::Count { got: 0 }));
    let twice = Layout::contiguous([("a", vec![1]), ("a", vec![1])]);
    assert_eq!(twice, Err(LayoutError::Name { index: 1, name: name("a") }));
    for shape in [vec![], vec![2, 0], vec![u64::MAX, 2]] {
        let refused = Layout::contiguous([("a", shape.clone())]);
        assert_eq!(refused, Err(LayoutError::Shape { name: name("a"), shape, len: 0 }));
    }
    // A gap can only come from a file.
    let text = String::from_utf8(support::run().bytes().to_vec()).unwrap();
    let gap = text.replacen("\"offset\":12", "\"offset\":13", 1);
    let refused = SealedRun::parse(gap.as_bytes());
    let expected = LayoutError::Offset { name: name("b"), expected: 12, got: 13 };
    assert_eq!(refused, Err(RunError::Layout(expected)));
    let shorter = text.replacen("\"len\":12", "\"len\":11", 1);
    let refused = SealedRun::parse(shorter.as_bytes());
    let expected = LayoutError::Shape { name: name("w"), shape: vec![3, 4], len: 11 };
    assert_eq!(refused, Err(RunError::Layout(expected)));
}

#[test]
fn an_epoch_length_is_a_power_of_two() {
    assert_eq!(EpochLen::try_from(4).map(EpochLen::log), Ok(2));
    for steps in [0, 3, 1 << 17, u64::MAX] {
        assert!(EpochLen::try_from(steps).is_err(), "{steps}");
    }
}

#[test]
fn anchors_continue_and_are_recorded_once() {
    use anchors::Pushed;
    let mut log = AnchorLog::new(support::description().run);
    let refused = log.push(support::anchor(2));
    assert_eq!(refused, Err(AnchorsError::Counter { expected: 1, got: 2 }));
    assert_eq!(log.push(support::anchor(1)), Ok(Pushed::Added));
    assert_eq!(log.push(support::anchor(1)), Ok(Pushed::AlreadyThere));
    let conflict = Anchor { gas: 1, ..support::anchor(1) };
    assert_eq!(log.push(conflict), Err(AnchorsError::Conflict { counter: 1 }));
    let still = Anchor { size: TreeSize(4), ..support::anchor(2) };
    let expected = AnchorsError::Size { counter: 2, above: TreeSize(4), got: TreeSize(4) };
    assert_eq!(log.push(still), Err(expected.clone()));
    assert_eq!(log.anchors().len(), 1);
    // The same rules hold for a file.
    log.push(support::anchor(2)).unwrap();
    let text = String::from_utf8(log.encode().unwrap()).unwrap();
    let still = text.replacen("\"size\":8", "\"size\":4", 1);
    assert_eq!(AnchorLog::parse(still.as_bytes()), Err(expected));
    let skipped = text.replacen("\"counter\":2", "\"counter\":3", 1);
    assert_eq!(AnchorLog::parse(skipped.as_bytes()), Err(AnchorsError::Counter { expected: 2, got: 3 }));
}

#[test]
fn tails_are_cut_in_aligned_powers_of_two() {
    let (full, size) = (EpochLen::try_from(4).unwrap(), TreeSize(11));
    let (mut done, mut sizes) = (0, Vec::new());
    while let Some(n) = full.next_epoch(TreeSize(done), size, true) {
        assert!(n.is_power_of_two() && done % n == 0, "{n} steps from {done}");
        sizes.push(n);
        done += n;
    }
    assert_eq!(sizes, [4, 4, 2, 1]);
    assert_eq!(full.next_group(TreeSize(0), size, true), Some((4, 2)));
    assert_eq!(full.next_group(TreeSize(8), size, true), Some((2, 1)));
    assert_eq!(full.next_epoch(TreeSize(8), size, false), None);
    assert_eq!(full.next_epoch(TreeSize(0), TreeSize(3), true), Some(2));
    assert_eq!(full.next_epoch(TreeSize(12), size, true), None, "more was done than there is");
}
