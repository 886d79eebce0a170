//! The hashes against a second implementation, written from the definitions and slow.

use ledger::Digest;
use proptest::prelude::*;
use sha1::{Digest as _, Sha1};
use torrent::{FileHashes, HashError, Kernel, PieceLength, hash, hash_with};

use crate::support::{Memory, bytes, path, piece};

const BLOCK: usize = 16 << 10;

fn join(left: Digest, right: Digest) -> Digest {
    Digest::of(&[left.as_bytes().as_slice(), right.as_bytes()].concat())
}

/// BEP 52, "pieces root": a balanced binary tree over blocks, leaves behind the end are zero.
fn tree(leaves: &[Digest], width: usize) -> Digest {
    if width == 1 {
        return leaves.first().copied().unwrap_or(Digest([0; 32]));
    }
    let (left, right) = leaves.split_at(leaves.len().min(width / 2));
    join(tree(left, width / 2), tree(right, width / 2))
}

fn blocks(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks(BLOCK).map(Digest::of).collect()
}

/// What the hashes must be: v1 over the concatenation of files and padding, v2 per file.
fn expected(content: &Memory, piece: usize) -> (Vec<[u8; 20]>, Vec<FileHashes>) {
    let mut stream = Vec::new();
    for file in content.0.values().filter(|file| !file.is_empty()) {
        stream.resize(stream.len().next_multiple_of(piece), 0);
        stream.extend_from_slice(file);
    }
    let v1 = stream.chunks(piece).map(|piece| Sha1::digest(piece).into()).collect();
    let file = |file: &Vec<u8>| {
        let leaves = blocks(file);
        let root = (!file.is_empty()).then(|| tree(&leaves, leaves.len().next_power_of_two()));
        let layer = |file: &Vec<u8>| file.chunks(piece).map(|p| tree(&blocks(p), piece / BLOCK)).collect();
        FileHashes { root, layer: if file.len() > piece { layer(file) } else { Vec::new() } }
    };
    (v1, content.0.values().map(file).collect())
}

fn compare(content: &Memory, length: PieceLength) {
    let torrent = content.torrent("t", length, Default::default());
    let (v1, v2) = expected(content, length.bytes() as usize);
    let parsed = torrent::Metainfo::parse(torrent.as_bytes()).expect("what we wrote");
    assert_eq!(parsed, torrent);
    assert_eq!(torrent.hashes().pieces().collect::<Vec<_>>(), v1.iter().collect::<Vec<_>>());
    assert_eq!(torrent.hashes().files(), v2);
    for kernel in Kernel::available() {
        let by_it = hash_with(kernel, &content.list(), length, content, &|_| ()).expect("nothing fails in memory");
        assert_eq!(&by_it, torrent.hashes(), "{}", kernel.as_str());
    }
}

#[test]
fn lengths_around_blocks_and_pieces_are_hashed_as_defined() {
    for log in [14, 15, 16] {
        let piece_bytes = 1_usize << log;
        for len in [1, BLOCK - 1, BLOCK, BLOCK + 1, piece_bytes - 1, piece_bytes, piece_bytes + 1, 5 * piece_bytes + 3]
        {
            let content = Memory::new([("a", bytes(1, len)), ("b", bytes(2, len)), ("c", Vec::new())]);
            compare(&content, piece(log));
        }
    }
}

#[test]
fn whole_pieces_of_any_number_are_hashed_as_defined() {
    // Around the number of pieces that are hashed side by side, in pieces of one read and of several.
    for log in [14, 17] {
        for n_pieces in [2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33] {
            let content = Memory::new([("a", bytes(7, n_pieces << log)), ("b", bytes(8, (n_pieces << log) + 1))]);
            compare(&content, piece(log));
        }
    }
}

#[test]
fn files_longer_than_a_task_are_hashed_as_defined() {
    let content = Memory::new([("a", bytes(1, (9 << 20) + 5)), ("b", bytes(2, 4 << 20)), ("c", bytes(3, 8 << 20))]);
    compare(&content, piece(14));
    compare(&content, piece(20));
    compare(&content, piece(23));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_files_are_hashed_as_defined(
        lens in prop::collection::vec(prop_oneof![Just(0), 0..100_usize, 0..200_000_usize], 1..12),
        log in 14..18_u32,
    ) {
        prop_assume!(lens.iter().any(|len| *len > 0));
        let files = lens.iter().enumerate().map(|(at, len)| (path(&format!("file {at}")), bytes(at as u64, *len)));
        compare(&Memory(files.collect()), piece(log));
    }
}

#[test]
fn progress_adds_up_to_the_bytes() {
    let content = Memory::new([("a", bytes(1, 100_000)), ("b", Vec::new()), ("c", bytes(2, 3))]);
    let told = std::sync::atomic::AtomicU64::new(0);
    let add = |bytes| {
        told.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    hash(&content.list(), piece(14), &content, &add).expect("nothing fails in memory");
    assert_eq!(told.into_inner(), 100_003);
}

#[test]
fn a_file_that_changed_since_it_was_listed_is_refused() {
    let listed = Memory::new([("a", bytes(1, 100_000)), ("b", Vec::new())]);
    let hash = |content: &Memory| hash(&listed.list(), piece(14), content, &|_| ()).expect_err("it changed");
    let shorter = Memory::new([("a", bytes(1, 99_999)), ("b", Vec::new())]);
    assert!(matches!(hash(&shorter), HashError::Shorter { path: at, expected: 100_000 } if at == path("a")));
    let longer = Memory::new([("a", bytes(1, 100_001)), ("b", Vec::new())]);
    assert!(matches!(hash(&longer), HashError::Longer { path: at, expected: 100_000 } if at == path("a")));
    let no_longer_empty = Memory::new([("a", bytes(1, 100_000)), ("b", bytes(2, 1))]);
    assert!(matches!(hash(&no_longer_empty), HashError::Longer { path: at, expected: 0 } if at == path("b")));
    let gone = Memory::new([("a", bytes(1, 100_000))]);
    assert!(matches!(hash(&gone), HashError::Io { path: at, .. } if at == path("b")));
}

#[test]
fn files_on_disk_are_hashed_as_in_memory() {
    let content = Memory::new([("a", bytes(1, (9 << 20) + 5)), ("d/b", bytes(2, 16 << 14)), ("empty", Vec::new())]);
    let dir = tempfile::tempdir().expect("scratch space");
    content.write_to(dir.path());
    let directory = torrent::Directory(dir.path().to_owned());
    for log in [14, 18] {
        let in_memory = hash(&content.list(), piece(log), &content, &|_| ()).expect("nothing fails in memory");
        for kernel in Kernel::available() {
            let on_disk = hash_with(kernel, &content.list(), piece(log), &directory, &|_| ());
            assert_eq!(on_disk.expect("the files are there"), in_memory, "{}", kernel.as_str());
        }
    }
    // The end of one that is hashed side by side is missing.
    std::fs::File::options()
        .write(true)
        .open(dir.path().join("d/b"))
        .and_then(|file| file.set_len((16 << 14) - 1))
        .expect("a file");
    for kernel in Kernel::available() {
        let shorter = hash_with(kernel, &content.list(), piece(14), &directory, &|_| ()).expect_err("it changed");
        assert!(matches!(shorter, HashError::Shorter { path: at, expected: 262_144 } if at == path("d/b")));
    }
}

#[test]
fn the_environment_keeps_to_the_portable_code() {
    if std::env::var_os("CAIRN_PORTABLE").is_some() {
        assert_eq!(Kernel::fastest(), Kernel::PORTABLE);
        return;
    }
    assert!(Kernel::available().contains(&Kernel::fastest()));
    assert_eq!(Kernel::available().last(), Some(&Kernel::PORTABLE));
    let this = std::env::current_exe().expect("a path");
    let name = "hashes::the_environment_keeps_to_the_portable_code";
    let output = std::process::Command::new(this).args(["--exact", name]).env("CAIRN_PORTABLE", "1").output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().expect("scratch space");
    let outside = tempfile::tempdir().expect("scratch space");
    std::fs::create_dir(outside.path().join("d")).expect("scratch space");
    std::fs::write(outside.path().join("d/secret"), b"secret").expect("scratch space");
    let directory = torrent::Directory(dir.path().to_owned());
    for (link, target, file) in [("f", "d/secret", "f"), ("d", "d", "d/secret")] {
        std::os::unix::fs::symlink(outside.path().join(target), dir.path().join(link)).expect("scratch space");
        let listed = Memory::new([(file, bytes(1, 6))]);
        let refused = hash(&listed.list(), piece(14), &directory, &|_| ()).expect_err("a link");
        assert!(
            matches!(&refused, HashError::Io { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput),
            "{refused}"
        );
    }
}

#[test]
fn pieces_grow_with_the_bytes() {
    for (total, expected) in [
        (1, 1 << 14),
        (1 << 29, 1 << 14),
        ((1 << 29) + 1, 1 << 15),
        (1 << 30, 1 << 15),
        (3 << 30, 1 << 17),
        (1 << 39, 1 << 24),
        (1 << 50, 1 << 24),
    ] {
        assert_eq!(PieceLength::for_total(total).bytes(), expected, "{total} bytes");
    }
    for wrong in [-1, 0, 1, 8 << 10, (16 << 10) + 1, 48 << 10, 1 << 29, i64::MAX, i64::MIN] {
        assert_eq!(PieceLength::new(wrong).map_err(|error| error.got), Err(wrong));
    }
}
