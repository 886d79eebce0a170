//! Hashing of content, on all cores: SHA-1 of pieces (v1) and SHA-256 trees of files (v2) in one reading.

use std::io::{self, Read};

use ledger::Digest;
use rayon::prelude::*;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::content::Content;
use crate::files::{FileList, FilesError, Layout};
use crate::merkle;
use crate::path::ContentPath;
use crate::piece::{BLOCK_BYTES, PieceLength};

/// Bytes that one thread reads and hashes before it takes other work.
const TASK_BYTES: u64 = 4 << 20;

/// Bytes read at once: many blocks, and still in the cache when they are hashed a second time.
const READ_BYTES: usize = 256 << 10;

/// Content that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The operating system refused, or a link or device is where a file should be.
    #[error("{path}: cannot read: {source}")]
    Io {
        /// The file.
        path: ContentPath,
        /// Its answer.
        source: io::Error,
    },
    /// The file is shorter than it was.
    #[error("{path}: expected {expected} bytes, it ends before")]
    Shorter {
        /// The file.
        path: ContentPath,
        /// Length that was listed.
        expected: u64,
    },
    /// The file is longer than it was.
    #[error("{path}: expected {expected} bytes, it goes on")]
    Longer {
        /// The file.
        path: ContentPath,
        /// Length that was listed.
        expected: u64,
    },
    /// The files cannot be laid out.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Hashes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// Root of the file's tree, which does not depend on the piece length; none if it is empty.
    pub root: Option<Digest>,
    /// Nodes of its pieces; none unless it is longer than a piece.
    pub layer: Vec<Digest>,
}

/// Hashes of all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHashes {
    /// SHA-1 of every piece, 20 bytes each.
    pub(crate) pieces: Vec<u8>,
    /// In the order of the files.
    pub(crate) files: Vec<FileHashes>,
}

impl ContentHashes {
    /// SHA-1 of every piece, padding included.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8; 20]> {
        self.pieces.as_chunks().0.iter()
    }

    /// Hashes of the files, in their order.
    pub fn files(&self) -> &[FileHashes] {
        &self.files
    }
}

/// Reads and hashes all files. `progress` is told the number of bytes that were hashed since it was told last.
///
/// **Errors**: the first [`HashError`] in the order of the files.
pub fn hash(
    files: &FileList,
    piece_length: PieceLength,
    content: &dyn Content,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ContentHashes, HashError> {
    let layout = files.layout(piece_length)?;
    let tasks = tasks(&layout, piece_length);
    let done: Vec<Result<Vec<Piece>, HashError>> = tasks
        .par_iter()
        .map_init(|| vec![0; READ_BYTES], |buffer, task| task.run(piece_length, content, buffer, progress))
        .collect();
    let mut hashes = ContentHashes { pieces: Vec::new(), files: Vec::with_capacity(layout.files.len()) };
    let mut done = tasks.iter().zip(done).peekable();
    for (at, placed) in layout.files.iter().enumerate() {
        let mut nodes = Vec::new();
        while let Some((_, pieces)) = done.next_if(|(task, _)| task.file == at) {
            for piece in pieces? {
                hashes.pieces.extend_from_slice(&piece.v1);
                nodes.push(piece.v2);
            }
        }
        hashes.files.push(if placed.file.len <= u64::from(piece_length.bytes()) {
            FileHashes { root: nodes.pop(), layer: Vec::new() }
        } else {
            FileHashes { root: Some(merkle::root_of_layer(&nodes, piece_length.height())), layer: nodes }
        });
    }
    Ok(hashes)
}

/// Whole pieces of one file.
struct Task<'a> {
    /// Position in the list.
    file: usize,
    path: &'a ContentPath,
    /// Of the whole file.
    file_len: u64,
    offset: u64,
    /// From `offset`; less than whole pieces only at the file's end.
    len: u64,
    /// Zero bytes behind the file.
    pad: u64,
}

struct Piece {
    v1: [u8; 20],
    v2: Digest,
}

fn tasks<'a>(layout: &Layout<'a>, piece_length: PieceLength) -> Vec<Task<'a>> {
    let step = TASK_BYTES.max(u64::from(piece_length.bytes()));
    let of_file = |(file, placed): (usize, &crate::files::Placed<'a>)| {
        let (path, file_len, pad) = (&placed.file.path, placed.file.len, placed.pad);
        let offsets = (0..file_len.div_ceil(step)).map(move |n| n * step);
        // An empty file has no pieces, but that it is there and empty is looked at.
        let offsets = offsets.chain((file_len == 0).then_some(0));
        offsets.map(move |offset| Task { file, path, file_len, offset, len: step.min(file_len - offset), pad })
    };
    layout.files.iter().enumerate().flat_map(of_file).collect()
}

impl Task<'_> {
    fn run(
        &self,
        piece_length: PieceLength,
        content: &dyn Content,
        buffer: &mut [u8],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Piece>, HashError> {
        let failed = |source| HashError::Io { path: self.path.clone(), source };
        let mut source = content.open(self.path, self.offset).map_err(failed)?;
        let mut pieces = Vec::new();
        let mut left = self.len;
        while left > 0 {
            let len = left.min(u64::from(piece_length.bytes()));
            left -= len;
            let is_end = self.offset + self.len == self.file_len && left == 0;
            let pad = if is_end { self.pad } else { 0 };
            pieces.push(self.piece(&mut source, len, pad, piece_length, buffer)?);
            progress(len);
        }
        if self.offset + self.len == self.file_len && source.read(&mut buffer[..1]).map_err(failed)? > 0 {
            return Err(HashError::Longer { path: self.path.clone(), expected: self.file_len });
        }
        Ok(pieces)
    }

    fn piece(
        &self,
        source: &mut dyn Read,
        len: u64,
        pad: u64,
        piece_length: PieceLength,
        buffer: &mut [u8],
    ) -> Result<Piece, HashError> {
        let mut v1 = Sha1::new();
        let mut blocks = Vec::with_capacity(len.div_ceil(u64::from(BLOCK_BYTES)) as usize);
        let mut left = len;
        while left > 0 {
            let some = &mut buffer[..left.min(READ_BYTES as u64) as usize];
            source.read_exact(some).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => HashError::Shorter { path: self.path.clone(), expected: self.file_len },
                _ => HashError::Io { path: self.path.clone(), source },
            })?;
            for block in some.chunks(BLOCK_BYTES as usize) {
                blocks.push(Digest(Sha256::digest(block).into()));
                v1.update(block);
            }
            left -= some.len() as u64;
        }
        // What is behind the file is part of its last piece in v1.
        let zeros = [0; 4096];
        let mut left = pad;
        while left > 0 {
            let some = left.min(zeros.len() as u64);
            v1.update(&zeros[..some as usize]);
            left -= some;
        }
        // A file within one piece is a tree just high enough for it; pieces of a longer one are all of the same height.
        let is_alone = self.file_len <= u64::from(piece_length.bytes());
        let height = if is_alone { merkle::height(blocks.len() as u64) } else { piece_length.height() };
        Ok(Piece { v1: v1.finalize().into(), v2: merkle::root(blocks, height, merkle::filler(0)) })
    }
}
