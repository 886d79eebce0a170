//! Uploads and their receipts survive whatever interrupts them.

use std::fs;
use std::path::PathBuf;

use ledger::{ChunkIndex, Digest, FieldElement, RunId, StepIndex};
use store::{Inbox, PrivateDir};

fn run() -> RunId {
    RunId::from(FieldElement::reduce([7; 32]))
}

struct Place {
    scratch: tempfile::TempDir,
    private: PrivateDir,
}

impl Place {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("scratch space");
        let private =
            PrivateDir::open_or_create(&scratch.path().join("private"), &scratch.path().join("public"), run());
        Self { private: private.expect("a private directory"), scratch }
    }

    fn has_inbox(&self) -> bool {
        Inbox::exists(&self.scratch.path().join("private"), run())
    }

    fn open(&self) -> Inbox {
        Inbox::open(&self.private).expect("an inbox")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.private.path().join("inbox").join(name)
    }
}

const STEP: StepIndex = StepIndex(3);

#[test]
fn an_upload_waits_until_it_is_settled_and_leaves_a_receipt() {
    let place = Place::new();
    assert!(!place.has_inbox());
    let mut inbox = place.open();
    assert!(place.has_inbox());
    for (chunk, bytes) in [(1, b"one"), (0, b"two")] {
        inbox.put(STEP, ChunkIndex(chunk), bytes).expect("stored");
    }
    inbox.put(StepIndex(4), ChunkIndex(0), b"next").expect("stored");
    let (first, second) = ((STEP, ChunkIndex(0)), (STEP, ChunkIndex(1)));
    assert_eq!(place.open().waiting().expect("listed"), [first, second, (StepIndex(4), ChunkIndex(0))]);
    assert_eq!(*inbox.read(STEP, ChunkIndex(1)).expect("read"), b"one");
    assert_eq!(inbox.receipt(STEP, ChunkIndex(1)), None);
    inbox.settle(STEP).expect("settled");
    inbox.settle(STEP).expect("settled twice");
    for inbox in [inbox, place.open()] {
        assert_eq!(inbox.waiting().expect("listed"), [(StepIndex(4), ChunkIndex(0))]);
        assert_eq!(inbox.receipt(STEP, ChunkIndex(1)), Some(Digest::of(b"one")));
        assert_eq!(inbox.receipt(STEP, ChunkIndex(0)), Some(Digest::of(b"two")));
    }
    assert_eq!(fs::read_to_string(place.file("receipts")).expect("receipts").lines().count(), 2);
}

/// Killed between the receipts and the removal of the uploads, or in the middle of a receipt.
#[test]
fn interrupted_settling_is_finished_without_a_second_receipt() {
    let place = Place::new();
    let mut inbox = place.open();
    inbox.put(STEP, ChunkIndex(0), b"one").expect("stored");
    let upload = fs::read(place.file("step_000003.chunk_000")).expect("an upload");
    inbox.settle(STEP).expect("settled");
    let receipts = fs::read(place.file("receipts")).expect("receipts");
    for cut in [receipts.len(), receipts.len() - 1, 3, 0] {
        inbox.put(STEP, ChunkIndex(0), &upload).expect("stored");
        fs::write(place.file("receipts"), &receipts[..cut]).expect("scratch space");
        let mut again = place.open();
        assert_eq!(again.receipt(STEP, ChunkIndex(0)).is_some(), cut == receipts.len(), "{cut}");
        again.settle(STEP).expect("settled");
        assert_eq!(fs::read(place.file("receipts")).expect("receipts"), receipts, "{cut}");
        assert_eq!(place.open().receipt(STEP, ChunkIndex(0)), Some(Digest::of(b"one")));
    }
}

#[test]
fn dropped_uploads_and_half_written_ones_are_gone() {
    let place = Place::new();
    let inbox = place.open();
    inbox.put(STEP, ChunkIndex(0), b"one").expect("stored");
    inbox.drop_upload(STEP, ChunkIndex(0)).expect("dropped");
    inbox.drop_upload(STEP, ChunkIndex(0)).expect("dropped twice");
    fs::write(place.file(".tmp-step_000003.chunk_001"), b"half").expect("scratch space");
    assert_eq!(place.open().waiting().expect("listed"), []);
    assert!(!place.file(".tmp-step_000003.chunk_001").exists());
}

#[test]
fn the_note_is_replaced_as_a_whole() {
    let place = Place::new();
    let inbox = place.open();
    assert_eq!(inbox.note().expect("read"), None);
    for note in [b"first".as_slice(), b"second"] {
        inbox.write_note(note).expect("written");
        assert_eq!(place.open().note().expect("read").as_deref(), Some(note));
    }
}

#[cfg(unix)]
#[test]
fn nothing_in_the_inbox_is_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mut inbox = place.open();
    for step in [1, 2] {
        inbox.put(StepIndex(step), ChunkIndex(0), b"private").expect("stored");
    }
    inbox.settle(StepIndex(1)).expect("settled");
    inbox.write_note(b"{}").expect("written");
    let mode = |path: &PathBuf| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    let directory = place.private.path().join("inbox");
    assert_eq!(mode(&directory), 0o700);
    for name in ["receipts", "note.json", "step_000002.chunk_000"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}
