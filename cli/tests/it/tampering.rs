//! Whatever is changed in a run's directory, `cairn verify` fails, names the check and exits with 1.

use std::fs;
use std::path::Path;

use crate::support::{Scratch, copy, verify};

const LOG: &str = "log, records, proof files, tree, epochs";

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file of the run");
    change(&mut bytes);
    fs::write(path, bytes).expect("scratch space");
}

/// Changes a copy of the run; returns the failed check and its detail.
fn tampered(run: &Path, change: impl FnOnce(&Path)) -> (String, String) {
    let (_parent, copy) = copy(run);
    change(&copy);
    verify(&copy).failed_check()
}

/// The lines of `steps.jsonl` after `change`, written back.
fn lines(run: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let path = run.join("steps.jsonl");
    let text = fs::read_to_string(&path).expect("a log");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").expect("scratch space");
}

#[test]
fn every_part_of_the_log_is_checked() {
    let scratch = Scratch::new();
    let run = scratch.trained(40, &[]);
    verify(&run).must();

    // A hex digit or a number of every field of a record: canonical text stays text, so the hash chain must tell.
    let line = fs::read_to_string(run.join("steps.jsonl")).expect("a log").lines().nth(1).expect("step 1").to_owned();
    let digits: Vec<usize> = line.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    for at in digits.iter().step_by(digits.len().div_ceil(24)) {
        let (check, detail) = tampered(&run, |run| {
            lines(run, |lines| {
                let old = lines[1].as_bytes()[*at];
                let new = if old == b'9' { "8".to_owned() } else { char::from(old + 1).to_string() };
                lines[1].replace_range(*at..=*at, &new);
            });
        });
        assert_eq!(check, LOG, "digit {at}: {detail}");
        assert!(detail.contains("steps.jsonl"), "digit {at}: {detail}");
    }

    for (what, check_line) in [("removed", 0), ("swapped", 1), ("repeated", 2), ("cut", 3)] {
        let (check, detail) = tampered(&run, |run| match check_line {
            0 => lines(run, |lines| drop(lines.remove(1))),
            1 => lines(run, |lines| lines.swap(1, 2)),
            2 => lines(run, |lines| lines[2] = lines[1].clone()),
            _ => edit(&run.join("steps.jsonl"), |bytes| bytes.truncate(bytes.len() / 2)),
        });
        assert_eq!(check, LOG, "{what}: {detail}");
        assert!(detail.contains("steps.jsonl"), "{what}: {detail}");
    }
}

#[test]
fn every_proof_file_is_checked() {
    let scratch = Scratch::new();
    let run = scratch.trained(41, &[]);
    let proof = |run: &Path, step: u64| run.join(format!("proofs/step_{step:06}.proof"));
    for at in [0, 700, 1400] {
        let (check, detail) = tampered(&run, |run| edit(&proof(run, 2), |bytes| bytes[at] ^= 1));
        assert_eq!(check, LOG);
        assert!(detail.contains("step_000002.proof") && detail.contains("expected 0x"), "{detail}");
    }
    let (_, detail) = tampered(&run, |run| edit(&proof(run, 0), Vec::clear));
    assert!(detail.contains("step_000000.proof"), "{detail}");
    let (_, detail) = tampered(&run, |run| fs::remove_file(proof(run, 3)).expect("removed"));
    assert!(detail.contains("step_000003.proof"), "{detail}");
    let (_, detail) = tampered(&run, |run| {
        fs::copy(proof(run, 1), proof(run, 2)).expect("copied");
    });
    assert!(detail.contains("step_000002.proof"), "{detail}");
}

#[test]
fn checkpoint_root_manifest_and_description_are_checked() {
    let scratch = Scratch::new();
    let run = scratch.trained(42, &[]);
    for (file, name) in [
        ("checkpoint", "checkpoint"),
        ("merkle_root.txt", "merkle_root.txt"),
        ("run_manifest.json", "run_manifest.json"),
    ] {
        let (_, detail) = tampered(&run, |run| {
            edit(&run.join(file), |bytes| {
                // The last hex digit or number of the file.
                let at = bytes.iter().rposition(u8::is_ascii_digit).expect("a digit");
                bytes[at] = if bytes[at] == b'9' { b'8' } else { bytes[at] + 1 };
            });
        });
        assert!(detail.contains(name), "{file}: {detail}");
    }
    // Another description is another run: its hash starts the chain, its identity is the directory's name.
    let (_parent, copy) = copy(&run);
    edit(&copy.join("run.json"), |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("\"batch_size\":\"6\"", "\"batch_size\":\"7\"");
        *bytes = text.into_bytes();
    });
    let answer = verify(&copy);
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    assert!(!answer.stderr.is_empty(), "{answer:#?}");
}

/// Steps of another run, with their proofs: each record is whole, but the chain is not its own.
#[test]
fn runs_cannot_be_spliced() {
    let scratch = Scratch::new();
    let (run, other) = (scratch.trained(43, &[]), scratch.trained(44, &["--seed", "2"]));
    let (check, detail) = tampered(&run, |run| {
        let foreign = fs::read_to_string(other.join("steps.jsonl")).expect("a log");
        lines(run, |lines| lines[2] = foreign.lines().nth(2).expect("step 2").to_owned());
        let name = "proofs/step_000002.proof";
        fs::copy(other.join(name), run.join(name)).expect("copied");
    });
    assert_eq!(check, LOG, "{detail}");
    assert!(detail.contains("line 3"), "{detail}");
}

#[test]
fn chunk_of_another_step_is_refused() {
    let scratch = Scratch::new();
    let run = scratch.trained(45, &["--chunks", "2"]);
    let (check, detail) = tampered(&run, |run| {
        let name = |step: u64| run.join(format!("proofs/step_{step:06}.chunk_001.proof"));
        fs::copy(name(1), name(2)).expect("copied");
    });
    assert_eq!(check, LOG, "{detail}");
    assert!(detail.contains("step_000002.chunk_001.proof"), "{detail}");
}
