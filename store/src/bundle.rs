//! The manifest: made from the files of a run, and files compared with it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use ledger::{ArtifactPath, Digest, Manifest, ManifestEntry, TreeSize};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::dir::RunDir;
use crate::error::{Disagreement, StoreError};
use crate::fs::{EntryKind, FileSystem, replace};
use crate::layout::{EPOCHS_DIR, PROOFS_DIR, RunFile};
use crate::writer::RunWriter;

/// Files that agree with their manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesReport {
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest's own bytes, which is what is announced.
    pub manifest_digest: Digest,
    /// Number of bytes compared.
    pub bytes: u64,
}

impl RunWriter {
    /// Writes `run_manifest.json` over everything the run has, and removes what it does not have: proofs
    /// behind the log and proofs of epochs without a record, left by interruptions.
    ///
    /// Only files that a run can have are listed; any other is an error, so that no secret gets in.
    ///
    /// **Errors**: [`StoreError::Unexpected`], [`StoreError::Path`], [`StoreError::Manifest`], [`StoreError::Io`].
    pub fn write_manifest(&mut self) -> Result<FilesReport, StoreError> {
        self.check_usable()?;
        let dir = self.dir();
        let mut files = list(dir)?;
        let (size, n_epochs) = (self.log().size().0, self.epochs().len() as u64);
        for orphan in files.extract_if(.., |file| is_orphan(*file, size, n_epochs)) {
            let path = dir.file(orphan);
            dir.fs.remove(&path).map_err(StoreError::io("remove", &path))?;
        }
        let entry = |file: &RunFile| {
            let path = dir.file(*file);
            let (sha256, len) = hash(&*dir.fs, &path)?;
            let name = file.relative().parse::<ArtifactPath>();
            let name = name.map_err(|source| StoreError::Path { path, source })?;
            Ok(ManifestEntry { len, path: name, sha256 })
        };
        let entries: Result<Vec<ManifestEntry>, StoreError> = files.par_iter().map(entry).collect();
        let entries = entries?;
        let bytes = entries.iter().map(|entry| entry.len).sum();
        let path = dir.file(RunFile::Manifest);
        let failed = |source| StoreError::Manifest { path: path.clone(), source };
        let (run, root) = (dir.run().run(), self.log().root());
        let manifest = Manifest::new(run, TreeSize(size), root, entries).map_err(failed)?;
        let encoded = manifest.encode().map_err(failed)?;
        replace(&*dir.fs, &path, &encoded).map_err(StoreError::io("write", &path))?;
        Ok(FilesReport { manifest, manifest_digest: Digest::of(&encoded), bytes })
    }
}

impl RunDir {
    /// Compares every file with the manifest, and the manifest with the checkpoint.
    ///
    /// Nothing may be missing and nothing may be there that is not listed. Whether the manifest itself is
    /// the announced one is told by [`FilesReport::manifest_digest`].
    ///
    /// **Errors**: [`StoreError::Manifest`], [`StoreError::ManifestDisagrees`], [`StoreError::Missing`],
    /// [`StoreError::Unlisted`], [`StoreError::Unexpected`], [`StoreError::FileDisagrees`].
    pub fn verify_files(&self) -> Result<FilesReport, StoreError> {
        let path = self.file(RunFile::Manifest);
        let manifest = self.manifest()?;
        let manifest_digest = hash(&*self.fs, &path)?.0;
        let checkpoint = self.checkpoint()?;
        Disagreement::check("run", checkpoint.run, manifest.run())
            .and_then(|()| Disagreement::check("size", checkpoint.size, manifest.size()))
            .and_then(|()| Disagreement::check("root", checkpoint.root, manifest.root()))
            .map_err(|source| StoreError::ManifestDisagrees { path, source })?;

        let on_disk: BTreeSet<String> = list(self)?.into_iter().map(RunFile::relative).collect();
        let listed: BTreeSet<&str> = manifest.files().iter().map(|entry| entry.path.as_str()).collect();
        if let Some(unlisted) = on_disk.iter().find(|file| !listed.contains(file.as_str())) {
            return Err(StoreError::Unlisted { path: self.path().join(unlisted) });
        }
        if let Some(missing) = listed.iter().find(|file| !on_disk.contains(**file)) {
            return Err(StoreError::Missing { path: self.path().join(missing) });
        }
        let check = |entry: &ManifestEntry| {
            let path = self.path().join(entry.path.as_str());
            let (sha256, len) = hash(&*self.fs, &path)?;
            Disagreement::check("length", entry.len, len)
                .and_then(|()| Disagreement::check("SHA-256", entry.sha256, sha256))
                .map_err(|source| StoreError::FileDisagrees { path, source })?;
            Ok(len)
        };
        let checked: Vec<Result<u64, StoreError>> = manifest.files().par_iter().map(check).collect();
        let bytes = checked.into_iter().sum::<Result<u64, StoreError>>()?;
        Ok(FilesReport { manifest, manifest_digest, bytes })
    }
}

/// A file that an interrupted append left and no record names.
fn is_orphan(file: RunFile, size: u64, n_epochs: u64) -> bool {
    match file {
        RunFile::Proof(step) | RunFile::ChunkProof(step, _) => step.0 >= size,
        RunFile::EpochProof(epoch) => epoch.0 >= n_epochs,
        _ => false,
    }
}

/// Every file of the run but the manifest. **Errors**: [`StoreError::Unexpected`] for anything else.
fn list(dir: &RunDir) -> Result<Vec<RunFile>, StoreError> {
    let mut files = Vec::new();
    for parent in ["", PROOFS_DIR, EPOCHS_DIR] {
        let at: PathBuf = if parent.is_empty() { dir.path().to_owned() } else { dir.path().join(parent) };
        for entry in dir.list(parent)? {
            // Lock and temporary files are not part of the run.
            if entry.name.starts_with('.') {
                continue;
            }
            let name = &entry.name;
            let relative = if parent.is_empty() { name.clone() } else { format!("{parent}/{name}") };
            match (entry.kind, RunFile::parse(&relative)) {
                (EntryKind::File, Some(RunFile::Manifest)) => {}
                (EntryKind::File, Some(file)) => files.push(file),
                (EntryKind::Directory, _) if relative == PROOFS_DIR || relative == EPOCHS_DIR => {}
                _ => {
                    return Err(StoreError::Unexpected { path: at.join(name) });
                }
            }
        }
    }
    Ok(files)
}

/// SHA-256 and length of a file, read piece by piece.
fn hash(fs: &dyn FileSystem, path: &Path) -> Result<(Digest, u64), StoreError> {
    let mut source = fs.open(path).map_err(StoreError::io("open", path))?;
    let (mut hasher, mut len, mut piece) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let read = source.read(&mut piece).map_err(StoreError::io("read", path))?;
        if read == 0 {
            return Ok((Digest(hasher.finalize().into()), len));
        }
        hasher.update(&piece[..read]);
        len += read as u64;
    }
}
