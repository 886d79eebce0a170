//! A run that starts from another's final state.

use std::path::Path;

use crate::support::{Scratch, cairn, verify};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn child_continues_the_parents_final_state() {
    let scratch = Scratch::new();
    let parent = scratch.trained(70, &[]);
    let child = scratch.trained(71, &["--parent", text(&parent)]);
    let report = cairn(&["verify", "--all", "--run", text(&child), "--parent", text(&parent)]).must();
    assert_eq!((&report["ok"], &report["steps_verified"]), (&true.into(), &4.into()), "{report:#}");
    let other = scratch.trained(72, &["--seed", "2"]);
    let (check, detail) = cairn(&["verify", "--run", text(&child), "--parent", text(&other)]).failed_check();
    assert_eq!(check, "parent's log", "{detail}");

    // The parent's last state and the child's first are one commitment, opened by either.
    for (run, step, name) in [(&parent, "4", "p"), (&child, "0", "c")] {
        let (weights, opening) = (scratch.path(&format!("{name}.safetensors")), scratch.path(&format!("{name}.json")));
        cairn(&["open", "--run", text(run), "--step", step, "--weights", &weights, "--opening", &opening]).must();
        cairn(&["check-weights", "--run", text(run), "--weights", &weights, "--opening", &opening]).must();
    }
    let weights = |name: &str| std::fs::read(scratch.path(&format!("{name}.safetensors"))).expect("weights");
    assert_eq!(weights("p"), weights("c"));
}

/// Each child opens the state once more: the random rows hide only so many openings.
#[test]
fn parent_has_only_so_many_children_and_cannot_go_on() {
    let scratch = Scratch::new();
    let parent = scratch.trained(73, &[]);
    let mut refused = None;
    for salt in 74..90 {
        let args = scratch.train(salt, &["--parent", text(&parent)]);
        let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        if answer.code != Some(0) {
            refused = Some((salt - 74, answer));
            break;
        }
    }
    let (children, answer) = refused.expect("a bound");
    assert!(children >= 1, "{answer:#?}");
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    assert!(answer.stderr.contains("child"), "{answer:#?}");

    let mut args = scratch.train(73, &[]);
    let steps = args.iter().position(|arg| arg == "--steps").expect("given") + 1;
    args[steps] = "6".to_owned();
    let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    verify(&parent).must();
}

/// Its openings would be made with the seed of another run's state.
#[test]
fn a_fresh_run_does_not_take_over_what_is_left_of_a_child() {
    let scratch = Scratch::new();
    let parent = scratch.trained(240, &[]);
    let child = scratch.trained(241, &["--parent", text(&parent)]);
    std::fs::remove_dir_all(&child).expect("scratch space");
    let args = scratch.train(241, &[]);
    let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(answer.refused(2).contains("has the seed of a parent's state"), "{answer:#?}");
    assert!(!child.exists());
}
