//! Provers on more than one machine: the service puts chunks into a work queue of a NATS server with JetStream, workers take
//! them and put proofs back (spec `service`, "Workers").
//!
//! The broker is trusted with privacy, not with truth: it and the workers see what they get, and the service takes no proof
//! that is not of its own state and gradient, whoever sent it. Losing everything the broker has costs time only: the service
//! puts it there again.
//!
//! | module | purpose |
//! |---|---|
//! | `broker` | streams, subjects and objects |
//! | `dispatch` | the service's side |
//! | `error` | what can go wrong |
//! | `worker` | the worker's side |

mod broker;
mod dispatch;
mod error;
mod worker;

pub use broker::{Broker, BrokerAddress, Redelivery};
pub use dispatch::Dispatcher;
pub use error::QueueError;
pub use worker::{Told, WorkerConfig, work};
