//! Which files the bundle of a run has.

use ledger::Manifest;
use ledger::manifest::MANIFEST_NAME;

use crate::files::{FileEntry, FileList, FilesError};
use crate::path::{ContentPath, ContentPathError};

/// Why a manifest's files cannot be a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A path has more components than a torrent may have.
    #[error(transparent)]
    Path(#[from] ContentPathError),
    /// The files cannot be a torrent.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// The files of the bundle: what `manifest` lists, and the manifest itself, which has `manifest_len` bytes.
///
/// **Errors**: [`BundleError`].
pub fn bundle_files(manifest: &Manifest, manifest_len: u64) -> Result<FileList, BundleError> {
    let mut files = Vec::with_capacity(manifest.files().len() + 1);
    for entry in manifest.files() {
        let components: Vec<&str> = entry.path.components().collect();
        files.push(FileEntry { path: ContentPath::new(&components)?, len: entry.len });
    }
    files.push(FileEntry { path: ContentPath::new(&[MANIFEST_NAME])?, len: manifest_len });
    Ok(FileList::new(files)?)
}
