//! One run being proved: its public directory, its private state, and the next step.
//!
//! What the trainers and the service share. Everything is on disk before a call returns, so a process may die anywhere:
//! [`Session::create`] with the same plan, or [`Session::open`], goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use circuits::convert::{ConvertError, from_fr};
use circuits::digest::{policy_digest, step_digest};
use circuits::keys::StepProvingKey;
use circuits::linked::{RunSecret, StateSeed};
use circuits::notes;
use circuits::reference::State;
use circuits::step::shape::StepShape;
use ledger::{
    CanonicalError, Dataset, Digest, EpochLen, FieldElement, Hyper, Layout, NumberFormat, Policy, Rule, RunDescription,
    RunError, RunId, RunIdentity, SrsLabel, StepIndex, StepMeta, canonical::V1,
};
use rand_core::{OsRng, RngCore};
use srs::Srs;
use store::{Appended, FilesReport, PrivateDir, PrivateError, Recovery, RunWriter, StepDraft, StoreError};

use crate::lineage::{LineageError, check_open};
use crate::state_file::{self, StateFileError};
use crate::step::{ProveError, ProvedStep, Seeds, StepProver};

mod parent;

pub use circuits::notes::{NOT_PROVED, NOTE_EPOCH_K, NOTE_GENESIS_PRODUCTS, NOTE_SHAPE, NoteError};
pub use parent::Parent;

/// Why a run cannot be made, opened or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The run's directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The private directory.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The private state before a step.
    #[error("private state {state}: {source}")]
    State {
        /// The step it is before.
        state: StepIndex,
        /// What is wrong.
        source: StateFileError,
    },
    /// The step has no proof.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The parent does not admit the run, or the run has children.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The parent cannot be read.
    #[error("parent: {0}")]
    Parent(Box<SessionError>),
    /// The home has not what a child needs of its parent.
    #[error("{}: a child needs the parent's secret and final state, which are not here: {source}", path.display())]
    ParentSecrets {
        /// The parent's private directory.
        path: PathBuf,
        /// What is missing.
        source: Box<SessionError>,
    },
    /// The run's secret is not in this home.
    #[error("{}: no run secret here", path.display())]
    NoSecret {
        /// The private directory.
        path: PathBuf,
    },
    /// The private directory is that of a child, the run has no parent.
    #[error("{}: has the seed of a parent's state, but the run has no parent; take another salt", path.display())]
    GenesisSeed {
        /// The private directory.
        path: PathBuf,
    },
    /// The description is none.
    #[error(transparent)]
    Description(#[from] RunError),
    /// The layout has no digest.
    #[error(transparent)]
    Layout(#[from] CanonicalError),
    /// A note of `run.json` is missing or is not what it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The key is another than the run's policy pins.
    #[error("run {run} pins step key {expected}, got {got}")]
    OtherKey {
        /// The run.
        run: RunId,
        /// Digest in the policy.
        expected: FieldElement,
        /// Digest of the key.
        got: FieldElement,
    },
    /// A digest cannot be computed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// Where the runs of one home are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory of public run directories.
    pub artifacts: PathBuf,
    /// Directory of private ones.
    pub private: PathBuf,
}

/// What a new run is to be.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// What the run id is made of.
    pub identity: RunIdentity,
    /// Update rule.
    pub rule: Rule,
    /// β1, β2, ε and weight decay of every step; its learning rate is not used.
    pub hyper: Hyper,
    /// Largest learning rate, raw Q32.
    pub lr_max: u64,
    /// Names and shapes of the parameters.
    pub layout: Layout,
    /// Chunks of a step.
    pub n_chunks: u32,
    /// Steps of a full epoch.
    pub epoch_len: EpochLen,
    /// k of the epoch circuit.
    pub epoch_k: u32,
    /// The data, if it can be named.
    pub dataset: Option<Dataset>,
    /// Notes besides those that the session adds itself.
    pub notes: BTreeMap<String, String>,
}

/// A run with its lock, ready for the next step.
#[derive(Debug)]
pub struct Session {
    run: RunId,
    policy: Policy,
    has_parent: bool,
    seeds: Seeds,
    private: PrivateDir,
    writer: RunWriter,
}

impl Session {
    /// Makes the run of `plan`, or goes on with it if it is there: from `start`, or from the parent's final state.
    ///
    /// Errors: [`SessionError`]; [`StoreError::OtherRun`] if the run is there with another description.
    pub fn create(
        places: &Places,
        srs: &Srs,
        key: &StepProvingKey,
        plan: RunPlan,
        start: &State,
        parent: Option<&Parent>,
    ) -> Result<(Self, Recovery), SessionError> {
        let verifying_key = key.verifying_key();
        let RunPlan { identity, rule, hyper, lr_max, layout, n_chunks, epoch_len, epoch_k, dataset, notes } = plan;
        let policy = Policy {
            rule,
            beta1: hyper.beta1,
            beta2: hyper.beta2,
            eps: hyper.eps,
            weight_decay: hyper.weight_decay,
            lr_max,
            format: NumberFormat::Q24,
            n_params: layout.n_params(),
            n_chunks,
            layout_digest: layout.digest()?,
            step_key_digest: from_fr(&verifying_key.digest()),
        };
        let run = identity.run_id();
        let private = PrivateDir::open_or_create(&places.private, &places.artifacts, run)?;
        if parent.is_none() && private.genesis_seed()?.is_some() {
            // Later readers of the directory would take that seed for the one of this run's first state.
            return Err(SessionError::GenesisSeed { path: private.path().to_owned() });
        }
        let secret = match private.secret()? {
            Some(secret) => secret,
            None => {
                let mut bytes = [0; 32];
                OsRng.fill_bytes(&mut bytes);
                private.create_secret(&store::RunSecret::new(bytes))?;
                store::RunSecret::new(bytes)
            }
        };
        let genesis = parent.map(|p| p.seed.clone());
        let seeds = Seeds { secret: RunSecret(*secret.expose()), genesis };
        let prover = StepProver::new(srs.params(), key, policy, run, parent.is_some(), seeds.clone())?;
        let (_, genesis_state) = prover.commit(0, start)?;
        let digest = Digest(srs.info().digest.0);
        let description = RunDescription {
            dataset,
            epoch_len,
            genesis_state,
            identity,
            layout,
            notes: all_notes(notes, verifying_key.shape(), epoch_k, parent),
            parent: parent.map(|p| p.run.run),
            policy,
            policy_digest: policy_digest(&policy),
            run,
            srs: if srs.info().secure {
                SrsLabel::ceremony(srs.info().label.as_str(), digest)
            } else {
                SrsLabel::development(digest)
            },
            v: V1,
        };
        let sealed = description.seal()?;
        if let Some(parent) = parent {
            parent.adopt(&verifying_key, run, genesis_state, &private)?;
        }
        let (writer, recovery) = RunWriter::create(&places.artifacts, &sealed)?;
        let session = Self { run, policy, has_parent: parent.is_some(), seeds, private, writer };
        if session.steps() == StepIndex(0) {
            session.write_state(StepIndex(0), start)?;
        }
        Ok((session, recovery))
    }

    /// Opens the run in `dir` for its next step.
    ///
    /// Errors: [`SessionError::NoSecret`]; whatever [`RunWriter::open`] refuses.
    pub fn open(places: &Places, dir: &Path) -> Result<(Self, Recovery), SessionError> {
        let (writer, recovery) = RunWriter::open(dir)?;
        let description = writer.dir().run().description();
        let (run, policy, has_parent) = (description.run, description.policy, description.parent.is_some());
        let private = PrivateDir::open_or_create(&places.private, &places.artifacts, run)?;
        let seeds = seeds(&private)?.ok_or_else(|| SessionError::NoSecret { path: private.path().to_owned() })?;
        Ok((Self { run, policy, has_parent, seeds, private, writer }, recovery))
    }

    /// Number of steps in the log, which is the index of the next.
    pub fn steps(&self) -> StepIndex {
        StepIndex(self.writer.log().size().0)
    }

    /// The state before the next step.
    ///
    /// Errors: [`SessionError::Private`], [`SessionError::State`].
    pub fn state(&self) -> Result<State, SessionError> {
        read_state(&self.private, self.steps())
    }

    /// The run's directory and log.
    pub fn writer(&self) -> &RunWriter {
        &self.writer
    }

    /// Checks that no other run was promised the present state.
    ///
    /// Errors: [`LineageError::ParentClosed`].
    pub fn check_open(&self) -> Result<(), SessionError> {
        Ok(check_open(self.run, self.steps(), &self.private.children(self.steps())?)?)
    }

    /// The prover of this run's steps with the keys at hand.
    ///
    /// Errors: [`SessionError::OtherKey`], [`ProveError::Capacity`].
    pub fn prover<'k>(&self, (srs, key): (&'k Srs, &'k StepProvingKey)) -> Result<StepProver<'k>, SessionError> {
        let (expected, got) = (self.policy.step_key_digest, from_fr(&key.verifying_key().digest()));
        if expected != got {
            return Err(SessionError::OtherKey { run: self.run, expected, got });
        }
        Ok(StepProver::new(srs.params(), key, self.policy, self.run, self.has_parent, self.seeds.clone())?)
    }

    /// Proves the next step from `before`, chunk by chunk, and verifies what it made. Nothing is written.
    ///
    /// Errors: [`SessionError::OtherKey`], [`SessionError::Prove`].
    pub fn prove(
        &self,
        keys: (&Srs, &StepProvingKey),
        before: &State,
        hyper: &Hyper,
        gradient: &[i64],
        on_chunk: &mut dyn FnMut(usize, usize),
    ) -> Result<ProvedStep, SessionError> {
        Ok(self.prover(keys)?.prove(self.steps(), before, hyper, gradient, on_chunk)?)
    }

    /// Puts a proved step in the log; the state after it is on disk before the step that leads to it is.
    ///
    /// Errors: [`SessionError::Private`], [`SessionError::Store`].
    pub fn append(&mut self, proved: ProvedStep, meta: StepMeta) -> Result<Appended, SessionError> {
        let ProvedStep { statement, proofs, state_out, next, .. } = proved;
        self.write_state(StepIndex(self.steps().0 + 1), &next)?;
        let digest = step_digest(&statement)?;
        Ok(self.writer.append_step(StepDraft { digest, state_out, statement, meta }, &proofs)?)
    }

    /// Writes the manifest.
    ///
    /// Errors: [`SessionError::Store`].
    pub fn write_manifest(&mut self) -> Result<FilesReport, SessionError> {
        Ok(self.writer.write_manifest()?)
    }

    fn write_state(&self, step: StepIndex, state: &State) -> Result<(), SessionError> {
        let bytes = state_file::encode(state).map_err(|source| SessionError::State { state: step, source })?;
        Ok(self.private.write_state(step, &bytes)?)
    }
}

/// The private state before `step`.
///
/// Errors: [`SessionError::Private`], [`SessionError::State`].
pub fn read_state(private: &PrivateDir, step: StepIndex) -> Result<State, SessionError> {
    state_file::decode(&private.read_state(step)?).map_err(|source| SessionError::State { state: step, source })
}

/// Blinding seeds of a run's states, from its private directory; none if the secret is not there.
///
/// Errors: [`PrivateError`].
pub fn seeds(private: &PrivateDir) -> Result<Option<Seeds>, PrivateError> {
    let Some(secret) = private.secret()? else { return Ok(None) };
    let genesis = private.genesis_seed()?.map(|seed| StateSeed(*seed.expose()));
    Ok(Some(Seeds { secret: RunSecret(*secret.expose()), genesis }))
}

/// The step circuit's shape by the run's description.
///
/// Errors: [`SessionError::Note`].
pub fn step_shape(run: &RunDescription) -> Result<StepShape, SessionError> {
    Ok(notes::step_shape(run)?)
}

fn all_notes(
    mut notes: BTreeMap<String, String>,
    shape: &StepShape,
    epoch_k: u32,
    parent: Option<&Parent>,
) -> BTreeMap<String, String> {
    notes.insert(NOTE_SHAPE.to_owned(), shape.to_string());
    notes.insert(NOTE_EPOCH_K.to_owned(), epoch_k.to_string());
    notes.insert("not_proved".to_owned(), NOT_PROVED.to_owned());
    if let Some(Parent { state, .. }) = parent {
        notes.insert(NOTE_GENESIS_PRODUCTS.to_owned(), format!("{} {}", state.p1, state.p2));
    }
    notes
}
