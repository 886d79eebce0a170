//! How fast content is hashed: `cargo bench -p torrent`. Prints gigabytes a second and peak memory; asserts nothing.

use std::hint::black_box;
use std::io::{self, Read};
use std::time::Instant;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use torrent::{BLOCK_BYTES, Content, ContentPath, FileEntry, FileList, PieceLength, hash};

/// Bytes that cost nothing to read.
struct Same(Vec<u8>);

impl Content for Same {
    fn open(&self, _: &ContentPath, offset: u64) -> io::Result<Box<dyn Read>> {
        let left = u64::from(FILE_BYTES) - offset;
        Ok(Box::new(Endless(self.0.clone()).take(left)))
    }
}

struct Endless(Vec<u8>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.0.len());
        buffer[..len].copy_from_slice(&self.0[..len]);
        Ok(len)
    }
}

const FILE_BYTES: u32 = 512 << 20;

fn measure(what: &str, bytes: u64, n_threads: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    let rate = bytes as f64 / 1e9 / seconds;
    println!("{what:44} {rate:6.2} GB/s {:6.2} GB/s a core", rate / n_threads as f64);
}

fn main() {
    let block: Vec<u8> = (0..BLOCK_BYTES).map(|at| (at * 31) as u8).collect();
    let n_blocks = FILE_BYTES / BLOCK_BYTES;
    let bytes = u64::from(FILE_BYTES);
    measure("SHA-1 alone, blocks of 16 KiB", bytes, 1, || {
        for _ in 0..n_blocks {
            black_box(Sha1::digest(black_box(&block)));
        }
    });
    measure("SHA-256 alone, blocks of 16 KiB", bytes, 1, || {
        for _ in 0..n_blocks {
            black_box(Sha256::digest(black_box(&block)));
        }
    });
    let path = ContentPath::new(&["file"]).expect("a safe path");
    let files = FileList::new(vec![FileEntry { path, len: bytes }]).expect("a file");
    let content = Same(block);
    for n_threads in [1, std::thread::available_parallelism().map_or(1, Into::into)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
        let what = format!("both, hybrid torrent of one file, {n_threads} threads");
        let hashed = || pool.install(|| hash(&files, PieceLength::for_total(bytes), &content, &|_| ()));
        measure(&what, bytes, n_threads, || drop(black_box(hashed().expect("nothing fails in memory"))));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("{peak}");
    }
}
