//! How fast content is hashed: prints gigabytes a second and peak memory as JSON (`cargo xtask bench hash`); asserts nothing.
//!
//! Every kernel that this machine can run is measured, on a thirty-second of the bytes where it is very slow, and the one
//! named that the library chooses.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use torrent::{
    BLOCK_BYTES, Content, ContentPath, Directory, FileEntry, FileList, Kernel, PieceLength, Source, hash_with,
};

/// Bytes that cost no more to read than a copy out of the processor's cache.
struct Same {
    block: Vec<u8>,
    len: u64,
}

impl Content for Same {
    fn open(&self, path: &ContentPath) -> io::Result<Box<dyn Source>> {
        let len = if *path == name(FILE) { FILE_BYTES } else { PART_BYTES };
        Ok(Box::new(Same { block: self.block.clone(), len: len.into() }))
    }
}

impl Source for Same {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for some in buffer.chunks_mut(self.block.len()) {
            some.copy_from_slice(&self.block[..some.len()]);
        }
        Ok(())
    }
}

const FILE: &str = "file";
const FILE_BYTES: u32 = 512 << 20;

/// For kernels that hash less than a tenth of a gigabyte a second.
const PART: &str = "part";
const PART_BYTES: u32 = FILE_BYTES / 32;

fn name(file: &str) -> ContentPath {
    ContentPath::new(&[file]).expect("a safe path")
}

/// Gigabytes a second, and a second of processor time: the machine may have other work.
#[derive(Clone, Copy)]
struct Rate {
    wall: f64,
    cpu: f64,
}

/// How often each is measured; the best counts, as whatever else the machine does can only take from it.
const N_TIMES: usize = 5;

fn rate(bytes: u32, work: impl Fn()) -> Rate {
    let gigabytes = f64::from(bytes) / 1e9;
    let mut best = Rate { wall: 0.0, cpu: 0.0 };
    for _ in 0..N_TIMES {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        work();
        best.wall = best.wall.max(gigabytes / start.elapsed().as_secs_f64());
        best.cpu = best.cpu.max(gigabytes / (cpu_seconds() - cpu).max(0.01));
    }
    best
}

/// Processor time of all threads so far, by the hundredths of a second that Linux counts.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may have spaces: state is the first field, user and system time the 12th and 13th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The rate of all of a hybrid torrent's hashes of one file.
fn both(kernel: Kernel, content: &dyn Content, n_threads: usize) -> Rate {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
    let hashed = |file: &str, bytes: u32| {
        let files = FileList::new(vec![FileEntry { path: name(file), len: bytes.into() }]).expect("a file");
        let hashes =
            pool.install(|| hash_with(kernel, &files, PieceLength::for_total(FILE_BYTES.into()), content, &|_| ()));
        drop(black_box(hashes.expect("the file is there")));
    };
    let begin = Instant::now();
    hashed(PART, PART_BYTES);
    let is_slow = begin.elapsed().as_secs_f64() > f64::from(PART_BYTES) / 1e8;
    let (file, bytes) = if is_slow { (PART, PART_BYTES) } else { (FILE, FILE_BYTES) };
    rate(bytes, || hashed(file, bytes))
}

/// Whether the processor has instructions for both hashes.
fn has_sha_extensions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn main() {
    let block: Vec<u8> = (0..BLOCK_BYTES).map(|at| (at * 31) as u8).collect();
    let n_blocks = FILE_BYTES / BLOCK_BYTES;
    let sha1 = rate(FILE_BYTES, || {
        for _ in 0..n_blocks {
            black_box(Sha1::digest(black_box(&block)));
        }
    });
    let sha256 = rate(FILE_BYTES, || {
        for _ in 0..n_blocks {
            black_box(Sha256::digest(black_box(&block)));
        }
    });
    let n_cores = std::thread::available_parallelism().map_or(1, Into::into);
    let memory = Same { block: block.clone(), len: FILE_BYTES.into() };
    // A file that was just written is read from the page cache.
    let dir = tempfile::tempdir().expect("scratch space");
    for (file, bytes) in [(FILE, FILE_BYTES), (PART, PART_BYTES)] {
        let mut written = fs::File::create(dir.path().join(file)).expect("scratch space");
        (0..bytes / BLOCK_BYTES).for_each(|_| written.write_all(&block).expect("scratch space"));
    }
    let file = Directory(dir.path().to_owned());
    let measured = Kernel::available().into_iter().map(|kernel| {
        let (one, all) = (both(kernel, &memory, 1), both(kernel, &memory, n_cores));
        format!(
            "{{\"kernel\":\"{}\",\"both_gb_cpu_s\":{},\"both_gb_s\":{},\"file_gb_cpu_s\":{},\"all_cores_gb_s\":{},\
             \"all_cores_gb_cpu_s\":{}}}",
            kernel.as_str(),
            one.cpu,
            one.wall,
            both(kernel, &file, 1).cpu,
            all.wall,
            all.cpu
        )
    });
    let kernels = measured.collect::<Vec<_>>().join(",");
    let chosen = Kernel::fastest().as_str();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak_rss_bytes = peak.unwrap_or(0_u64) * 1024;
    let has_sha_extensions = has_sha_extensions();
    println!(
        "{{\"sha1_gb_cpu_s\":{},\"sha256_gb_cpu_s\":{},\"kernels\":[{kernels}],\"chosen\":\"{chosen}\",\"n_cores\":{n_cores},\
         \"has_sha_extensions\":{has_sha_extensions},\"peak_rss_bytes\":{peak_rss_bytes}}}",
        sha1.cpu, sha256.cpu
    );
}
