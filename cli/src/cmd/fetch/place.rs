//! Where a run arrives, and how it takes the place of an earlier copy.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chain::Announcement;
use ledger::RunId;
use store::RunDir;
use store::layout::run_dir_name;
use torrent::{Metadata, Metainfo};

use crate::cmd::bundle;

/// The directories of one run's arrival; all are in the same one, so that a move is a rename.
pub struct Target {
    /// Where it goes.
    dir: PathBuf,
    /// Where it arrives.
    staging: PathBuf,
    /// Where the earlier copy is for a moment.
    before: PathBuf,
}

impl Target {
    /// In `out`, which is made if it is not there. Ends a replacement that was interrupted.
    pub fn new(out: &Path, run: RunId, is_sample: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
        let name = run_dir_name(run) + if is_sample { ".sampled" } else { "" };
        let at = |name: String| out.join(name);
        let target =
            Self { staging: at(format!(".{name}.fetching")), before: at(format!(".{name}.before")), dir: at(name) };
        if target.before.exists() {
            if target.dir.exists() {
                remove(&target.before)?;
            } else {
                rename(&target.before, &target.dir)?;
            }
        }
        Ok(target)
    }

    /// Where the files arrive.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Puts what an earlier copy has into the staging directory, and takes out what is not of this bundle.
    ///
    /// Errors: the earlier copy has more steps than were announced.
    pub fn prepare(&self, metadata: &Metadata, announced: Option<&Announcement>) -> anyhow::Result<()> {
        let here = RunDir::open(&self.dir).and_then(|dir| dir.checkpoint());
        if let (Ok(here), Some(bundle)) = (&here, announced)
            && here.size > bundle.size
        {
            anyhow::bail!(
                "{} has {} steps, the bundle {}: an earlier one does not replace it",
                self.dir.display(),
                here.size,
                bundle.size
            );
        }
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        anyhow::ensure!(!is_link(&self.staging), "{} is a symbolic link", self.staging.display());
        fs::create_dir_all(&self.staging).with_context(|| format!("create {}", self.staging.display()))?;
        let wanted: BTreeSet<PathBuf> =
            metadata.files().files().iter().map(|file| file.path.below(&self.staging)).collect();
        prune(&self.staging, &wanted)?;
        for file in metadata.files().files() {
            let (from, to) = (file.path.below(&self.dir), file.path.below(&self.staging));
            let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
            // A copy, not a link: what arrives is written into it.
            if is_file(&from) && !to.exists() {
                let above = to.parent().unwrap_or(&self.staging);
                fs::create_dir_all(above).with_context(|| format!("create {}", above.display()))?;
                fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
            }
        }
        Ok(())
    }

    /// Gives the run its name, with its torrent beside it. Returns where it is.
    pub fn accept(&self, torrent: Option<&Metainfo>) -> anyhow::Result<PathBuf> {
        if self.dir.exists() {
            rename(&self.dir, &self.before)?;
        }
        rename(&self.staging, &self.dir)?;
        if self.before.exists() {
            remove(&self.before)?;
        }
        if let Some(torrent) = torrent {
            bundle::write(&bundle::beside(&self.dir), torrent.as_bytes())?;
        }
        Ok(self.dir.clone())
    }

    /// Puts aside what does not hold. Returns where it is.
    pub fn quarantine(&self) -> anyhow::Result<PathBuf> {
        let at = |n: u32| {
            let mut name = self.dir.clone().into_os_string();
            name.push(if n == 0 { ".quarantine".to_owned() } else { format!(".quarantine.{n}") });
            PathBuf::from(name)
        };
        let free = (0..u32::MAX).map(at).find(|path| fs::symlink_metadata(path).is_err());
        let aside = free.with_context(|| format!("{} has too many in quarantine", self.dir.display()))?;
        rename(&self.staging, &aside)?;
        Ok(aside)
    }
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("move {} to {}", from.display(), to.display()))?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = fs::File::open(above).and_then(|above| above.sync_all());
    synced.with_context(|| format!("sync {}", above.display()))
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

/// Removes files that are not wanted; links too, which are not followed.
fn prune(dir: &Path, wanted: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    let prune = || -> io::Result<()> {
        let mut left = vec![dir.to_owned()];
        while let Some(at) = left.pop() {
            for entry in fs::read_dir(&at)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() {
                    left.push(path);
                } else if kind.is_symlink() || !wanted.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    };
    prune().with_context(|| format!("clear {}", dir.display()))
}
