//! Reading a capsule: a stranger's file, of which nothing is believed.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chain::{Anchored, AnchoredProof, StateProof};
use circuits::convert::from_fr;
use circuits::keys::StepVerifyingKey;
use circuits::notes::step_shape;
use epochcheck::EpochVerifyingKey;
use ledger::{Digest, RunDescription};
use srs::SrsVerifier;
use store::layout::RunFile;
use store::{Archive, FileSystem, FilesReport, RunDir, VerifiedLog};

use super::contents::{self, Contents, EpochKind, Program, steps_of};
use super::error::CapsuleError;
use super::sources::SOURCES;
use crate::chain::{Scope, check_head, check_parent, check_registration};
use crate::circuit::EpochCircuit;
use crate::epochs;
use crate::error::{AuditError, Reason};
use crate::keys::{Keys, StepKey, check_policy, check_step_key};
use crate::report::Checks;

/// Longest code of a contract that the chain accepts (EIP-170).
pub(super) const MAX_CODE_BYTES: u64 = 24_576;
/// Longest source.
pub(super) const MAX_SOURCE_BYTES: u64 = 4 << 20;
/// Longest verifying key.
pub(super) const MAX_KEY_BYTES: u64 = 64 << 20;

/// A capsule whose files are those that it should have.
pub struct Capsule {
    pub(super) archive: Archive,
    pub(super) contents: Contents,
    /// Read once.
    epoch_keys: Mutex<BTreeMap<usize, Arc<EpochVerifyingKey>>>,
}

/// What a capsule shows of the chain.
pub struct Evidence<'a> {
    capsule: &'a Capsule,
    proof: AnchoredProof,
}

impl Capsule {
    /// Opens a capsule on the disk.
    ///
    /// Errors: a failed check `capsule`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let read = || Self::read(Archive::open(path)?);
        read().map_err(|reason| AuditError::failed("capsule", reason))
    }

    /// Opens a capsule in memory.
    ///
    /// Errors: a failed check `capsule`.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, AuditError> {
        let read = || Self::read(Archive::from_bytes(bytes)?);
        read().map_err(|reason| AuditError::failed("capsule", reason))
    }

    fn read(archive: Archive) -> Result<Self, Reason> {
        let bytes = archive.read(contents::CONTENTS, contents::MAX_CONTENTS_BYTES as u64)?;
        let contents = Contents::parse(&bytes).map_err(CapsuleError::Contents)?;
        let mut missing = contents.files();
        for path in archive.paths() {
            let of_run = path.strip_prefix(contents::RUN).and_then(|path| path.strip_prefix('/'));
            let is_ours = of_run.is_some_and(|path| RunFile::parse(path).is_some());
            if !missing.remove(path) && !is_ours {
                return Err(CapsuleError::Unexpected { path: path.to_owned() }.into());
            }
        }
        if let Some(path) = missing.pop_first() {
            return Err(CapsuleError::Missing { path }.into());
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
    pub fn run(&self) -> Result<RunDir, AuditError> {
        let files: Arc<dyn FileSystem> = Arc::new(self.archive.clone());
        let open = || -> Result<RunDir, Reason> {
            let dir = RunDir::open_on(files, contents::RUN)?;
            CapsuleError::same("run", &self.contents.run, &dir.run().run())?;
            Ok(dir)
        };
        open().map_err(|reason| AuditError::failed("capsule", reason))
    }

    /// Compares a log and files that were checked with `capsule.json`.
    ///
    /// Errors: [`CapsuleError::Differs`].
    pub fn check_run(&self, log: &VerifiedLog, files: &FilesReport) -> Result<(), CapsuleError> {
        let Contents { size, root, manifest, .. } = &self.contents;
        let shown = |size, root, manifest| format!("{size}, {root}, {manifest}");
        let got = shown(log.log.size(), log.log.root(), files.manifest_digest);
        CapsuleError::same("size, root, manifest", &shown(*size, *root, *manifest), &got)
    }

    /// What made it, and with which reference string. `this`: the program that asks.
    pub fn describe(&self, this: Option<&Program>) -> String {
        let Contents { cairn, srs, .. } = &self.contents;
        let by = if this == Some(cairn) { "this program" } else { "another program" };
        let is_development = self.srs().is_ok_and(|srs| srs.is_development());
        let not_secure = if is_development { ", development, not secure" } else { "" };
        let made = format!("made by {by}, cairn {} {}", cairn.version, cairn.sha256);
        format!("{made}; reference string {} {}{not_secure}", srs.label, srs.digest)
    }

    /// What it shows of the chain, unchecked.
    ///
    /// Errors: a failed check `capsule`.
    pub fn evidence(&self) -> Result<Evidence<'_>, AuditError> {
        let code = |name: &str| self.archive.read(name, MAX_CODE_BYTES);
        let read = || -> Result<AnchoredProof, Reason> {
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
        let proof = read().map_err(|reason| AuditError::failed("capsule", reason))?;
        Ok(Evidence { capsule: self, proof })
    }

    /// The reference string's point.
    pub(super) fn srs(&self) -> Result<SrsVerifier, Reason> {
        let refuse = |reason: String| CapsuleError::Tau { reason };
        let bytes = hex::decode(&self.contents.srs.tau_h).map_err(|error| refuse(error.to_string()))?;
        let bytes = <&[u8; SrsVerifier::LEN]>::try_from(&bytes[..]).map_err(|error| refuse(error.to_string()))?;
        Ok(SrsVerifier::from_bytes(bytes)?)
    }

    /// Compares the sources of the contracts with those of this version.
    ///
    /// Errors: a failed check `contract sources`.
    pub fn check_sources(&self) -> Result<(), AuditError> {
        for (name, text) in SOURCES {
            let path = format!("{}/{name}", contents::SOURCES);
            let got = self.archive.read(&path, MAX_SOURCE_BYTES);
            let got = got.map_err(|error| AuditError::failed("contract sources", error))?;
            if got != text.as_bytes() {
                let (ours, theirs) = (env!("CARGO_PKG_VERSION"), self.contents.cairn.version.clone());
                return Err(AuditError::failed("contract sources", CapsuleError::Source { path, ours, theirs }));
            }
        }
        Ok(())
    }

    /// Compares each verifier's code with the digest of its key and with τH: what can be seen of a key without the verifier that
    /// it gives.
    #[cfg(not(feature = "native"))]
    pub(super) fn check_verifier_numbers(&self, run: &RunDescription) -> Result<usize, AuditError> {
        let step = self.step(run)?;
        let wrap_k = crate::circuit::wrap_k(&self.run()?)?;
        for kind in &self.contents.epochs {
            let n_steps = steps_of(kind.log_steps);
            let key = self.epoch(&step, &EpochCircuit::new(run, n_steps as usize, wrap_k)?)?;
            let check = || -> Result<(), Reason> {
                let code = self.archive.read(&contents::verifier_code(n_steps), MAX_CODE_BYTES)?;
                epochs::check_code(&code, &key, &step.srs)
            };
            check().map_err(|reason| {
                AuditError::failed("epoch keys", CapsuleError::Code { n_steps, reason: reason.to_string() })
            })?;
        }
        Ok(self.contents.epochs.len())
    }

    /// The step key. Its digest is the one that the run's policy pins.
    pub(super) fn step_key(&self, run: &RunDescription) -> Result<StepKey, AuditError> {
        check_policy(run)?;
        let read = || -> Result<StepKey, Reason> {
            let bytes = self.archive.read(contents::STEP_KEY, MAX_KEY_BYTES)?;
            let key = StepVerifyingKey::from_bytes(&bytes, &step_shape(run)?)?;
            CapsuleError::same("digest", &self.contents.step_key, &from_fr(&key.digest()))?;
            Ok(StepKey { key, srs: self.srs()?, whole: None })
        };
        let step = read().map_err(|reason| AuditError::failed("step key", reason))?;
        check_step_key(run, &step.key)?;
        Ok(step)
    }
}

impl Keys for Capsule {
    fn step(&self, run: &RunDescription) -> Result<StepKey, AuditError> {
        self.step_key(run)
    }

    fn epoch(&self, _: &StepKey, circuit: &EpochCircuit) -> Result<Arc<EpochVerifyingKey>, AuditError> {
        let n_steps = circuit.n_steps;
        let mut known = self.epoch_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&n_steps) {
            return Ok(Arc::clone(key));
        }
        let read = || -> Result<EpochVerifyingKey, Reason> {
            let is_it = |epoch: &&EpochKind| steps_of(epoch.log_steps) == n_steps as u64;
            let kind = self.contents().epochs.iter().find(is_it).ok_or(CapsuleError::NoKey)?;
            let bytes = self.archive.read(&contents::epoch_key(n_steps as u64), MAX_KEY_BYTES)?;
            let key = EpochVerifyingKey::read(&mut &bytes[..])?;
            epochs::check_shape(&key, circuit)?;
            CapsuleError::same("digest", &kind.key, &from_fr(&key.digest()))?;
            Ok(key)
        };
        let key = read().map_err(|reason| {
            AuditError::failed("epoch key", CapsuleError::EpochKey { n_steps, reason: reason.to_string() })
        })?;
        let key = Arc::new(key);
        known.insert(n_steps, Arc::clone(&key));
        Ok(key)
    }
}

impl Evidence<'_> {
    /// Checks everything from the block's header down, and compares the log with what is stored there.
    ///
    /// Errors: failed checks `state proof`, `registration on chain`, `parent on chain`, `anchored head`.
    pub fn check(&self, run: &RunDescription, log: &VerifiedLog) -> Result<Anchored, AuditError> {
        let anchored = self.proven(run).map_err(|reason| AuditError::failed("state proof", reason))?;
        check_registration(run, log, &anchored.run)
            .map_err(|reason| AuditError::failed("registration on chain", reason))?;
        if let Some(parent) = run.parent {
            let head = anchored.parent.as_ref();
            check_parent(run, parent, head).map_err(|reason| AuditError::failed("parent on chain", reason))?;
        }
        check_head(Scope::Head, run, log, &anchored.head)
            .map_err(|reason| AuditError::failed("anchored head", reason))?;
        Ok(anchored)
    }

    /// The same, a line for each check. `block_hash`: the one that the block has to have.
    ///
    /// Errors: as [`Self::check`]; a failed check `block hash`.
    pub fn note(
        &self,
        run: &RunDescription,
        log: &VerifiedLog,
        block_hash: Option<Digest>,
        checks: &mut Checks<'_>,
    ) -> Result<Anchored, AuditError> {
        let anchored = checks.pass_on(self.check(run, log))?;
        let (head, block) = (&anchored.head, anchored.head.block);
        let (time, registry) = (anchored.timestamp, anchored.registry);
        let detail = format!("block {} {}, unix time {time}, registry {registry}", block.number, block.hash);
        checks.passed("state proof", detail);
        if let Some(expected) = block_hash {
            let got = block.hash;
            let same = if expected == got { Ok(()) } else { Err(Reason::BlockHash { expected, got }) };
            checks.note("block hash", same, |()| expected.to_string())?;
        }
        checks.passed("registration on chain", format!("owner {}", anchored.run.owner));
        let detail = format!("epoch {}, {} steps, root {}, state {}", head.counter, head.size, head.root, head.state);
        checks.passed("anchored head", detail);
        Ok(anchored)
    }

    fn proven(&self, run: &RunDescription) -> Result<Anchored, Reason> {
        let Contents { contract, chain_id, block, .. } = self.capsule.contents;
        let identity = (run.identity.chain_id, run.identity.contract);
        if identity != (chain_id, contract) {
            return Err(CapsuleError::Place { run: identity, capsule: (chain_id, contract) }.into());
        }
        let anchored = self.proof.verify(contract, run.run)?;
        let (expected, got) = ((block.number, block.hash), (anchored.head.block.number, anchored.head.block.hash));
        if expected != got {
            return Err(CapsuleError::Block { expected, got }.into());
        }
        for kind in &self.capsule.contents.epochs {
            let got = anchored.verifiers.get(&kind.log_steps).map(|placed| placed.address);
            if got != Some(kind.verifier) {
                let (n_steps, expected) = (steps_of(kind.log_steps), kind.verifier);
                return Err(CapsuleError::Verifier { n_steps, expected, got }.into());
            }
        }
        Ok(anchored)
    }
}
