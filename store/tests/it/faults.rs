//! Every call to the file system fails once, before, in the middle of and after its effect. The run is then
//! opened again, nothing that was announced is lost, and it continues to the end.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ledger::*;
use store::fs::Entry;
use store::{Disk, FileSystem, ProofFiles, Recovery, RunDir, RunWriter, StoreError, TornLine};

use crate::support::{self, Announced, Finished, draft, drive_on, tempdir};

/// What the failing call does before it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Before,
    Half,
    After,
}

/// What happens to the calls after it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// They fail too: the process is dead.
    Dead,
    /// They work: the disk had a hiccup.
    Alive,
}

struct Faulty {
    calls: AtomicUsize,
    fail_at: usize,
    moment: Moment,
    then: Then,
}

impl Faulty {
    fn new(fail_at: usize, moment: Moment, then: Then) -> Arc<Self> {
        Arc::new(Self { calls: AtomicUsize::new(0), fail_at, moment, then })
    }

    fn call<T>(&self, half: impl FnOnce() -> io::Result<()>, whole: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let failure = || Err(io::Error::other("injected failure"));
        if call < self.fail_at || (call > self.fail_at && self.then == Then::Alive) {
            return whole();
        }
        if call == self.fail_at {
            match self.moment {
                Moment::Before => {}
                Moment::Half => half()?,
                // Whatever the call itself says, the caller hears of the failure.
                Moment::After => drop(whole()),
            }
        }
        failure()
    }
}

fn nothing() -> io::Result<()> {
    Ok(())
}

impl FileSystem for Faulty {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.call(nothing, || Disk.open(path))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.call(nothing, || Disk.read_at(path, offset, len))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.call(nothing, || Disk.list(dir))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(nothing, || Disk.create_dir(path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(|| Disk.write(path, &bytes[..bytes.len() / 2]), || Disk.write(path, bytes))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(|| Disk.append(path, &bytes[..bytes.len() / 2]), || Disk.append(path, bytes))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.call(nothing, || Disk.truncate(path, len))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(nothing, || Disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(nothing, || Disk.remove(path))
    }
}

const STEPS: u64 = 5;

/// What is on disk holds everything that was announced, and is whole.
fn assert_whole(artifacts: &Path, run: &SealedRun, announced: &Announced, context: &str) {
    let dir = RunDir::open(artifacts.join(store::layout::run_dir_name(run.run()))).unwrap();
    let verified = dir.verify_log(ProofFiles::Check).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(verified.log.size(), TreeSize(STEPS), "{context}");
    assert_eq!((verified.epochs.len(), verified.anchors.anchors().len()), (1, 1), "{context}");
    assert!(announced.epochs <= 1 && announced.anchors <= 1);
    for (step, line) in (0..).map(StepIndex).zip(&announced.lines) {
        let record = dir.record(&verified.log, step).unwrap();
        assert_eq!(record.bytes(), line, "{context}: step {step} changed after it was announced");
    }
    dir.verify_files().unwrap_or_else(|error| panic!("{context}: {error}"));
}

fn kill_everywhere(then: Then) {
    let run = support::run(2, 1);
    let clean = Faulty::new(usize::MAX, Moment::Before, then);
    let temp = tempdir();
    let mut announced = Announced::default();
    drive_on(clean.clone(), temp.path(), &run, STEPS, 0, &mut announced).unwrap();
    assert_eq!(announced.lines.len(), STEPS as usize);
    assert_whole(temp.path(), &run, &announced, "no failure");
    let calls = clean.calls.load(Ordering::SeqCst);
    assert!(calls > 100, "{calls}");

    for fail_at in 0..calls {
        for moment in [Moment::Before, Moment::Half, Moment::After] {
            let context = format!("call {fail_at} of {calls} failed, {moment:?}, then {then:?}");
            let temp = tempdir();
            let mut announced = Announced::default();
            let faulty = Faulty::new(fail_at, moment, then);
            let failed = drive_on(faulty, temp.path(), &run, STEPS, 0, &mut announced);
            assert!(failed.is_err(), "{context}: the failure went unnoticed");
            // The next attempt proves again whatever was not recorded, with other bytes.
            let mut rest = Announced::default();
            drive_on(Arc::new(Disk), temp.path(), &run, STEPS, 1, &mut rest)
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_whole(temp.path(), &run, &announced, &context);
            // At most the one step that was on disk but not announced is neither in the one nor the other.
            let known = announced.lines.len() + rest.lines.len();
            assert!((STEPS as usize - 1..=STEPS as usize).contains(&known), "{context}: {known} steps");
        }
    }
}

#[test]
fn a_process_killed_at_any_call_loses_nothing_and_continues() {
    kill_everywhere(Then::Dead);
}

#[test]
fn a_call_that_fails_once_loses_nothing_and_the_run_continues() {
    kill_everywhere(Then::Alive);
}

#[test]
fn a_recovery_that_is_killed_is_recovered_from() {
    // The worst place to die: after the line and before the checkpoint. Then die at each call of recovery.
    let run = support::run(2, 1);
    for fail_at in 0..60 {
        for moment in [Moment::Before, Moment::Half, Moment::After] {
            let temp = tempdir();
            let mut announced = Announced::default();
            drive_on(Arc::new(Disk), temp.path(), &run, 2, 0, &mut announced).unwrap();
            let path = temp.path().join(store::layout::run_dir_name(run.run()));
            let checkpoint = std::fs::read(path.join("checkpoint")).unwrap();
            let root = std::fs::read(path.join("merkle_root.txt")).unwrap();
            drive_on(Arc::new(Disk), temp.path(), &run, 3, 0, &mut announced).unwrap();
            std::fs::write(path.join("checkpoint"), checkpoint).unwrap();
            std::fs::write(path.join("merkle_root.txt"), root).unwrap();

            let died = RunWriter::open_on(Faulty::new(fail_at, moment, Then::Dead), &path);
            let reached_the_end = died.is_ok();
            drop(died);
            drive_on(Arc::new(Disk), temp.path(), &run, STEPS, 1, &mut Announced::default()).unwrap();
            assert_whole(temp.path(), &run, &announced, &format!("recovery, call {fail_at} {moment:?}"));
            if reached_the_end {
                assert!(fail_at > 10, "recovery has more calls than {fail_at}");
                return;
            }
        }
    }
    panic!("recovery has fewer than 60 calls");
}

#[test]
fn after_a_failed_write_the_handle_refuses_to_go_on() {
    let temp = tempdir();
    let run = support::run(1, 1);
    drop(RunWriter::create(temp.path(), &run).unwrap());
    let path = temp.path().join(store::layout::run_dir_name(run.run()));
    let counting = Faulty::new(usize::MAX, Moment::Before, Then::Alive);
    drop(RunWriter::open_on(counting.clone(), &path).unwrap());
    let opening = counting.calls.load(Ordering::SeqCst);

    let (mut writer, _) = RunWriter::open_on(Faulty::new(opening, Moment::After, Then::Alive), &path).unwrap();
    let (step, proofs) = draft(&run, writer.log().head(), 0);
    let failed = writer.append_step(step.clone(), &proofs);
    assert!(matches!(failed, Err(StoreError::Io { operation: "write", .. })), "{failed:?}");
    assert!(matches!(writer.append_step(step, &proofs), Err(StoreError::Stale)));
    assert!(matches!(writer.write_manifest(), Err(StoreError::Stale)));
}

#[test]
fn a_torn_last_line_is_cut_off_and_said_so() {
    let finished = Finished::new(1, 3);
    let whole = finished.read("steps.jsonl");
    for torn in [&b"{"[..], &whole[..whole.len() / 3 - 1], &[0; 5000]] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(torn);
        finished.write("steps.jsonl", &bytes);
        let reader = finished.open().verify_log(ProofFiles::Check);
        assert!(matches!(reader, Err(StoreError::UncommittedTail { size: TreeSize(3), .. })), "{reader:?}");

        let (writer, recovery) = RunWriter::open(finished.path()).unwrap();
        assert_eq!(recovery.torn, Some(TornLine { line: 4, bytes: torn.len() as u64 }));
        assert_eq!(writer.log().size(), TreeSize(3));
        assert_eq!(finished.read("steps.jsonl"), whole);
        assert!(finished.open().verify_log(ProofFiles::Check).is_ok());
    }
}

/// A run of three steps whose checkpoint and root file are those of two.
fn one_step_ahead() -> Finished {
    let finished = Finished::new(1, 2);
    let (checkpoint, root) = (finished.read("checkpoint"), finished.read("merkle_root.txt"));
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let (draft, proofs) = draft(&finished.run, writer.log().head(), 0);
    writer.append_step(draft, &proofs).unwrap();
    drop(writer);
    finished.write("checkpoint", &checkpoint);
    finished.write("merkle_root.txt", &root);
    finished
}

#[test]
fn a_step_between_line_and_checkpoint_is_taken_over_and_said_so() {
    let finished = one_step_ahead();
    let reader = finished.open().verify_log(ProofFiles::Check);
    assert!(matches!(reader, Err(StoreError::UncommittedTail { size: TreeSize(2), .. })), "{reader:?}");
    let (writer, recovery) = RunWriter::open(finished.path()).unwrap();
    assert_eq!(recovery.adopted, Some(StepIndex(2)));
    assert_eq!(
        recovery.to_string(),
        "took over step 2, which was recorded but not yet in the checkpoint; wrote merkle_root.txt again"
    );
    assert_eq!(writer.checkpoint().size, TreeSize(3));
    drop(writer);
    assert!(finished.open().verify_log(ProofFiles::Check).is_ok());
    assert_eq!(RunWriter::open(finished.path()).unwrap().1, Recovery::default());
}

#[test]
fn a_step_ahead_without_its_proof_is_refused() {
    let finished = one_step_ahead();
    let path = finished.file("proofs/step_000002.proof");
    finished.write("proofs/step_000002.proof", b"another proof");
    let refused = RunWriter::open(finished.path());
    assert!(matches!(&refused, Err(StoreError::ProofDigest { step: StepIndex(2), .. })), "{refused:?}");
    std::fs::remove_file(&path).unwrap();
    let refused = RunWriter::open(finished.path());
    assert!(matches!(&refused, Err(StoreError::Missing { path: at }) if *at == path), "{refused:?}");
    assert_eq!(finished.open().checkpoint().unwrap().size, TreeSize(2), "a refusal moves nothing");
}

#[test]
fn a_checkpoint_that_is_set_back_further_is_refused() {
    let finished = Finished::new(1, 1);
    let checkpoint = finished.read("checkpoint");
    drive_on(Arc::new(Disk), &finished.temp.path().join("artifacts"), &finished.run, 3, 0, &mut Announced::default())
        .unwrap();
    finished.write("checkpoint", &checkpoint);
    let refused = RunWriter::open(finished.path());
    assert!(
        matches!(refused, Err(StoreError::LogAhead { expected: TreeSize(1), got: TreeSize(3), .. })),
        "{refused:?}"
    );
}

#[test]
fn a_checkpoint_moved_by_someone_else_is_noticed() {
    let finished = Finished::new(1, 2);
    let (mut writer, _) = RunWriter::open(finished.path()).unwrap();
    let mut other = *writer.checkpoint();
    other.root = Root([5; 32]);
    finished.write("checkpoint", other.to_string().as_bytes());
    let (draft, proofs) = draft(&finished.run, writer.log().head(), 0);
    let refused = writer.append_step(draft, &proofs);
    assert!(matches!(refused, Err(StoreError::CheckpointMoved { .. })), "{refused:?}");
}

#[test]
fn files_left_by_interruptions_are_cleaned_up() {
    let finished = Finished::new(1, 4);
    for left in [".tmp-checkpoint", "proofs/.tmp-step_000004.proof", "epochs/.tmp-epoch_0001.json"] {
        finished.write(left, b"half");
    }
    let (mut writer, recovery) = RunWriter::open(finished.path()).unwrap();
    assert_eq!(recovery.removed.len(), 3);
    for orphan in ["proofs/step_000004.proof", "epochs/epoch_0001.proof"] {
        finished.write(orphan, b"orphan");
        let refused = finished.open().verify_files();
        assert!(matches!(refused, Err(StoreError::Unlisted { .. })), "{refused:?}");
        writer.write_manifest().unwrap();
        assert!(!finished.file(orphan).exists());
        assert!(finished.open().verify_files().is_ok());
    }
}

#[test]
fn a_torn_line_behind_an_uncovered_one_is_refused() {
    // A writer whose checkpoint did not move refuses to go on, so no interruption leaves both.
    let finished = one_step_ahead();
    let mut bytes = finished.read("steps.jsonl");
    bytes.extend_from_slice(b"{\"digest\":");
    finished.write("steps.jsonl", &bytes);
    let refused = RunWriter::open(finished.path());
    assert!(
        matches!(refused, Err(StoreError::LogAhead { expected: TreeSize(2), got: TreeSize(3), .. })),
        "{refused:?}"
    );
    assert_eq!(finished.read("steps.jsonl"), bytes, "a refusal cuts nothing off");
}
