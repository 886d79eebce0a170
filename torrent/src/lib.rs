//! Cairn bundles as BitTorrent metainfo: deterministic, hybrid, and read back strictly.
//!
//! The bundle of a run is the run's directory as its manifest lists it. Here it becomes a `.torrent` that every
//! client opens (v1, BEP 3, and v2, BEP 52, in one) and whose infohashes depend on the files alone, so that they
//! can be announced on chain and found again by anyone who has the files. The formats are specified in
//! `docs/spec/bundle.md`.
//!
//! An infohash says which bytes were asked for, not that they are a run that holds: what was fetched is checked
//! against its manifest and the anchored root, by others.
//!
//! **Layer**: L2. Depends on `ledger` only. Bytes come in as [`Content`]; clock, randomness and sockets are in [`swarm`] alone,
//! which the feature of that name (on by default) brings.
//!
//! | module | purpose |
//! |---|---|
//! | [`bencode`] | canonical bencode, with limits |
//! | [`path`](ContentPath) | paths that stay in their directory |
//! | [`files`](FileList) | the files in their order, padding |
//! | [`piece`](PieceLength) | how long pieces are |
//! | [`content`](Content) | where bytes come from |
//! | [`hash`](hash()) | SHA-1 of pieces and SHA-256 trees of files, on all cores |
//! | [`kernel`](Kernel) | which code hashes |
//! | `lanes` | several messages at a time, where the processor can |
//! | `merkle` | the trees |
//! | [`metainfo`](Metainfo) | making `.torrent` files, and reading those of strangers |
//! | [`magnet`](Magnet) | links |
//! | [`infohash`](InfohashV1) | the two names of a torrent |
//! | [`bundle`](bundle_files) | which files the bundle of a run has |
//! | [`swarm`] | seeding, fetching, a tracker |

pub mod bencode;
mod bundle;
mod content;
mod files;
mod hash;
mod infohash;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod magnet;
mod merkle;
mod metainfo;
mod path;
mod piece;
#[cfg(feature = "swarm")]
pub mod swarm;

pub use bundle::{BundleError, bundle_files};
pub use content::{Content, Directory, Source};
pub use files::{FileEntry, FileList, FilesError, MAX_BYTES, MAX_FILES, PAD_DIR};
pub use hash::{ContentHashes, FileHashes, HashError, hash, hash_with};
pub use infohash::{InfohashV1, InfohashV2};
pub use kernel::Kernel;
pub use magnet::{Magnet, MagnetError};
pub use metainfo::{
    BuildError, LinkError, MAX_METAINFO_BYTES, Metadata, Metainfo, MetainfoError, Options, Tracker, Visibility, WebSeed,
};
pub use path::{ContentPath, ContentPathError, MAX_COMPONENT_BYTES, MAX_COMPONENTS};
pub use piece::{BLOCK_BYTES, PieceLength, PieceLengthError};
