//! `--memory-limit`: proofs stay within it, or are refused before anything is made.

use std::path::Path;

use crate::support::{Scratch, cairn, verify};

#[test]
fn steps_are_proved_within_the_limit_or_not_at_all() {
    let scratch = Scratch::new();
    let train = |limit: &str| {
        let args = scratch.train(110, &["--memory-limit", limit]);
        cairn(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(train("4GiB").refused_usage().contains("expected bytes, as 500MB or 50GB, got \"4GiB\""));
    let answer = train("1MB");
    let refused = answer.refused(2);
    assert!(refused.contains("bytes at least, the memory limit is 1000000"), "{refused}");
    assert!(!Path::new(&scratch.path("artifacts")).exists(), "nothing was made");
    // What it says would do does.
    let need = refused.split("a proof takes ").nth(1).and_then(|rest| rest.split(' ').next()).expect("the need");
    let run = train(need).must();
    verify(Path::new(run["run_dir"].as_str().expect("a directory"))).must();
}
