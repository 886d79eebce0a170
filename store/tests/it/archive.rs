//! Archives: what is written is read, by `tar` too, and has one spelling.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ledger::ArtifactPath;
use proptest::prelude::*;
use store::archive::{BLOCK_BYTES, MAX_FILE_BYTES};
use store::fs::EntryKind;
use store::{Archive, ArchiveError, ArchiveWriter, FileSystem};

use crate::support::tempdir;

type Files = BTreeMap<String, Vec<u8>>;

fn path(name: &str) -> ArtifactPath {
    name.parse().expect("a path")
}

fn written(files: &Files) -> Vec<u8> {
    let mut archive = ArchiveWriter::new(Vec::new());
    for (name, bytes) in files {
        archive.add(&path(name), bytes.len() as u64, &mut &bytes[..]).expect("written");
    }
    archive.finish().expect("written")
}

fn opened(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let dir = tempdir();
    let file = dir.path().join("a.tar");
    std::fs::write(&file, bytes).expect("scratch space");
    // The open file stays readable.
    let on_disk = Archive::open(&file);
    // In memory it is the same archive, or refused for the same reason.
    match (&on_disk, Archive::from_bytes(bytes.to_vec())) {
        (Ok(on_disk), Ok(in_memory)) => assert_eq!(read(on_disk), read(&in_memory)),
        (Err(on_disk), Err(in_memory)) => assert_eq!(on_disk.to_string(), in_memory.to_string()),
        (on_disk, in_memory) => panic!("on disk {on_disk:?}, in memory {in_memory:?}"),
    }
    on_disk
}

fn some() -> Files {
    let bytes = |len: usize| (0..len).map(|at| at as u8).collect();
    let files = [("a", 0), ("a.b", 5), ("a/b", 512), ("a/c/d", 513), ("b/A", 3), ("zz", 1_000_000)];
    files.map(|(name, len)| (name.to_owned(), bytes(len))).into()
}

fn read(archive: &Archive) -> Files {
    archive.paths().map(|name| (name.to_owned(), archive.read(name, u64::MAX).expect("a file"))).collect()
}

/// A header that `tar` takes, with one thing changed and the checksum put right.
fn with_header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = written(&Files::from([("file".to_owned(), vec![1, 2, 3])]));
    change(&mut bytes[..512]);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().copied().map(u32::from).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn what_is_written_is_read_and_listed() {
    let archive = opened(&written(&some())).expect("an archive");
    assert_eq!(read(&archive), some());
    let list = |dir: &str| -> Vec<(String, EntryKind)> {
        archive.list(Path::new(dir)).expect("a list").into_iter().map(|entry| (entry.name, entry.kind)).collect()
    };
    let (file, folder) = (EntryKind::File, EntryKind::Directory);
    let named = |entries: &[(&str, EntryKind)]| -> Vec<(String, EntryKind)> {
        entries.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    };
    let top = [("a", file), ("a", folder), ("a.b", file), ("b", folder), ("zz", file)];
    assert_eq!(list(""), named(&top));
    assert_eq!(list("a"), named(&[("b", file), ("c", folder)]));
    assert_eq!(list("nothing"), []);
    let mut bytes = Vec::new();
    archive.open(Path::new("zz")).expect("a file").read_to_end(&mut bytes).expect("a file");
    assert_eq!(bytes, some()["zz"]);
    assert_eq!(archive.read_at(Path::new("zz"), 999_990, 10).expect("its end"), some()["zz"][999_990..]);
    let beyond = archive.read_at(Path::new("zz"), 999_990, 11).expect_err("beyond its end");
    assert_eq!(beyond.kind(), std::io::ErrorKind::UnexpectedEof);
    let missing = archive.open(Path::new("a/c")).err().expect("a folder");
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    assert!(matches!(archive.read("no", 9), Err(ArchiveError::Missing { .. })));
    assert!(matches!(archive.read("zz", 999_999), Err(ArchiveError::TooLong { got: 1_000_000, .. })));
    for written in [
        archive.write(Path::new("a"), b"x"),
        archive.append(Path::new("a"), b"x"),
        archive.truncate(Path::new("a"), 0),
        archive.rename(Path::new("a"), Path::new("c")),
        archive.remove(Path::new("a")),
        archive.create_dir(Path::new("c")),
    ] {
        assert_eq!(written.expect_err("it is read only").kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn tar_reads_it() {
    let dir = tempdir();
    let (file, to) = (dir.path().join("a.tar"), dir.path().join("to"));
    // One name cannot be a file and a folder on a disk.
    let files: Files = some().into_iter().filter(|(name, _)| name != "a").collect();
    std::fs::write(&file, written(&files)).expect("scratch space");
    std::fs::create_dir(&to).expect("scratch space");
    let run = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&to).output().expect("tar runs");
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    for (name, bytes) in &files {
        assert_eq!(&std::fs::read(to.join(name)).expect("unpacked"), bytes, "{name}");
    }
    // What tar makes has an owner and a time.
    let tar = Command::new("tar").args(["--format=ustar", "-cf"]).arg(&file).arg("-C").arg(&to).arg("zz").output();
    assert!(tar.expect("tar runs").status.success());
    assert!(matches!(Archive::open(&file), Err(ArchiveError::Header { offset: 0, .. })));
}

#[test]
fn every_byte_counts() {
    let honest: Files = some().into_iter().filter(|(name, _)| name != "zz").collect();
    let bytes = written(&honest);
    for at in 0..bytes.len() {
        for bit in [1, 128] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            if let Ok(archive) = opened(&changed) {
                assert_ne!(read(&archive), honest, "byte {at}");
            }
        }
    }
    for len in (0..bytes.len()).step_by(64) {
        let cut = opened(&bytes[..len]);
        assert!(matches!(cut, Err(ArchiveError::Length { .. })), "{len}: {cut:?}");
    }
    let longer = opened(&[&bytes[..], &[0; 512]].concat());
    assert!(matches!(longer, Err(ArchiveError::Length { .. })), "{longer:?}");
    let mut padding = bytes.clone();
    // Behind `a.b`, which has 5 bytes.
    padding[512 + 512 + 5] = 1;
    let refused = opened(&padding);
    assert!(matches!(refused, Err(ArchiveError::Padding { offset: 1029 })), "{refused:?}");
}

#[test]
fn hostile_headers_are_refused() {
    let name = |name: &[u8]| {
        with_header(|header| {
            header[..100].fill(0);
            header[..name.len()].copy_from_slice(name);
        })
    };
    for bad in [&b"../file"[..], b"/etc/passwd", b"a//b", b"a\\b", b"a/../b", b"caf\xc3\xa9", b"c:x", b"a/", b"-\n"] {
        let refused = opened(&name(bad));
        assert!(matches!(refused, Err(ArchiveError::Path { offset: 0, .. })), "{bad:?}: {refused:?}");
    }
    let refused = opened(&name(b""));
    assert!(matches!(refused, Err(ArchiveError::Order { .. } | ArchiveError::Path { .. })), "{refused:?}");
    // Links, folders, devices, extended headers; owners, modes, times; a prefix; another way to write a number.
    let at = |at: usize, bytes: &'static [u8]| {
        with_header(move |header| header[at..at + bytes.len()].copy_from_slice(bytes))
    };
    for kind in [b"1", b"2", b"3", b"4", b"5", b"6", b"x", b"g", b"L", b"\0"] {
        let refused = opened(&at(156, kind));
        assert!(matches!(refused, Err(ArchiveError::Header { offset: 0, .. })), "{kind:?}: {refused:?}");
    }
    for (place, bytes) in [
        (100, &b"0000777"[..]),
        (108, b"0000001"),
        (136, b"00000000001"),
        (157, b"to"),
        (345, b"above"),
        (124, b"+0000000003"),
        (124, b"        3"),
        (124, b"\x80"),
        (265, b"root"),
        (500, b"x"),
    ] {
        let refused = opened(&at(place, bytes));
        assert!(matches!(refused, Err(ArchiveError::Header { offset: 0, .. })), "{place}: {refused:?}");
    }
    // The longest length that can be written: nothing is reserved for it.
    let refused = opened(&at(124, b"77777777777"));
    assert!(matches!(refused, Err(ArchiveError::Length { expected, .. }) if expected > MAX_FILE_BYTES), "{refused:?}");

    // Twice, and out of order.
    let one = |name: &str| {
        let bytes = written(&Files::from([(name.to_owned(), vec![7])]));
        bytes[..2 * BLOCK_BYTES as usize].to_vec()
    };
    for (first, second) in [("b", "b"), ("b", "a")] {
        let refused = opened(&[one(first), one(second), vec![0; 1024]].concat());
        assert!(matches!(refused, Err(ArchiveError::Order { offset: 1024, .. })), "{refused:?}");
    }
    assert!(matches!(opened(&[]), Err(ArchiveError::Length { expected: 512, got: 0 })));
    let dir = tempdir();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("link")).expect("scratch space");
    assert!(matches!(Archive::open(&dir.path().join("link")), Err(ArchiveError::Io { .. })));
}

#[test]
fn files_that_change_or_do_not_fit_are_not_written() {
    let mut archive = ArchiveWriter::new(Vec::new());
    let longer = archive.add(&path("a"), 3, &mut &b"four"[..]);
    assert!(matches!(longer, Err(ArchiveError::Changed { expected: 3, got: 4, .. })), "{longer:?}");
    let mut archive = ArchiveWriter::new(Vec::new());
    let shorter = archive.add(&path("a"), 5, &mut &b"four"[..]);
    assert!(matches!(shorter, Err(ArchiveError::Changed { expected: 5, got: 4, .. })), "{shorter:?}");
    let mut archive = ArchiveWriter::new(Vec::new());
    archive.add(&path("b"), 0, &mut &b""[..]).expect("written");
    for name in ["b", "a"] {
        let order = archive.add(&path(name), 0, &mut &b""[..]);
        assert!(matches!(order, Err(ArchiveError::Order { offset: 512, .. })), "{order:?}");
    }
    let long = archive.add(&path(&"c".repeat(101)), 0, &mut &b""[..]);
    assert!(matches!(long, Err(ArchiveError::PathLength { got: 101, .. })), "{long:?}");
    let large = archive.add(&path("c"), MAX_FILE_BYTES + 1, &mut std::io::repeat(0));
    assert!(matches!(large, Err(ArchiveError::FileLength { .. })), "{large:?}");
}

proptest! {
    // No name that paths may not have begins with z or f, no extension of a secret ends with w.
    #[test]
    fn any_files_come_back(files in prop::collection::btree_map("z[a-z]{0,7}(/f[a-zA-Z0-9._-]{1,20}w){0,3}", prop::collection::vec(any::<u8>(), 0..2000), 0..12)) {
        let bytes = written(&files);
        prop_assert_eq!(bytes.len() % 512, 0);
        prop_assert_eq!(read(&opened(&bytes).expect("an archive")), files);
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_spelling(mut bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        if let Ok(archive) = opened(&bytes) {
            prop_assert_eq!(written(&read(&archive)), bytes);
        }
    }
}
