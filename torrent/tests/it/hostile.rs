//! Metainfo from strangers: each trick is refused for its own reason, and nothing makes the reader panic.

use std::collections::BTreeMap;

use ledger::Digest;
use proptest::prelude::*;
use torrent::bencode::{BencodeError, Limits, Value, decode};
use torrent::{ContentPathError, FilesError, LinkError, Metainfo, MetainfoError, Options};

use crate::support::{everything, options, path, piece};

/// A value that can be changed.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Node>),
    Dict(BTreeMap<Vec<u8>, Node>),
}

impl From<&Value<'_>> for Node {
    fn from(value: &Value<'_>) -> Self {
        match value {
            Value::Int(number) => Self::Int(*number),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Dict(dict) => {
                Self::Dict(dict.entries().iter().map(|(key, value)| (key.to_vec(), Self::from(value))).collect())
            }
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

fn list<const N: usize>(items: [&str; N]) -> Node {
    Node::List(items.map(Node::from).to_vec())
}

impl Node {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend(format!("i{number}e").bytes()),
            Self::Bytes(bytes) => {
                out.extend(format!("{}:", bytes.len()).bytes());
                out.extend(bytes);
            }
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    Self::Bytes(key.clone()).write(out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    fn dict(&mut self) -> &mut BTreeMap<Vec<u8>, Node> {
        if let Self::Dict(entries) = self { entries } else { panic!("not a dictionary") }
    }

    fn list(&mut self) -> &mut Vec<Node> {
        if let Self::List(items) = self { items } else { panic!("not a list") }
    }

    /// Below keys that are there.
    fn at(&mut self, keys: &[&str]) -> &mut Node {
        keys.iter().fold(self, |node, key| node.dict().get_mut(key.as_bytes()).expect("a known key"))
    }

    fn set(&mut self, key: &str, value: Node) {
        self.dict().insert(key.as_bytes().to_vec(), value);
    }

    fn take(&mut self, key: &str) -> Node {
        self.dict().remove(key.as_bytes()).expect("a known key")
    }

    /// The entry of the v1 list with this path.
    fn listed(&mut self, wanted: &str) -> &mut Node {
        let path = Node::List(wanted.split('/').map(Node::from).collect());
        let has_path =
            |item: &&mut Node| matches!(item, Node::Dict(entries) if entries.get(&b"path"[..]) == Some(&path));
        self.at(&["info", "files"]).list().iter_mut().find(has_path).expect("a listed file")
    }

    /// The leaf of a file in the v2 tree.
    fn leaf(&mut self, wanted: &str) -> &mut Node {
        let mut keys = vec!["info", "file tree"];
        keys.extend(wanted.split('/'));
        keys.push("");
        self.at(&keys)
    }
}

fn honest() -> Vec<u8> {
    everything().torrent("run", piece(14), options()).as_bytes().to_vec()
}

fn node(bytes: &[u8]) -> Node {
    Node::from(&decode(bytes, Limits { bytes: 1 << 20, depth: 50, values: 1 << 20 }).expect("bencode"))
}

/// What is said of the honest torrent after a change.
fn refused(change: impl FnOnce(&mut Node)) -> MetainfoError {
    let mut torrent = node(&honest());
    change(&mut torrent);
    let mut bytes = Vec::new();
    torrent.write(&mut bytes);
    Metainfo::parse(&bytes).expect_err("a hostile torrent")
}

fn rename(torrent: &mut Node, name: &str) {
    // Both parts agree on the new name of `x`.
    let file = torrent.at(&["info", "file tree"]).take("x");
    torrent.at(&["info", "file tree"]).set(name, file);
    *torrent.listed("x").at(&["path"]) = list([name]);
}

#[test]
fn the_honest_torrent_survives_the_detour() {
    let mut bytes = Vec::new();
    node(&honest()).write(&mut bytes);
    assert_eq!(bytes, honest());
    Metainfo::parse(&bytes).expect("what we wrote");
}

#[test]
fn paths_that_leave_the_directory_are_refused() {
    let wrong = |path: &str| path.to_owned();
    for (name, expected) in [
        ("..", ContentPathError::Traversal { path: wrong("..") }),
        (".", ContentPathError::Traversal { path: wrong(".") }),
        ("../x", ContentPathError::Reserved { path: wrong("../x"), character: '/' }),
        ("/etc/passwd", ContentPathError::Reserved { path: wrong("/etc/passwd"), character: '/' }),
        ("..\\x", ContentPathError::Reserved { path: wrong("..\\x"), character: '\\' }),
        ("C:", ContentPathError::Reserved { path: wrong("C:"), character: ':' }),
        ("x\0", ContentPathError::Control { path: wrong("x\0") }),
        ("x\n", ContentPathError::Control { path: wrong("x\n") }),
        ("x.", ContentPathError::End { path: wrong("x.") }),
        ("x ", ContentPathError::End { path: wrong("x ") }),
        (&"x".repeat(256), ContentPathError::ComponentTooLong { path: "x".repeat(200), got: 256 }),
    ] {
        assert_eq!(refused(|torrent| rename(torrent, name)), MetainfoError::Path(expected.clone()), "{name:?}");
        let as_name = refused(|torrent| torrent.at(&["info"]).set("name", Node::from(name)));
        assert_eq!(as_name, MetainfoError::Path(expected), "{name:?} as the torrent's name");
    }
    let empty = ContentPathError::Empty { path: String::new() };
    assert_eq!(refused(|torrent| torrent.at(&["info"]).set("name", Node::from(""))), empty.clone().into());
    assert_eq!(refused(|torrent| *torrent.listed("x").at(&["path"]) = list([])), empty.into());
    let absolute = ContentPathError::Empty { path: "/x".to_owned() };
    assert_eq!(refused(|torrent| *torrent.listed("x").at(&["path"]) = list(["", "x"])), absolute.into());
    let no_text = refused(|torrent| torrent.at(&["info", "file tree"]).dict().extend([(vec![0xff], list([]))]));
    assert_eq!(no_text, ContentPathError::NotUtf8 { path: "\u{fffd}".to_owned() }.into());
    let deep = refused(|torrent| {
        let folder = (0..40).fold(torrent.leaf("x").clone(), |node, _| Node::Dict([(b"d".to_vec(), node)].into()));
        torrent.at(&["info", "file tree"]).set("d", folder);
    });
    assert!(
        matches!(
            deep,
            MetainfoError::Path(ContentPathError::TooDeep { got: 33 })
                | MetainfoError::Bencode(BencodeError::TooDeep { .. })
        ),
        "{deep}"
    );
}

#[test]
fn links_are_refused() {
    let symlink = MetainfoError::Symlink { path: path("x") };
    assert_eq!(refused(|torrent| torrent.leaf("x").set("attr", "l".into())), symlink);
    assert_eq!(refused(|torrent| torrent.leaf("x").set("symlink path", list(["etc"]))), symlink);
    assert_eq!(refused(|torrent| torrent.listed("x").set("attr", "xl".into())), symlink);
    assert_eq!(refused(|torrent| torrent.listed("x").set("symlink path", list(["etc"]))), symlink);
}

#[test]
fn second_names_are_refused() {
    let name = refused(|torrent| torrent.at(&["info"]).set("name.utf-8", "other".into()));
    assert_eq!(name, MetainfoError::SecondName { key: "name.utf-8" });
    let path = refused(|torrent| torrent.listed("x").set("path.utf-8", list(["other"])));
    assert_eq!(path, MetainfoError::SecondName { key: "path.utf-8" });
}

#[test]
fn names_that_meet_on_some_disk_are_refused() {
    let collision = |first, second| FilesError::CaseCollision { first: path(first), second: path(second) }.into();
    assert_eq!(refused(|torrent| rename(torrent, "EMPTY")), collision("EMPTY", "empty"));
    assert_eq!(refused(|torrent| rename(torrent, "A.TXT")), collision("A.TXT", "a.txt"));
    assert_eq!(refused(|torrent| rename(torrent, ".pad")), FilesError::InPadDir { path: path(".pad") }.into());
    // The same file twice in the v1 list; in a tree it is a key twice, which is not canonical.
    let twice = refused(|torrent| {
        let again = torrent.listed("x").clone();
        torrent.at(&["info", "files"]).list().push(again);
    });
    assert!(matches!(twice, MetainfoError::OtherFile { .. } | MetainfoError::Misaligned { .. }), "{twice}");
}

#[test]
fn impossible_lengths_are_refused() {
    let negative = MetainfoError::NegativeLength { path: path("x"), got: -1 };
    assert_eq!(refused(|torrent| torrent.leaf("x").set("length", Node::Int(-1))), negative);
    assert_eq!(refused(|torrent| torrent.listed("x").set("length", Node::Int(-1))), negative);
    let huge = refused(|torrent| torrent.leaf("x").set("length", Node::Int(i64::MAX)));
    assert_eq!(huge, FilesError::TooLarge { path: path("x") }.into());
    // Within the limit, but there are no hashes for it.
    let large = refused(|torrent| torrent.leaf("x").set("length", Node::Int(1 << 40)));
    assert!(matches!(large, MetainfoError::Pieces { expected, .. } if expected > 20 << 26), "{large}");
    let other = refused(|torrent| torrent.listed("x").set("length", Node::Int(2)));
    assert!(matches!(other, MetainfoError::OtherFile { .. }), "{other}");
    for wrong in [0, -1, 16_383, 24 << 10, 1 << 40] {
        let refused = refused(|torrent| torrent.at(&["info"]).set("piece length", Node::Int(wrong)));
        assert!(matches!(refused, MetainfoError::PieceLength(error) if error.got == wrong), "{refused}");
    }
}

#[test]
fn hashes_that_do_not_fit_are_refused() {
    let root = |expected, got| MetainfoError::Root { path: path("x"), expected, got };
    assert_eq!(refused(|torrent| drop(torrent.leaf("x").take("pieces root"))), root(32, 0));
    assert_eq!(refused(|torrent| torrent.leaf("x").set("pieces root", "short".into())), root(32, 5));
    let of_empty = refused(|torrent| torrent.leaf("empty").set("pieces root", Node::Bytes(vec![0; 32])));
    assert_eq!(of_empty, MetainfoError::Root { path: path("empty"), expected: 0, got: 32 });

    let root_of = |name: &str| {
        let Node::Bytes(root) = node(&honest()).leaf(name).take("pieces root") else { panic!("bytes") };
        root
    };
    let twin = root_of("twin one");
    assert_eq!(twin, root_of("twin two"), "equal files");
    let missing = refused(|torrent| drop(torrent.at(&["piece layers"]).dict().remove(&twin)));
    assert_eq!(missing, MetainfoError::LayerLength { path: path("twin one"), expected: 9 * 32, got: 0 });
    let changed = refused(|torrent| {
        let Some(Node::Bytes(layer)) = torrent.at(&["piece layers"]).dict().get_mut(&twin) else { panic!("a layer") };
        layer[0] ^= 1;
    });
    let twin_root = Digest(twin.clone().try_into().expect("32 bytes"));
    assert!(
        matches!(&changed, MetainfoError::LayerRoot { path: at, expected, .. } if *at == path("twin one") && *expected == twin_root),
        "{changed}"
    );
    let n_layers = node(&honest()).at(&["piece layers"]).dict().len();
    let unknown = refused(|torrent| torrent.at(&["piece layers"]).dict().extend([(vec![7; 32], "x".into())]));
    assert_eq!(unknown, MetainfoError::Layers { expected: n_layers, got: n_layers + 1 });

    let Node::Bytes(pieces) = node(&honest()).at(&["info"]).take("pieces") else { panic!("bytes") };
    for len in [0, pieces.len() - 1, pieces.len() - 20, pieces.len() + 20] {
        let mut other = pieces.clone();
        other.resize(len, 0);
        let refused = refused(|torrent| torrent.at(&["info"]).set("pieces", Node::Bytes(other)));
        assert_eq!(refused, MetainfoError::Pieces { expected: pieces.len() as u64, got: len as u64 });
    }
}

#[test]
fn two_parts_that_disagree_are_refused() {
    let renamed = refused(|torrent| *torrent.listed("x").at(&["path"]) = list(["y"]));
    assert!(
        matches!(&renamed, MetainfoError::OtherFile { expected, got, .. } if expected == "x of 1 bytes" && got == "y of 1 bytes"),
        "{renamed}"
    );
    let dropped = refused(|torrent| drop(torrent.at(&["info", "files"]).list().pop()));
    assert!(matches!(&dropped, MetainfoError::OtherFile { got, .. } if got == "nothing"), "{dropped}");
    let more = refused(|torrent| {
        let mut more = torrent.listed("empty").clone();
        *more.at(&["path"]) = list(["zzz"]);
        torrent.at(&["info", "files"]).list().push(more);
    });
    assert!(matches!(&more, MetainfoError::OtherFile { expected, .. } if expected == "nothing"), "{more}");
    let swapped = refused(|torrent| {
        // Of the same length, so that the padding still fits.
        let (one, two) = (torrent.listed("twin one").clone(), torrent.listed("twin two").clone());
        *torrent.listed("twin two") = one;
        *torrent.listed("twin one") = two;
    });
    assert!(
        matches!(&swapped, MetainfoError::OtherFile { expected, got, .. }
        if expected.starts_with("twin one") && got.starts_with("twin two")),
        "{swapped}"
    );
}

#[test]
fn padding_that_does_not_pad_is_refused() {
    let is_pad = |item: &Node| matches!(item, Node::Dict(entries) if entries.contains_key(&b"attr"[..]));
    let first = |torrent: &mut Node| torrent.at(&["info", "files"]).list().iter().position(is_pad).expect("padding");
    let removed = refused(|torrent| {
        let at = first(torrent);
        torrent.at(&["info", "files"]).list().remove(at);
    });
    assert!(matches!(removed, MetainfoError::Misaligned { .. }), "{removed}");
    for wrong in [0, -1, 1, i64::MAX, 1 << 14] {
        let refused = refused(|torrent| {
            let at = first(torrent);
            torrent.at(&["info", "files"]).list()[at].set("length", Node::Int(wrong));
        });
        assert!(matches!(refused, MetainfoError::Pad { got, .. } if got == wrong), "{refused}");
    }
    let twice = refused(|torrent| {
        let at = first(torrent);
        let list = torrent.at(&["info", "files"]).list();
        list.insert(at, list[at].clone());
    });
    assert!(matches!(twice, MetainfoError::Pad { expected: 0, .. }), "{twice}");
}

#[test]
fn what_is_not_a_bundle_is_refused() {
    let without = |key: &'static str| refused(move |torrent| drop(torrent.at(&["info"]).take(key)));
    let not_hybrid = |missing, only| MetainfoError::NotHybrid { missing, only };
    assert_eq!(without("meta version"), not_hybrid("meta version", 1));
    assert_eq!(without("file tree"), not_hybrid("file tree", 1));
    assert_eq!(without("pieces"), not_hybrid("pieces", 2));
    assert_eq!(without("files"), not_hybrid("files", 2));
    assert_eq!(without("name"), MetainfoError::Missing { key: "name" });
    assert_eq!(without("piece length"), MetainfoError::Missing { key: "piece length" });
    assert_eq!(refused(|torrent| drop(torrent.take("info"))), MetainfoError::Missing { key: "info" });
    assert_eq!(refused(|torrent| drop(torrent.take("piece layers"))), MetainfoError::Missing { key: "piece layers" });
    let version = refused(|torrent| torrent.at(&["info"]).set("meta version", Node::Int(3)));
    assert_eq!(version, MetainfoError::Version { got: 3 });
    assert_eq!(refused(|torrent| torrent.at(&["info"]).set("length", Node::Int(1))), MetainfoError::SingleFile);
    assert_eq!(
        refused(|torrent| torrent.at(&["info"]).set("private", Node::Int(2))),
        MetainfoError::Private { got: 2 }
    );
    let no_files = refused(|torrent| torrent.at(&["info"]).set("file tree", Node::Dict(BTreeMap::new())));
    assert_eq!(no_files, MetainfoError::EmptyDirectory { path: String::new() });
    let empty = refused(|torrent| torrent.at(&["info", "file tree", "a"]).set("hollow", Node::Dict(BTreeMap::new())));
    assert_eq!(empty, MetainfoError::EmptyDirectory { path: "a/hollow".to_owned() });
    let below = refused(|torrent| {
        let leaf = Node::Dict([(Vec::new(), torrent.leaf("a.txt").clone())].into());
        torrent.at(&["info", "file tree", "x"]).set("below", leaf);
    });
    assert_eq!(below, MetainfoError::FileWithEntries { path: path("x") });
    let kind = refused(|torrent| torrent.set("info", Node::Int(1)));
    assert_eq!(kind, MetainfoError::Kind { key: "info", expected: "a dictionary", got: "an integer" });
    let kind = refused(|torrent| torrent.at(&["info"]).set("pieces", list([])));
    assert_eq!(kind, MetainfoError::Kind { key: "pieces", expected: "a byte string", got: "a list" });
}

#[test]
fn addresses_of_other_kinds_are_refused() {
    let scheme =
        |text: &str, expected, got: &str| LinkError::Scheme { text: text.to_owned(), expected, got: got.to_owned() };
    let seed = refused(|torrent| torrent.set("url-list", "file:///etc/passwd".into()));
    assert_eq!(seed, scheme("file:///etc/passwd", "http or https", "file").into());
    let tracker = refused(|torrent| torrent.set("announce-list", Node::List(vec![list(["ftp://x/"])])));
    assert_eq!(tracker, scheme("ftp://x/", "http, https or udp", "ftp").into());
    let password = refused(|torrent| torrent.set("url-list", list(["http://me:word@host/"])));
    assert_eq!(password, LinkError::Credentials { host: "host".to_owned() }.into());
    let query = refused(|torrent| torrent.set("url-list", list(["http://host/?x"])));
    assert!(matches!(query, MetainfoError::Link(LinkError::Syntax { .. })), "{query}");
}

#[test]
fn another_spelling_is_refused() {
    let mut bytes = honest();
    bytes.push(b'\n');
    assert!(matches!(Metainfo::parse(&bytes), Err(MetainfoError::Bencode(BencodeError::Trailing { got: 1, .. }))));
    let text = b"d1:bi1e1:ai1ee";
    assert_eq!(Metainfo::parse(text), Err(MetainfoError::Bencode(BencodeError::KeyOrder { offset: 7 })));
}

#[test]
fn what_others_add_is_left_alone() {
    let mut torrent = node(&honest());
    torrent.set("comment", "hello".into());
    torrent.set("creation date", Node::Int(1_700_000_000));
    torrent.listed("x").set("attr", "x".into());
    torrent.listed("x").set("mtime", Node::Int(1));
    torrent.at(&["info"]).set("collections", list(["all"]));
    let mut bytes = Vec::new();
    torrent.write(&mut bytes);
    let (read, ours) = (Metainfo::parse(&bytes).expect("a torrent"), Metainfo::parse(&honest()).expect("a torrent"));
    assert_eq!(read.files(), ours.files());
    assert_ne!(read.infohash_v1(), ours.infohash_v1(), "the info dictionary is another");
}

proptest! {
    #[test]
    fn no_change_of_bytes_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = everything().torrent("run", piece(14), Options::default()).as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Read or refused: what was read is written the same.
        if let Ok(torrent) = Metainfo::parse(&bytes) {
            prop_assert_eq!(torrent.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn no_change_of_a_value_makes_the_reader_panic(which in any::<prop::sample::Index>(), number in any::<i64>()) {
        let mut torrent = node(&honest());
        let numbers = change_int(&mut torrent, usize::MAX, 0);
        change_int(&mut torrent, which.index(numbers), number);
        let mut bytes = Vec::new();
        torrent.write(&mut bytes);
        drop(Metainfo::parse(&bytes));
    }
}

/// Sets the integer with this position; returns how many were passed.
fn change_int(node: &mut Node, at: usize, number: i64) -> usize {
    fn visit(node: &mut Node, at: usize, number: i64, passed: &mut usize) {
        match node {
            Node::Int(value) => {
                if *passed == at {
                    *value = number;
                }
                *passed += 1;
            }
            Node::Bytes(_) => {}
            Node::List(items) => items.iter_mut().for_each(|item| visit(item, at, number, passed)),
            Node::Dict(entries) => entries.values_mut().for_each(|value| visit(value, at, number, passed)),
        }
    }
    let mut passed = 0;
    visit(node, at, number, &mut passed);
    passed
}
