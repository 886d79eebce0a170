//! Whatever is changed in a run's files is noticed, and the error says what and where.

use std::sync::Arc;

use ledger::*;
use store::{Disk, FilesReport, ProofFiles, RunDir, RunWriter, StoreError};

use crate::support::{Announced, Finished, digest, draft, drive_on, element};

fn verify(finished: &Finished) -> Result<(), StoreError> {
    RunDir::open(finished.path())?.verify_log(ProofFiles::Check).map(drop)
}

fn verify_files(finished: &Finished) -> Result<FilesReport, StoreError> {
    RunDir::open(finished.path())?.verify_files()
}

/// Flips one bit of each byte of a file in turn and hands what both verifications say to `check`.
fn flip_every_byte(
    finished: &Finished,
    relative: &str,
    check: impl Fn(usize, Result<(), StoreError>, Result<FilesReport, StoreError>),
) {
    let good = finished.read(relative);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        finished.write(relative, &bytes);
        check(at, verify(finished), verify_files(finished));
    }
    finished.write(relative, &good);
    verify(finished).expect("the file is as it was");
    verify_files(finished).expect("the file is as it was");
}

#[test]
fn any_changed_byte_of_the_log_is_noticed() {
    let finished = Finished::new(1, 4);
    let path = finished.file("steps.jsonl");
    flip_every_byte(&finished, "steps.jsonl", |at, log, files| {
        let noticed = match &log {
            Err(StoreError::Record { path: file, line, .. } | StoreError::Chain { path: file, line, .. }) => {
                *file == path && (1..=4).contains(line)
            }
            Err(StoreError::CheckpointDisagrees { source, .. }) => source.field == "root",
            // The proof digest of the last record, which no later record's hash covers.
            Err(StoreError::ProofDigest { step, .. }) => *step == StepIndex(3),
            // A newline that is none any more joins two lines or tears the last one.
            Err(StoreError::LogShort { .. }) => true,
            _ => false,
        };
        assert!(noticed, "byte {at}: {log:?}");
        assert!(matches!(files, Err(StoreError::FileDisagrees { path: file, .. }) if file == path));
    });
}

#[test]
fn any_changed_byte_of_a_proof_is_noticed() {
    let finished = Finished::new(2, 4);
    let path = finished.file("proofs/step_000002.chunk_001.proof");
    flip_every_byte(&finished, "proofs/step_000002.chunk_001.proof", |_, log, files| {
        let Err(StoreError::ProofDigest { path: file, step, chunk, expected, .. }) = log else { panic!("{log:?}") };
        assert_eq!((file, step, chunk), (path.clone(), StepIndex(2), ChunkIndex(1)));
        assert_eq!(expected, digest("proof 2 1 attempt 0"));
        assert!(matches!(files, Err(StoreError::FileDisagrees { path: file, .. }) if file == path));
    });
}

#[test]
fn any_changed_byte_of_the_checkpoint_is_noticed() {
    let finished = Finished::new(1, 4);
    flip_every_byte(&finished, "checkpoint", |at, log, files| {
        let noticed = matches!(
            log,
            Err(StoreError::Checkpoint { .. }
                | StoreError::CheckpointDisagrees { .. }
                | StoreError::LogShort { .. }
                | StoreError::UncommittedTail { .. })
        );
        assert!(noticed, "byte {at}: {log:?}");
        assert!(files.is_err());
    });
}

#[test]
fn any_changed_byte_of_the_root_file_is_noticed() {
    let finished = Finished::new(1, 4);
    flip_every_byte(&finished, "merkle_root.txt", |at, log, _| {
        assert!(matches!(log, Err(StoreError::RootDisagrees { .. })), "byte {at}: {log:?}");
        let writer = RunWriter::open(finished.path());
        assert!(matches!(writer, Err(StoreError::RootDisagrees { .. })), "byte {at}: {writer:?}");
    });
}

#[test]
fn any_changed_byte_of_the_manifest_is_noticed() {
    let finished = Finished::new(1, 4);
    let announced = verify_files(&finished).unwrap().manifest_digest;
    flip_every_byte(&finished, "run_manifest.json", |at, _, files| match files {
        Err(
            StoreError::Manifest { .. }
            | StoreError::ManifestDisagrees { .. }
            | StoreError::FileDisagrees { .. }
            | StoreError::Unlisted { .. }
            | StoreError::Missing { .. },
        ) => {}
        other => panic!("byte {at}: {other:?}"),
    });
    assert_eq!(verify_files(&finished).unwrap().manifest_digest, announced);
}

#[test]
fn any_changed_byte_of_the_description_is_noticed() {
    let finished = Finished::new(1, 1);
    flip_every_byte(&finished, "run.json", |at, log, _| {
        // What is still a description is not the one that the first record names.
        let noticed = matches!(
            log,
            Err(StoreError::Run { .. } | StoreError::Chain { line: 1, .. } | StoreError::CheckpointDisagrees { .. })
        );
        assert!(noticed, "byte {at}: {log:?}");
    });
}

#[test]
fn any_changed_byte_of_an_epoch_is_noticed() {
    let finished = Finished::new(1, 4);
    flip_every_byte(&finished, "epochs/epoch_0000.proof", |at, log, files| {
        assert!(
            matches!(&log, Err(StoreError::EpochDisagrees { source, .. }) if source.field == "SHA-256"),
            "byte {at}: {log:?}"
        );
        assert!(matches!(files, Err(StoreError::FileDisagrees { .. })));
    });
    let text = String::from_utf8(finished.read("epochs/epoch_0000.json")).unwrap();
    // The log knows nothing of the accumulator: the proof does, and the manifest.
    let limbs = text.find("\"accumulator\"").unwrap()..text.find("\"digests\"").unwrap();
    flip_every_byte(&finished, "epochs/epoch_0000.json", |at, log, files| {
        let noticed = matches!(
            log,
            Err(StoreError::Epoch { .. } | StoreError::EpochDisagrees { .. } | StoreError::EpochTree { .. })
        );
        assert!(noticed || limbs.contains(&at), "byte {at}: {log:?}");
        assert!(matches!(files, Err(StoreError::FileDisagrees { .. })));
    });
}

#[test]
fn an_epoch_that_disagrees_with_the_log_is_noticed_by_writers_too() {
    let finished = Finished::new(1, 4);
    let path = "epochs/epoch_0000.json";
    let honest = String::from_utf8(finished.read(path)).unwrap();
    let key = "\"state_out\":\"";
    let last_digit = honest.find(key).unwrap() + key.len() + "0x".len() + 63;
    let digit = if honest.as_bytes()[last_digit] == b'1' { "2" } else { "1" };
    let mut changed = honest.clone();
    changed.replace_range(last_digit..=last_digit, digit);
    finished.write(path, changed.as_bytes());
    let refused = RunWriter::open(finished.path());
    assert!(
        matches!(&refused, Err(StoreError::EpochDisagrees { source, .. }) if source.field == "state_out"),
        "{refused:?}"
    );
    finished.write(path, honest.as_bytes());
    assert!(RunWriter::open(finished.path()).is_ok());
}

#[test]
fn any_changed_byte_of_the_anchors_is_noticed() {
    let finished = Finished::new(1, 4);
    let text = String::from_utf8(finished.read("anchors.json")).unwrap();
    // Where an anchor stands and what it cost is known to the chain only, and to the manifest.
    let elsewhere: Vec<std::ops::Range<usize>> = ["block", "gas", "tx"]
        .map(|field| {
            let from = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
            from..from + text[from..].find([',', '}']).unwrap()
        })
        .into();
    flip_every_byte(&finished, "anchors.json", |at, log, files| {
        let noticed = matches!(
            log,
            Err(StoreError::Anchors { .. }
                | StoreError::AnchorDisagrees { .. }
                | StoreError::AnchorWithoutEpoch { .. })
        );
        assert!(noticed || elsewhere.iter().any(|range| range.contains(&at)), "byte {at}: {log:?}");
        assert!(matches!(files, Err(StoreError::FileDisagrees { .. })));
    });
}

fn lines(finished: &Finished) -> Vec<Vec<u8>> {
    finished.read("steps.jsonl").split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_removed_line_is_noticed() {
    let finished = Finished::new(1, 4);
    for removed in 0..4u64 {
        let mut left = lines(&finished);
        left.remove(removed as usize);
        let before = finished.read("steps.jsonl");
        finished.write("steps.jsonl", &left.concat());
        let refused = verify(&finished);
        if removed == 3 {
            assert!(
                matches!(refused, Err(StoreError::LogShort { expected: TreeSize(4), got: TreeSize(3), .. })),
                "{refused:?}"
            );
        } else {
            let expected = ChainError::Step { expected: StepIndex(removed), got: StepIndex(removed + 1) };
            assert!(
                matches!(&refused, Err(StoreError::Chain { line, source, .. }) if *line == removed + 1 && *source == expected),
                "{refused:?}"
            );
        }
        let writer = RunWriter::open(finished.path());
        assert!(matches!(writer, Err(StoreError::Chain { .. } | StoreError::LogShort { .. })), "{writer:?}");
        finished.write("steps.jsonl", &before);
    }
}

#[test]
fn two_swapped_lines_are_noticed() {
    let finished = Finished::new(1, 4);
    let mut swapped = lines(&finished);
    swapped.swap(1, 2);
    finished.write("steps.jsonl", &swapped.concat());
    let refused = verify(&finished);
    let expected = ChainError::Step { expected: StepIndex(1), got: StepIndex(2) };
    assert!(matches!(&refused, Err(StoreError::Chain { line: 2, source, .. }) if *source == expected), "{refused:?}");
}

#[test]
fn a_repeated_line_is_noticed() {
    let finished = Finished::new(1, 4);
    let mut repeated = lines(&finished);
    repeated.insert(2, repeated[1].clone());
    finished.write("steps.jsonl", &repeated.concat());
    let refused = verify(&finished);
    let expected = ChainError::Step { expected: StepIndex(2), got: StepIndex(1) };
    assert!(matches!(&refused, Err(StoreError::Chain { line: 3, source, .. }) if *source == expected), "{refused:?}");
}

#[test]
fn a_log_truncated_anywhere_is_noticed_by_readers_and_writers() {
    let finished = Finished::new(1, 3);
    let whole = finished.read("steps.jsonl");
    for len in (0..whole.len()).step_by(7) {
        finished.write("steps.jsonl", &whole[..len]);
        for refused in [verify(&finished), RunWriter::open(finished.path()).map(drop)] {
            assert!(
                matches!(refused, Err(StoreError::LogShort { expected: TreeSize(3), .. })),
                "cut to {len}: {refused:?}"
            );
        }
    }
}

#[test]
fn every_missing_file_is_noticed() {
    let finished = Finished::new(1, 4);
    for relative in [
        "run.json",
        "steps.jsonl",
        "checkpoint",
        "merkle_root.txt",
        "proofs/step_000000.proof",
        "epochs/epoch_0000.proof",
    ] {
        let bytes = finished.read(relative);
        let path = finished.file(relative);
        std::fs::remove_file(&path).unwrap();
        let refused = verify(&finished);
        assert!(matches!(&refused, Err(StoreError::Missing { path: at }) if *at == path), "{refused:?}");
        finished.write(relative, &bytes);
    }
    // Without its record an epoch was never recorded; its anchor and the manifest miss it.
    std::fs::remove_file(finished.file("epochs/epoch_0000.json")).unwrap();
    let refused = verify(&finished);
    assert!(matches!(refused, Err(StoreError::AnchorWithoutEpoch { counter: 1, n_epochs: 0, .. })), "{refused:?}");
    assert!(matches!(verify_files(&finished), Err(StoreError::Missing { .. })));
}

#[test]
fn a_missing_epoch_before_another_is_noticed() {
    let finished = Finished::new(1, 8);
    std::fs::remove_file(finished.file("epochs/epoch_0000.json")).unwrap();
    let refused = verify(&finished);
    assert!(
        matches!(refused, Err(StoreError::EpochGap { expected: EpochIndex(0), got: EpochIndex(1), .. })),
        "{refused:?}"
    );
}

/// Another history of the same run, with honest hashes throughout, up to `steps` steps.
fn other_history(finished: &Finished, steps: u64) -> Finished {
    let other = Finished { temp: crate::support::tempdir(), run: finished.run.clone() };
    let artifacts = other.temp.path().join("artifacts");
    drive_on(Arc::new(Disk), &artifacts, &other.run, steps, 7, &mut Announced::default()).unwrap();
    other
}

#[test]
fn a_log_rewritten_with_a_valid_chain_is_noticed_by_the_checkpoint() {
    let finished = Finished::new(1, 4);
    let other = other_history(&finished, 4);
    finished.write("steps.jsonl", &other.read("steps.jsonl"));
    for step in 0..4 {
        let proof = format!("proofs/step_{step:06}.proof");
        finished.write(&proof, &other.read(&proof));
    }
    let refused = verify(&finished);
    assert!(
        matches!(&refused, Err(StoreError::CheckpointDisagrees { source, .. }) if source.field == "root"),
        "{refused:?}"
    );
    finished.write("checkpoint", &other.read("checkpoint"));
    assert!(matches!(verify(&finished), Err(StoreError::RootDisagrees { .. })));
    finished.write("merkle_root.txt", &other.read("merkle_root.txt"));
    let refused = verify(&finished);
    assert!(
        matches!(&refused, Err(StoreError::EpochDisagrees { source, .. }) if source.field == "epoch_root"),
        "{refused:?}"
    );
    finished.write("epochs/epoch_0000.json", &other.read("epochs/epoch_0000.json"));
    finished.write("epochs/epoch_0000.proof", &other.read("epochs/epoch_0000.proof"));
    let refused = verify(&finished);
    assert!(
        matches!(&refused, Err(StoreError::AnchorDisagrees { counter: 1, source, .. }) if source.field == "root"),
        "{refused:?}"
    );
}

#[test]
fn records_of_another_run_are_noticed() {
    let finished = Finished::new(1, 4);
    let foreign = {
        let run = crate::support::run(1, 2);
        let temp = crate::support::tempdir();
        drive_on(Arc::new(Disk), &temp.path().join("artifacts"), &run, 4, 0, &mut Announced::default()).unwrap();
        Finished { temp, run }
    };
    finished.write("steps.jsonl", &foreign.read("steps.jsonl"));
    let refused = verify(&finished);
    assert!(matches!(&refused, Err(StoreError::Chain { line: 1, source: ChainError::Run { .. }, .. })), "{refused:?}");
    finished.write("checkpoint", &foreign.read("checkpoint"));
    let refused = verify(&finished);
    assert!(
        matches!(&refused, Err(StoreError::CheckpointDisagrees { source, .. }) if source.field == "run"),
        "{refused:?}"
    );
}

#[test]
fn two_spliced_histories_are_noticed() {
    let finished = Finished::new(1, 4);
    let other = other_history(&finished, 4);
    let mut spliced = lines(&finished);
    spliced.truncate(2);
    spliced.extend(lines(&other).drain(2..));
    finished.write("steps.jsonl", &spliced.concat());
    let refused = verify(&finished);
    assert!(matches!(&refused, Err(StoreError::Chain { line: 3, source: ChainError::Prev { .. }, .. })), "{refused:?}");
}

#[test]
fn each_field_of_the_checkpoint_is_compared_with_the_log() {
    let finished = Finished::new(1, 4);
    let good = finished.open().checkpoint().unwrap();
    for (field, changed) in [
        ("run", Checkpoint { run: element("another").into(), ..good }),
        ("root", Checkpoint { root: digest("another").into(), ..good }),
        ("last record", Checkpoint { last_record: digest("another"), ..good }),
        ("state", Checkpoint { state: element("another"), ..good }),
    ] {
        finished.write("checkpoint", changed.to_string().as_bytes());
        for refused in [verify(&finished), RunWriter::open(finished.path()).map(drop)] {
            assert!(
                matches!(&refused, Err(StoreError::CheckpointDisagrees { source, .. }) if source.field == field),
                "{field}: {refused:?}"
            );
        }
    }
    let ahead = Checkpoint { size: TreeSize(5), ..good };
    finished.write("checkpoint", ahead.to_string().as_bytes());
    for refused in [verify(&finished), RunWriter::open(finished.path()).map(drop)] {
        assert!(
            matches!(refused, Err(StoreError::LogShort { expected: TreeSize(5), got: TreeSize(4), .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_manifest_of_an_earlier_size_is_noticed() {
    let finished = Finished::new(1, 4);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let (draft, proofs) = draft(&finished.run, writer.log().head(), 0);
    writer.append_step(draft, &proofs).unwrap();
    let refused = verify_files(&finished);
    assert!(
        matches!(&refused, Err(StoreError::ManifestDisagrees { source, .. }) if source.field == "size"),
        "{refused:?}"
    );
    writer.write_manifest().unwrap();
    assert!(verify_files(&finished).is_ok());
}

#[test]
fn a_hostile_manifest_cannot_reach_outside_the_run() {
    let finished = Finished::new(1, 4);
    let text = String::from_utf8(finished.read("run_manifest.json")).unwrap();
    for path in ["../../../etc/x", "/etc/passwd", "proofs\\\\..\\\\x"] {
        let hostile = text.replacen("anchors.json", path, 1);
        assert_ne!(hostile, text);
        finished.write("run_manifest.json", hostile.as_bytes());
        let refused = verify_files(&finished);
        assert!(matches!(refused, Err(StoreError::Manifest { .. })), "{path}: {refused:?}");
    }
}
