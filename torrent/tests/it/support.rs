//! Content in memory, and torrents of it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use torrent::bencode::{Limits, Value, decode, encode};
use torrent::{
    Content, ContentPath, FileEntry, FileList, Metainfo, Options, PieceLength, Source, Tracker, Visibility, WebSeed,
    hash,
};

/// A path from text with slashes.
pub fn path(text: &str) -> ContentPath {
    ContentPath::new(&text.split('/').collect::<Vec<_>>()).expect("a safe path")
}

/// `len` bytes that differ from place to place and from seed to seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub BTreeMap<ContentPath, Vec<u8>>);

impl Memory {
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        Self(files.into_iter().map(|(name, bytes)| (path(name), bytes)).collect())
    }

    pub fn entries(&self) -> Vec<FileEntry> {
        self.0.iter().map(|(path, bytes)| FileEntry { path: path.clone(), len: bytes.len() as u64 }).collect()
    }

    pub fn list(&self) -> FileList {
        FileList::new(self.entries()).expect("files that can be a torrent")
    }

    pub fn torrent(&self, name: &str, piece_length: PieceLength, options: Options) -> Metainfo {
        let files = self.list();
        let hashes = hash(&files, piece_length, self, &|_| ()).expect("nothing fails in memory");
        Metainfo::new(name, files, piece_length, hashes, options).expect("a torrent")
    }

    pub fn write_to(&self, dir: &Path) {
        for (path, bytes) in &self.0 {
            let path = path.below(dir);
            std::fs::create_dir_all(path.parent().expect("below the directory")).expect("scratch space");
            std::fs::write(path, bytes).expect("scratch space");
        }
    }
}

impl Content for Memory {
    fn open(&self, path: &ContentPath) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(self.0.get(path).ok_or(io::ErrorKind::NotFound)?.clone()))
    }
}

/// The v1 half of one torrent with the v2 half of another, whose files have the same names and lengths: it agrees with
/// itself, but no files have all of its hashes.
pub fn two_faced(v1: &Metainfo, v2: &Metainfo) -> Metainfo {
    let limits = Limits { bytes: 1 << 20, depth: 50, values: 1 << 20 };
    let read = |torrent| decode(torrent, limits).expect("bencode");
    let (v1, v2) = (read(v1.as_bytes()), read(v2.as_bytes()));
    let info = with(get(&v1, "info"), "file tree", get(&get(&v2, "info"), "file tree"));
    let mixed = with(with(v1, "info", info), "piece layers", get(&v2, "piece layers"));
    Metainfo::parse(&encode(&mixed)).expect("it agrees with itself")
}

fn get<'a>(value: &Value<'a>, key: &str) -> Value<'a> {
    let Value::Dict(dict) = value else { panic!("not a dictionary") };
    dict.get(key.as_bytes()).expect("a known key").clone()
}

fn with<'a>(value: Value<'a>, key: &'static str, new: Value<'a>) -> Value<'a> {
    let Value::Dict(dict) = value else { panic!("not a dictionary") };
    // Of two entries with the same key the first stays.
    let others = dict.entries().iter().cloned();
    Value::Dict(std::iter::once((key.as_bytes(), new)).chain(others).collect())
}

/// A piece of 2^`log` bytes.
pub fn piece(log: u32) -> PieceLength {
    PieceLength::new(1 << log).expect("a piece length")
}

/// Something of everything: empty files, deep folders, names beyond ASCII, lengths around blocks and pieces of 64 KiB.
pub fn everything() -> Memory {
    let block = 16 << 10;
    Memory::new([
        ("a/b.txt", bytes(1, 10)),
        ("a.txt", bytes(2, block)),
        ("a/b/c/d/e/f/deep.bin", bytes(3, block + 1)),
        ("empty", Vec::new()),
        ("a/also empty", Vec::new()),
        ("zz/last empty", Vec::new()),
        ("näm e/文件.proof", bytes(4, 4 * block)),
        ("näm e/файл", bytes(5, 4 * block + 1)),
        ("twin one", bytes(6, 9 * block - 7)),
        ("twin two", bytes(6, 9 * block - 7)),
        ("x", bytes(7, 1)),
        ("zz/z", bytes(8, 3 * block)),
    ])
}

/// Every option set.
pub fn options() -> Options {
    Options {
        visibility: Visibility::Private,
        source: Some("a closed network".to_owned()),
        trackers: ["http://127.0.0.1:1/announce", "udp://127.0.0.1:2"]
            .map(|text| text.parse::<Tracker>().expect("a tracker"))
            .to_vec(),
        web_seeds: vec!["http://127.0.0.1:3/files".parse::<WebSeed>().expect("a web seed")],
    }
}
