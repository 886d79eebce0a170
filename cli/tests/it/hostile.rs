//! Run directories made to do harm: each is refused by name, nothing panics, nothing outside is written or removed.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{Answer, Scratch, cairn, copy, verify};

/// A refusal: code 1 or 2, a message that names the file, no panic.
#[track_caller]
fn refused(answer: &Answer, code: i32, words: &[&str]) {
    assert_eq!(answer.code, Some(code), "{answer:#?}");
    assert!(!answer.stderr.contains("panicked"), "{answer:#?}");
    for word in words {
        assert!(answer.stderr.contains(word), "{word}: {answer:#?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// `cairn verify` of a copy that `change` was made to.
fn changed(run: &Path, change: impl FnOnce(&Path)) -> Answer {
    let (_parent, copy) = copy(run);
    change(&copy);
    verify(&copy)
}

fn replaced(run: &Path, file: &str, from: &str, to: &str) -> Answer {
    changed(run, |run| {
        let path = run.join(file);
        let old = fs::read_to_string(&path).expect("a file of the run");
        assert!(old.contains(from), "{file} has no {from}");
        fs::write(path, old.replacen(from, to, 1)).expect("scratch space");
    })
}

#[test]
fn hostile_manifests_are_refused() {
    let scratch = Scratch::new();
    let run = scratch.trained(90, &[]);
    const FIRST: &str = "\"path\":\"checkpoint\"";
    for path in [
        "../../etc/passwd",
        "/etc/passwd",
        "proofs/../../outside",
        "proofs\\\\..\\\\outside",
        "C:/outside",
        "./checkpoint",
        "checkpoint/",
        "",
        ".hidden",
        "check\\u0000point",
        "check\\u202epoint",
    ] {
        let answer = replaced(&run, "run_manifest.json", FIRST, &format!("\"path\":\"{path}\""));
        refused(&answer, 1, &["manifest", "run_manifest.json"]);
    }
    for (from, to) in [
        ("\"size\":4", "\"size\":-4"),
        ("\"size\":4", "\"size\":4.0"),
        ("\"size\":4", "\"size\":4e0"),
        ("\"size\":4", "\"size\":18446744073709551616"),
        ("\"size\":4", "\"size\":9007199254740992"),
        ("\"size\":4", "\"size\":\"4\""),
        ("\"size\":4", "\"size\":5"),
        ("\"size\":4", "\"size\":4,\"size\":4"),
        ("\"v\":1", "\"v\":2"),
        ("\"v\":1", "\"v\":1,\"w\":1"),
        ("\"v\":1", "\"v\":1.0"),
        ("{\"files\":[", "{ \"files\":["),
        ("{\"files\":[", "{\"files\":[null,"),
        ("{\"files\":[", "[{\"files\":["),
        ("{\"files\":[", "\u{feff}{\"files\":["),
    ] {
        refused(&replaced(&run, "run_manifest.json", from, to), 1, &["manifest", "run_manifest.json"]);
    }
    let deep = changed(&run, |run| fs::write(run.join("run_manifest.json"), "[".repeat(1 << 20)).expect("scratch"));
    refused(&deep, 1, &["manifest", "run_manifest.json"]);
}

#[test]
fn hostile_descriptions_and_checkpoints_are_refused() {
    let scratch = Scratch::new();
    let run = scratch.trained(91, &[]);
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("\"v\":1", "\"v\":1,\"v\":1"),
        ("\"epoch_len\":2", "\"epoch_len\":3"),
        ("\"epoch_len\":2", "\"epoch_len\":-2"),
        ("\"epoch_len\":2", "\"epoch_len\":2.0"),
        ("\"epoch_len\":2", "\"epoch_len\":1e300"),
        ("\"n_chunks\":1", "\"n_chunks\":4294967295"),
        ("\"n_chunks\":1", "\"n_chunks\":4294967296"),
        ("\"n_chunks\":1", "\"n_chunks\":0"),
        ("\"n_params\":", "\"n_params\":9"),
        ("\"rule\":\"adamw\"", "\"rule\":\"lion\""),
    ] {
        // What is no description is an error; what is one, but not the one the log begins with, fails a check.
        let answer = replaced(&run, "run.json", from, to);
        assert!(matches!(answer.code, Some(1 | 2)), "{to}: {answer:#?}");
        assert!(!answer.stderr.contains("panicked"), "{to}: {answer:#?}");
        assert!(answer.stderr.contains("run.json") || answer.stderr.contains("steps.jsonl"), "{to}: {answer:#?}");
    }
    // Shapes are notes, so nothing but their own rules limits them: no huge key may be begun.
    for shape in ["adamw n=999999999999 k=15 limb_bits=14 rows=12", "adamw n=1 k=63 limb_bits=14 rows=12", "", "x"] {
        let old = fs::read_to_string(run.join("run.json")).expect("a description");
        let from = old.split("\"step_shape\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a shape");
        let answer = replaced(&run, "run.json", from, shape);
        assert!(matches!(answer.code, Some(1 | 2)), "{shape}: {answer:#?}");
        assert!(!answer.stderr.contains("panicked"), "{shape}: {answer:#?}");
    }
    for (file, content) in [
        ("checkpoint", "cairn/checkpoint/v9\n".to_owned()),
        ("checkpoint", "9".repeat(1 << 20)),
        ("checkpoint", "\0".repeat(64)),
        ("merkle_root.txt", "0x".to_owned() + &"f".repeat(1 << 20)),
        ("steps.jsonl", "{}\n".repeat(4)),
        ("steps.jsonl", String::new()),
        ("run.json", "x".repeat(64 << 20)),
    ] {
        let answer = changed(&run, |run| fs::write(run.join(file), &content).expect("scratch space"));
        let code = if file == "run.json" { 2 } else { 1 };
        refused(&answer, code, &[file]);
    }
}

/// A line of a gigabyte is refused at the longest record's length, not read into memory: the file is sparse, its reader
/// would need a gigabyte of memory.
#[test]
fn endless_lines_and_files_are_not_read_to_their_end() {
    let scratch = Scratch::new();
    let run = scratch.trained(92, &[]);
    for name in ["steps.jsonl", "checkpoint", "run_manifest.json", "merkle_root.txt", "proofs/step_000001.proof"] {
        let answer = changed(&run, |run| {
            let mut file = fs::OpenOptions::new().write(true).open(run.join(name)).expect("a file of the run");
            file.seek(SeekFrom::Start(1 << 30)).expect("sparse");
            file.write_all(b"\n").expect("sparse");
        });
        refused(&answer, 1, &[name]);
    }
}

#[test]
fn links_directories_and_pipes_are_no_files_of_a_run() {
    let scratch = Scratch::new();
    let run = scratch.trained(93, &[]);
    for name in
        ["run.json", "steps.jsonl", "checkpoint", "merkle_root.txt", "run_manifest.json", "proofs/step_000002.proof"]
    {
        let code = if name == "run.json" { 2 } else { 1 };
        // The link leads to the very same bytes: that it is a link is what is refused.
        let answer = changed(&run, |copy| {
            fs::remove_file(copy.join(name)).expect("removed");
            symlink(run.join(name), copy.join(name)).expect("linked");
        });
        refused(&answer, code, &[name, "not a file of a run"]);
        let answer = changed(&run, |copy| {
            fs::remove_file(copy.join(name)).expect("removed");
            fs::create_dir(copy.join(name)).expect("made");
        });
        refused(&answer, code, &[name, "not a file of a run"]);
        let answer = changed(&run, |copy| fs::remove_file(copy.join(name)).expect("removed"));
        refused(&answer, code, &[name, "missing"]);
        // Opening a pipe for reading would wait for a writer that never comes.
        let answer = changed(&run, |copy| {
            fs::remove_file(copy.join(name)).expect("removed");
            let made = std::process::Command::new("mkfifo").arg(copy.join(name)).status().expect("mkfifo runs");
            assert!(made.success());
        });
        refused(&answer, code, &[name, "not a file of a run"]);
    }
    let answer = changed(&run, |copy| fs::write(copy.join("proofs/extra"), "x").expect("scratch space"));
    refused(&answer, 1, &["proofs/extra", "not a file of a run"]);
    let answer = changed(&run, |copy| {
        fs::remove_dir_all(copy.join("proofs")).expect("removed");
        symlink(run.join("proofs"), copy.join("proofs")).expect("linked");
    });
    refused(&answer, 1, &["proofs", "not a file of a run"]);
}

/// Writers follow no link out of the directory, whatever stands there before them.
#[test]
fn nothing_outside_the_directory_is_written_or_removed() {
    let scratch = Scratch::new();
    let run = scratch.trained(94, &[]);
    let outside = |parent: &Path| -> PathBuf {
        let dir = parent.join("outside");
        fs::create_dir_all(&dir).expect("scratch space");
        fs::write(dir.join("precious"), "precious").expect("scratch space");
        fs::write(dir.join(".tmp-precious"), "precious").expect("scratch space");
        dir
    };
    let untouched = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).expect("there").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, [".tmp-precious", "precious"]);
        for name in names {
            assert_eq!(fs::read_to_string(dir.join(name)).expect("there"), "precious");
        }
    };
    for (name, target) in [
        (".lock", "precious"),
        (".lock", "new"),
        (".tmp-run_manifest.json", "precious"),
        (".tmp-run_manifest.json", "new"),
        ("run_manifest.json", "precious"),
        ("anchors.json", "precious"),
        ("steps.jsonl", "precious"),
        ("checkpoint", "new"),
        ("merkle_root.txt", "precious"),
        ("epochs", ""),
        ("proofs", ""),
    ] {
        let (parent, copy) = copy(&run);
        let dir = outside(parent.path());
        let at = copy.join(name);
        if at.is_dir() {
            fs::remove_dir_all(&at).expect("removed");
        } else {
            let _ = fs::remove_file(&at);
        }
        symlink(dir.join(target), &at).expect("linked");
        // Opens the run for writing, repairs it, removes temporary files and writes the manifest, unless it refuses.
        let mut args = scratch.train(94, &[]);
        let artifacts = args.iter().position(|arg| arg == "--artifacts").expect("given") + 1;
        args[artifacts] = text(parent.path()).to_owned();
        let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(answer.code, Some(0 | 2)), "{name} -> {target}: {answer:#?}");
        assert!(!answer.stderr.contains("panicked"), "{name} -> {target}: {answer:#?}");
        untouched(&dir);
        if [".lock", "steps.jsonl", "checkpoint", "merkle_root.txt", "epochs", "proofs"].contains(&name) {
            assert_eq!(answer.code, Some(2), "{name} -> {target}: {answer:#?}");
            assert!(answer.stderr.contains(name) && answer.stderr.contains("not a file of a run"), "{answer:#?}");
        }
    }
}
