//! `.torrent`: what is in it, made from hashed files.

mod link;
mod metadata;
mod parse;

pub use link::{LinkError, Tracker, WebSeed};
pub use metadata::Metadata;
#[cfg(feature = "swarm")]
pub(crate) use parse::LIMITS;
pub use parse::{MAX_METAINFO_BYTES, MetainfoError};

use std::iter::Peekable;
use std::slice;

use crate::bencode::{Dict, Value, encode};
use crate::files::{FileEntry, FileList, FilesError, PAD_DIR};
use crate::hash::{ContentHashes, FileHashes};
use crate::infohash::{InfohashV1, InfohashV2};
use crate::magnet::Magnet;
use crate::path::{ContentPath, ContentPathError};
use crate::piece::PieceLength;

/// Says what made the file. Not part of the infohashes, and without a version, so that the file too stays the same.
const CREATED_BY: &str = "cairn";

/// Whether clients may ask others than the torrent's trackers for peers (BEP 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Visibility {
    /// They may.
    #[default]
    Public,
    /// They may not. This changes the infohashes.
    Private,
}

/// What a torrent says beside its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether only the torrent's trackers may be asked for peers.
    pub visibility: Visibility,
    /// Where the torrent comes from: changes the infohashes, which keeps the swarms of two closed networks apart.
    pub source: Option<String>,
    /// Trackers, in the order in which they are tried.
    pub trackers: Vec<Tracker>,
    /// HTTP servers that have the files (BEP 19).
    pub web_seeds: Vec<WebSeed>,
}

/// Why files do not become a torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The name is not that of a directory.
    #[error("name of the torrent: {0}")]
    Name(#[from] ContentPathError),
    /// The only file is called like the torrent: clients would take it for a torrent without a directory.
    #[error("the only file is called {name}, like the torrent")]
    OnlyFileIsName {
        /// The name.
        name: String,
    },
    /// The hashes are of other files or pieces.
    #[error("expected hashes of {expected} files, got {got}")]
    OtherFiles {
        /// Number of files.
        expected: usize,
        /// Number of files that were hashed.
        got: usize,
    },
    /// The files cannot be laid out.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A hybrid torrent of a directory: readable by clients of BEP 3 and of BEP 52. Spec `bundle-metainfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    metadata: Metadata,
    trackers: Vec<Tracker>,
    web_seeds: Vec<WebSeed>,
    encoded: Vec<u8>,
}

/// The part that the infohashes cover.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Info {
    name: String,
    files: FileList,
    piece_length: PieceLength,
    hashes: ContentHashes,
    visibility: Visibility,
    source: Option<String>,
}

impl Metainfo {
    /// Makes the torrent of the directory `name` with `files`, whose `hashes` are of pieces of `piece_length`.
    ///
    /// The result depends on the arguments only: no clock, no order of a directory, no machine.
    ///
    /// **Errors**: [`BuildError`].
    pub fn new(
        name: &str,
        files: FileList,
        piece_length: PieceLength,
        hashes: ContentHashes,
        options: Options,
    ) -> Result<Self, BuildError> {
        ContentPath::new(&[name])?;
        check_only_file(name, &files)?;
        if hashes.files.len() != files.files().len() {
            return Err(BuildError::OtherFiles { expected: files.files().len(), got: hashes.files.len() });
        }
        let Options { visibility, source, trackers, web_seeds } = options;
        let info = Info { name: name.to_owned(), files, piece_length, hashes, visibility, source };
        let (encoded, metadata) = info.encode(&trackers, &web_seeds)?;
        Ok(Self { metadata: Metadata::new(info, metadata), trackers, web_seeds, encoded })
    }

    /// The part that the infohashes cover, without the nodes of pieces.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Name of the directory.
    pub fn name(&self) -> &str {
        self.metadata.name()
    }

    /// The files.
    pub fn files(&self) -> &FileList {
        self.metadata.files()
    }

    /// Hashes of the files and pieces.
    pub fn hashes(&self) -> &ContentHashes {
        &self.metadata.info.hashes
    }

    /// Length of the pieces.
    pub fn piece_length(&self) -> PieceLength {
        self.metadata.piece_length()
    }

    /// Whether only the trackers may be asked for peers.
    pub fn visibility(&self) -> Visibility {
        self.metadata.visibility()
    }

    /// Where the torrent says that it comes from.
    pub fn source(&self) -> Option<&str> {
        self.metadata.source()
    }

    /// Trackers.
    pub fn trackers(&self) -> &[Tracker] {
        &self.trackers
    }

    /// HTTP servers that have the files.
    pub fn web_seeds(&self) -> &[WebSeed] {
        &self.web_seeds
    }

    /// The name that clients of BEP 3 know.
    pub fn infohash_v1(&self) -> InfohashV1 {
        self.metadata.infohash_v1()
    }

    /// The name that clients of BEP 52 know.
    pub fn infohash_v2(&self) -> InfohashV2 {
        self.metadata.infohash_v2()
    }

    /// The bytes of the `.torrent` file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The link for clients of BEP 3: `btih` alone.
    pub fn magnet_v1(&self) -> Magnet {
        Magnet { v2: None, ..self.magnet() }
    }

    /// The link for clients that know both versions: `btih` first, then `btmh`.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            v1: self.infohash_v1(),
            v2: Some(self.infohash_v2()),
            name: Some(self.name().to_owned()),
            trackers: self.trackers.clone(),
            web_seeds: self.web_seeds.clone(),
            peers: Vec::new(),
        }
    }
}

fn check_only_file(name: &str, files: &FileList) -> Result<(), BuildError> {
    match files.files() {
        [only] if only.path.components() == [name] => Err(BuildError::OnlyFileIsName { name: name.to_owned() }),
        _ => Ok(()),
    }
}

impl Info {
    /// The whole file, and the info dictionary in it.
    fn encode(&self, trackers: &[Tracker], web_seeds: &[WebSeed]) -> Result<(Vec<u8>, Vec<u8>), FilesError> {
        let layout = self.files.layout(self.piece_length)?;
        let pad_names: Vec<String> = layout.files.iter().map(|placed| placed.pad.to_string()).collect();
        let mut listed = Vec::new();
        for (placed, pad_name) in layout.files.iter().zip(&pad_names) {
            let path = placed.file.path.components().iter().map(|component| text(component)).collect();
            listed.push(dict([(b"length", int(placed.file.len)), (b"path", Value::List(path))]));
            if placed.pad > 0 {
                let path = vec![text(PAD_DIR), text(pad_name)];
                listed.push(dict([(b"attr", text("p")), (b"length", int(placed.pad)), (b"path", Value::List(path))]));
            }
        }
        let mut leaves = self.files.files().iter().zip(&self.hashes.files).peekable();
        let mut info = vec![
            (&b"file tree"[..], tree(&mut leaves, 0)),
            (b"files", Value::List(listed)),
            (b"meta version", Value::Int(2)),
            (b"name", text(&self.name)),
            (b"piece length", Value::Int(i64::from(self.piece_length.bytes()))),
            (b"pieces", Value::Bytes(&self.hashes.pieces)),
        ];
        if self.visibility == Visibility::Private {
            info.push((b"private", Value::Int(1)));
        }
        if let Some(source) = &self.source {
            info.push((b"source", text(source)));
        }
        let info = Value::Dict(info.into_iter().collect());
        let metadata = encode(&info);
        let layers: Vec<(&[u8], Vec<u8>)> = self.hashes.files.iter().filter_map(layer).collect();
        let layers = layers.iter().map(|(root, layer)| (*root, Value::Bytes(layer))).collect();
        let mut all =
            vec![(&b"created by"[..], text(CREATED_BY)), (b"info", info), (b"piece layers", Value::Dict(layers))];
        if let Some(first) = trackers.first() {
            all.push((b"announce", text(first.as_str())));
            // One tier each: they are tried in this order.
            let tiers = trackers.iter().map(|tracker| Value::List(vec![text(tracker.as_str())])).collect();
            all.push((b"announce-list", Value::List(tiers)));
        }
        if !web_seeds.is_empty() {
            all.push((b"url-list", Value::List(web_seeds.iter().map(|seed| text(seed.as_str())).collect())));
        }
        Ok((encode(&Value::Dict(all.into_iter().collect())), metadata))
    }
}

/// The nodes of a file's pieces under its root; none if its root is all there is.
fn layer(file: &FileHashes) -> Option<(&[u8], Vec<u8>)> {
    let root = file.root.as_ref().filter(|_| !file.layer.is_empty())?;
    Some((root.as_bytes(), file.layer.iter().flat_map(|node| *node.as_bytes()).collect()))
}

type Leaves<'a> = Peekable<std::iter::Zip<slice::Iter<'a, FileEntry>, slice::Iter<'a, FileHashes>>>;

/// The directory at `depth` that the next file is in, with all that is below it: files are sorted, so they are next to each other.
fn tree<'a>(leaves: &mut Leaves<'a>, depth: usize) -> Value<'a> {
    let above: Vec<&str> = match leaves.peek() {
        Some((file, _)) => file.path.components()[..depth].iter().map(String::as_str).collect(),
        None => Vec::new(),
    };
    let is_below =
        |file: &FileEntry| file.path.components().iter().map(String::as_str).take(depth).eq(above.iter().copied());
    let mut entries = Vec::new();
    while let Some((file, hashes)) = leaves.peek().copied().filter(|(file, _)| is_below(file)) {
        let Some(name) = file.path.components().get(depth) else { break };
        let is_file = file.path.components().len() == depth + 1;
        let value = if is_file {
            leaves.next();
            let mut leaf = vec![(&b"length"[..], int(file.len))];
            leaf.extend(hashes.root.as_ref().map(|root| (&b"pieces root"[..], Value::Bytes(root.as_bytes()))));
            dict([(b"", Value::Dict(leaf.into_iter().collect()))])
        } else {
            tree(leaves, depth + 1)
        };
        entries.push((name.as_bytes(), value));
    }
    Value::Dict(entries.into_iter().collect())
}

fn dict<'a, const N: usize>(entries: [(&'a [u8], Value<'a>); N]) -> Value<'a> {
    Value::Dict(entries.into_iter().collect::<Dict<'a>>())
}

fn text(text: &str) -> Value<'_> {
    Value::Bytes(text.as_bytes())
}

/// Lengths are at most 2^50, so they fit.
fn int(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
