//! All checks of one bundle: the same as `cairn verify --all` makes, against the chain as the index has it.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use audit::{
    AuditError, Check, Checks, Facts, Progress, Reason, RunAudit, State, Steps,
    chain::{Mismatch, check_place, check_registration},
    epochs,
    run::describe,
};
use chain::RunOnChain;
use ledger::{Digest, FieldElement, Root, TreeSize};
use store::{FilesReport, ProofFiles, RunDir, StoreError, VerifiedLog};

use super::{
    SharedKeys,
    disk::{Stop, UntilStopped},
};
use crate::index::{ArrivalState, EpochEntry, Index, IndexError, ReportLine, RunEntry};

/// Longest text of a line, characters: files may have put anything into it.
const MAX_TEXT: usize = 1_000;

/// What is checked, and against what.
pub(super) struct Job {
    /// The run on chain.
    pub(super) run: RunEntry,
    /// Its epochs, in order.
    pub(super) epochs: Vec<Anchored>,
    /// Manifests of bundles that this version of the program has checked before, and that passed.
    pub(super) known: BTreeSet<Digest>,
    /// Keys.
    pub(super) keys: SharedKeys,
    /// Whether to end early.
    pub(super) stop: Stop,
}

/// What an epoch left on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchored {
    size: TreeSize,
    root: Root,
    state: FieldElement,
}

impl From<&EpochEntry> for Anchored {
    fn from(epoch: &EpochEntry) -> Self {
        Self { size: epoch.size, root: epoch.root, state: epoch.state_out }
    }
}

/// Epochs asked for at once.
const PAGE: u32 = 1_000;

/// What the epochs of a run left on chain.
///
/// # Errors
/// If the index fails.
pub(super) async fn anchored(index: &Index, run: &RunEntry) -> Result<Vec<Anchored>, IndexError> {
    let mut out: Vec<Anchored> = Vec::new();
    let mut after = 0;
    loop {
        let mut page = index.epochs(run.key, after, PAGE).await?;
        page.retain(|epoch| epoch.counter <= run.counter);
        let Some(last) = page.last() else { return Ok(out) };
        after = last.counter;
        out.extend(page.iter().map(Anchored::from));
    }
}

/// What is told while checks are made.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// Which bundle it is.
    Manifest(Digest),
    /// A check was made.
    Line(ReportLine),
    /// Step proofs were verified.
    Proofs { done: u64, total: u64 },
}

/// A bundle that agrees with its own manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Digest of the manifest.
    pub(super) manifest: Digest,
    /// Steps by the manifest.
    pub(super) size: TreeSize,
    /// Root by the manifest.
    pub(super) root: Root,
}

/// How it went.
pub(super) enum Outcome {
    /// Every check passed, now or before.
    Passed(Named, Option<Box<Facts>>),
    /// The bundle of this manifest does not hold: which check, and why.
    Failed(Named, String),
    /// None of both: how it stands, and why.
    Stands(ArrivalState, String),
}

/// Opens a run's directory so that it is read until `stop`.
pub(super) fn open(path: &Path, stop: &Stop) -> Result<RunDir, StoreError> {
    RunDir::open_on(Arc::new(UntilStopped { stop: stop.clone() }), path)
}

/// Makes all checks.
pub(super) fn check(job: &Job, dir: &RunDir, tell: &(dyn Fn(Told) + Sync)) -> Outcome {
    let shown = Shown { folder: dir.path().display().to_string() };
    let mut checks = Checks::watched(|progress| match progress {
        Progress::Made(check) => tell(Told::Line(shown.line(check))),
        Progress::StepProofs { done, total } => tell(Told::Proofs { done, total }),
    });
    let mut named = None;
    let made = job.all(dir, tell, &mut named, &mut checks);
    drop(checks);
    match (made, named) {
        (Ok(facts), Some(named)) => Outcome::Passed(named, facts.map(Box::new)),
        (Ok(_), None) => Outcome::Stands(ArrivalState::Unable, "no manifest was read".to_owned()),
        (Err(error), named) => {
            let text = shown.text(&error.to_string());
            match stands(&error, named.is_some(), &job.stop) {
                None => {
                    named.map_or(Outcome::Stands(ArrivalState::Damaged, text.clone()), |n| Outcome::Failed(n, text))
                }
                Some(state) => Outcome::Stands(state, text),
            }
        }
    }
}

/// What an error says of the bundle; none if the bundle does not hold.
fn stands(error: &AuditError, has_named: bool, stop: &Stop) -> Option<ArrivalState> {
    let AuditError::Failed(failure) = error else { return Some(ArrivalState::Unable) };
    match &*failure.reason {
        _ if stop.is_set() => Some(ArrivalState::Unable),
        Reason::Chain(Mismatch::NoEpochs | Mismatch::Rest { .. } | Mismatch::Behind { .. }) => {
            Some(ArrivalState::Waiting)
        }
        Reason::Store(error) => of_store(error, has_named),
        _ if !has_named => Some(ArrivalState::Damaged),
        _ => None,
    }
}

fn of_store(error: &StoreError, has_named: bool) -> Option<ArrivalState> {
    match error {
        StoreError::Io { source, .. } if source.kind() != io::ErrorKind::InvalidData => Some(ArrivalState::Unable),
        StoreError::Missing { path } if !has_named && path.ends_with(ledger::manifest::MANIFEST_NAME) => {
            Some(ArrivalState::Waiting)
        }
        _ if !has_named => Some(ArrivalState::Damaged),
        // All files agreed with the manifest a moment ago.
        StoreError::Missing { .. } | StoreError::FileDisagrees { .. } => Some(ArrivalState::Damaged),
        _ => None,
    }
}

/// The checks that need no key: whether a bundle is what the chain carries. Its proofs are pinned by that, and verified later.
///
/// # Errors
/// As it would stand, and why.
pub(super) fn admit(job: &Job, dir: &RunDir) -> Result<Named, (ArrivalState, String)> {
    let shown = Shown { folder: dir.path().display().to_string() };
    let (mut named, mut checks) = (None, Checks::default());
    let mut made = || -> Result<Named, AuditError> {
        let (found, files) = job.own(dir, &mut named, &mut checks)?;
        let log = dir.verify_log(ProofFiles::Check);
        let log = checks.note("log, records, proof files, tree, epochs", log, describe)?;
        job.against_chain(dir, &log, &files, &mut checks)?;
        Ok(found)
    };
    let made = made();
    made.map_err(|error| {
        let state = stands(&error, named.is_some(), &job.stop).unwrap_or(ArrivalState::Failed);
        (state, shown.text(&error.to_string()))
    })
}

impl Job {
    /// None: the bundle was checked before.
    fn all(
        &self,
        dir: &RunDir,
        tell: &(dyn Fn(Told) + Sync),
        named: &mut Option<Named>,
        checks: &mut Checks<'_>,
    ) -> Result<Option<Facts>, AuditError> {
        let (found, _) = self.own(dir, named, checks)?;
        tell(Told::Manifest(found.manifest));
        if self.known.contains(&found.manifest) {
            checks.passed("checked before", "by this version of the program, in full");
            return Ok(None);
        }
        let audit = RunAudit { dir, keys: &*self.keys, steps: Steps::All, parent: None };
        let facts = audit.check_files(checks, |checks, log, files| self.against_chain(dir, log, files, checks))?;
        audit.check_steps(&facts.log, &facts.step, checks)?;
        epochs::check(&*self.keys, dir, &facts.log, &facts.step, checks)?;
        let same = Reason::same("manifest", &found.manifest, &facts.files.manifest_digest);
        checks.note("the same bundle as at first", same, |()| found.manifest.to_string())?;
        Ok(Some(facts))
    }

    /// Before anything is said of the bundle that a manifest names: whether these are its files at all.
    fn own(
        &self,
        dir: &RunDir,
        named: &mut Option<Named>,
        checks: &mut Checks<'_>,
    ) -> Result<(Named, FilesReport), AuditError> {
        let files = checks.note("files are the manifest's", dir.verify_files(), |files| {
            format!("{} files, {} bytes", files.manifest.files().len(), files.bytes)
        })?;
        let found = Named { manifest: files.manifest_digest, size: files.manifest.size(), root: files.manifest.root() };
        *named = Some(found);
        Ok((found, files))
    }

    /// Compares the log with what the index has of the chain, before any key is made.
    fn against_chain(
        &self,
        dir: &RunDir,
        log: &VerifiedLog,
        files: &FilesReport,
        checks: &mut Checks<'_>,
    ) -> Result<(), AuditError> {
        let (run, entry) = (dir.run().description(), &self.run);
        let place = check_place(run, entry.chain, entry.contract);
        checks.note("chain and contract", place, |()| format!("chain {}, {}", entry.chain, entry.contract))?;
        checks.note("epochs on chain", self.compare_epochs(log), |n| format!("{n} of {}", entry.counter))?;
        let registered = RunOnChain {
            owner: entry.registered_by,
            selector: entry.registration.selector,
            genesis_state: entry.registration.genesis_state,
            policy_digest: entry.registration.policy_digest,
            parent: entry.registration.parent,
        };
        let same = check_registration(run, log, &registered);
        checks.note("registration on chain", same, |()| format!("owner {}", registered.owner))?;
        let same = Reason::same("root", &log.log.root(), &files.manifest.root());
        checks.note("root of the manifest", same, |()| files.manifest.root().to_string()).map(drop)
    }

    fn compare_epochs(&self, log: &VerifiedLog) -> Result<usize, Mismatch> {
        let Some(last) = log.epochs.last() else { return Err(Mismatch::NoEpochs) };
        if log.log.size() != last.size_after() {
            return Err(Mismatch::Rest { expected: last.size_after(), got: log.log.size() });
        }
        let (n_events, n_epochs) = (self.epochs.len(), log.epochs.len());
        let are_same = self.epochs.iter().zip(&log.epochs).all(|(anchored, epoch)| {
            *anchored == Anchored { size: epoch.size_after(), root: epoch.root_after, state: epoch.state_out }
        });
        match are_same {
            false => Err(Mismatch::Events { n_events, n_epochs }),
            true if n_events < n_epochs => Err(Mismatch::Behind { expected: n_events as u64, got: n_epochs as u64 }),
            true => Ok(n_epochs),
        }
    }
}

/// Texts as they are shown: without the portal's own folders, and not endless.
struct Shown {
    folder: String,
}

impl Shown {
    fn text(&self, text: &str) -> String {
        let text = text.replace(&format!("{}/", self.folder), "").replace(&self.folder, ".");
        match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn line(&self, check: &Check) -> ReportLine {
        let state = match check.state {
            State::Passed => "passed",
            State::Failed => "failed",
            State::NotCovered => "not_covered",
        };
        ReportLine {
            check: self.text(&check.check),
            state: state.to_owned(),
            detail: self.text(&check.detail),
            ms: check.ms.round() as u64,
        }
    }
}
