//! Runs whose epochs are wrapped: what tells them apart, and that a run has one kind of epoch.

use std::fs;
use std::path::Path;

use crate::support::{cairn, copy};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/anchor/run");

/// Says of each epoch of a run that it is wrapped.
fn mark_wrapped(run: &Path) {
    for entry in fs::read_dir(run.join("epochs")).expect("epochs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let text = fs::read_to_string(&path).expect("a record");
            let marked = text.replace(r#""v":1}"#, r#""v":1,"wrap_k":21}"#);
            assert_ne!(text, marked);
            fs::write(path, marked).expect("scratch space");
        }
    }
}

#[test]
fn epochs_of_a_run_are_wrapped_alike_and_have_their_selector() {
    let (_scratch, run) = copy(Path::new(RUN));
    let path = run.to_str().expect("UTF-8");
    let selector = || cairn(&["status", "--run", path]).must()["selector"].as_str().expect("a selector").to_owned();
    let refused = |wrap: &str| cairn(&["aggregate", "--run", path, "--wrap", wrap]).refused(2).trim_end().to_owned();
    assert_eq!(selector(), "0x684c87c8");
    assert_eq!(
        refused("21"),
        "cairn: epochs of a run are wrapped alike: epoch 0 has no wrap, --wrap asks for a wrap of k = 21"
    );
    mark_wrapped(&run);
    assert_eq!(selector(), "0x8eae89dc");
    assert_eq!(
        refused("22"),
        "cairn: epochs of a run are wrapped alike: epoch 0 has a wrap of k = 21, --wrap asks for a wrap of k = 22"
    );
}
