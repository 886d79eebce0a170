//! Making a capsule.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use audit::capsule::contents::{self, Block, Contents, EpochKind, Program, ReferenceString, steps_of};
use audit::capsule::sources::SOURCES;
use audit::{Capsule, Keys, verifier};
use chain::{Client, LogSteps};
use circuits::convert::from_fr;
use ledger::{Address, ArtifactPath, Digest, canonical};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::layout::RunFile;
use store::{ArchiveWriter, FilesReport, RunDir, VerifiedLog};

use crate::home::Home;
use crate::output::failed;
use crate::run::{EpochCircuit, wrap_k};

/// A capsule that was written.
#[derive(Serialize)]
pub struct Made {
    /// Where it is.
    pub capsule: PathBuf,
    /// Its length.
    pub capsule_bytes: u64,
    /// Its SHA-256.
    pub capsule_sha256: Digest,
    /// Height of the block that it proves the head in.
    pub block: u64,
    /// Hash of that block.
    pub block_hash: Digest,
}

/// Where the bytes of an entry are.
enum Bytes {
    Here(Vec<u8>),
    File(PathBuf, u64),
}

/// Makes the capsule of a run whose log and files were just checked, and reads it back as a stranger would.
///
/// Errors: nothing is anchored, or not all of it; the node fails; a failed check of what was made.
pub async fn make(
    home: &Home<'_>,
    (dir, log, listed): (&RunDir, &VerifiedLog, &FilesReport),
    (client, contract): (&Client, Address),
    target: &Path,
) -> anyhow::Result<Made> {
    let run = dir.run().description();
    let mut sizes: Vec<LogSteps> = log.epochs.iter().map(|epoch| LogSteps(epoch.n_steps().ilog2() as u8)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    ensure!(!sizes.is_empty(), "no epoch of {} is aggregated, so none is anchored", run.run);
    let proof = client.prove_anchored(contract, run.run, &sizes).await?;
    let anchored = proof.verify(contract, run.run)?;

    let step = home.step(run)?;
    let srs = step.whole.as_ref().context("the reference string is not on this machine")?;
    let mut entries: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut put = |name: String, bytes: Vec<u8>| entries.insert(name, Bytes::Here(bytes));
    put(contents::ANCHOR_CODE.into(), proof.anchor_code.clone());
    put(contents::REGISTRY_CODE.into(), proof.registry_code.clone());
    put(contents::STATE.into(), proof.state.to_bytes()?);
    put(contents::STEP_KEY.into(), step.key.to_bytes());
    for (name, text) in SOURCES {
        put(format!("{}/{name}", contents::SOURCES), text.into());
    }
    let wrap_k = wrap_k(dir)?;
    let mut epochs = Vec::new();
    for (size, code) in &proof.verifier_codes {
        let n_steps = steps_of(*size);
        let circuit = EpochCircuit::new(run, n_steps as usize, wrap_k)?;
        let key = home.epoch(&step, &circuit)?;
        let mut bytes = Vec::new();
        key.write(&mut bytes)?;
        put(contents::epoch_key(n_steps), bytes);
        put(contents::verifier_source(n_steps), verifier::source(&step.srs, &key, &circuit)?.solidity.into());
        put(contents::verifier_code(n_steps), code.clone());
        let verifier = anchored.verifiers.get(size).context("a verifier that was proved")?.address;
        epochs.push(EpochKind { key: from_fr(&key.digest()), log_steps: *size, verifier });
    }
    let contents = Contents {
        block: Block { hash: anchored.head.block.hash, number: anchored.head.block.number },
        cairn: program()?,
        chain_id: client.chain(),
        contract,
        epochs,
        manifest: listed.manifest_digest,
        root: log.log.root(),
        run: run.run,
        size: log.log.size(),
        srs: ReferenceString {
            digest: Digest(srs.info().digest.0),
            k: srs.info().k.k(),
            label: srs.info().label.to_string(),
            tau_h: hex::encode(step.srs.to_bytes()),
        },
        step_key: from_fr(&step.key.digest()),
        v: canonical::V1,
    };
    put(contents::CONTENTS.into(), contents.to_bytes()?);
    let manifest = dir.file(RunFile::Manifest);
    let manifest_len = std::fs::metadata(&manifest).with_context(|| manifest.display().to_string())?.len();
    let listed = listed.manifest.files().iter().map(|file| (file.path.to_string(), file.len));
    for (name, len) in listed.chain([(RunFile::Manifest.relative(), manifest_len)]) {
        let path = dir.path().join(&name);
        entries.insert(format!("{}/{name}", contents::RUN), Bytes::File(path, len));
    }
    write(target, entries)?;
    let made = check(target, &contents);
    if made.is_err() {
        // What does not hold is not left behind.
        std::fs::remove_file(target).with_context(|| format!("remove {}", target.display()))?;
    }
    made
}

/// This program.
pub fn program() -> anyhow::Result<Program> {
    let path = std::env::current_exe().context("find this program")?;
    let (sha256, _) = digest(&path)?;
    Ok(Program { sha256, version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// SHA-256 and length of a file.
fn digest(path: &Path) -> anyhow::Result<(Digest, u64)> {
    let read = || -> std::io::Result<(Digest, u64)> {
        let (mut file, mut hasher, mut piece, mut len) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18], 0);
        loop {
            let n = file.read(&mut piece)?;
            if n == 0 {
                return Ok((Digest(hasher.finalize().into()), len));
            }
            hasher.update(&piece[..n]);
            len += n as u64;
        }
    };
    read().with_context(|| format!("read {}", path.display()))
}

/// Writes a file beside the target, and replaces the target by it at once.
fn write(target: &Path, entries: BTreeMap<String, Bytes>) -> anyhow::Result<()> {
    let mut temporary = target.to_owned().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let write = || -> anyhow::Result<()> {
        let file = File::create(&temporary).with_context(|| format!("create {}", temporary.display()))?;
        let mut archive = ArchiveWriter::new(BufWriter::new(file));
        for (name, bytes) in entries {
            let path: ArtifactPath = name.parse()?;
            match bytes {
                Bytes::Here(bytes) => archive.add(&path, bytes.len() as u64, &mut &bytes[..])?,
                Bytes::File(from, len) => {
                    let mut file = File::open(&from).with_context(|| format!("read {}", from.display()))?;
                    archive.add(&path, len, &mut file)?;
                }
            }
        }
        let file = archive.finish()?.into_inner()?;
        file.sync_all()?;
        Ok(std::fs::rename(&temporary, target)?)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// Reads the capsule back; its proofs of steps and epochs apart, which the run's own verification is about.
fn check(target: &Path, contents: &Contents) -> anyhow::Result<Made> {
    let capsule = Capsule::open(target)?;
    ensure!(capsule.contents() == contents, "{} is not what was written", target.display());
    let dir = capsule.run()?;
    let log = dir.verify_log(store::ProofFiles::Check).map_err(|error| failed("capsule", error))?;
    capsule.evidence()?.check(dir.run().description(), &log)?;
    let (capsule_sha256, capsule_bytes) = digest(target)?;
    let Block { hash, number } = contents.block;
    Ok(Made { capsule: target.to_owned(), capsule_bytes, capsule_sha256, block: number, block_hash: hash })
}
