//! The `.torrent` of a bundle that passed, made from its files as `cairn bundle` makes it.

use ledger::Digest;
use store::layout::run_dir_name;
use torrent::{Directory, Metainfo, Options, PieceLength, bundle_files};

use super::shelf::{OpenBundle, ShelfError};

/// A `.torrent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its name in networks of BEP 3.
    pub infohash_v1: [u8; 20],
    /// Its name in networks of BEP 52.
    pub infohash_v2: Digest,
}

impl TorrentFile {
    /// Hashes all files of a bundle.
    ///
    /// # Errors
    /// [`ShelfError::Torrent`] if they cannot be read, or cannot be a torrent.
    pub(super) fn of(bundle: &OpenBundle, manifest_len: u64) -> Result<Self, ShelfError> {
        fn failed(error: impl std::fmt::Display) -> ShelfError {
            ShelfError::Torrent { reason: error.to_string() }
        }
        let files = bundle_files(bundle.files(), manifest_len).map_err(failed)?;
        let piece_length = PieceLength::for_total(files.bytes());
        let content = Directory(bundle.path().to_owned());
        let hashes = torrent::hash(&files, piece_length, &content, &|_| {}).map_err(failed)?;
        let name = run_dir_name(bundle.run().run);
        let made = Metainfo::new(&name, files, piece_length, hashes, Options::default()).map_err(failed)?;
        let (infohash_v1, infohash_v2) = (made.infohash_v1().0, made.infohash_v2().0);
        Ok(Self { bytes: made.as_bytes().to_vec(), infohash_v1, infohash_v2 })
    }
}
