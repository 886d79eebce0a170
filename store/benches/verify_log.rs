//! How long a reader takes to check the log of 100,000 steps: `cargo bench -p store`.
//!
//! Prints one JSON object: sizes, times in seconds, peak memory. The proofs are made up: only hashing is measured here.

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use std::fs;
use std::io::Write;
use std::time::Instant;

use ledger::canonical::V1;
use ledger::*;
use store::layout::{RunFile, run_dir_name};
use store::{ProofFiles, RunDir, StepDraft};

const STEPS: u64 = 100_000;

/// Length of a step proof (DESIGN §2.3).
const PROOF_BYTES: usize = 2624;

fn main() {
    let temp = support::tempdir();
    let run = support::run(1, 1);
    let path = temp.path().join(run_dir_name(run.run()));
    write_run(&path, &run);
    let bytes = fs::metadata(RunFile::Steps.path(&path)).expect("just written").len();

    let dir = RunDir::open(&path).expect("just written");
    let [records_s, proofs_s] = [ProofFiles::Skip, ProofFiles::Check].map(|proofs| {
        let start = Instant::now();
        dir.verify_log(proofs).expect("an honest log");
        start.elapsed().as_secs_f64()
    });

    let log = dir.log().expect("an honest log");
    let leaves: Vec<Digest> = (0..STEPS).filter_map(|step| log.tree().leaf(StepIndex(step))).collect();
    let start = Instant::now();
    let root = tree::root_of(&leaves);
    let tree_s = start.elapsed().as_secs_f64();
    assert_eq!(root, log.root());
    let peak = 1024 * peak_memory_kb().unwrap_or(0);
    println!(
        "{{\"steps\":{STEPS},\"record_bytes\":{bytes},\"threads\":{},\"records_s\":{records_s:.3},\
         \"proofs_s\":{proofs_s:.3},\"tree_s\":{tree_s:.3},\"peak_rss_bytes\":{peak}}}",
        threads()
    );
}

/// Writes an honest run without the writer's syncing after each step.
fn write_run(path: &std::path::Path, run: &SealedRun) {
    for dir in ["proofs", "epochs"] {
        fs::create_dir_all(path.join(dir)).expect("scratch space");
    }
    fs::write(RunFile::Run.path(path), run.bytes()).expect("scratch space");
    let file = fs::File::create(RunFile::Steps.path(path)).expect("scratch space");
    let mut lines = std::io::BufWriter::new(file);
    let (mut head, mut tree) = (ChainHead::genesis(run), CompactRange::new());
    for step in 0..STEPS {
        let (draft, _) = support::draft(run, &head, 0);
        let StepDraft { statement, digest, state_out, meta } = draft;
        let proof: Vec<u8> = step.to_be_bytes().into_iter().cycle().take(PROOF_BYTES).collect();
        let (prev, proofs) = (head.last_record(), vec![Digest::of(&proof)]);
        let record = StepRecord { digest, meta, prev, proofs, state_out, statement, v: V1 };
        let record = record.seal().expect("an honest record");
        head.extend(&record).expect("an honest record");
        tree.push(record.leaf());
        lines.write_all(record.bytes()).and_then(|()| lines.write_all(b"\n")).expect("scratch space");
        fs::write(RunFile::Proof(StepIndex(step)).path(path), proof).expect("scratch space");
    }
    lines.flush().expect("scratch space");
    let checkpoint = Checkpoint {
        run: run.run(),
        size: tree.size(),
        root: tree.root(),
        last_record: head.last_record(),
        state: head.state(),
    };
    fs::write(RunFile::Checkpoint.path(path), checkpoint.to_string()).expect("scratch space");
    fs::write(RunFile::Root.path(path), format!("{}\n", checkpoint.root)).expect("scratch space");
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn peak_memory_kb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
