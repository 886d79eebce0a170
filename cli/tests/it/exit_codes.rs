//! 0: it holds; 1: a check failed; 2: usage or I/O. Results on stdout, everything else on stderr.

use std::process::Command;

use crate::support::{Scratch, cairn};

const COMMANDS: [&[&str]; 31] = [
    &["srs"],
    &["keys"],
    &["train"],
    &["verify"],
    &["aggregate"],
    &["verifier"],
    &["deploy"],
    &["anchor"],
    &["bundle"],
    &["seed"],
    &["fetch"],
    &["tracker"],
    &["gate"],
    &["admin", "finalize"],
    &["admin", "announce"],
    &["admin", "submitter"],
    &["admin", "offer"],
    &["admin", "accept"],
    &["registry", "show"],
    &["registry", "freeze"],
    &["registry", "prove-broken"],
    &["registry", "cancel"],
    &["registry", "offer"],
    &["registry", "accept"],
    &["attest", "sign"],
    &["attest", "publish"],
    &["attest", "revoke"],
    &["attest", "list"],
    &["status"],
    &["open"],
    &["check-weights"],
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let output = Command::new(env!("CARGO_BIN_EXE_cairn")).args(command).arg("--help").output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Usage: cairn"), "{command:?}: {text}");
        if command != ["srs"] {
            assert!(text.contains("Example: cairn "), "{command:?} shows no example: {text}");
        }
    }
}

#[test]
fn usage_errors_are_two() {
    for args in [&["frobnicate"][..], &["verify"], &["train", "--data"], &["verify", "--run", "x", "--rpc", "http://h"]]
    {
        let answer = cairn(args);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty(), "{answer:#?}");
    }
}

#[test]
fn missing_files_are_two_and_named() {
    for args in [
        &["verify", "--run", "/nonexistent/run"][..],
        &["status", "--run", "/nonexistent/run"],
        &["aggregate", "--run", "/nonexistent/run"],
        &["bundle", "--run", "/nonexistent/run"],
        &["train", "--data", "/nonexistent/data.csv"],
        &["srs", "import", "/nonexistent/file.ptau", "--label", "x", "--k", "10"],
    ] {
        let answer = cairn(args);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stderr.starts_with("cairn: ") && answer.stderr.contains("/nonexistent/"), "{answer:#?}");
        assert!(answer.stdout.is_empty(), "{answer:#?}");
    }
}

#[test]
fn impossible_values_are_refused_by_name() {
    let scratch = Scratch::new();
    for (more, word) in [
        (&["--lr", "7"][..], "lr"),
        (&["--epoch-size", "3"], "epoch-size"),
        (&["--optimizer", "lion"], "optimizer"),
        (&["--srs", "nobody"], "nobody"),
    ] {
        let mut args = scratch.train(1, &[]);
        // The last occurrence of an option is not allowed twice: replace it.
        if let Some(at) = args.iter().position(|arg| arg == more[0]) {
            args[at + 1] = more[1].to_owned();
        } else {
            args.extend(more.iter().map(|arg| (*arg).to_owned()));
        }
        let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stderr.contains(word), "{word}: {answer:#?}");
    }
}
