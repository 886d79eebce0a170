//! Reading `steps.jsonl`: lines are parsed and hashed on all cores, then chained one by one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use ledger::record::MAX_RECORD_BYTES;
use ledger::{
    ChainHead, Digest, FieldElement, MerkleTree, RecordError, Root, SealedRecord, SealedRun, StepIndex, TreeSize,
};
use rayon::prelude::*;

use crate::error::StoreError;

/// Lines that are parsed together; enough to occupy all cores.
const BATCH_LINES: usize = 2048;

/// Bytes after which a batch is closed, so that hostile lines cannot fill the memory.
const BATCH_BYTES: usize = 32 << 20;

/// What a checked log says, without its records.
///
/// **Size**: about 180 bytes a step.
#[derive(Clone, Debug)]
pub struct LogIndex {
    tree: MerkleTree,
    head: ChainHead,
    genesis_state: FieldElement,
    digests: Vec<FieldElement>,
    hashes: Vec<Digest>,
    states: Vec<FieldElement>,
    /// End of each line, its newline included, in bytes from the start of the file.
    ends: Vec<u64>,
}

impl LogIndex {
    /// The index of an empty log.
    pub(crate) fn new(run: &SealedRun) -> Self {
        Self {
            tree: MerkleTree::new(),
            head: ChainHead::genesis(run),
            genesis_state: run.description().genesis_state,
            digests: Vec::new(),
            hashes: Vec::new(),
            states: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Number of steps.
    pub fn size(&self) -> TreeSize {
        self.tree.size()
    }

    /// Root over all steps.
    pub fn root(&self) -> Root {
        self.tree.root()
    }

    /// The tree, for roots of earlier sizes and for proofs.
    pub fn tree(&self) -> &MerkleTree {
        &self.tree
    }

    /// What the next record must continue.
    pub fn head(&self) -> &ChainHead {
        &self.head
    }

    /// D_t of a step.
    pub fn digest(&self, step: StepIndex) -> Option<FieldElement> {
        at(&self.digests, step)
    }

    /// A_t of a step.
    pub fn record_hash(&self, step: StepIndex) -> Option<Digest> {
        at(&self.hashes, step)
    }

    /// Digest of the state after a step.
    pub fn state_after(&self, step: StepIndex) -> Option<FieldElement> {
        at(&self.states, step)
    }

    /// Digest of the state before a step, which may be the one that comes next.
    pub fn state_before(&self, step: StepIndex) -> Option<FieldElement> {
        match step.0.checked_sub(1) {
            None => Some(self.genesis_state),
            Some(before) => at(&self.states, StepIndex(before)),
        }
    }

    /// D_t of `n_steps` steps from `first` on; none unless the log has them all.
    pub fn digests(&self, first: StepIndex, n_steps: u64) -> Option<&[FieldElement]> {
        slice(&self.digests, first, n_steps)
    }

    /// A_t of `n_steps` steps from `first` on; none unless the log has them all.
    pub fn record_hashes(&self, first: StepIndex, n_steps: u64) -> Option<&[Digest]> {
        slice(&self.hashes, first, n_steps)
    }

    /// Offset and length of a step's line, without its newline.
    pub(crate) fn span(&self, step: StepIndex) -> Option<(u64, usize)> {
        let end = at(&self.ends, step)?;
        let start = step.0.checked_sub(1).map_or(Some(0), |before| at(&self.ends, StepIndex(before)))?;
        Some((start, usize::try_from(end - start - 1).ok()?))
    }

    /// Length of the file up to and with the last line.
    pub(crate) fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Adds the next record. **Errors**: a broken chain, and nothing is added.
    pub(crate) fn push(&mut self, record: &SealedRecord) -> Result<(), ledger::ChainError> {
        self.head.extend(record)?;
        self.tree.push(record.leaf());
        self.digests.push(record.record().digest);
        self.hashes.push(record.hash());
        self.states.push(record.record().state_out);
        self.ends.push(self.end() + record.bytes().len() as u64 + 1);
        Ok(())
    }
}

fn at<T: Copy>(items: &[T], step: StepIndex) -> Option<T> {
    items.get(usize::try_from(step.0).ok()?).copied()
}

fn slice<T>(items: &[T], first: StepIndex, n: u64) -> Option<&[T]> {
    let end = first.0.checked_add(n)?;
    items.get(usize::try_from(first.0).ok()?..usize::try_from(end).ok()?)
}

/// What follows the last line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// Bytes without a newline at their end.
    Torn { bytes: u64 },
    /// Bytes behind the lines that were asked for.
    More,
}

/// Reads whole lines, all of them or the first `limit`, and checks that each continues the one before.
///
/// `visit` gets the records in order, in batches, after their chain was checked.
pub(crate) fn scan(
    source: impl Read,
    path: &Path,
    run: &SealedRun,
    limit: Option<TreeSize>,
    visit: &mut dyn FnMut(&[SealedRecord]) -> Result<(), StoreError>,
) -> Result<(LogIndex, Tail), StoreError> {
    let mut lines = Lines { source: BufReader::with_capacity(1 << 20, source), path, tail: Tail::Clean };
    let mut index = LogIndex::new(run);
    loop {
        let left = limit.map_or(u64::MAX, |limit| limit.0 - index.size().0);
        let batch = lines.batch(left)?;
        if batch.is_empty() {
            break;
        }
        let first = index.size().0 + 1;
        let record = |(offset, line): (usize, &Vec<u8>)| {
            SealedRecord::parse(line).map_err(|source| (first + offset as u64, source))
        };
        let records: Vec<Result<SealedRecord, (u64, RecordError)>> = batch.par_iter().enumerate().map(record).collect();
        let mut sealed = Vec::with_capacity(records.len());
        for (line, record) in (first..).zip(records) {
            let path = || path.to_owned();
            let record = record.map_err(|(line, source)| StoreError::Record { path: path(), line, source })?;
            index.push(&record).map_err(|source| StoreError::Chain { path: path(), line, source })?;
            sealed.push(record);
        }
        visit(&sealed)?;
    }
    Ok((index, lines.tail))
}

struct Lines<'a, R> {
    source: BufReader<R>,
    path: &'a Path,
    tail: Tail,
}

impl<R: Read> Lines<'_, R> {
    /// The next lines, at most `left`, without their newlines. Empty at the end; then `tail` says what follows.
    fn batch(&mut self, left: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let failed = || StoreError::io("read", self.path);
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < BATCH_LINES && bytes < BATCH_BYTES {
            if lines.len() as u64 == left {
                if left == 0 && !self.source.fill_buf().map_err(failed())?.is_empty() {
                    self.tail = Tail::More;
                }
                break;
            }
            let mut line = Vec::new();
            // One byte more than the longest line, for the newline.
            let longest = MAX_RECORD_BYTES as u64 + 1;
            let read = (&mut self.source).take(longest).read_until(b'\n', &mut line).map_err(failed())?;
            if read == 0 {
                break;
            }
            if line.pop_if(|last| *last == b'\n').is_none() {
                if read as u64 == longest {
                    // Not torn but too long: let the record's parser say so.
                    lines.push(line);
                    break;
                }
                self.tail = Tail::Torn { bytes: read as u64 };
                break;
            }
            bytes += line.len();
            lines.push(line);
        }
        Ok(lines)
    }
}
