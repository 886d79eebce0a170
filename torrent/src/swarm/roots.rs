//! What arrived against v2: the engine compares v1's pieces only, and who made the metadata chose both.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::SwarmError;
use crate::content::Directory;
use crate::files::{FileEntry, FileList};
use crate::hash::{HashError, hash};
use crate::metainfo::Metadata;
use crate::path::ContentPath;

/// Hashes the files in `dir`, those of `only` if it is given, and compares them with their roots.
///
/// Blocks: as long as reading and hashing take.
pub(super) fn check(metadata: &Metadata, dir: &Path, only: Option<&BTreeSet<ContentPath>>) -> Result<(), SwarmError> {
    // An empty file has no root.
    let wanted = |file: &FileEntry| file.len > 0 && only.is_none_or(|only| only.contains(&file.path));
    let files: Vec<FileEntry> = metadata.files().files().iter().filter(|file| wanted(file)).cloned().collect();
    if files.is_empty() {
        return Ok(());
    }
    let failed = |error: HashError| SwarmError::ReadBack(Arc::new(error));
    let files = FileList::new(files).map_err(HashError::from).map_err(failed)?;
    let hashes = hash(&files, metadata.piece_length(), &Directory(dir.to_owned()), &|_| ()).map_err(failed)?;
    for (file, hashes) in files.files().iter().zip(hashes.files()) {
        let (path, expected, got) = (file.path.clone(), metadata.root(&file.path), hashes.root);
        if expected != got {
            return Err(SwarmError::OtherRoot { path, expected, got });
        }
    }
    Ok(())
}
