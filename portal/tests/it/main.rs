//! The index and its follower. Each test runs on SQLite, and on PostgreSQL as well if `DATABASE_URL` names a server where
//! databases may be made.

mod support;

mod bundles;
mod conflicts;
mod events;
mod following;
mod islands;
mod pages;
mod position;
mod rollback;
mod search;
mod serving;
mod status;
