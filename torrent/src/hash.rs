//! Hashing of content, on all cores: SHA-1 of pieces (v1) and SHA-256 trees of files (v2) in one reading.
//!
//! Where the processor can, whole pieces of a file are hashed several at a time (`lanes`); everything else, and
//! everything elsewhere, by the plain crates.

use std::io;

use ledger::Digest;
use rayon::prelude::*;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::content::{Content, Source};
use crate::files::{FileList, FilesError, Layout};
use crate::kernel::{Code, Kernel};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Lanes, Pieces};
use crate::merkle;
use crate::path::ContentPath;
use crate::piece::{BLOCK_BYTES, PieceLength};

/// Bytes that one thread reads and hashes before it takes other work, or sixteen pieces if they are more.
const TASK_BYTES: u64 = 4 << 20;

/// Bytes read at once: many blocks, and still in the cache when they are hashed.
const READ_BYTES: usize = 1 << 20;

/// Of these, for each lane: sixteen fill the buffer, and two stay in the second-level cache.
#[cfg(target_arch = "x86_64")]
const LANE_BYTES: usize = READ_BYTES / 16;

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
    hash_with(Kernel::fastest(), files, piece_length, content, progress)
}

/// [`hash`](hash()) by a kernel other than the fastest, to compare them.
///
/// **Errors**: those of [`hash`](hash()).
pub fn hash_with(
    kernel: Kernel,
    files: &FileList,
    piece_length: PieceLength,
    content: &dyn Content,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ContentHashes, HashError> {
    let layout = files.layout(piece_length)?;
    let tasks = tasks(&layout, piece_length, kernel);
    let done: Vec<Result<Vec<Piece>, HashError>> =
        tasks.par_iter().map_init(|| vec![0; READ_BYTES], |buffer, task| task.run(content, buffer, progress)).collect();
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
    kernel: Kernel,
    piece_length: PieceLength,
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

fn tasks<'a>(layout: &Layout<'a>, piece_length: PieceLength, kernel: Kernel) -> Vec<Task<'a>> {
    let step = TASK_BYTES.max(16 * u64::from(piece_length.bytes()));
    let of_file = |(file, placed): (usize, &crate::files::Placed<'a>)| {
        let (path, file_len, pad) = (&placed.file.path, placed.file.len, placed.pad);
        let offsets = (0..file_len.div_ceil(step)).map(move |n| n * step);
        // An empty file has no pieces, but that it is there and empty is looked at.
        let offsets = offsets.chain((file_len == 0).then_some(0));
        let len = move |offset| step.min(file_len - offset);
        offsets.map(move |offset| Task { file, path, kernel, piece_length, file_len, offset, len: len(offset), pad })
    };
    layout.files.iter().enumerate().flat_map(of_file).collect()
}

impl Task<'_> {
    fn run(
        &self,
        content: &dyn Content,
        buffer: &mut [u8],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Piece>, HashError> {
        let source = self.open(content)?;
        let mut pieces = Vec::new();
        match self.kernel.0 {
            Code::Plain => {}
            #[cfg(target_arch = "x86_64")]
            Code::Two(two) => self.groups(two, content, &mut pieces, buffer, progress)?,
            #[cfg(target_arch = "x86_64")]
            Code::Eight(eight) => self.groups(eight, content, &mut pieces, buffer, progress)?,
            #[cfg(target_arch = "x86_64")]
            Code::Sixteen(sixteen) => self.groups(sixteen, content, &mut pieces, buffer, progress)?,
        }
        let (piece, end) = (u64::from(self.piece_length.bytes()), self.offset + self.len);
        let mut at = self.offset + pieces.len() as u64 * piece;
        while at < end {
            let len = piece.min(end - at);
            pieces.push(self.piece(&*source, at, len, buffer)?);
            at += len;
            progress(len);
        }
        if end == self.file_len {
            match source.read_exact_at(&mut buffer[..1], end) {
                Ok(()) => return Err(HashError::Longer { path: self.path.clone(), expected: self.file_len }),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(pieces)
    }

    /// As many of the first whole pieces as can be hashed side by side with gain, into `pieces`.
    #[cfg(target_arch = "x86_64")]
    fn groups<const N: usize, L: Lanes<N>>(
        &self,
        lanes: L,
        content: &dyn Content,
        pieces: &mut Vec<Piece>,
        buffer: &mut [u8],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), HashError> {
        let piece = u64::from(self.piece_length.bytes());
        let (mut sources, mut left) = (Vec::new(), (self.len / piece) as usize);
        while left >= L::MIN {
            let n = left.min(N);
            let offset = self.offset + pieces.len() as u64 * piece;
            pieces.extend(self.side_by_side(lanes.pieces(), content, &mut sources, offset, n, buffer)?);
            left -= n;
            progress(n as u64 * piece);
        }
        Ok(())
    }

    /// The `n` whole pieces from `offset` on, one in each lane. `sources` are the readers of the lanes, kept from one call
    /// to the next.
    #[cfg(target_arch = "x86_64")]
    fn side_by_side<const N: usize>(
        &self,
        mut hasher: Pieces<impl Lanes<N>, N>,
        content: &dyn Content,
        sources: &mut Vec<Box<dyn Source>>,
        offset: u64,
        n: usize,
        buffer: &mut [u8],
    ) -> Result<Vec<Piece>, HashError> {
        let piece = self.piece_length.bytes() as usize;
        // Each lane has its part of the buffer. Long pieces have a reader each, so that the system reads ahead in all.
        let part = piece.min(LANE_BYTES);
        while sources.len() < if part == piece { 1 } else { n } {
            sources.push(self.open(content)?);
        }
        let mut leaves = vec![Vec::with_capacity(piece / BLOCK_BYTES as usize); n];
        for at in (0..piece).step_by(part) {
            if part == piece {
                self.read(&*sources[0], &mut buffer[..n * part], offset)?;
            } else {
                for (lane, (source, part)) in sources.iter().zip(buffer.chunks_exact_mut(part)).take(n).enumerate() {
                    self.read(&**source, part, offset + (lane * piece + at) as u64)?;
                }
            }
            for block in (0..part).step_by(BLOCK_BYTES as usize) {
                // A lane without a piece takes the first's again, and nobody looks at its hashes.
                let leaf = |lane| &buffer[if lane < n { lane } else { 0 } * part + block..][..BLOCK_BYTES as usize];
                for (leaves, leaf) in leaves.iter_mut().zip(hasher.leaves(std::array::from_fn(leaf))) {
                    leaves.push(leaf);
                }
            }
        }
        let height = self.piece_length.height();
        let piece = |(leaves, v1)| Piece { v1, v2: merkle::root(leaves, height, merkle::filler(0)) };
        Ok(leaves.into_iter().zip(hasher.finish()).map(piece).collect())
    }

    /// The piece of `len` bytes at `offset`, or what the file has of it.
    fn piece(&self, source: &dyn Source, offset: u64, len: u64, buffer: &mut [u8]) -> Result<Piece, HashError> {
        let mut v1 = Sha1::new();
        let mut blocks = Vec::with_capacity(len.div_ceil(u64::from(BLOCK_BYTES)) as usize);
        let mut at = offset;
        while at < offset + len {
            let some = &mut buffer[..(offset + len - at).min(READ_BYTES as u64) as usize];
            self.read(source, some, at)?;
            for block in some.chunks(BLOCK_BYTES as usize) {
                blocks.push(Digest(Sha256::digest(block).into()));
                v1.update(block);
            }
            at += some.len() as u64;
        }
        // What is behind the file is part of its last piece in v1.
        let zeros = [0; 4096];
        let mut left = if at == self.file_len { self.pad } else { 0 };
        while left > 0 {
            let some = left.min(zeros.len() as u64);
            v1.update(&zeros[..some as usize]);
            left -= some;
        }
        // A file within one piece is a tree just high enough for it; pieces of a longer one are all of the same height.
        let is_alone = self.file_len <= u64::from(self.piece_length.bytes());
        let height = if is_alone { merkle::height(blocks.len() as u64) } else { self.piece_length.height() };
        Ok(Piece { v1: v1.finalize().into(), v2: merkle::root(blocks, height, merkle::filler(0)) })
    }

    fn open(&self, content: &dyn Content) -> Result<Box<dyn Source>, HashError> {
        content.open(self.path).map_err(|source| self.failed(source))
    }

    fn read(&self, source: &dyn Source, buffer: &mut [u8], offset: u64) -> Result<(), HashError> {
        source.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => HashError::Shorter { path: self.path.clone(), expected: self.file_len },
            _ => self.failed(source),
        })
    }

    fn failed(&self, source: io::Error) -> HashError {
        HashError::Io { path: self.path.clone(), source }
    }
}
