//! Every check of a run, by the same code and in the same words for command line, portal and browser.
//!
//! A verification makes checks one after the other. Each is a line of a report: what was checked, whether it passed, failed
//! or was not covered, and numbers or the reason. The first failed one ends it; those that were made stay in [`Checks`].
//!
//! Without the feature `native` this is what a browser can do: no threads, no sockets, no clock of its own. What it leaves
//! out it says.
//!
//! **Layer**: above `ledger`, `store`, `srs`, `circuits`, `epochcheck`, `verifier-gen`, `chain`; beneath `cli`, `portal` and
//! `island` (`docs/adr/0018-audit.md`).
//!
//! | module | purpose |
//! |---|---|
//! | [`report`] | lines of a report, and who is told of them |
//! | [`run`] | a run's directory or capsule: log, manifest, keys, links, proofs |
//! | [`statements`] | links, schedules and digests of a log |
//! | [`evidence`] | one step with what surrounds it, from bytes |
//! | [`keys`] | verifying keys, and that they are the policy's |
//! | [`circuit`] | which circuits a run's epochs are proved with |
//! | [`chain`] | a log against what the chain says |
//! | [`capsule`] | one file that verifies with no network at all |
//! | [`weights`] | whether weights are a state of the run |
//! | [`epochs`] | epoch proofs, and what the code of a registered verifier says of their key |
//! | `verifier` | the Solidity verifier that a key gives (feature `native`) |

pub mod capsule;
pub mod chain;
pub mod circuit;
pub mod epochs;
mod error;
pub mod evidence;
pub mod keys;
pub mod report;
pub mod run;
pub mod statements;
#[cfg(feature = "native")]
pub mod verifier;
pub mod weights;

pub use capsule::Capsule;
pub use circuit::EpochCircuit;
pub use circuits::notes::NOT_PROVED;
pub use error::{AuditError, Failure, Reason};
pub use keys::{EpochVerifyingKey, Keys, StepKey};
pub use report::{Check, Checks, Progress, State};
pub use run::{Facts, RunAudit, Steps};
