//! The committed file of a deployment: `<directory>/<chain id>.json`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use chain::{Deployment, DeploymentError};
use ledger::ChainId;

use crate::output::failed;

/// Where deployments are recorded if no other directory is named.
pub const DIRECTORY: &str = "deploy/addresses";

/// Longest file that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;

fn file(dir: &Path, chain: ChainId) -> PathBuf {
    dir.join(format!("{chain}.json"))
}

/// Reads the record of a chain; none if there is none.
///
/// Errors: a failed check `record` if its addresses are not those that its values give, or it is of another chain.
pub fn read(dir: &Path, chain: ChainId) -> anyhow::Result<Option<Deployment>> {
    let path = file(dir, chain);
    let size = match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.with_context(|| format!("read {}", path.display()))?.len(),
    };
    anyhow::ensure!(size <= MAX_BYTES, "{}: expected at most {MAX_BYTES} bytes, got {size}", path.display());
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let record = Deployment::parse(&bytes).with_context(|| format!("{}", path.display()))?;
    if record.chain_id != chain {
        return Err(failed("record", format!("{}: expected chain {chain}, got {}", path.display(), record.chain_id)));
    }
    record.plan().map_err(|error| refuse(&path, error))?;
    Ok(Some(record))
}

/// What is recorded, with what a deployment has more.
///
/// Errors: a failed check `record` if another deployment is recorded for the chain.
pub fn merged(dir: &Path, deployment: &Deployment) -> anyhow::Result<Deployment> {
    let Some(mut record) = read(dir, deployment.chain_id)? else { return Ok(deployment.clone()) };
    record.merge(deployment).map_err(|error| refuse(&file(dir, deployment.chain_id), error))?;
    Ok(record)
}

/// Writes the record of a chain; returns its path.
pub fn write(dir: &Path, record: &Deployment) -> anyhow::Result<PathBuf> {
    let path = file(dir, record.chain_id);
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    std::fs::write(&path, record.to_text()?).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn refuse(path: &Path, error: DeploymentError) -> anyhow::Error {
    match error {
        DeploymentError::Address { .. } | DeploymentError::Recorded { .. } => {
            failed("record", format!("{}: {error}", path.display()))
        }
        other => anyhow::Error::new(other).context(path.display().to_string()),
    }
}
