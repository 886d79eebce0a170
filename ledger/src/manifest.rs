//! `run_manifest.json`: path, length and SHA-256 of every file of a run's bundle, and which paths may be in it.

mod path;

pub use path::{ArtifactPath, MAX_PATH_BYTES, PathError};

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, V1, small_int};
use crate::ids::{Digest, Root, RunId, TreeSize};

/// Largest length of the file.
pub const MAX_MANIFEST_BYTES: usize = 512 << 20;

/// Name of the file; it cannot list itself.
pub const MANIFEST_NAME: &str = "run_manifest.json";

/// Bytes or values that are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not canonical JSON of a manifest. A refused path is reported here with its reason.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Entries must be sorted by the bytes of their paths, each path once.
    #[error("path {path} must come after {after} and only once")]
    Order {
        /// The entry out of order.
        path: ArtifactPath,
        /// The entry before it.
        after: ArtifactPath,
    },
    /// Two paths are the same to a file system that ignores case.
    #[error("paths {first} and {second} differ only in case")]
    CaseCollision {
        /// One of them.
        first: ArtifactPath,
        /// The other.
        second: ArtifactPath,
    },
    /// One path is a file where another needs a directory.
    #[error("path {file} is a file, but {inside} needs it to be a directory")]
    FileAsDirectory {
        /// The file.
        file: ArtifactPath,
        /// The path below it.
        inside: ArtifactPath,
    },
    /// The manifest cannot list itself.
    #[error("the manifest lists itself")]
    ListsItself,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    // Fields stand in the order of their JSON keys: the derived encoding is canonical.
    /// Length in bytes.
    #[serde(with = "small_int")]
    pub len: u64,
    /// Path below the run's directory.
    pub path: ArtifactPath,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    files: Vec<ManifestEntry>,
    root: Root,
    run: RunId,
    size: TreeSize,
    v: V1,
}

impl Manifest {
    /// Makes a manifest of the log with `size` steps and `root`; sorts the entries.
    ///
    /// **Errors**: [`ManifestError`] if two paths collide or the manifest is among them.
    pub fn new(run: RunId, size: TreeSize, root: Root, mut files: Vec<ManifestEntry>) -> Result<Self, ManifestError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Self { files, root, run, size, v: V1 };
        manifest.check()?;
        Ok(manifest)
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Number of steps of the log that the files hold.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// Root of that log.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The entries, sorted by path.
    pub fn files(&self) -> &[ManifestEntry] {
        &self.files
    }

    /// The entry of `path`.
    pub fn find(&self, path: &ArtifactPath) -> Option<&ManifestEntry> {
        let at = self.files.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
        self.files.get(at)
    }

    /// The canonical bytes; their SHA-256 is the digest that is announced.
    ///
    /// **Errors**: [`ManifestError::Canonical`] if a length is above 2^53 − 1.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        Ok(canonical::encode(self)?)
    }

    /// Reads the file.
    ///
    /// **Errors**: every [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = canonical::decode(bytes, MAX_MANIFEST_BYTES)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        for pair in self.files.windows(2) {
            if let [first, second] = pair
                && first.path >= second.path
            {
                let (path, after) = (second.path.clone(), first.path.clone());
                return Err(ManifestError::Order { path, after });
            }
        }
        // Every path and every directory above it, as a file system sees it that ignores case.
        let mut seen: HashMap<String, (&str, &ArtifactPath)> = HashMap::new();
        for entry in &self.files {
            let path = &entry.path;
            for prefix in path.prefixes() {
                let (spelled, other) = *seen.entry(prefix.to_ascii_lowercase()).or_insert((prefix, path));
                if spelled != prefix {
                    return Err(ManifestError::CaseCollision { first: other.clone(), second: path.clone() });
                }
                // The entries are sorted, so a file comes before whatever needs it to be a directory.
                if other.as_str() == prefix && other != path {
                    return Err(ManifestError::FileAsDirectory { file: other.clone(), inside: path.clone() });
                }
            }
        }
        if seen.contains_key(MANIFEST_NAME) {
            return Err(ManifestError::ListsItself);
        }
        Ok(())
    }
}
