//! The same files give the same torrent, whatever the machine's directory looks like.

use proptest::prelude::*;
use torrent::{
    BuildError, Content, ContentPath, Directory, FileEntry, FileList, FilesError, Metainfo, Options, PieceLength,
    Visibility, hash,
};

use crate::support::{Memory, bytes, everything, options, path, piece};

/// Names of files and folders: short, long, of many scripts; some are prefixes of others.
fn component() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[a-zA-Z0-9._ -]{0,8}[a-z0-9_-]", "[αβγ文件шхкомнатаéß]{1,6}", Just("n".repeat(200)),]
}

fn some_path() -> impl Strategy<Value = ContentPath> {
    let valid = |components: Vec<String>| ContentPath::new(&components).ok();
    prop::collection::vec(component(), 1..7).prop_filter_map("not a safe path", valid)
}

fn some_files() -> impl Strategy<Value = Vec<(ContentPath, Vec<u8>)>> {
    let len = prop_oneof![Just(0_usize), 1..40_usize, 16_000..70_000_usize];
    let files = prop::collection::vec((some_path(), len, any::<u64>()), 1..20);
    files.prop_map(|files| files.into_iter().map(|(path, len, seed)| (path, bytes(seed, len))).collect())
}

fn torrent_of(entries: Vec<FileEntry>, content: &dyn Content) -> Result<Metainfo, String> {
    let files = FileList::new(entries).map_err(|error| error.to_string())?;
    let piece_length = PieceLength::for_total(files.bytes());
    let hashes = hash(&files, piece_length, content, &|_| ()).map_err(|error| error.to_string())?;
    Metainfo::new("run", files, piece_length, hashes, Options::default()).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_order_of_files_does_not_matter(files in some_files(), turn in any::<prop::sample::Index>()) {
        let content = Memory(files.iter().cloned().collect());
        let entries = content.entries();
        let first = torrent_of(entries.clone(), &content);
        let mut other = entries;
        let at = turn.index(other.len());
        other.rotate_left(at);
        other.reverse();
        prop_assert_eq!(&first, &torrent_of(other, &content));
        // Most sets of files are torrents; those that are not are refused for a reason, see below.
        let Ok(first) = first else { return Ok(()) };
        prop_assert_eq!(&Metainfo::parse(first.as_bytes()).map_err(|error| error.to_string()), &Ok(first.clone()));

        // On a disk, in two directories that were filled in another order.
        for reverse in [false, true] {
            let dir = tempfile::tempdir().expect("scratch space");
            let mut order: Vec<_> = content.0.iter().collect();
            if reverse { order.reverse(); }
            for (path, bytes) in order {
                Memory([(path.clone(), bytes.clone())].into()).write_to(dir.path());
            }
            let on_disk = torrent_of(content.entries(), &Directory(dir.path().to_owned()));
            prop_assert_eq!(Ok(&first), on_disk.as_ref());
        }
    }

    #[test]
    fn any_other_byte_name_or_length_gives_other_infohashes(files in some_files(), which in any::<prop::sample::Index>()) {
        let content = Memory(files.into_iter().collect());
        let Ok(torrent) = torrent_of(content.entries(), &content) else { return Ok(()) };
        let at = content.0.keys().nth(which.index(content.0.len())).cloned().expect("a file");
        let changed = |change: &dyn Fn(&mut Memory)| {
            let mut other = content.clone();
            change(&mut other);
            torrent_of(other.entries(), &other)
        };
        let file = |memory: &mut Memory| memory.0.remove(&at).expect("the file");
        let renamed = changed(&|memory| {
            let bytes = file(memory);
            memory.0.insert(path("another name"), bytes);
        });
        let longer = changed(&|memory| {
            let mut bytes = file(memory);
            bytes.push(0);
            memory.0.insert(at.clone(), bytes);
        });
        let flipped = changed(&|memory| {
            let mut bytes = file(memory);
            match bytes.last_mut() { Some(last) => *last ^= 1, None => bytes.push(1) }
            memory.0.insert(at.clone(), bytes);
        });
        for other in [renamed, longer, flipped] {
            let other = other.map_err(TestCaseError::fail)?;
            prop_assert_ne!(torrent.infohash_v1(), other.infohash_v1());
            prop_assert_ne!(torrent.infohash_v2(), other.infohash_v2());
        }
    }
}

/// Known values: if this fails, every announced infohash of the past can no longer be made again.
#[test]
fn infohashes_stay_what_they_are() {
    let torrent = everything().torrent("run", piece(16), Options::default());
    assert_eq!(torrent.infohash_v1().to_string(), "d25ddf1a85ef6a81d361a2fdf8cb789bd2a50b6c");
    assert_eq!(torrent.infohash_v2().to_string(), "7e13cda66409a5d571904e1fdb0f8430916a963d5c9436cb722990de793d25f2");
}

#[test]
fn where_it_is_announced_does_not_change_the_infohashes() {
    let plain = everything().torrent("run", piece(16), Options::default());
    let Options { trackers, web_seeds, .. } = options();
    let more = Options { trackers, web_seeds, ..Options::default() };
    let announced = everything().torrent("run", piece(16), more);
    assert_ne!(plain.as_bytes(), announced.as_bytes());
    assert_eq!((plain.infohash_v1(), plain.infohash_v2()), (announced.infohash_v1(), announced.infohash_v2()));
    for private in [
        Options { visibility: Visibility::Private, ..Options::default() },
        Options { source: Some("here".to_owned()), ..Options::default() },
    ] {
        let private = everything().torrent("run", piece(16), private);
        assert_ne!(plain.infohash_v1(), private.infohash_v1());
        assert_ne!(plain.infohash_v2(), private.infohash_v2());
    }
}

#[test]
fn every_option_is_read_back() {
    let torrent = everything().torrent("run", piece(16), options());
    let read = Metainfo::parse(torrent.as_bytes()).expect("what we wrote");
    assert_eq!(read, torrent);
    assert_eq!(read.visibility(), Visibility::Private);
    assert_eq!(read.source(), Some("a closed network"));
    assert_eq!(read.trackers(), options().trackers);
    assert_eq!(read.web_seeds()[0].as_str(), "http://127.0.0.1:3/files/");
}

/// A root depends on the file alone: neither on its neighbours nor on the piece length, so a later bundle keeps it.
#[test]
fn the_root_of_a_file_is_its_own() {
    let root = |content: &Memory, log| {
        let torrent = content.torrent("run", piece(log), Options::default());
        let at = torrent.files().files().iter().position(|file| file.path == path("twin one")).expect("the file");
        torrent.hashes().files()[at].root
    };
    let alone = Memory::new([("twin one", everything().0[&path("twin one")].clone())]);
    let expected = root(&everything(), 16);
    assert!(expected.is_some());
    for log in [14, 15, 18, 24] {
        assert_eq!(root(&everything(), log), expected);
        assert_eq!(root(&alone, log), expected);
    }
}

#[test]
fn files_that_meet_are_refused() {
    let list =
        |names: &[&str]| FileList::new(names.iter().map(|name| FileEntry { path: path(name), len: 1 }).collect());
    assert_eq!(list(&["a", "b", "a"]), Err(FilesError::Duplicate { path: path("a") }));
    let collision = |first, second| Err(FilesError::CaseCollision { first: path(first), second: path(second) });
    assert_eq!(list(&["a", "A"]), collision("A", "a"));
    assert_eq!(list(&["d/x", "D/y"]), collision("D/y", "d/x"));
    assert_eq!(list(&["ÄÖ", "äö"]), collision("ÄÖ", "äö"));
    let blocked = |file, inside| Err(FilesError::FileAsDirectory { file: path(file), inside: path(inside) });
    assert_eq!(list(&["a", "a/b"]), blocked("a", "a/b"));
    // `a.b` sorts between `a` and `a/b` as text, but not as a path.
    assert_eq!(list(&["a/b", "a.b", "a"]), blocked("a", "a/b"));
    assert_eq!(list(&[".pad/7"]), Err(FilesError::InPadDir { path: path(".pad/7") }));
    assert_eq!(list(&[".PAD/7"]), Err(FilesError::InPadDir { path: path(".PAD/7") }));
    assert_eq!(list(&[]), Err(FilesError::NoBytes));
    assert!(list(&["a/b", "a.b", "a-b", "b/a"]).is_ok());
}

#[test]
fn lengths_that_no_torrent_has_are_refused() {
    let list = |lens: &[u64]| {
        let entry = |(at, len): (usize, &u64)| FileEntry { path: path(&format!("f{at}")), len: *len };
        FileList::new(lens.iter().enumerate().map(entry).collect())
    };
    assert_eq!(list(&[0, 0]), Err(FilesError::NoBytes));
    assert!(list(&[torrent::MAX_BYTES]).is_ok());
    assert_eq!(list(&[torrent::MAX_BYTES, 1]), Err(FilesError::TooLarge { path: path("f1") }));
    assert_eq!(list(&[u64::MAX, u64::MAX]), Err(FilesError::TooLarge { path: path("f0") }));
    let many = (0..=torrent::MAX_FILES).map(|at| FileEntry { path: path(&format!("{at}")), len: 1 }).collect();
    assert_eq!(FileList::new(many), Err(FilesError::TooMany { got: torrent::MAX_FILES + 1 }));
    // 2^50 bytes in pieces of 16 KiB are 2^36 pieces.
    let large = list(&[torrent::MAX_BYTES]).expect("within the limit");
    let refused = hash(&large, piece(14), &Memory::default(), &|_| ()).expect_err("too many pieces");
    assert_eq!(refused.to_string(), "expected fewer than 2^32 pieces of 16384 bytes, got 68719476736");
}

#[test]
fn names_that_clients_would_misread_are_refused() {
    let content = Memory::new([("run", bytes(1, 3))]);
    let hashes = hash(&content.list(), piece(14), &content, &|_| ()).expect("nothing fails in memory");
    let torrent = |name| Metainfo::new(name, content.list(), piece(14), hashes.clone(), Options::default());
    assert_eq!(torrent("run").map(drop), Err(BuildError::OnlyFileIsName { name: "run".to_owned() }));
    assert!(matches!(torrent("../run"), Err(BuildError::Name(_))));
    assert!(matches!(torrent(""), Err(BuildError::Name(_))));
    assert!(torrent("another").is_ok());
    let two = Memory::new([("a", bytes(1, 3)), ("b", bytes(1, 3))]).list();
    let refused = Metainfo::new("run", two, piece(14), hashes.clone(), Options::default()).map(drop);
    assert_eq!(refused, Err(BuildError::OtherFiles { expected: 2, got: 1 }));
}
