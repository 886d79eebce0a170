//! Labelled data from comma-separated files: features first, the class last; plain or gzip.
//!
//! The split into training and test rows and the order of batches are pure functions of a seed, so a run can be
//! resumed and repeated anywhere.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use ledger::{Digest, StepIndex};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use sha2::{Digest as _, Sha256};

/// Largest decompressed file that is read, in bytes.
const MAX_LEN: u64 = 1 << 32;
/// Largest class number.
const MAX_CLASS: usize = 65_535;

/// Why a data file was refused. Lines and columns count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file could not be read or decompressed.
    #[error("{file}: {source}")]
    Io {
        /// Path.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too long.
    #[error("{file}: more than {max} bytes")]
    TooLong {
        /// Path.
        file: PathBuf,
        /// Limit.
        max: u64,
    },
    /// The text is not UTF-8.
    #[error("line {line}: not UTF-8")]
    Encoding {
        /// Line of the first bad byte.
        line: usize,
    },
    /// There are no rows.
    #[error("no rows")]
    Empty,
    /// A row has fewer than two columns, or another number than the first.
    #[error("line {line}: expected {expected} columns, got {got}")]
    Columns {
        /// Line.
        line: usize,
        /// Columns of the first row, at least 2.
        expected: usize,
        /// Columns found.
        got: usize,
    },
    /// A feature is not a number in its range.
    #[error("line {line}, column {column}: expected a number from 0 to {max}, got {got:?}")]
    Feature {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// Largest value.
        max: f64,
        /// Text found.
        got: String,
    },
    /// A label is not a class number.
    #[error("line {line}, column {column}: expected a class from 0 to {max}, got {got:?}")]
    Label {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// Largest class.
        max: usize,
        /// Text found.
        got: String,
    },
}

/// What all randomness of a run is derived from: initial weights, split, order of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// Largest value of a feature in the file; features are divided by it. For the digits data it is 16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureMax(pub f64);

/// Labelled rows in memory.
///
/// Shape: features `[n_rows, n_features]`, row-major, each in 0..=1; labels `[n_rows]`, each below `n_classes`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledData {
    features: Vec<f64>,
    labels: Vec<usize>,
    n_features: usize,
    n_classes: usize,
    digest: Digest,
}

/// Which rows are for training and which for testing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on, shuffled.
    pub train: Vec<usize>,
    /// Rows to test on, shuffled.
    pub test: Vec<usize>,
}

impl LabelledData {
    /// Reads a file, decompressing it if it begins as gzip does.
    ///
    /// Errors: every [`DataError`], naming line and column.
    pub fn read(path: &Path, feature_max: FeatureMax) -> Result<Self, DataError> {
        let io = |source| DataError::Io { file: path.to_owned(), source };
        let bytes = fs::read(path).map_err(io)?;
        let digest = Digest::of(&bytes);
        let text = if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = vec![];
            let decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
            decoder.take(MAX_LEN + 1).read_to_end(&mut text).map_err(io)?;
            text
        } else {
            bytes
        };
        if text.len() as u64 > MAX_LEN {
            return Err(DataError::TooLong { file: path.to_owned(), max: MAX_LEN });
        }
        Self::parse(&text, feature_max, digest)
    }

    /// Parses comma-separated text; `digest` is that of the file it came from. Empty lines are skipped.
    ///
    /// Errors: as [`Self::read`], but for those of files.
    pub fn parse(text: &[u8], FeatureMax(max): FeatureMax, digest: Digest) -> Result<Self, DataError> {
        let text = str::from_utf8(text).map_err(|e| {
            let line = 1 + text[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            DataError::Encoding { line }
        })?;
        let (mut features, mut labels) = (vec![], vec![]);
        let mut n_columns = None;
        for (line, row) in (1..).zip(text.lines()).filter(|(_, row)| !row.trim().is_empty()) {
            let got = row.split(',').count();
            let expected = *n_columns.get_or_insert(got.max(2));
            if got != expected {
                return Err(DataError::Columns { line, expected, got });
            }
            for (column, cell) in (1..).zip(row.split(',').map(str::trim)) {
                let got = || cell.chars().take(40).collect::<String>();
                if column == expected {
                    let label = cell.parse().ok().filter(|&label| label <= MAX_CLASS);
                    labels.push(label.ok_or_else(|| DataError::Label { line, column, max: MAX_CLASS, got: got() })?);
                } else {
                    let value = cell.parse().ok().filter(|v| (0.0..=max).contains(v));
                    let value: f64 = value.ok_or_else(|| DataError::Feature { line, column, max, got: got() })?;
                    features.push(value / max);
                }
            }
        }
        let n_columns = n_columns.ok_or(DataError::Empty)?;
        let n_classes = labels.iter().max().map_or(0, |&max| max + 1);
        Ok(Self { features, labels, n_features: n_columns - 1, n_classes, digest })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.labels.len()
    }

    /// Number of features a row.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// One more than the largest label.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Features of a row. Panics if it is out of bounds.
    pub fn features(&self, row: usize) -> &[f64] {
        &self.features[row * self.n_features..][..self.n_features]
    }

    /// Label of a row. Panics if it is out of bounds.
    pub fn label(&self, row: usize) -> usize {
        self.labels[row]
    }

    /// Sets one row in five (rounded down, at least one if there are two) apart for testing, at random by `seed`.
    pub fn split(&self, seed: Seed) -> Split {
        let mut rows: Vec<usize> = (0..self.n_rows()).collect();
        shuffle(&mut rows, &mut derived_rng(seed, "split", 0));
        let n_test = if rows.len() < 2 { 0 } else { (rows.len() / 5).max(1) };
        let train = rows.split_off(n_test);
        Split { train, test: rows }
    }
}

/// Rows of the mini-batch of one step: a pure function of its arguments.
///
/// Every pass over the training rows has its own order; rows that do not fill the last batch of a pass are left out of that
/// pass. A `batch_size` above the number of rows takes them all.
pub fn batch(train: &[usize], batch_size: usize, seed: Seed, step: StepIndex) -> Vec<usize> {
    let batch_size = batch_size.clamp(1, train.len().max(1));
    let per_pass = (train.len() / batch_size).max(1) as u64;
    let (pass, position) = (step.0 / per_pass, (step.0 % per_pass) as usize);
    let mut order = train.to_vec();
    shuffle(&mut order, &mut derived_rng(seed, "batches", pass));
    order.into_iter().skip(position * batch_size).take(batch_size).collect()
}

/// A generator for one purpose: ChaCha20 keyed by SHA-256 of purpose, seed and index.
pub(crate) fn derived_rng(seed: Seed, purpose: &str, index: u64) -> ChaCha20Rng {
    let mut hasher = Sha256::new();
    hasher.update(b"cairn reference trainer v1\0");
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(seed.0.to_be_bytes());
    hasher.update(index.to_be_bytes());
    ChaCha20Rng::from_seed(hasher.finalize().into())
}

/// Uniform in 0..bound, without bias. Written out so that no library's sampling can change a run.
fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    let usable = u64::MAX - u64::MAX % bound;
    loop {
        let draw = rng.next_u64();
        if draw < usable {
            return draw % bound;
        }
    }
}

fn shuffle(rows: &mut [usize], rng: &mut ChaCha20Rng) {
    for last in (1..rows.len()).rev() {
        let other = below(rng, last as u64 + 1) as usize;
        rows.swap(last, other);
    }
}
