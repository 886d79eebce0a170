//! The index and its follower. Each test runs on SQLite, and on PostgreSQL as well if `DATABASE_URL` names a server where
//! databases may be made.

mod support;

mod attested;
mod bundles;
mod compared;
mod conflicts;
mod dumps;
mod events;
mod facets;
mod fetching;
mod following;
mod hooks;
mod islands;
mod pages;
mod position;
mod remote;
mod rollback;
mod search;
mod seeders;
mod serving;
mod snapshots;
mod status;
mod torrents;
mod uploads;
