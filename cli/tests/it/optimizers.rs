//! Every optimizer and chunking goes the whole way of steps: trained, verified, opened.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Scratch, cairn, copy, verify};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn every_rule_and_chunking_is_proved_and_verified() {
    let scratch = Scratch::new();
    for (salt, more, rule, chunks) in [
        (100, &["--optimizer", "sgd", "--lr", "0.01", "--loss-scale-log2", "0"][..], "sgd", 1),
        (
            101,
            &[
                "--optimizer",
                "sgd",
                "--momentum",
                "0",
                "--loss-scale-log2",
                "0",
                "--weight-decay",
                "0.01",
                "--chunks",
                "2",
            ],
            "sgd",
            2,
        ),
        (102, &["--optimizer", "adamw", "--weight-decay", "0.01", "--chunks", "3"], "adamw", 3),
        (103, &["--optimizer", "adam", "--chunks", "2", "--warmup", "2", "--lr-schedule", "cosine"], "adamw", 2),
    ] {
        let run = scratch.trained(salt, more);
        let description: serde_json::Value =
            serde_json::from_slice(&fs::read(run.join("run.json")).expect("a description")).expect("JSON");
        assert_eq!(
            (&description["policy"]["rule"], &description["policy"]["n_chunks"]),
            (&json!(rule), &json!(chunks)),
            "{more:?}"
        );
        assert_eq!(fs::read_dir(run.join("proofs")).expect("proofs").count(), 4 * chunks, "{more:?}");
        let report = verify(&run).must();
        assert_eq!((&report["steps_verified"], &report["ok"]), (&json!(4), &json!(true)), "{more:?}");

        let (weights, opening) = (scratch.path("w.safetensors"), scratch.path("o.json"));
        cairn(&["open", "--run", text(&run), "--step", "4", "--weights", &weights, "--opening", &opening]).must();
        cairn(&["check-weights", "--run", text(&run), "--weights", &weights, "--opening", &opening]).must();

        // The proof of one chunk is not the proof of another, nor of the step before.
        let names: Vec<_> = {
            let mut names: Vec<_> = fs::read_dir(run.join("proofs"))
                .expect("proofs")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
                .collect();
            names.sort();
            names
        };
        let (_parent, copied) = copy(&run);
        fs::copy(run.join("proofs").join(&names[0]), copied.join("proofs").join(&names[1])).expect("copied");
        let (_, detail) = verify(&copied).failed_check();
        assert!(detail.contains(&names[1]) && detail.contains("expected 0x"), "{detail}");
    }
}
