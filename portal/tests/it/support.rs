//! Databases, histories, and a node.

pub mod bundle;
pub mod database;
pub mod description;
pub mod history;

#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/anvil.rs"]
pub mod anvil;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/epochs.rs"]
pub mod epochs;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/flaky.rs"]
pub mod flaky;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/world.rs"]
pub mod world;
