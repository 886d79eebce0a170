//! The files of a torrent, in the one order they have, and where each lies.

use std::collections::HashMap;

use crate::path::ContentPath;
use crate::piece::PieceLength;

/// Most files of a torrent.
pub const MAX_FILES: usize = 1 << 20;

/// Largest sum of lengths: 2^50 bytes.
pub const MAX_BYTES: u64 = 1 << 50;

/// Directory of the padding files of BEP 47, as clients write it that do not know them.
pub const PAD_DIR: &str = ".pad";

/// Files that cannot be a torrent together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// No file has a byte: there is nothing to transfer, and clients refuse it.
    #[error("no file has a byte")]
    NoBytes,
    /// More files than any torrent here.
    #[error("expected at most {MAX_FILES} files, got {got}")]
    TooMany {
        /// Number found.
        got: usize,
    },
    /// The lengths add up to more than any torrent here.
    #[error("file {path}: the files have more than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file with which the limit was passed.
        path: ContentPath,
    },
    /// The same path twice.
    #[error("file {path} is there twice")]
    Duplicate {
        /// The path.
        path: ContentPath,
    },
    /// Two paths are the same to a file system that ignores case.
    #[error("files {first} and {second} differ only in case")]
    CaseCollision {
        /// One of them.
        first: ContentPath,
        /// The other.
        second: ContentPath,
    },
    /// One path is a file where another needs a directory.
    #[error("file {file} must be a directory for {inside}")]
    FileAsDirectory {
        /// The file.
        file: ContentPath,
        /// The path below it.
        inside: ContentPath,
    },
    /// A file in the directory that padding has to itself.
    #[error("file {path} is in {PAD_DIR}, which is for padding")]
    InPadDir {
        /// The file.
        path: ContentPath,
    },
    /// More pieces than the v1 hashes can number.
    #[error("expected fewer than 2^32 pieces of {piece_length} bytes, got {got}")]
    TooManyPieces {
        /// Piece length.
        piece_length: PieceLength,
        /// Number of pieces.
        got: u64,
    },
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Path below the torrent's directory.
    pub path: ContentPath,
    /// Length in bytes.
    pub len: u64,
}

/// The files of a torrent: sorted by path, no two of which meet on any file system. Spec `bundle-files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileList(Vec<FileEntry>);

impl FileList {
    /// Sorts and checks.
    ///
    /// **Errors**: every [`FilesError`] but those about pieces.
    pub fn new(mut files: Vec<FileEntry>) -> Result<Self, FilesError> {
        if files.len() > MAX_FILES {
            return Err(FilesError::TooMany { got: files.len() });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        check_paths(&files)?;
        let mut total = 0_u64;
        for file in &files {
            total = total
                .checked_add(file.len)
                .filter(|total| *total <= MAX_BYTES)
                .ok_or_else(|| FilesError::TooLarge { path: file.path.clone() })?;
        }
        if total == 0 { Err(FilesError::NoBytes) } else { Ok(Self(files)) }
    }

    /// The files in order, at least one of which has a byte.
    pub fn files(&self) -> &[FileEntry] {
        &self.0
    }

    /// Sum of their lengths.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|file| file.len).sum()
    }

    /// Where the files lie in the torrent: each that has a byte begins a piece. Spec `bundle-padding`.
    ///
    /// **Errors**: [`FilesError::TooManyPieces`].
    pub(crate) fn layout(&self, piece_length: PieceLength) -> Result<Layout<'_>, FilesError> {
        let last_with_bytes = self.0.iter().rposition(|file| file.len > 0);
        let n_pieces: u64 = self.0.iter().map(|file| piece_length.pieces(file.len)).sum();
        if n_pieces > u64::from(u32::MAX) {
            return Err(FilesError::TooManyPieces { piece_length, got: n_pieces });
        }
        let place = |(at, file)| {
            // Nothing follows the last byte, so nothing has to be aligned behind it.
            let is_padded = last_with_bytes.is_some_and(|last| at < last);
            Placed { file, pad: if is_padded { piece_length.pad(file.len) } else { 0 } }
        };
        Ok(Layout { files: self.0.iter().enumerate().map(place).collect() })
    }
}

/// Files with the padding behind each.
pub(crate) struct Layout<'a> {
    pub files: Vec<Placed<'a>>,
}

/// One file and its padding.
pub(crate) struct Placed<'a> {
    pub file: &'a FileEntry,
    /// Zero bytes behind the file, less than a piece.
    pub pad: u64,
}

fn check_paths(files: &[FileEntry]) -> Result<(), FilesError> {
    // Every path and every directory above it, as a file system sees it that ignores case.
    let mut seen: HashMap<String, (String, &ContentPath)> = HashMap::new();
    for file in files {
        let path = &file.path;
        if path.components().first().is_some_and(|first| first.to_lowercase() == PAD_DIR) {
            return Err(FilesError::InPadDir { path: path.clone() });
        }
        let n_components = path.components().len();
        for n in 1..=n_components {
            let prefix = path.components()[..n].join("/");
            let folded = prefix.to_lowercase();
            let Some((spelled, other)) = seen.get(&folded) else {
                seen.insert(folded, (prefix, path));
                continue;
            };
            if *spelled != prefix {
                return Err(FilesError::CaseCollision { first: (*other).clone(), second: path.clone() });
            }
            if n == n_components {
                // The list is sorted: whatever is below this path comes after it.
                return Err(FilesError::Duplicate { path: path.clone() });
            }
            if other.components().len() == n {
                return Err(FilesError::FileAsDirectory { file: (*other).clone(), inside: path.clone() });
            }
        }
    }
    Ok(())
}
