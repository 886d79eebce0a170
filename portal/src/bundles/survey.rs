//! What a directory holds, before any file of it is read: names, kinds and lengths.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use ledger::{Digest, RunId};
use store::layout::{EPOCHS_DIR, PROOFS_DIR, RunFile, run_dir_name};

/// Bytes of a manifest for each file that it can list: a path, two numbers, a digest and what JSON needs around them.
const MANIFEST_BYTES_A_FILE: u64 = 512;

/// What a bundle may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes in its files.
    pub max_bytes: u64,
    /// Most files.
    pub max_files: u64,
    /// Most bundles of a folder; those behind, by name, are not looked at.
    pub max_bundles: usize,
}

impl Default for Limits {
    /// As `cairn fetch` and torrents of bundles.
    fn default() -> Self {
        Self { max_bytes: 100_000_000_000, max_files: 1 << 20, max_bundles: 10_000 }
    }
}

/// More than a bundle may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many files.
    #[error("more than {limit} files")]
    Files {
        /// Most that are taken.
        limit: u64,
    },
    /// Too many bytes.
    #[error("more than {limit} bytes")]
    Bytes {
        /// Most that are taken.
        limit: u64,
    },
}

impl Limits {
    /// Refuses more files than a bundle may have.
    pub(super) fn check_files(&self, n: u64) -> Result<(), TooMuch> {
        let limit = self.max_files;
        if n > limit { Err(TooMuch::Files { limit }) } else { Ok(()) }
    }

    /// Refuses more bytes than a bundle may have.
    pub(super) fn check_bytes(&self, n: u64) -> Result<(), TooMuch> {
        let limit = self.max_bytes;
        if n > limit { Err(TooMuch::Bytes { limit }) } else { Ok(()) }
    }
}

/// Why nothing of a directory is read. Paths are below the folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The entry.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A symbolic link, device, socket or pipe.
    #[error("{}: neither a file nor a directory", path.display())]
    Kind {
        /// The entry.
        path: PathBuf,
    },
    /// A file or directory that no run has.
    #[error("{}: not a file of a run", path.display())]
    Foreign {
        /// The entry.
        path: PathBuf,
    },
    /// More than a bundle may have.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The manifest is longer than one of so many files can be.
    #[error("the manifest has {got} bytes, one of {n_files} files has at most {limit}")]
    Manifest {
        /// Files there are.
        n_files: u64,
        /// Most bytes.
        limit: u64,
        /// Its bytes.
        got: u64,
    },
}

/// A directory that may be that of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surveyed {
    /// Changes when a file is added, taken away or written.
    pub(super) print: Digest,
}

/// Directories of a folder that are named after a run, in the order of their names, and whether there are more.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn candidates(folder: &Path, limits: &Limits) -> io::Result<(BTreeMap<String, RunId>, bool)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some(run) = run_of(&name) {
            found.insert(name, run);
        }
        if found.len() > limits.max_bundles {
            found.pop_last();
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// The run that a directory is named after.
pub(super) fn run_of(name: &str) -> Option<RunId> {
    let run = name.strip_prefix("run-")?.parse().ok()?;
    (run_dir_name(run) == name).then_some(run)
}

/// Looks through the directory of a run. Links are not followed, and no directory is entered that runs do not have.
///
/// # Errors
/// [`SurveyError`].
pub(super) fn survey(folder: &Path, name: &str, limits: &Limits) -> Result<Surveyed, SurveyError> {
    let mut walk = Walk { folder, limits, n_files: 0, bytes: 0, manifest: 0, seen: BTreeMap::new() };
    walk.directory(Path::new(name), "")?;
    let limit = MANIFEST_BYTES_A_FILE.saturating_mul(walk.n_files.saturating_add(1));
    if walk.manifest > limit {
        return Err(SurveyError::Manifest { n_files: walk.n_files, limit, got: walk.manifest });
    }
    let mut text = String::new();
    for (name, (len, modified)) in &walk.seen {
        text.push_str(&format!("{name} {len} {modified}\n"));
    }
    Ok(Surveyed { print: Digest::of(text.as_bytes()) })
}

struct Walk<'a> {
    folder: &'a Path,
    limits: &'a Limits,
    n_files: u64,
    bytes: u64,
    manifest: u64,
    /// Length and time of each file.
    seen: BTreeMap<String, (u64, u128)>,
}

impl Walk<'_> {
    /// `at`: below the folder; `inside`: below the run.
    fn directory(&mut self, at: &Path, inside: &str) -> Result<(), SurveyError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SurveyError::Io { path, source }
        };
        let path = self.folder.join(at);
        if !fs::symlink_metadata(&path).map_err(failed(at))?.is_dir() {
            return Err(SurveyError::Kind { path: at.to_owned() });
        }
        for entry in fs::read_dir(&path).map_err(failed(at))? {
            let entry = entry.map_err(failed(at))?;
            self.n_files += 1;
            self.limits.check_files(self.n_files)?;
            let here = at.join(entry.file_name());
            let foreign = || SurveyError::Foreign { path: here.clone() };
            let name = entry.file_name().into_string().map_err(|_| foreign())?;
            // Locks and temporary files are not part of the run, and are not looked at.
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(failed(&here))?;
            let relative = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if kind.is_dir() {
                if relative != PROOFS_DIR && relative != EPOCHS_DIR {
                    return Err(foreign());
                }
                self.directory(&here, &relative)?;
            } else if kind.is_file() {
                let file = RunFile::parse(&relative).ok_or_else(foreign)?;
                self.file(file, relative, &entry.metadata().map_err(failed(&here))?)?;
            } else {
                return Err(SurveyError::Kind { path: here });
            }
        }
        Ok(())
    }

    fn file(&mut self, file: RunFile, relative: String, metadata: &fs::Metadata) -> Result<(), SurveyError> {
        let len = metadata.len();
        self.bytes = self.bytes.saturating_add(len);
        self.limits.check_bytes(self.bytes)?;
        if file == RunFile::Manifest {
            self.manifest = len;
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.seen.insert(relative, (len, modified.unwrap_or_default().as_nanos()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        format!("run-0x{}07", "00".repeat(31))
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join(name());
        fs::create_dir_all(run.join(PROOFS_DIR)).unwrap();
        fs::write(run.join("run.json"), "{}").unwrap();
        fs::write(run.join("proofs/step_000000.proof"), [7; 100]).unwrap();
        (folder, run)
    }

    fn refusal(folder: &Path, limits: &Limits) -> SurveyError {
        survey(folder, &name(), limits).unwrap_err()
    }

    #[test]
    fn only_directories_named_after_a_run_are_looked_at() {
        let (folder, _) = folder();
        for other in ["run-7", "run-0x07", "backup", ".run-0x07.fetching", &format!("{}.quarantine", name())] {
            fs::create_dir(folder.path().join(other)).unwrap();
        }
        let (found, more) = candidates(folder.path(), &Limits::default()).unwrap();
        assert_eq!((found.into_keys().collect::<Vec<_>>(), more), (vec![name()], false));
        let none = Limits { max_bundles: 0, ..Limits::default() };
        assert_eq!(candidates(folder.path(), &none).unwrap(), (BTreeMap::new(), true));
    }

    #[test]
    fn a_change_of_any_file_is_seen() {
        let (folder, run) = folder();
        let print = || survey(folder.path(), &name(), &Limits::default()).unwrap().print;
        let before = print();
        assert_eq!(print(), before);
        fs::write(run.join(".lock"), "x").unwrap();
        assert_eq!(print(), before, "hidden files are not part of the run");
        fs::write(run.join("checkpoint"), "x").unwrap();
        assert_ne!(print(), before);
    }

    #[test]
    fn what_no_run_has_is_refused_for_its_own_reason() {
        let limits = Limits::default();
        let (large, many) = (Limits { max_bytes: 101, ..limits }, Limits { max_files: 2, ..limits });
        let (folder, _run) = folder();
        assert!(matches!(refusal(folder.path(), &large), SurveyError::TooMuch(TooMuch::Bytes { limit: 101 })));
        assert!(matches!(refusal(folder.path(), &many), SurveyError::TooMuch(TooMuch::Files { limit: 2 })));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_deep_trees_are_refused_and_not_entered() {
        use std::os::unix::fs::symlink;
        let limits = Limits::default();
        let (one, run) = folder();
        symlink("/etc/passwd", run.join("checkpoint")).unwrap();
        assert!(matches!(refusal(one.path(), &limits), SurveyError::Kind { path } if path.ends_with("checkpoint")));

        let (two, run) = folder();
        fs::remove_dir_all(run.join(PROOFS_DIR)).unwrap();
        symlink(one.path(), run.join(PROOFS_DIR)).unwrap();
        assert!(matches!(refusal(two.path(), &limits), SurveyError::Kind { path } if path.ends_with(PROOFS_DIR)));

        let (three, run) = folder();
        fs::create_dir_all(run.join("proofs/a/b/c/d")).unwrap();
        assert!(matches!(refusal(three.path(), &limits), SurveyError::Foreign { path } if path.ends_with("proofs/a")));

        let four = tempfile::tempdir().unwrap();
        symlink(&run, four.path().join(name())).unwrap();
        assert!(matches!(refusal(four.path(), &limits), SurveyError::Kind { .. }));
    }

    #[test]
    fn a_manifest_that_is_longer_than_its_files_need_is_not_read() {
        let (folder, run) = folder();
        fs::write(run.join("run_manifest.json"), vec![b' '; 4096]).unwrap();
        let Err(SurveyError::Manifest { n_files, limit, got }) = survey(folder.path(), &name(), &Limits::default())
        else {
            panic!("taken")
        };
        assert_eq!((n_files, limit, got), (4, 2560, 4096));
    }
}
