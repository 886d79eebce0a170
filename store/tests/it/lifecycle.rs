//! A run from its creation to its manifest, when nothing goes wrong.

use std::fs;

use ledger::*;
use store::layout::{RunFile, run_dir_name};
use store::{ProofFiles, RunDir, RunWriter, StoreError};

use crate::support::{self, Finished, draft, element, instances, tempdir};

#[test]
fn a_finished_run_verifies_and_has_the_documented_files() {
    let finished = Finished::new(1, 10);
    let dir = finished.open();
    let verified = dir.verify_log(ProofFiles::Check).unwrap();
    assert_eq!(verified.checkpoint.size, TreeSize(10));
    assert_eq!(verified.n_proofs, 10);
    assert_eq!(verified.epochs.len(), 2);
    assert_eq!(verified.anchors.anchors().len(), 2);
    let report = dir.verify_files().unwrap();
    let paths: Vec<&str> = report.manifest.files().iter().map(|entry| entry.path.as_str()).collect();
    let mut expected = vec!["anchors.json", "checkpoint"];
    expected.extend(["epochs/epoch_0000.json", "epochs/epoch_0000.proof"]);
    expected.extend(["epochs/epoch_0001.json", "epochs/epoch_0001.proof", "merkle_root.txt"]);
    let proofs: Vec<String> = (0..10).map(|step| format!("proofs/step_{step:06}.proof")).collect();
    expected.extend(proofs.iter().map(String::as_str));
    expected.extend(["run.json", "steps.jsonl"]);
    assert_eq!(paths, expected);
    assert_eq!(report.manifest_digest, Digest::of(&finished.read("run_manifest.json")));
    assert_eq!(report.manifest.root(), verified.log.root());
    let root = String::from_utf8(finished.read("merkle_root.txt")).unwrap();
    assert_eq!(root, format!("{}\n", verified.log.root()));
}

#[test]
fn several_chunks_have_a_proof_file_each() {
    let finished = Finished::new(3, 4);
    let dir = finished.open();
    assert_eq!(dir.verify_log(ProofFiles::Check).unwrap().n_proofs, 12);
    assert!(finished.file("proofs/step_000003.chunk_002.proof").is_file());
    assert_eq!(dir.proof(StepIndex(3), ChunkIndex(2)).unwrap(), b"proof 3 2 attempt 0");
    dir.verify_files().unwrap();
}

#[test]
fn records_are_found_by_step() {
    let finished = Finished::new(1, 6);
    let dir = finished.open();
    let log = dir.log().unwrap();
    let mut all = Vec::new();
    dir.visit_records(&mut |records| {
        all.extend_from_slice(records);
        Ok(())
    })
    .unwrap();
    assert_eq!(all.len(), 6);
    for (step, expected) in (0..).map(StepIndex).zip(&all) {
        assert_eq!(dir.record(&log, step).unwrap(), *expected);
        assert_eq!(log.record_hash(step), Some(expected.hash()));
        let proof = log.tree().prove_inclusion(step, log.size()).unwrap();
        assert_eq!(proof.verify(expected.leaf(), log.root()), Ok(()));
    }
    let beyond = dir.record(&log, StepIndex(6));
    assert!(matches!(beyond, Err(StoreError::LogShort { .. })), "{beyond:?}");
}

#[test]
fn a_run_continues_after_it_is_closed() {
    let temp = tempdir();
    let run = support::run(1, 1);
    for step in 0..5 {
        let (mut writer, recovery) = RunWriter::create(temp.path(), &run).unwrap();
        assert_eq!(recovery.is_clean(), step > 0, "{recovery}");
        assert_eq!(writer.log().size(), TreeSize(step));
        let (draft, proofs) = draft(&run, writer.log().head(), 0);
        let appended = writer.append_step(draft, &proofs).unwrap();
        assert_eq!(appended.checkpoint, writer.dir().checkpoint().unwrap());
    }
    let dir = RunDir::open(temp.path().join(run_dir_name(run.run()))).unwrap();
    assert_eq!(dir.verify_log(ProofFiles::Check).unwrap().log.size(), TreeSize(5));
}

#[test]
fn empty_folders_may_be_missing_as_after_a_torrent() {
    let temp = tempdir();
    let run = support::run(1, 1);
    let (mut writer, _) = RunWriter::create(temp.path(), &run).unwrap();
    let (draft, proofs) = draft(&run, writer.log().head(), 0);
    writer.append_step(draft, &proofs).unwrap();
    let manifest = writer.write_manifest().unwrap();
    let dir = writer.dir().clone();
    drop(writer);
    std::fs::remove_dir(dir.path().join("epochs")).unwrap();
    assert_eq!(dir.verify_files().unwrap(), manifest);
    assert_eq!(dir.verify_log(ProofFiles::Check).unwrap().epochs, []);
    // Whoever goes on with it makes them again.
    drop(RunWriter::open(dir.path()).unwrap());
    assert!(dir.path().join("epochs").is_dir());
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let temp = tempdir();
    let run = support::run(1, 1);
    let (writer, _) = RunWriter::create(temp.path(), &run).unwrap();
    let path = writer.dir().path().to_owned();
    let second = RunWriter::open(&path);
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    assert!(RunDir::open(&path).unwrap().verify_log(ProofFiles::Check).is_ok());
    drop(writer);
    assert!(RunWriter::open(&path).is_ok());
}

#[test]
fn another_description_of_the_same_run_is_refused() {
    let temp = tempdir();
    let run = support::run(1, 1);
    drop(RunWriter::create(temp.path(), &run).unwrap());
    let mut other = run.description().clone();
    other.policy.lr_max += 1;
    let other = other.seal().unwrap();
    let refused = RunWriter::create(temp.path(), &other);
    assert!(matches!(refused, Err(StoreError::OtherRun { .. })), "{refused:?}");
}

#[test]
fn a_step_that_does_not_continue_the_run_is_refused_and_nothing_is_written() {
    let finished = Finished::new(1, 2);
    let before = finished.read("steps.jsonl");
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let (good, proofs) = draft(&finished.run, writer.log().head(), 0);

    let mut skipped = good.clone();
    skipped.statement.step = StepIndex(3);
    let refused = writer.append_step(skipped, &proofs);
    let expected = ChainError::Step { expected: StepIndex(2), got: StepIndex(3) };
    assert!(matches!(&refused, Err(StoreError::StepChain(source)) if *source == expected), "{refused:?}");

    let refused = writer.append_step(good.clone(), &[]);
    let expected = RecordError::ProofCount { step: StepIndex(2), expected: 1, got: 0 };
    assert!(matches!(&refused, Err(StoreError::Step { source, .. }) if *source == expected), "{refused:?}");

    assert_eq!(finished.read("steps.jsonl"), before);
    assert!(!finished.file("proofs/step_000002.proof").exists());
    writer.append_step(good, &proofs).unwrap();
}

#[test]
fn an_epoch_that_disagrees_with_the_log_is_refused() {
    let finished = Finished::new(1, 10);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    while writer.log().size().0 < 12 {
        let (draft, proofs) = draft(&finished.run, writer.log().head(), 0);
        writer.append_step(draft, &proofs).unwrap();
    }
    let good = instances(&writer);
    let mut refused = |field: &str, change: &dyn Fn(&mut EpochInstances)| {
        let mut changed = good.clone();
        change(&mut changed);
        let error = writer.append_epoch(&changed, b"proof").unwrap_err();
        assert!(
            matches!(&error, StoreError::EpochDisagrees { source, .. } if source.field == field),
            "{field}: {error:?}"
        );
    };
    refused("run", &|it| it.run = element("another").into());
    refused("first_step", &|it| it.first_step = StepIndex(4));
    refused("policy_digest", &|it| it.policy_digest = element("another"));
    refused("state_in", &|it| it.state_in = element("another"));
    refused("state_out", &|it| it.state_out = element("another"));
    refused("digests", &|it| it.digests.swap(1, 2));

    let mut beyond = good.clone();
    beyond.digests.extend_from_within(..);
    let error = writer.append_epoch(&beyond, b"proof").unwrap_err();
    assert!(matches!(error, StoreError::EpochTree { source: TreeError::SizeOutOfRange { .. }, .. }), "{error:?}");
    let mut three = good.clone();
    three.digests.pop();
    let error = writer.append_epoch(&three, b"proof").unwrap_err();
    assert!(matches!(error, StoreError::Epoch { source: EpochError::Steps { .. }, .. }), "{error:?}");

    let error = writer.append_wrapped_epoch(&good, b"proof", 22).unwrap_err();
    let wrap = |source: &store::Disagreement| source.to_string() == "wrap_k: expected none, got 22";
    assert!(matches!(&error, StoreError::EpochDisagrees { source, .. } if wrap(source)), "{error:?}");

    assert_eq!(writer.epochs().len(), 2);
    let record = writer.append_epoch(&good, b"proof").unwrap();
    assert_eq!(record.root_after, writer.log().root());
    assert_eq!(record.instances(), good);
}

#[test]
fn a_tail_is_aggregated_in_smaller_epochs() {
    let finished = Finished::new(1, 6);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let mut pair = instances_of(&writer, 2);
    pair.accumulator[0] = element("another limb");
    writer.append_epoch(&pair, b"pair").unwrap();
    assert_eq!(writer.aggregated(), TreeSize(6));
    assert!(finished.open().verify_log(ProofFiles::Check).is_ok());
}

fn instances_of(writer: &RunWriter, n_steps: u64) -> EpochInstances {
    let first_step = writer.aggregated().next_step();
    let last = StepIndex(first_step.0 + n_steps - 1);
    let run = writer.dir().run().description();
    EpochInstances {
        accumulator: [FieldElement::ZERO; 12],
        run: run.run,
        first_step,
        fresh: false,
        state_in: writer.log().state_before(first_step).unwrap(),
        state_out: writer.log().state_after(last).unwrap(),
        policy_digest: run.policy_digest,
        digests: writer.log().digests(first_step, n_steps).unwrap().to_vec(),
    }
}

#[test]
fn an_anchor_that_disagrees_with_its_epoch_is_refused() {
    let finished = Finished::new(1, 8);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let good = support::anchor(&finished.run, &writer.epochs()[1]);
    assert_eq!(writer.append_anchor(good).unwrap(), anchors::Pushed::AlreadyThere);
    let mut refused = |field: &str, anchor: Anchor| {
        let error = writer.append_anchor(anchor).unwrap_err();
        assert!(
            matches!(&error, StoreError::AnchorDisagrees { counter: 2, source, .. } if source.field == field),
            "{field}: {error:?}"
        );
    };
    refused("chain_id", Anchor { chain_id: ChainId(1), ..good });
    refused("contract", Anchor { contract: Address([0; 20]), ..good });
    refused("size", Anchor { size: TreeSize(4), ..good });
    refused("root", Anchor { root: Root([0; 32]), ..good });
    refused("state", Anchor { state: element("another"), ..good });
    let error = writer.append_anchor(Anchor { counter: 3, ..good }).unwrap_err();
    assert!(matches!(error, StoreError::AnchorWithoutEpoch { counter: 3, n_epochs: 2, .. }), "{error:?}");
    let error = writer.append_anchor(Anchor { gas: 1, ..good }).unwrap_err();
    assert!(matches!(error, StoreError::Anchors { source: AnchorsError::Conflict { counter: 2 }, .. }), "{error:?}");
}

#[test]
fn files_that_no_run_has_cannot_get_into_a_manifest() {
    let finished = Finished::new(1, 4);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    for stray in ["secret", "state_000001.bin", "proofs/step_1.proof", "proofs/notes.txt", "weights.bin"] {
        finished.write(stray, b"private");
        for refused in [writer.write_manifest().map(drop), finished.open().verify_files().map(drop)] {
            let path = finished.file(stray);
            assert!(matches!(&refused, Err(StoreError::Unexpected { path: at }) if *at == path), "{refused:?}");
        }
        fs::remove_file(finished.file(stray)).unwrap();
    }
    fs::create_dir(finished.file("private")).unwrap();
    assert!(matches!(writer.write_manifest(), Err(StoreError::Unexpected { .. })));
    fs::remove_dir(finished.file("private")).unwrap();
    assert!(writer.write_manifest().is_ok());
}

#[cfg(unix)]
#[test]
fn a_link_is_not_a_file_of_a_run() {
    let finished = Finished::new(1, 4);
    let outside = finished.temp.path().join("outside");
    fs::rename(finished.file("proofs/step_000001.proof"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, finished.file("proofs/step_000001.proof")).unwrap();
    let path = finished.file("proofs/step_000001.proof");
    let refused = finished.open().verify_files();
    assert!(matches!(&refused, Err(StoreError::Unexpected { path: at }) if *at == path), "{refused:?}");
    let refused = finished.open().verify_log(ProofFiles::Check);
    assert!(matches!(&refused, Err(StoreError::Unexpected { path: at }) if *at == path), "{refused:?}");
}

#[test]
fn names_of_files_have_one_spelling() {
    for file in [
        RunFile::Run,
        RunFile::Proof(StepIndex(7)),
        RunFile::Proof(StepIndex(12_345_678)),
        RunFile::ChunkProof(StepIndex(7), ChunkIndex(1)),
        RunFile::EpochProof(EpochIndex(3)),
        RunFile::EpochRecord(EpochIndex(12_345)),
    ] {
        assert_eq!(RunFile::parse(&file.relative()), Some(file));
        assert!(file.relative().parse::<ArtifactPath>().is_ok());
    }
    for name in ["proofs/step_7.proof", "proofs/step_+00007.proof", "epochs/epoch_00001.json", "x", "proofs/"] {
        assert_eq!(RunFile::parse(name), None, "{name}");
    }
}
