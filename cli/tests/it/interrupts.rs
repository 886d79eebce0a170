//! SIGTERM and SIGKILL while the process proves or makes keys: the same command goes on, and no half file is used. There is
//! no handler, so SIGINT does what SIGTERM does, except that what runs in a shell's background inherits it ignored.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::{Scratch, cairn, cairn_in, process, process_in, verify, wait_for};

/// Sends a signal as the terminal does.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn interrupted_proving_goes_on_after_either_signal() {
    for (salt, name) in [(111, "KILL"), (112, "TERM")] {
        let scratch = Scratch::new();
        let args = scratch.train(salt, &[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let artifacts = scratch.path("artifacts");
        let proofs = || -> usize {
            let runs = fs::read_dir(&artifacts).into_iter().flatten().flatten();
            runs.map(|run| fs::read_dir(run.path().join("proofs")).into_iter().flatten().count()).sum()
        };
        let mut child = process(&args).spawn().expect("cairn starts");
        // Behind the first proof, the process is at work on the second.
        assert!(wait_for(&mut child, || proofs() > 0, Duration::from_millis(20)), "ended before the signal");
        signal(&child, name);
        let status = child.wait().expect("a process");
        assert!(!status.success(), "{name}: {status}");
        assert!(proofs() < 4, "{name}: the signal came too late to interrupt anything");
        let answer = cairn(&args).must();
        assert_eq!(answer["steps"], 4, "{answer:#}");
        verify(Path::new(answer["run_dir"].as_str().expect("a run directory"))).must();
    }
}

/// Reference strings and keys are files of a cache: one that was not finished is made again, and is the same.
#[test]
fn interrupted_key_generation_starts_again() {
    let digest = |answer: serde_json::Value| answer["step_key_digest"].as_str().expect("a digest").to_owned();
    let args = ["keys", "--circuit", "adam", "--params", "40"];
    let expected = digest(cairn(&args).must());
    for (name, delay) in [("KILL", 5), ("TERM", 30), ("KILL", 100), ("TERM", 200)] {
        let home = tempfile::tempdir().expect("scratch space");
        let mut child = process_in(home.path(), &args).spawn().expect("cairn starts");
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, name);
        child.wait().expect("a process");
        assert_eq!(digest(cairn_in(home.path(), &args).must()), expected, "{name} after {delay} ms");
    }
}
