//! Reading a capsule: a stranger's file, of which nothing is believed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aggregator::{EpochShape, EpochVerifyingKey};
use anyhow::{Context, ensure};
use chain::{Anchored, AnchoredProof, StateProof};
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use ledger::RunDescription;
use prover::session::step_shape;
use srs::SrsVerifier;
use store::layout::RunFile;
use store::{Archive, FileSystem, FilesReport, RunDir, VerifiedLog};

use super::contents::{self, Contents, EpochKind, steps_of};
use super::make;
use super::sources::SOURCES;
use crate::cmd::verifier;
use crate::cmd::verify::{Scope, check_head, check_parent, check_registration};
use crate::keys::{Keys, StepKey};
use crate::output::failed;
use crate::run::{EpochCircuit, check_policy, check_step_key, wrap_k};

/// Longest code of a contract that the chain accepts (EIP-170).
const MAX_CODE_BYTES: u64 = 24_576;
/// Longest source.
const MAX_SOURCE_BYTES: u64 = 4 << 20;
/// Longest verifying key.
const MAX_KEY_BYTES: u64 = 64 << 20;
/// Hex digits from which on a number in a verifier's source is one of its key or reference string. Shorter ones stand in
/// the code in other forms.
const KEY_DIGITS: usize = 60;

/// A capsule whose files are those that it should have.
pub struct Capsule {
    archive: Archive,
    contents: Contents,
    /// Read once: a key of 2^21 rows takes a second and a gigabyte.
    epoch_keys: Mutex<BTreeMap<usize, Arc<EpochVerifyingKey>>>,
}

/// What a capsule shows of the chain.
pub struct Evidence<'a> {
    capsule: &'a Capsule,
    proof: AnchoredProof,
}

impl Capsule {
    /// Opens a capsule.
    ///
    /// Errors: a failed check `capsule`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        ensure!(path.exists(), "{} is not there", path.display());
        Self::read(path).map_err(|error| failed("capsule", format!("{error:#}")))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let archive = Archive::open(path)?;
        let bytes = archive.read(contents::CONTENTS, contents::MAX_CONTENTS_BYTES as u64)?;
        let contents = Contents::parse(&bytes)?;
        let mut missing = contents.files();
        for path in archive.paths() {
            let of_run = path.strip_prefix(contents::RUN).and_then(|path| path.strip_prefix('/'));
            let is_ours = of_run.is_some_and(|path| RunFile::parse(path).is_some());
            ensure!(missing.remove(path) || is_ours, "{path} is not a file of a capsule");
        }
        if let Some(path) = missing.first() {
            anyhow::bail!("{path} is missing");
        }
        Ok(Self { archive, contents, epoch_keys: Mutex::default() })
    }

    /// `capsule.json`.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The run, read where it is.
    ///
    /// Errors: a failed check `capsule` if it is not a run, or not the one that the capsule is of.
    pub fn run(&self) -> anyhow::Result<RunDir> {
        let files: Arc<dyn FileSystem> = Arc::new(self.archive.clone());
        let dir = RunDir::open_on(files, contents::RUN).map_err(|error| failed("capsule", error))?;
        let (expected, got) = (self.contents.run, dir.run().run());
        if expected == got { Ok(dir) } else { Err(failed("capsule", format!("run: expected {expected}, got {got}"))) }
    }

    /// Compares a log and files that were checked with `capsule.json`.
    pub fn check_run(&self, log: &VerifiedLog, files: &FilesReport) -> anyhow::Result<()> {
        let Contents { size, root, manifest, .. } = &self.contents;
        let got = (log.log.size(), log.log.root(), files.manifest_digest);
        let (got_size, got_root, got_manifest) = got;
        ensure!(
            got == (*size, *root, *manifest),
            "size, root, manifest: expected {size}, {root}, {manifest}, got {got_size}, {got_root}, {got_manifest}"
        );
        Ok(())
    }

    /// What made it, and with which reference string.
    pub fn describe(&self) -> String {
        let Contents { cairn, srs, .. } = &self.contents;
        let same = make::program().is_ok_and(|this| this == *cairn);
        let by = if same { "this program" } else { "another program" };
        let is_development = self.srs().is_ok_and(|srs| srs.is_development());
        let not_secure = if is_development { ", development, not secure" } else { "" };
        let made = format!("made by {by}, cairn {} {}", cairn.version, cairn.sha256);
        format!("{made}; reference string {} {}{not_secure}", srs.label, srs.digest)
    }

    /// What it shows of the chain, unchecked.
    ///
    /// Errors: a failed check `capsule`.
    pub fn evidence(&self) -> anyhow::Result<Evidence<'_>> {
        let code = |name: &str| self.archive.read(name, MAX_CODE_BYTES);
        let read = || -> anyhow::Result<AnchoredProof> {
            let state = self.archive.read(contents::STATE, chain::MAX_STATE_BYTES as u64)?;
            let mut verifier_codes = BTreeMap::new();
            for epoch in &self.contents.epochs {
                verifier_codes.insert(epoch.log_steps, code(&contents::verifier_code(steps_of(epoch.log_steps)))?);
            }
            Ok(AnchoredProof {
                state: StateProof::parse(&state)?,
                anchor_code: code(contents::ANCHOR_CODE)?,
                registry_code: code(contents::REGISTRY_CODE)?,
                verifier_codes,
            })
        };
        let proof = read().map_err(|error| failed("capsule", format!("{error:#}")))?;
        Ok(Evidence { capsule: self, proof })
    }

    /// The reference string's point.
    fn srs(&self) -> anyhow::Result<SrsVerifier> {
        let bytes = hex::decode(&self.contents.srs.tau_h).context("tau_h")?;
        let bytes = <&[u8; SrsVerifier::LEN]>::try_from(&bytes[..]).context("tau_h")?;
        Ok(SrsVerifier::from_bytes(bytes)?)
    }

    /// Compares the sources with those of this version, and each verifier with what its key gives; with a compiler its
    /// code, else only the numbers in it.
    ///
    /// Errors: a failed check `contract sources` or `verifier code`.
    pub fn check_verifiers(&self, run: &RunDescription, solc: Option<&Path>) -> anyhow::Result<usize> {
        for (name, text) in SOURCES {
            let path = format!("{}/{name}", contents::SOURCES);
            let got = self.archive.read(&path, MAX_SOURCE_BYTES).map_err(|error| failed("contract sources", error))?;
            if got != text.as_bytes() {
                let ours = env!("CARGO_PKG_VERSION");
                let detail =
                    format!("{path}: not that of cairn {ours}; the capsule is of {}", self.contents.cairn.version);
                return Err(failed("contract sources", detail));
            }
        }
        let step = self.step(run)?;
        let wrap_k = wrap_k(&self.run()?)?;
        for epoch in &self.contents.epochs {
            let n_steps = steps_of(epoch.log_steps);
            let circuit = EpochCircuit::new(run, n_steps as usize, wrap_k)?;
            let key = self.epoch(&step, &circuit)?;
            self.check_verifier(&step, &key, &circuit, solc)
                .map_err(|error| failed("verifier code", format!("epochs of {n_steps} steps: {error:#}")))?;
        }
        Ok(self.contents.epochs.len())
    }

    fn check_verifier(
        &self,
        step: &StepKey,
        key: &EpochVerifyingKey,
        circuit: &EpochCircuit,
        solc: Option<&Path>,
    ) -> anyhow::Result<()> {
        let n_steps = circuit.n_steps as u64;
        let source = verifier::source(&step.srs, key, circuit)?;
        let path = contents::verifier_source(n_steps);
        let got = self.archive.read(&path, MAX_SOURCE_BYTES)?;
        ensure!(got == source.solidity.as_bytes(), "{path} is not what the key gives");
        let code = self.archive.read(&contents::verifier_code(n_steps), MAX_CODE_BYTES)?;
        for number in numbers(&source.solidity) {
            let is_there = code.windows(number.len()).any(|part| part == number);
            ensure!(is_there, "0x{} of the key or the reference string is not in the code", hex::encode(&number));
        }
        if let Some(solc) = solc {
            let compiled = verifier::compile(solc, &source)?;
            ensure!(compiled.runtime == code, "the code is not what the compiler makes of {path}");
        }
        Ok(())
    }
}

/// The long numbers of a source, as the shortest bytes: those of the key and of the reference string.
fn numbers(source: &str) -> Vec<Vec<u8>> {
    let hex_numbers = source.split("0x").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        &rest[..end]
    });
    let long = hex_numbers.filter(|digits| (KEY_DIGITS..=64).contains(&digits.len()));
    // Comments name the key's digest, which is no number of the code.
    let lines = source.lines().filter(|line| line.trim_start().starts_with("//")).collect::<Vec<_>>();
    let in_code = long.filter(|digits| !lines.iter().any(|line| line.contains(digits)));
    in_code
        .filter_map(|digits| {
            let bytes = hex::decode(format!("{digits:0>64}")).ok()?;
            let start = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[start..].to_vec())
        })
        .collect()
}

impl Keys for Capsule {
    fn step(&self, run: &RunDescription) -> anyhow::Result<StepKey> {
        check_policy(run)?;
        let read = || -> anyhow::Result<StepKey> {
            let bytes = self.archive.read(contents::STEP_KEY, MAX_KEY_BYTES)?;
            let key = StepVerifyingKey::from_bytes(&bytes, &step_shape(run)?)?;
            let got = from_fr(&key.digest());
            ensure!(got == self.contents.step_key, "expected {}, got {got}", self.contents.step_key);
            Ok(StepKey { key, srs: self.srs()?, whole: None })
        };
        let step = read().map_err(|error| failed("step key", format!("{error:#}")))?;
        check_step_key(run, &step.key)?;
        Ok(step)
    }

    fn epoch(&self, _: &StepKey, circuit: &EpochCircuit) -> anyhow::Result<Arc<EpochVerifyingKey>> {
        let n_steps = circuit.n_steps;
        let mut known = self.epoch_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&n_steps) {
            return Ok(Arc::clone(key));
        }
        let read = || -> anyhow::Result<EpochVerifyingKey> {
            let is_it = |epoch: &&EpochKind| steps_of(epoch.log_steps) == n_steps as u64;
            let kind = self.contents.epochs.iter().find(is_it).context("the capsule has no key of this size")?;
            let bytes = self.archive.read(&contents::epoch_key(n_steps as u64), MAX_KEY_BYTES)?;
            let key = EpochVerifyingKey::read(&mut &bytes[..])?;
            let (expected, got) = (EpochShape { k: circuit.k(), ..circuit.shape() }, key.shape());
            ensure!(expected == *got, "expected the shape {expected:?}, got {got:?}");
            let got = from_fr(&key.digest());
            ensure!(got == kind.key, "expected {}, got {got}", kind.key);
            Ok(key)
        };
        let key = Arc::new(read().map_err(|error| failed("epoch key", format!("{n_steps} steps: {error:#}")))?);
        known.insert(n_steps, Arc::clone(&key));
        Ok(key)
    }
}

impl Evidence<'_> {
    /// Checks everything from the block's header down, and compares the log with what is stored there.
    ///
    /// Errors: failed checks `state proof`, `registration on chain`, `parent on chain`, `anchored head`.
    pub fn check(&self, run: &RunDescription, log: &VerifiedLog) -> anyhow::Result<Anchored> {
        let Contents { contract, chain_id, block, .. } = self.capsule.contents;
        let identity = (run.identity.chain_id, run.identity.contract);
        if identity != (chain_id, contract) {
            let detail = format!("the run is for chain {} contract {}", identity.0, identity.1);
            return Err(failed(
                "state proof",
                format!("{detail}, the capsule for chain {chain_id} contract {contract}"),
            ));
        }
        let anchored = self.proof.verify(contract, run.run).map_err(|error| failed("state proof", error))?;
        let proven = (anchored.head.block.hash, anchored.head.block.number);
        if proven != (block.hash, block.number) {
            let detail = format!(
                "the capsule is of block {} {}, its header of {} {}",
                block.number, block.hash, proven.1, proven.0
            );
            return Err(failed("state proof", detail));
        }
        for kind in &self.capsule.contents.epochs {
            let got = anchored.verifiers.get(&kind.log_steps).map(|placed| placed.address);
            if got != Some(kind.verifier) {
                let steps = steps_of(kind.log_steps);
                let detail =
                    format!("verifier of {steps} steps: the capsule says {}, the registry {got:?}", kind.verifier);
                return Err(failed("state proof", detail));
            }
        }
        check_registration(run, log, &anchored.run).map_err(|error| failed("registration on chain", error))?;
        if let Some(parent) = run.parent {
            let head = anchored.parent.as_ref();
            check_parent(run, parent, head).map_err(|error| failed("parent on chain", error))?;
        }
        check_head(Scope::Head, run, log, &anchored.head).map_err(|error| failed("anchored head", error))?;
        Ok(anchored)
    }
}
