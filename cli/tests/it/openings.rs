//! The opening of one state for a buyer: right weights are accepted, one changed unit is refused.

use std::fs;
use std::path::Path;

use crate::support::{Answer, Scratch, cairn};

pub fn open(scratch: &Scratch, run: &Path, step: u64) -> (String, String) {
    let (weights, opening) = (scratch.path(&format!("w{step}.safetensors")), scratch.path(&format!("o{step}.json")));
    let step = step.to_string();
    cairn(&["open", "--run", text(run), "--step", &step, "--weights", &weights, "--opening", &opening]).must();
    (weights, opening)
}

fn check(run: &Path, weights: &str, opening: &str) -> Answer {
    cairn(&["check-weights", "--run", text(run), "--weights", weights, "--opening", opening])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Adds `delta` to the first value of a safetensors file of float64.
pub fn nudge(path: &str, delta: f64) {
    let mut bytes = fs::read(path).expect("weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let at = 8 + header;
    let value = f64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    bytes[at..at + 8].copy_from_slice(&(value + delta).to_le_bytes());
    fs::write(path, bytes).expect("scratch space");
}

#[test]
fn only_the_right_weights_open_a_state() {
    let scratch = Scratch::new();
    for (salt, chunks) in [(50, "1"), (51, "2")] {
        let run = scratch.trained(salt, &["--chunks", chunks]);
        for step in [0, 2, 4] {
            let (weights, opening) = open(&scratch, &run, step);
            check(&run, &weights, &opening).must();
        }
        let (weights, opening) = open(&scratch, &run, 3);
        nudge(&weights, 1.0 / f64::from(1 << 24));
        let answer = check(&run, &weights, &opening);
        assert_eq!(answer.code, Some(1), "one unit: {answer:#?}");
        assert!(answer.stderr.contains("weights"), "{answer:#?}");
    }
}

#[test]
fn opening_of_another_state_or_run_is_refused() {
    let scratch = Scratch::new();
    let (run, other) = (scratch.trained(52, &[]), scratch.trained(53, &["--seed", "2"]));
    let (weights, opening) = open(&scratch, &run, 2);
    let (_, later) = open(&scratch, &run, 3);
    assert_eq!(check(&run, &weights, &later).code, Some(1));
    let answer = check(&other, &weights, &opening);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let scratch = Scratch::new();
    let run = scratch.trained(54, &[]);
    let (weights, opening) = open(&scratch, &run, 1);
    let whole = fs::read(&weights).expect("weights");
    for bytes in [&whole[..whole.len() - 3], &whole[..4], &[]] {
        fs::write(&weights, bytes).expect("scratch space");
        let answer = check(&run, &weights, &opening);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stderr.contains("w1.safetensors"), "{answer:#?}");
    }
    fs::write(&weights, &whole).expect("scratch space");
    fs::write(&opening, b"{\"v\":").expect("scratch space");
    let answer = check(&run, &weights, &opening);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    assert!(answer.stderr.contains("o1.json"), "{answer:#?}");
}
