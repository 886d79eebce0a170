//! Checks on the demo's run, whose log and proofs are in `testdata/anchor/run`.

mod evidence;
mod report;
