//! A Cairn run on disk.
//!
//! A run is a directory of public files (its *log*, proofs, epochs, anchors and manifest) and, elsewhere, a
//! private directory (run secret, optimizer state). Appending is crash-safe: the bytes of a step's proofs
//! are on disk before its line is, and its line before the checkpoint moves, so that a process killed at any
//! point leaves a log that is whole after [`RunWriter::open`]. The formats are `ledger`'s; the protocol is
//! specified in `docs/spec/log.md`.
//!
//! **Layer**: L1. Depends on `ledger` only. Effects come in as a [`FileSystem`]; there is no clock and no
//! randomness here.
//!
//! | module | purpose |
//! |---|---|
//! | [`fs`] | the file operations a store needs and what each promises; the real disk |
//! | [`layout`] | which file of a run is where |
//! | [`dir`](RunDir) | reading a run |
//! | [`writer`](RunWriter) | creating, appending, and recovering what an interruption left |
//! | [`log`](LogIndex) | reading `steps.jsonl` in parallel and checking its chain |
//! | [`verify`](VerifiedLog) | the log against itself, its proofs, epochs and anchors; files against the manifest |
//! | [`archive`](Archive) | a run and what belongs to it in one file, read where it is |
//! | [`private`](PrivateDir) | secrets and optimizer state, mode 0600 |
//! | [`inbox`](Inbox) | uploads that wait to be proved, and receipts of those that were |
//! | [`cache`](ArtifactCache) | keys and other large artifacts that can be made again |

pub mod archive;
mod bundle;
mod cache;
mod dir;
mod error;
pub mod fs;
mod inbox;
pub mod layout;
mod lock;
mod log;
mod private;
mod recovery;
mod verify;
mod writer;

pub use archive::{Archive, ArchiveError, ArchiveWriter};
pub use bundle::FilesReport;
pub use cache::{ArtifactCache, CacheError, CacheKey};
pub use dir::{MAX_PROOF_BYTES, RunDir};
pub use error::{Disagreement, StoreError};
pub use fs::{Disk, FileSystem};
pub use inbox::Inbox;
pub use log::LogIndex;
pub use private::{PrivateDir, PrivateError, RunSecret};
pub use recovery::{Recovery, TornLine};
pub use verify::{ProofFiles, VerifiedLog};
pub use writer::{Appended, RunWriter, StepDraft};
