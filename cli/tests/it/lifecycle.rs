//! The life of a run without a chain: trained and proved under each rule, verified by whoever has its directory.

use crate::support::{Scratch, cairn, verify};

#[test]
fn every_rule_and_number_of_chunks_is_proved_and_verified() {
    let scratch = Scratch::new();
    let rules: [&[&str]; 4] = [
        &["--optimizer", "adam"],
        &["--optimizer", "adamw", "--weight-decay", "0.01"],
        &["--optimizer", "sgd", "--lr", "0.01", "--loss-scale-log2", "0"],
        &["--optimizer", "adam", "--lr-schedule", "cosine", "--warmup", "2"],
    ];
    for (i, rule) in rules.into_iter().enumerate() {
        for chunks in ["1", "2"] {
            let salt = 10 + 2 * i as u8 + u8::from(chunks == "2");
            let run = scratch.trained(salt, &[rule, &["--chunks", chunks]].concat());
            let report = verify(&run).must();
            assert_eq!((&report["ok"], &report["steps_verified"]), (&true.into(), &4.into()), "{rule:?} {report:#}");
            let sampled = cairn(&["verify", "--k", "2", "--run", run.to_str().expect("UTF-8")]);
            assert_eq!(sampled.must()["steps_verified"], 2);
            let status = cairn(&["status", "--run", run.to_str().expect("UTF-8")]).must();
            assert_eq!(status["steps"], 4, "{status:#}");
        }
    }
}

/// Secrets can't get into what is published.
#[test]
fn run_directory_holds_no_secret() {
    let scratch = Scratch::new();
    let run = scratch.trained(30, &[]);
    let manifest = std::fs::read_to_string(run.join("run_manifest.json")).expect("a manifest");
    for name in ["secret", "state_", "private"] {
        assert!(!manifest.contains(name), "{name} in {manifest}");
    }
    for entry in std::fs::read_dir(&run).expect("a directory") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(!name.contains("secret") && !name.contains("private"), "{name}");
    }
}
