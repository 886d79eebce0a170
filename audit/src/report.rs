//! What was checked, and how it went: the words that command line, portal and browser share.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::error::{AuditError, Failure, Reason};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It was not made: what it needs is not there. This says nothing about the run.
    NotCovered,
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub check: String,
    /// How it went.
    pub state: State,
    /// Numbers, what is wrong, or what is missing.
    pub detail: String,
    /// What is wrong, for programs.
    pub failure: Option<Failure>,
    /// Milliseconds since the line before.
    pub ms: f64,
}

impl Check {
    /// Whether it holds.
    pub fn is_ok(&self) -> bool {
        self.state == State::Passed
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Check", 5)?;
        line.serialize_field("check", &self.check)?;
        line.serialize_field("ok", &self.is_ok())?;
        line.serialize_field("state", &self.state)?;
        line.serialize_field("detail", &self.detail)?;
        line.serialize_field("ms", &((self.ms * 1e3).round() / 1e3))?;
        line.end()
    }
}

/// What a caller is told while checks are made.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A check was made.
    Made(&'a Check),
    /// So many of the chosen step proofs were verified.
    StepProofs {
        /// Verified.
        done: u64,
        /// Chosen.
        total: u64,
    },
}

/// What may go to another thread; in a browser there is none.
#[cfg(not(target_arch = "wasm32"))]
mod threads {
    /// `Send`, where there are threads.
    pub trait MaybeSend: Send {}
    impl<T: Send> MaybeSend for T {}
    pub(super) type Clock<'a> = Box<dyn Fn() -> f64 + Send + 'a>;
    pub(super) type Watch<'a> = Box<dyn FnMut(super::Progress<'_>) + Send + 'a>;
}

/// What may go to another thread; in a browser there is none.
#[cfg(target_arch = "wasm32")]
mod threads {
    /// Everything, where there are no threads.
    pub trait MaybeSend {}
    impl<T> MaybeSend for T {}
    pub(super) type Clock<'a> = Box<dyn Fn() -> f64 + 'a>;
    pub(super) type Watch<'a> = Box<dyn FnMut(super::Progress<'_>) + 'a>;
}

pub use threads::MaybeSend;
use threads::{Clock, Watch};

/// The checks made so far, in order. A failed one ends a verification; those behind it are not made.
pub struct Checks<'a> {
    made: Vec<Check>,
    clock: Clock<'a>,
    watch: Watch<'a>,
    last_ms: f64,
}

impl std::fmt::Debug for Checks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("made", &self.made).finish_non_exhaustive()
    }
}

impl<'a> Checks<'a> {
    /// `clock`: milliseconds since any moment, never going back. `watch` is told of everything at once.
    pub fn new(clock: impl Fn() -> f64 + MaybeSend + 'a, watch: impl FnMut(Progress<'_>) + MaybeSend + 'a) -> Self {
        let last_ms = clock();
        Self { made: Vec::new(), clock: Box::new(clock), watch: Box::new(watch), last_ms }
    }

    /// By the clock of the machine.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn watched(watch: impl FnMut(Progress<'_>) + MaybeSend + 'a) -> Self {
        let start = std::time::Instant::now();
        Self::new(move || 1e3 * start.elapsed().as_secs_f64(), watch)
    }

    /// The lines.
    pub fn made(&self) -> &[Check] {
        &self.made
    }

    /// The lines.
    pub fn into_made(self) -> Vec<Check> {
        self.made
    }

    /// Whether every line that was made holds.
    pub fn all_hold(&self) -> bool {
        self.made.iter().all(|check| check.state != State::Failed)
    }

    /// Milliseconds by the clock.
    pub(crate) fn now_ms(&self) -> f64 {
        (self.clock)()
    }

    /// Tells the caller.
    pub fn tell(&mut self, progress: Progress<'_>) {
        (self.watch)(progress);
    }

    /// Notes the result of one check; an error ends the verification as a failed check.
    ///
    /// Errors: [`AuditError::Failed`].
    pub fn note<T, E: Into<Reason>>(
        &mut self,
        check: &str,
        result: Result<T, E>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, AuditError> {
        match result {
            Ok(value) => {
                self.add(check, State::Passed, detail(&value), None);
                Ok(value)
            }
            Err(reason) => Err(self.fail(Failure::new(check, reason))),
        }
    }

    /// Notes a check that failed within a group.
    pub fn fail(&mut self, failure: Failure) -> AuditError {
        let (check, detail) = (failure.check.clone(), failure.reason.to_string());
        self.add(&check, State::Failed, detail, Some(failure.clone()));
        AuditError::Failed(failure)
    }

    /// Notes the failure that `result` may be; any other error is no line.
    ///
    /// Errors: those of `result`.
    pub fn pass_on<T>(&mut self, result: Result<T, AuditError>) -> Result<T, AuditError> {
        result.map_err(|error| match error {
            AuditError::Failed(failure) => self.fail(failure),
            other => other,
        })
    }

    /// Notes a check that holds.
    pub fn passed(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, State::Passed, detail.into(), None);
    }

    /// Notes a check that was not made, and what it would have needed.
    pub fn not_covered(&mut self, check: &str, why: impl Into<String>) {
        self.add(check, State::NotCovered, why.into(), None);
    }

    fn add(&mut self, check: &str, state: State, detail: String, failure: Option<Failure>) {
        let now = self.now_ms();
        let check = Check { check: check.to_owned(), state, detail, failure, ms: now - self.last_ms };
        self.last_ms = now;
        (self.watch)(Progress::Made(&check));
        self.made.push(check);
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Default for Checks<'_> {
    fn default() -> Self {
        Self::watched(|_| ())
    }
}
