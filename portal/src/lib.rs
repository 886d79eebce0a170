//! What an auditor sees of the runs that chains carry: an index of anchored runs, and what keeps it true.
//!
//! **Layer**: L3, below `cli` only. Decisions and their reasons: `docs/adr/0015-portal.md`.
//!
//! | module | purpose |
//! |---|---|
//! | [`index`] | what the chain said about runs, in SQLite or PostgreSQL; goes back when the chain does |
//! | [`follow`] | reads `RunAnchor` contracts into the index: back-fill, live, reorganisations, lost nodes |
//!
//! The chain decides. The index holds events and what follows from them; nothing in it can be set by hand, and it can be
//! thrown away and made again at any time.

pub mod follow;
pub mod index;
