//! Reading the `.torrent` of a stranger.

use std::collections::HashSet;
use std::str::FromStr;

use ledger::Digest;

use super::{Info, LinkError, Metadata, Metainfo, Tracker, Visibility, WebSeed};
use crate::bencode::{BencodeError, Dict, Limits, Value, decode, encode};
use crate::files::{FileEntry, FileList, FilesError};
use crate::hash::{ContentHashes, FileHashes};
use crate::merkle;
use crate::path::{ContentPath, ContentPathError, MAX_COMPONENTS};
use crate::piece::{PieceLength, PieceLengthError};

/// Largest length of a `.torrent` file.
pub const MAX_METAINFO_BYTES: usize = 256 << 20;

/// A file of 2^20 files has about 14 values each.
pub(crate) const LIMITS: Limits = Limits { bytes: MAX_METAINFO_BYTES, depth: MAX_COMPONENTS + 8, values: 1 << 24 };

/// Keys by which some clients find other names than the ones that were checked.
const OTHER_NAMES: [&str; 2] = ["name.utf-8", "path.utf-8"];

/// A `.torrent` that is not that of a bundle, or is not safe to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Not canonical bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A key is not there.
    #[error("{key} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another kind.
    #[error("{key}: expected {expected}, got {got}")]
    Kind {
        /// The key.
        key: &'static str,
        /// Kind that it must have.
        expected: &'static str,
        /// Kind found.
        got: &'static str,
    },
    /// Clients of one of the two versions could not read it.
    #[error("expected a hybrid torrent, {missing} is missing: it is for clients of v{only} only")]
    NotHybrid {
        /// The key.
        missing: &'static str,
        /// The only version it is for.
        only: u8,
    },
    /// A later version of the format.
    #[error("meta version: expected 2, got {got}")]
    Version {
        /// Version found.
        got: i64,
    },
    /// A single file; bundles are directories.
    #[error("expected a directory, got a single file")]
    SingleFile,
    /// The piece length is not one.
    #[error(transparent)]
    PieceLength(#[from] PieceLengthError),
    /// A name or path that is not safe.
    #[error(transparent)]
    Path(#[from] ContentPathError),
    /// A name that some clients prefer to the one that was checked.
    #[error("{key} gives a second name")]
    SecondName {
        /// The key.
        key: &'static str,
    },
    /// A length below zero.
    #[error("file {path}: its length is {got}")]
    NegativeLength {
        /// The file.
        path: ContentPath,
        /// Length found.
        got: i64,
    },
    /// A link, which could point anywhere.
    #[error("file {path} is a symbolic link")]
    Symlink {
        /// The file.
        path: ContentPath,
    },
    /// A directory without files, or nothing at all.
    #[error("directory {path:?} is empty")]
    EmptyDirectory {
        /// The directory.
        path: String,
    },
    /// A file in the file tree with something beside it.
    #[error("file {path} has other entries below it")]
    FileWithEntries {
        /// The file.
        path: ContentPath,
    },
    /// The files cannot be a torrent together.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An empty file with a root, a root that is not there, or of another length than a hash.
    #[error("file {path}: pieces root: expected {expected} bytes, got {got}")]
    Root {
        /// The file.
        path: ContentPath,
        /// 32, or 0 for an empty file.
        expected: usize,
        /// Length found; 0 if there is none.
        got: usize,
    },
    /// The nodes of a file's pieces are not there, or not as many as it has pieces.
    #[error("file {path}: piece layer: expected {expected} bytes, got {got}")]
    LayerLength {
        /// The file.
        path: ContentPath,
        /// 32 times the number of pieces.
        expected: u64,
        /// Length found; 0 if there is none.
        got: u64,
    },
    /// The nodes of a file's pieces are not those of its root.
    #[error("file {path}: piece layer: expected the root {expected}, got {got}")]
    LayerRoot {
        /// The file.
        path: ContentPath,
        /// Root in the file tree.
        expected: Digest,
        /// Root of the nodes.
        got: Digest,
    },
    /// A piece layer that no file has.
    #[error("piece layers: expected {expected}, got {got}")]
    Layers {
        /// Number of roots of files that are longer than a piece.
        expected: usize,
        /// Number found.
        got: usize,
    },
    /// The v1 hashes are not 20 bytes for each piece.
    #[error("pieces: expected {expected} bytes, got {got}")]
    Pieces {
        /// 20 times the number of pieces.
        expected: u64,
        /// Length found.
        got: u64,
    },
    /// The v1 list and the v2 tree have different files: clients would see one torrent as two.
    #[error("file {at} of the v1 list: expected {expected}, got {got}")]
    OtherFile {
        /// Position without padding, from 0.
        at: usize,
        /// Path and length by the v2 tree.
        expected: String,
        /// Path and length found.
        got: String,
    },
    /// A file that does not begin a piece in v1, as it does in v2.
    #[error("file {path}: expected to begin a piece of {piece_length} bytes, begins at byte {got}")]
    Misaligned {
        /// The file.
        path: ContentPath,
        /// Length of the pieces.
        piece_length: PieceLength,
        /// Offset in the torrent.
        got: u64,
    },
    /// Padding that does not end where a piece does.
    #[error("padding at byte {offset}: expected {expected} bytes, got {got}")]
    Pad {
        /// Where it begins.
        offset: u64,
        /// Bytes to the next piece.
        expected: u64,
        /// Length found.
        got: i64,
    },
    /// A number that is neither 0 nor 1.
    #[error("private: expected 0 or 1, got {got}")]
    Private {
        /// Value found.
        got: i64,
    },
    /// A tracker or web seed that is not one.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Metainfo {
    /// Reads a `.torrent` file: hybrid, of a directory, its two parts in agreement, every hash in its place.
    ///
    /// Keys that this crate does not know are left alone; those in the info dictionary count for the infohashes.
    ///
    /// **Errors**: every [`MetainfoError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let document = decode(bytes, LIMITS)?;
        let top = as_dict("the file", &document)?;
        let info_value = top.get(b"info").ok_or(MetainfoError::Missing { key: "info" })?;
        let info = info(as_dict("info", info_value)?, Some(top))?;
        Ok(Self {
            // Canonical, so this is what was read.
            metadata: Metadata::new(info, encode(info_value)),
            trackers: trackers(top)?,
            web_seeds: web_seeds(top)?,
            encoded: bytes.to_vec(),
        })
    }
}

impl Metadata {
    /// Reads an info dictionary that a peer sent, as strictly as a `.torrent` file.
    ///
    /// **Errors**: every [`MetainfoError`] but those about piece layers and links.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let document = decode(bytes, LIMITS)?;
        let info = info(as_dict("info", &document)?, None)?;
        Ok(Self::new(info, bytes.to_vec()))
    }
}

/// `top` is the file, which has the piece layers; none if they are not known.
fn info(info: &Dict<'_>, top: Option<&Dict<'_>>) -> Result<Info, MetainfoError> {
    refuse_second_names(info)?;
    let name = text("name", get(info, "name")?)?;
    ContentPath::new(&[name])?;
    match info.get(b"meta version") {
        None => return Err(MetainfoError::NotHybrid { missing: "meta version", only: 1 }),
        Some(version) => match as_int("meta version", version)? {
            2 => {}
            got => return Err(MetainfoError::Version { got }),
        },
    }
    let only = |missing, only| MetainfoError::NotHybrid { missing, only };
    let tree = info.get(b"file tree").ok_or(only("file tree", 1))?;
    let pieces = as_bytes("pieces", info.get(b"pieces").ok_or(only("pieces", 2))?)?;
    if info.get(b"length").is_some() {
        return Err(MetainfoError::SingleFile);
    }
    let listed = as_list("files", info.get(b"files").ok_or(only("files", 2))?)?;
    let piece_length = PieceLength::new(as_int("piece length", get(info, "piece length")?)?)?;

    let mut found = Vec::new();
    walk(as_dict("file tree", tree)?, &mut Vec::new(), &mut found)?;
    let entries = found.iter().map(|(entry, _)| entry.clone()).collect();
    let files = FileList::new(entries)?;
    // First, because it bounds what follows: a layer may be named by any number of files.
    let expected = 20 * found.iter().map(|(entry, _)| piece_length.pieces(entry.len)).sum::<u64>();
    if expected != pieces.len() as u64 {
        return Err(MetainfoError::Pieces { expected, got: pieces.len() as u64 });
    }
    // Trees are read in the order of their keys, which is the order of the list.
    let hashes = match top {
        Some(top) => layers(&found, piece_length, top)?,
        None => found.iter().map(|(_, root)| FileHashes { root: *root, layer: Vec::new() }).collect(),
    };
    check_listed(listed, &files, piece_length)?;
    let private = info.get(b"private").map(|value| as_int("private", value)).transpose()?;
    Ok(Info {
        name: name.to_owned(),
        files,
        piece_length,
        hashes: ContentHashes { pieces: pieces.to_vec(), files: hashes },
        visibility: match private.unwrap_or(0) {
            0 => Visibility::Public,
            1 => Visibility::Private,
            got => return Err(MetainfoError::Private { got }),
        },
        source: info.get(b"source").map(|value| text("source", value)).transpose()?.map(str::to_owned),
    })
}

/// The files of a directory of the v2 tree, with their roots.
fn walk<'a>(
    dir: &Dict<'a>,
    above: &mut Vec<&'a [u8]>,
    found: &mut Vec<(FileEntry, Option<Digest>)>,
) -> Result<(), MetainfoError> {
    if dir.entries().is_empty() {
        let path = String::from_utf8_lossy(&above.join(&b'/')).into_owned();
        return Err(MetainfoError::EmptyDirectory { path });
    }
    for (name, node) in dir.entries() {
        above.push(name);
        let path = ContentPath::new(above)?;
        let node = as_dict("file tree", node)?;
        match node.get(b"") {
            None => walk(node, above, found)?,
            Some(_) if node.entries().len() > 1 => return Err(MetainfoError::FileWithEntries { path }),
            Some(leaf) => found.push(file(as_dict("file tree", leaf)?, path)?),
        }
        above.pop();
    }
    Ok(())
}

fn file(leaf: &Dict<'_>, path: ContentPath) -> Result<(FileEntry, Option<Digest>), MetainfoError> {
    refuse_symlink(leaf, &path)?;
    let len = length(leaf, &path)?;
    let root = leaf.get(b"pieces root").map(|root| as_bytes("pieces root", root)).transpose()?.unwrap_or_default();
    let expected = if len == 0 { 0 } else { 32 };
    let wrong = || MetainfoError::Root { path: path.clone(), expected, got: root.len() };
    let root = match root {
        [] if len == 0 => None,
        root => Some(Digest(root.try_into().ok().filter(|_| len > 0).ok_or_else(wrong)?)),
    };
    Ok((FileEntry { path, len }, root))
}

/// The nodes of every file that has some, compared with its root.
fn layers(
    files: &[(FileEntry, Option<Digest>)],
    piece_length: PieceLength,
    top: &Dict<'_>,
) -> Result<Vec<FileHashes>, MetainfoError> {
    let stored = as_dict("piece layers", get(top, "piece layers")?)?;
    // Equal files share a layer.
    let mut known = HashSet::new();
    let mut hashes = Vec::with_capacity(files.len());
    for (FileEntry { path, len }, root) in files {
        let n_pieces = piece_length.pieces(*len);
        let Some(root) = root.filter(|_| n_pieces > 1) else {
            hashes.push(FileHashes { root: *root, layer: Vec::new() });
            continue;
        };
        let bytes = stored.get(root.as_bytes()).map(|layer| as_bytes("piece layers", layer)).transpose()?;
        let bytes = bytes.unwrap_or_default();
        let expected = 32 * n_pieces;
        if expected != bytes.len() as u64 {
            return Err(MetainfoError::LayerLength { path: path.clone(), expected, got: bytes.len() as u64 });
        }
        let (nodes, _) = bytes.as_chunks::<32>();
        let layer: Vec<Digest> = nodes.iter().copied().map(Digest).collect();
        let got = merkle::root_of_layer(&layer, piece_length.height());
        if got != root {
            return Err(MetainfoError::LayerRoot { path: path.clone(), expected: root, got });
        }
        known.insert(root);
        hashes.push(FileHashes { root: Some(root), layer });
    }
    match stored.entries().len() {
        got if got == known.len() => Ok(hashes),
        got => Err(MetainfoError::Layers { expected: known.len(), got }),
    }
}

/// Compares the v1 list with the files of the v2 tree.
fn check_listed(listed: &[Value<'_>], files: &FileList, piece_length: PieceLength) -> Result<(), MetainfoError> {
    let shown = |file: Option<&FileEntry>| match file {
        Some(file) => format!("{} of {} bytes", file.path, file.len),
        None => "nothing".to_owned(),
    };
    let mut expected = files.files().iter();
    let (mut at, mut offset) = (0, 0_u64);
    for item in listed {
        let item = as_dict("files", item)?;
        refuse_second_names(item)?;
        let attr = item.get(b"attr").map(|attr| as_bytes("attr", attr)).transpose()?.unwrap_or_default();
        if attr.contains(&b'p') {
            let got = as_int("length", get(item, "length")?)?;
            let expected = piece_length.pad(offset);
            if expected == 0 || i64::try_from(expected) != Ok(got) {
                return Err(MetainfoError::Pad { offset, expected, got });
            }
            offset += expected;
            continue;
        }
        let components = as_list("path", get(item, "path")?)?;
        let components = components.iter().map(|component| as_bytes("path", component));
        let path = ContentPath::new(&components.collect::<Result<Vec<_>, _>>()?)?;
        refuse_symlink(item, &path)?;
        let len = length(item, &path)?;
        let got = FileEntry { path, len };
        let expected = expected.next();
        if expected != Some(&got) {
            return Err(MetainfoError::OtherFile { at, expected: shown(expected), got: shown(Some(&got)) });
        }
        if len > 0 && piece_length.pad(offset) != 0 {
            return Err(MetainfoError::Misaligned { path: got.path, piece_length, got: offset });
        }
        // Each file is one of the list, whose sum is bounded; padding at most doubles the pieces' number.
        offset += len;
        at += 1;
    }
    match expected.next() {
        None => Ok(()),
        missing => Err(MetainfoError::OtherFile { at, expected: shown(missing), got: shown(None) }),
    }
}

fn refuse_second_names(dict: &Dict<'_>) -> Result<(), MetainfoError> {
    match OTHER_NAMES.into_iter().find(|key| dict.get(key.as_bytes()).is_some()) {
        Some(key) => Err(MetainfoError::SecondName { key }),
        None => Ok(()),
    }
}

fn refuse_symlink(file: &Dict<'_>, path: &ContentPath) -> Result<(), MetainfoError> {
    let attr = file.get(b"attr").map(|attr| as_bytes("attr", attr)).transpose()?.unwrap_or_default();
    if attr.contains(&b'l') || file.get(b"symlink path").is_some() {
        return Err(MetainfoError::Symlink { path: path.clone() });
    }
    Ok(())
}

fn length(file: &Dict<'_>, path: &ContentPath) -> Result<u64, MetainfoError> {
    let got = as_int("length", get(file, "length")?)?;
    u64::try_from(got).map_err(|_| MetainfoError::NegativeLength { path: path.clone(), got })
}

/// All trackers in the order in which they are tried, each once.
fn trackers(top: &Dict<'_>) -> Result<Vec<Tracker>, MetainfoError> {
    let mut found: Vec<Tracker> = Vec::new();
    let mut add = |key, value: &Value<'_>| {
        let tracker = Tracker::from_str(text(key, value)?)?;
        if !found.contains(&tracker) {
            found.push(tracker);
        }
        Ok::<_, MetainfoError>(())
    };
    // BEP 12: who reads the list leaves the single one alone.
    match (top.get(b"announce-list"), top.get(b"announce")) {
        (Some(tiers), _) => {
            for tier in as_list("announce-list", tiers)? {
                as_list("announce-list", tier)?.iter().try_for_each(|tracker| add("announce-list", tracker))?;
            }
        }
        (None, Some(single)) => add("announce", single)?,
        (None, None) => {}
    }
    Ok(found)
}

fn web_seeds(top: &Dict<'_>) -> Result<Vec<WebSeed>, MetainfoError> {
    let one = |value: &Value<'_>| Ok(WebSeed::from_str(text("url-list", value)?)?);
    match top.get(b"url-list") {
        None => Ok(Vec::new()),
        Some(Value::List(seeds)) => seeds.iter().map(one).collect(),
        Some(seed) => Ok(vec![one(seed)?]),
    }
}

fn get<'d, 'a>(dict: &'d Dict<'a>, key: &'static str) -> Result<&'d Value<'a>, MetainfoError> {
    dict.get(key.as_bytes()).ok_or(MetainfoError::Missing { key })
}

fn kind(key: &'static str, expected: &'static str, got: &Value<'_>) -> MetainfoError {
    MetainfoError::Kind { key, expected, got: got.kind() }
}

fn as_dict<'d, 'a>(key: &'static str, value: &'d Value<'a>) -> Result<&'d Dict<'a>, MetainfoError> {
    if let Value::Dict(dict) = value { Ok(dict) } else { Err(kind(key, "a dictionary", value)) }
}

fn as_list<'d, 'a>(key: &'static str, value: &'d Value<'a>) -> Result<&'d [Value<'a>], MetainfoError> {
    if let Value::List(items) = value { Ok(items) } else { Err(kind(key, "a list", value)) }
}

fn as_bytes<'a>(key: &'static str, value: &Value<'a>) -> Result<&'a [u8], MetainfoError> {
    if let Value::Bytes(bytes) = value { Ok(bytes) } else { Err(kind(key, "a byte string", value)) }
}

fn as_int(key: &'static str, value: &Value<'_>) -> Result<i64, MetainfoError> {
    if let Value::Int(number) = value { Ok(*number) } else { Err(kind(key, "an integer", value)) }
}

fn text<'a>(key: &'static str, value: &Value<'a>) -> Result<&'a str, MetainfoError> {
    let bytes = as_bytes(key, value)?;
    std::str::from_utf8(bytes).map_err(|_| MetainfoError::Kind { key, expected: "UTF-8 text", got: "other bytes" })
}
