//! The run that a child starts from.

use std::path::Path;

use circuits::keys::StepVerifyingKey;
use circuits::linked::StateSeed;
use circuits::reference::State;
use circuits::step::shape::StepShape;
use ledger::{FieldElement, RunDescription, RunId, StepIndex};
use store::{PrivateDir, RunSecret, RunWriter};

use super::{Places, SessionError, read_state, seeds, step_shape};
use crate::lineage::{LineageError, admit_child};

/// A parent with its final state and that state's seed. Holds the parent's lock: nobody else trains it or counts its
/// children meanwhile.
#[derive(Debug)]
pub struct Parent {
    /// Its description.
    pub run: RunDescription,
    /// Its step circuit.
    pub shape: StepShape,
    /// Its final state.
    pub state: State,
    /// Blinding seed of that state.
    pub seed: StateSeed,
    digest: FieldElement,
    steps: StepIndex,
    private: PrivateDir,
    _writer: RunWriter,
}

impl Parent {
    /// Reads the end of the run in `dir` and its private directory.
    ///
    /// Errors: [`LineageError::EmptyParent`]; [`SessionError::ParentSecrets`]: without them no child can be made.
    pub fn open(places: &Places, dir: &Path) -> Result<Self, SessionError> {
        let of_parent = |error: SessionError| SessionError::Parent(Box::new(error));
        let (writer, _) = RunWriter::open(dir).map_err(|e| of_parent(e.into()))?;
        let run = writer.dir().run().description().clone();
        let steps = StepIndex(writer.log().size().0);
        let last = steps.0.checked_sub(1).ok_or(LineageError::EmptyParent { parent: run.run })?;
        let digest =
            writer.dir().record(writer.log(), StepIndex(last)).map_err(|e| of_parent(e.into()))?.record().state_out;
        let public = writer.dir().path().parent().unwrap_or(writer.dir().path());
        let private = PrivateDir::open_or_create(&places.private, public, run.run)?;
        let path = private.path().to_owned();
        let missing = |error: SessionError| SessionError::ParentSecrets { path: path.clone(), source: Box::new(error) };
        let seed = seeds(&private)
            .map_err(|e| missing(e.into()))?
            .ok_or_else(|| missing(SessionError::NoSecret { path: path.clone() }))?
            .state(run.run, steps.0);
        let state = read_state(&private, steps).map_err(missing)?;
        let shape = step_shape(&run).map_err(of_parent)?;
        Ok(Self { run, shape, state, seed, digest, steps, private, _writer: writer })
    }

    /// Records `child`, whose state 0 has digest `genesis`, and gives it the seed. Repeating it changes nothing.
    ///
    /// Errors: [`LineageError::State`], [`LineageError::ParentExhausted`].
    pub(super) fn adopt(
        &self,
        key: &StepVerifyingKey,
        child: RunId,
        genesis: FieldElement,
        private: &PrivateDir,
    ) -> Result<(), SessionError> {
        let parent = self.run.run;
        if genesis != self.digest {
            return Err(LineageError::State { parent, expected: self.digest, got: genesis }.into());
        }
        admit_child(key, parent, self.steps, &self.private.children(self.steps)?, child)?;
        // Counted before anything is proved from the state.
        self.private.add_child(self.steps, child)?;
        private.write_genesis_seed(&RunSecret::new(self.seed.0))?;
        Ok(())
    }
}
