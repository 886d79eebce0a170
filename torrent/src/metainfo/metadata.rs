//! The info dictionary: what infohashes cover, and what peers send for a magnet link (BEP 9).

use ledger::Digest;

use super::{Info, Visibility};
#[cfg(feature = "swarm")]
use super::{Tracker, parse::LIMITS};
#[cfg(feature = "swarm")]
use crate::bencode::{Value, decode, encode};
#[cfg(feature = "swarm")]
use crate::files::FileEntry;
use crate::files::FileList;
use crate::infohash::{InfohashV1, InfohashV2};
use crate::path::ContentPath;
use crate::piece::PieceLength;

/// What the infohashes cover: names, lengths, pieces and roots of files.
///
/// The nodes under the roots of files longer than a piece are not part of it: peers do not send them with it, and who
/// has the files can make them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub(super) info: Info,
    infohashes: (InfohashV1, InfohashV2),
    encoded: Vec<u8>,
}

impl Metadata {
    /// `encoded` is the canonical encoding of `info`.
    pub(super) fn new(info: Info, encoded: Vec<u8>) -> Self {
        let infohashes = (InfohashV1::of(&encoded), InfohashV2::of(&encoded));
        Self { info, infohashes, encoded }
    }

    /// Name of the directory.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The files.
    pub fn files(&self) -> &FileList {
        &self.info.files
    }

    /// Length of the pieces.
    pub fn piece_length(&self) -> PieceLength {
        self.info.piece_length
    }

    /// Whether only the trackers may be asked for peers.
    pub fn visibility(&self) -> Visibility {
        self.info.visibility
    }

    /// Where the torrent says that it comes from.
    pub fn source(&self) -> Option<&str> {
        self.info.source.as_deref()
    }

    /// The name that clients of BEP 3 know.
    pub fn infohash_v1(&self) -> InfohashV1 {
        self.infohashes.0
    }

    /// The name that clients of BEP 52 know.
    pub fn infohash_v2(&self) -> InfohashV2 {
        self.infohashes.1
    }

    /// Root of a file's tree in v2; none if the file is empty or not there.
    pub fn root(&self, path: &ContentPath) -> Option<Digest> {
        let at = self.info.files.files().binary_search_by(|file| file.path.cmp(path)).ok()?;
        self.info.hashes.files().get(at)?.root
    }

    /// The bytes of the info dictionary.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The v1 list: the file at each place of it, none for padding.
    #[cfg(feature = "swarm")]
    pub(crate) fn listed(&self) -> Vec<Option<&FileEntry>> {
        // It was decoded before; strangers may put padding elsewhere than this crate does.
        let document = decode(&self.encoded, LIMITS);
        let Ok(Value::Dict(info)) = &document else { return Vec::new() };
        let Some(Value::List(listed)) = info.get(b"files") else { return Vec::new() };
        let mut files = self.info.files.files().iter();
        let is_padding = |item: &Value<'_>| match item {
            Value::Dict(item) => matches!(item.get(b"attr"), Some(Value::Bytes(attr)) if attr.contains(&b'p')),
            _ => false,
        };
        listed.iter().map(|item| if is_padding(item) { None } else { files.next() }).collect()
    }

    /// A `.torrent` for clients of BEP 3 alone: without the nodes that those of BEP 52 want.
    #[cfg(feature = "swarm")]
    pub(crate) fn to_torrent_v1(&self, trackers: &[Tracker]) -> Vec<u8> {
        let mut bytes = b"d".to_vec();
        if !trackers.is_empty() {
            let text = |tracker: &Tracker| tracker.as_str().to_owned();
            let urls: Vec<String> = trackers.iter().map(text).collect();
            let tiers = urls.iter().map(|url| Value::List(vec![Value::Bytes(url.as_bytes())])).collect();
            bytes.extend(b"13:announce-list");
            bytes.extend(encode(&Value::List(tiers)));
        }
        bytes.extend(b"4:info");
        bytes.extend(&self.encoded);
        bytes.push(b'e');
        bytes
    }
}
