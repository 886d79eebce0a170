//! What a visitor's browser verifies: the checks of the command line, compiled to wasm.
//!
//! A page gives bytes and the answers of a node that the visitor chose, and gets one JSON line for each check at the moment
//! it is made: `{"check", "ok", "state", "detail", "ms"}`, as `cairn verify --json` has them. Nothing is fetched here.
//!
//! **Layer**: above `audit` without its feature `native`; nothing depends on it. `web/` has the module for pages and its
//! worker; `cargo xtask island` builds all of it.
//!
//! | module | purpose |
//! |---|---|
//! | [`requests`] | what a page asks, in plain Rust |
//! | `bindings` | the same for JavaScript (wasm only) |

#[cfg(target_arch = "wasm32")]
mod bindings;
pub mod requests;
