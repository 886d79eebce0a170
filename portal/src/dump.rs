//! A dump of the whole index each day, as files, so that nobody has to scrape.
//!
//! `DIR/YYYY-MM-DD/` holds `runs.jsonl.gz`, `epochs.jsonl.gz`, `steps.jsonl.gz`, and `dump.json` with their sizes and SHA-256.
//! A folder appears whole or not at all; the last [`KEPT`] days stay. Lines are those of the API, epochs and steps with the
//! names of their run in front. The chain moves while a dump is written: each line was true when it was written.

use std::{
    fs::{self, File},
    future::Future,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use ledger::{Address, ChainId, Digest, RunId, StepIndex};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    api::{
        handlers::{anchored_steps, following},
        model::{EpochView, NOT_PROVED, RunView, StepView},
        query::MAX_LIMIT,
    },
    index::{Cursor, Index, IndexError, RunEntry, RunFilter, RunSort},
    server::Refusal,
    time::{date, now, rfc3339},
};

/// Days whose dumps are kept.
pub const KEPT: usize = 7;

/// Time between two looks at the calendar.
const LOOK: Duration = Duration::from_secs(60);

/// Names of the files, apart from the description.
pub(crate) const FILES: [&str; 3] = ["runs.jsonl.gz", "epochs.jsonl.gz", "steps.jsonl.gz"];
/// The description of a dump.
pub(crate) const DESCRIPTION: &str = "dump.json";

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The index failed in the middle of a run.
    #[error(transparent)]
    Read(#[from] Refusal),
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where dumps are kept.
#[derive(Clone, Debug)]
pub struct Dumps {
    dir: PathBuf,
}

/// What a dump's description says of a file.
#[derive(Serialize)]
struct Described {
    name: &'static str,
    bytes: u64,
    lines: u64,
    sha256: Digest,
}

#[derive(Serialize)]
struct Description {
    day: String,
    written_at: String,
    meaning: &'static str,
    files: Vec<Described>,
}

/// A line of a run's part, with the run's names.
#[derive(Serialize)]
struct Line<'r, T> {
    run: RunId,
    chain_id: ChainId,
    contract: Address,
    #[serde(flatten)]
    row: &'r T,
}

impl Dumps {
    /// Dumps below a folder, which is made when the first is written.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Writes a dump of each day, as soon as the day (UTC) has begun, until `stop` is ready. Failures are logged and tried
    /// again.
    pub async fn run(&self, index: &Index, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let day = date(now());
            if !self.dir.join(&day).is_dir() {
                let written = tokio::select! {
                    () = &mut stop => return,
                    written = self.write(index, &day) => written,
                };
                match written {
                    Ok(()) => tracing::info!(day, "dump of {day} written"),
                    Err(error) => tracing::warn!(day, %error, "dump of {day} not written: {error}"),
                }
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Writes the dump of a day and removes old ones.
    ///
    /// # Errors
    /// If the index or a file fails; then there is no dump of the day, and the others stay.
    pub async fn write(&self, index: &Index, day: &str) -> Result<(), DumpError> {
        let part = self.dir.join(format!(".{day}.part"));
        if part.exists() {
            fs::remove_dir_all(&part).map_err(written(&part))?;
        }
        fs::create_dir_all(&part).map_err(written(&part))?;
        let [runs, epochs, steps] = FILES;
        let mut runs = Lines::create(&part, runs)?;
        let (mut epochs, mut steps) = (Lines::create(&part, epochs)?, Lines::create(&part, steps)?);
        let mut cursor: Option<Cursor> = None;
        loop {
            let page = index.list(&RunFilter::default(), RunSort::Oldest, cursor, MAX_LIMIT).await?;
            for run in &page.runs {
                runs.add(&RunView::from(run))?;
                write_epochs(index, run, &mut epochs).await?;
                write_steps(index, run, &mut steps).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let files = vec![runs.finish()?, epochs.finish()?, steps.finish()?];
        let description = Description { day: day.to_owned(), written_at: rfc3339(now()), meaning: NOT_PROVED, files };
        let path = part.join(DESCRIPTION);
        let text = serde_json::to_vec_pretty(&description).map_err(io::Error::other).map_err(written(&path))?;
        fs::write(&path, text).map_err(written(&path))?;
        let whole = self.dir.join(day);
        fs::rename(&part, &whole).map_err(written(&whole))?;
        self.prune()
    }

    /// Days that have a dump, the newest first.
    ///
    /// # Errors
    /// If the folder cannot be read. One that is not there holds none.
    pub fn days(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut days = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            days.extend(name.to_str().filter(|name| crate::time::parse_date(name).is_some()).map(str::to_owned));
        }
        days.sort_by(|a, b| b.cmp(a));
        Ok(days)
    }

    /// A file of a dump; none if the day or the name is not one.
    pub(crate) fn file(&self, day: &str, name: &str) -> Option<PathBuf> {
        let known = FILES.contains(&name) || name == DESCRIPTION;
        (known && crate::time::parse_date(day).is_some()).then(|| self.dir.join(day).join(name))
    }

    fn prune(&self) -> Result<(), DumpError> {
        let days = self.days().map_err(written(&self.dir))?;
        for day in days.iter().skip(KEPT) {
            let dir = self.dir.join(day);
            fs::remove_dir_all(&dir).map_err(written(&dir))?;
        }
        Ok(())
    }
}

async fn write_epochs(index: &Index, run: &RunEntry, lines: &mut Lines) -> Result<(), DumpError> {
    let mut after = 0;
    while after < run.counter {
        let epochs = following(index, run, after, MAX_LIMIT).await?;
        for epoch in &epochs {
            lines.add(&Line::of(run, &EpochView::from(epoch)))?;
        }
        let Some(last) = epochs.last() else { break };
        after = last.counter;
    }
    Ok(())
}

async fn write_steps(index: &Index, run: &RunEntry, lines: &mut Lines) -> Result<(), DumpError> {
    let mut from = 0;
    while from < run.size.0 {
        let steps = anchored_steps(index, run, StepIndex(from), MAX_LIMIT).await?;
        for step in &steps {
            lines.add(&Line::of(run, &StepView::from(step)))?;
        }
        let Some(last) = steps.last() else { break };
        from = last.step.0 + 1;
    }
    Ok(())
}

impl<'r, T> Line<'r, T> {
    fn of(run: &RunEntry, row: &'r T) -> Self {
        Self { run: run.run, chain_id: run.chain, contract: run.contract, row }
    }
}

/// A compressed file of JSON lines.
struct Lines {
    name: &'static str,
    path: PathBuf,
    out: GzEncoder<Hashed>,
    n_lines: u64,
}

/// A file whose bytes are hashed and counted on their way.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
    n_bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Lines {
    fn create(dir: &Path, name: &'static str) -> Result<Self, DumpError> {
        let path = dir.join(name);
        let file = File::create_new(&path).map_err(written(&path))?;
        let hashed = Hashed { file: BufWriter::new(file), hash: Sha256::new(), n_bytes: 0 };
        Ok(Self { name, path, out: GzEncoder::new(hashed, Compression::default()), n_lines: 0 })
    }

    fn add(&mut self, row: &impl Serialize) -> Result<(), DumpError> {
        let mut line = serde_json::to_vec(row).map_err(io::Error::other).map_err(written(&self.path))?;
        line.push(b'\n');
        self.n_lines += 1;
        self.out.write_all(&line).map_err(written(&self.path))
    }

    fn finish(self) -> Result<Described, DumpError> {
        let Self { name, path, out, n_lines } = self;
        let Hashed { file, hash, n_bytes } = out.finish().map_err(written(&path))?;
        let file = file.into_inner().map_err(|error| error.into_error()).map_err(written(&path))?;
        file.sync_all().map_err(written(&path))?;
        Ok(Described { name, bytes: n_bytes, lines: n_lines, sha256: Digest(hash.finalize().into()) })
    }
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> DumpError + use<> {
    let path = path.to_owned();
    |source| DumpError::Write { path, source }
}
