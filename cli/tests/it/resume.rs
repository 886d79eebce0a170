//! The process is killed while it trains and proves: the same command goes on, and nothing is lost or made twice.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Scratch, cairn, process, verify, wait_for};

/// Waits for `happened`, or for the process to end.
fn kill_when(args: &[&str], happened: impl Fn() -> bool, delay: Duration) -> bool {
    let mut child = process(args).spawn().expect("cairn starts");
    if !wait_for(&mut child, happened, delay) {
        return false;
    }
    // SIGKILL: nothing can be cleaned up.
    child.kill().expect("killed");
    child.wait().expect("a process");
    true
}

fn records(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("steps.jsonl")).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
}

/// Killed when a proof, a record or a checkpoint appears, at once and a little later: between any two writes of a step.
#[test]
fn killed_training_goes_on_and_loses_nothing() {
    let scratch = Scratch::new();
    let reference = scratch.trained(60, &[]);
    let name = reference.file_name().expect("a name").to_owned();
    for (trial, delay) in [0, 1, 3, 10, 40].into_iter().enumerate() {
        let own = Scratch::new();
        let args = own.train(60, &[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = Path::new(&own.path("artifacts")).join(&name);
        let delay = Duration::from_millis(delay);
        let mut seen: Vec<String> = Vec::new();
        for step in 0..3u64 {
            let proof = run.join(format!("proofs/step_{step:06}.proof"));
            let checkpoint = run.join("checkpoint");
            let before = fs::read(&checkpoint).unwrap_or_default();
            let killed = kill_when(
                &args,
                || match trial % 2 {
                    0 => proof.exists(),
                    _ => fs::read(&checkpoint).unwrap_or_default() != before,
                },
                delay,
            );
            if !killed {
                break;
            }
            let now = records(&run);
            assert!(now.starts_with(&seen), "a record that was there has changed or gone");
            seen = now;
        }
        let answer = cairn(&args).must();
        assert_eq!(answer["steps"], 4, "{answer:#}");
        let last = records(&run);
        assert!(last.starts_with(&seen) && last.len() == 4, "{} records", last.len());
        verify(&run).must();
    }
}

/// Training again what is finished proves nothing again.
#[test]
fn finished_run_is_left_alone() {
    let scratch = Scratch::new();
    let run = scratch.trained(61, &[]);
    let before = records(&run);
    assert_eq!(scratch.trained(61, &[]), run);
    assert_eq!(records(&run), before);
}

/// A line that the interruption cut off is repaired, and said so.
#[test]
fn torn_last_line_is_repaired() {
    let scratch = Scratch::new();
    let run = scratch.trained(62, &[]);
    let before = records(&run);
    let log = run.join("steps.jsonl");
    let mut text = fs::read_to_string(&log).expect("a log");
    text.push_str("{\"digest\":\"0x12");
    fs::write(&log, text).expect("scratch space");
    assert_ne!(verify(&run).code, Some(0), "a reader repairs nothing");
    let args = scratch.train(62, &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--quiet").collect();
    cairn(&args).must();
    assert_eq!(records(&run), before);
    verify(&run).must();
}
