//! What must not be published: the run secret and the optimizer state.
//!
//! It lives in a directory of its own, `<private>/run-<id>/`, with mode 0700 and files of mode 0600, and its
//! names are refused by every manifest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ledger::{RunId, StepIndex};
use zeroize::Zeroizing;

use crate::fs::{TEMPORARY_PREFIX, sync_parent};
use crate::layout::run_dir_name;

/// Length of a run secret in bytes.
const SECRET_BYTES: usize = 32;

/// Largest length of a stored state.
const MAX_STATE_BYTES: u64 = 64 << 30;

/// What can be wrong with a private directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// The operating system refused.
    #[error("{}: cannot {operation}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The private directory is inside the public one, or the other way round.
    #[error("{}: private and public directories must be apart, got {}", private.display(), public.display())]
    NotApart {
        /// The private directory.
        private: PathBuf,
        /// The public one.
        public: PathBuf,
    },
    /// Others can read the file or the directory.
    #[error("{}: expected no access for group and others, got mode {mode:o}", path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The secret is not 32 bytes.
    #[error("{}: expected {SECRET_BYTES} bytes, got {got}", path.display())]
    SecretLength {
        /// The file.
        path: PathBuf,
        /// Length found.
        got: usize,
    },
    /// The run has a secret already.
    #[error("{}: the run has a secret already", path.display())]
    SecretExists {
        /// The file.
        path: PathBuf,
    },
    /// A file is not there.
    #[error("{}: missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A link or directory where a file should be.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The entry.
        path: PathBuf,
    },
}

/// The secret of a run, from which blinding seeds are derived. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct RunSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl RunSecret {
    /// Wraps 32 bytes, which should come from the operating system's generator.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. Keep copies short-lived.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for RunSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunSecret(..)")
    }
}

/// The private directory of one run.
#[derive(Clone, Debug)]
pub struct PrivateDir {
    root: PathBuf,
}

impl PrivateDir {
    /// Opens or creates `<private>/run-<id>/` and removes what an interrupted write left.
    ///
    /// `public` is the directory that runs are published from; neither may contain the other.
    ///
    /// **Errors**: [`PrivateError::NotApart`], [`PrivateError::TooOpen`], [`PrivateError::Io`].
    pub fn open_or_create(private: &Path, public: &Path, run: RunId) -> Result<Self, PrivateError> {
        create_dir(private)?;
        fs::create_dir_all(public).map_err(failed("create", public))?;
        let inside = fs::canonicalize(private).map_err(failed("resolve", private))?;
        let outside = fs::canonicalize(public).map_err(failed("resolve", public))?;
        if inside.starts_with(&outside) || outside.starts_with(&inside) {
            return Err(PrivateError::NotApart { private: inside, public: outside });
        }
        let root = inside.join(run_dir_name(run));
        create_dir(&root)?;
        check_mode(&root)?;
        for entry in fs::read_dir(&root).map_err(failed("list", &root))? {
            let entry = entry.map_err(failed("list", &root))?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        Ok(Self { root })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The run's secret; none before [`Self::create_secret`].
    ///
    /// **Errors**: [`PrivateError::TooOpen`], [`PrivateError::SecretLength`], [`PrivateError::Io`].
    pub fn secret(&self) -> Result<Option<RunSecret>, PrivateError> {
        self.read_secret("secret")
    }

    /// Stores the run's secret, once.
    ///
    /// **Errors**: [`PrivateError::SecretExists`], [`PrivateError::Io`].
    pub fn create_secret(&self, secret: &RunSecret) -> Result<(), PrivateError> {
        let path = self.root.join("secret");
        match fs::symlink_metadata(&path) {
            Ok(_) => Err(PrivateError::SecretExists { path }),
            Err(_) => self.write(&path, secret.expose()),
        }
    }

    /// Stores the state *before* `step`, as bytes whose meaning is the caller's.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn write_state(&self, step: StepIndex, bytes: &[u8]) -> Result<(), PrivateError> {
        self.write(&self.state_path(step), bytes)
    }

    /// The state *before* `step`.
    ///
    /// **Errors**: [`PrivateError::Missing`], [`PrivateError::TooOpen`], [`PrivateError::Io`].
    pub fn read_state(&self, step: StepIndex) -> Result<Zeroizing<Vec<u8>>, PrivateError> {
        self.read(&self.state_path(step), MAX_STATE_BYTES)
    }

    /// The steps before which a state is stored, in order.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn states(&self) -> Result<Vec<StepIndex>, PrivateError> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let name = entry.map_err(failed("list", &self.root))?.file_name();
            let name = name.to_string_lossy();
            let digits = name.strip_prefix("state_").and_then(|rest| rest.strip_suffix(".bin"));
            steps.extend(digits.and_then(|digits| digits.parse::<StepIndex>().ok()));
        }
        steps.sort();
        Ok(steps)
    }

    /// Removes the state before `step`.
    ///
    /// **Errors**: [`PrivateError::Missing`], [`PrivateError::Io`].
    pub fn remove_state(&self, step: StepIndex) -> Result<(), PrivateError> {
        let path = self.state_path(step);
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    /// Runs that were recorded as children of the state *before* `step`, in order.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn children(&self, step: StepIndex) -> Result<Vec<RunId>, PrivateError> {
        let prefix = child_prefix(step);
        let mut children = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let name = entry.map_err(failed("list", &self.root))?.file_name();
            let name = name.to_string_lossy();
            children.extend(name.strip_prefix(&prefix).and_then(|run| run.parse::<RunId>().ok()));
        }
        children.sort();
        Ok(children)
    }

    /// Records `child` as starting from the state *before* `step`; on disk when this returns. Recording it again changes
    /// nothing. The caller holds the run's writer lock between counting and recording.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn add_child(&self, step: StepIndex, child: RunId) -> Result<(), PrivateError> {
        self.write(&self.root.join(format!("{}{child}", child_prefix(step))), b"")
    }

    /// Blinding seed of state 0 of a child run, which is the parent's; none in a run without parent.
    ///
    /// **Errors**: [`PrivateError::TooOpen`], [`PrivateError::SecretLength`], [`PrivateError::Io`].
    pub fn genesis_seed(&self) -> Result<Option<RunSecret>, PrivateError> {
        self.read_secret("genesis_seed")
    }

    /// Stores the blinding seed of state 0 of a child run.
    ///
    /// **Errors**: [`PrivateError::Io`].
    pub fn write_genesis_seed(&self, seed: &RunSecret) -> Result<(), PrivateError> {
        self.write(&self.root.join("genesis_seed"), seed.expose())
    }

    fn read_secret(&self, name: &str) -> Result<Option<RunSecret>, PrivateError> {
        let path = self.root.join(name);
        let bytes = match self.read(&path, SECRET_BYTES as u64 + 1) {
            Err(PrivateError::Missing { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let got = bytes.len();
        let secret: [u8; SECRET_BYTES] = bytes[..].try_into().map_err(|_| PrivateError::SecretLength { path, got })?;
        Ok(Some(RunSecret::new(secret)))
    }

    fn state_path(&self, step: StepIndex) -> PathBuf {
        self.root.join(format!("state_{:06}.bin", step.0))
    }

    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, PrivateError> {
        let metadata = fs::symlink_metadata(path).map_err(failed("open", path))?;
        if !metadata.is_file() {
            return Err(PrivateError::NotAFile { path: path.to_owned() });
        }
        check_mode(path)?;
        // Room for everything at once, so that growing leaves no copy behind that is not wiped.
        let room = usize::try_from(metadata.len().min(limit)).unwrap_or(0) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        let file = File::open(path).map_err(failed("open", path))?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed("read", path))?;
        Ok(bytes)
    }

    /// Replaces a file at once, never readable by others.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!("{TEMPORARY_PREFIX}{name}"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary).map_err(failed("create", &temporary))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(failed("write", &temporary))?;
        fs::rename(&temporary, path).map_err(failed("rename", path))?;
        sync_parent(path).map_err(failed("write", path))
    }
}

fn child_prefix(step: StepIndex) -> String {
    format!("child_{:06}_", step.0)
}

pub(crate) fn create_dir(path: &Path) -> Result<(), PrivateError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed("create", path))
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), PrivateError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::symlink_metadata(path).map_err(failed("open", path))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(PrivateError::TooOpen { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), PrivateError> {
    Ok(())
}

pub(crate) fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PrivateError + 'a {
    move |source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => PrivateError::Missing { path },
            _ => PrivateError::Io { operation, path, source },
        }
    }
}
