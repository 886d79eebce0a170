//! The run that a child starts from.

use std::path::Path;

use anyhow::Context;
use circuits::keys::StepVerifyingKey;
use circuits::linked::StateSeed;
use circuits::reference::State;
use circuits::step::shape::StepShape;
use ledger::{FieldElement, RunDescription, RunId, StepIndex};
use prover::lineage::{LineageError, admit_child};
use prover::state_file;
use store::{PrivateDir, RunSecret, RunWriter};

use crate::cmd::aggregate::open_writer;
use crate::home::Home;
use crate::run::{seeds, step_shape};

/// A parent with its final state and that state's seed. Holds the parent's lock: nobody else trains it or counts its
/// children meanwhile.
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
    /// Reads the end of the run in `dir` and its private directory in `home`.
    ///
    /// Errors: [`LineageError::EmptyParent`]; no secret or state in `home`: without them no child can be made.
    pub fn open(home: &Home<'_>, dir: &Path) -> anyhow::Result<Self> {
        let (writer, _) = open_writer(dir).context("parent")?;
        let run = writer.dir().run().description().clone();
        let steps = StepIndex(writer.log().size().0);
        let last = steps.0.checked_sub(1).ok_or(LineageError::EmptyParent { parent: run.run })?;
        let digest = writer.dir().record(writer.log(), StepIndex(last))?.record().state_out;
        let public = writer.dir().path().parent().unwrap_or(writer.dir().path());
        let private = PrivateDir::open_or_create(&home.private(), public, run.run)?;
        let missing = || {
            format!(
                "{}: a child needs the parent's secret and final state, which are not here",
                private.path().display()
            )
        };
        let seed = seeds(&private)?.with_context(missing)?.state(run.run, steps.0);
        let state = state_file::decode(&private.read_state(steps).with_context(missing)?)?;
        let shape = step_shape(&run)?;
        Ok(Self { run, shape, state, seed, digest, steps, private, _writer: writer })
    }

    /// Records `child`, whose state 0 has digest `genesis`, and gives it the seed. Repeating it changes nothing.
    ///
    /// Errors: [`LineageError::State`], [`LineageError::ParentExhausted`].
    pub fn adopt(
        &self,
        key: &StepVerifyingKey,
        child: RunId,
        genesis: FieldElement,
        private: &PrivateDir,
    ) -> anyhow::Result<()> {
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
