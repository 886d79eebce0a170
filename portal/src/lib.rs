//! What an auditor sees of the runs that chains carry: an index of anchored runs, what keeps it true, and pages that show it.
//!
//! **Layer**: L3, below `cli` only. Decisions and their reasons: `docs/adr/0015-portal.md`.
//!
//! | module | purpose |
//! |---|---|
//! | `api` | what programs read: JSON, exports, live updates, feeds, badges |
//! | [`bundles`] | run directories that are here: verified in full, then served |
//! | `cause` | errors with their causes |
//! | [`dump`] | everything, once a day, as files |
//! | [`follow`] | reads `RunAnchor` contracts into the index: back-fill, live, reorganisations, lost nodes |
//! | [`hooks`] | signed messages to whoever wants to know of changes |
//! | [`index`] | what the chain said about runs, in SQLite or PostgreSQL; goes back when the chain does |
//! | `page` | what people read |
//! | [`seeders`] | what trackers say of announced bundles |
//! | [`server`] | the router, and the program around it |
//! | `time` | moments as text |
//!
//! The chain decides. The index holds events and what follows from them; nothing in it can be set by hand, and it can be
//! thrown away and made again at any time.

mod api;
pub mod bundles;
mod cause;
pub mod dump;
pub mod follow;
pub mod hooks;
pub mod index;
mod page;
pub mod seeders;
pub mod server;
mod time;

pub use api::description;
