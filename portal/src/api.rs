//! What programs read: JSON, exports, live updates, feeds and badges.
//!
//! | module | purpose |
//! |---|---|
//! | `badge` | the status of a run as a picture |
//! | `dumps` | everything, once a day, as files |
//! | `evidence` | what evidence of a step looks like |
//! | `export` | whole lists as CSV or JSON lines |
//! | `feed` | what happened, as Atom |
//! | `files` | what is served from bundles |
//! | `handlers` | the JSON |
//! | `live` | what happens, as server-sent events |
//! | `model` | what the JSON says |
//! | `openapi` | its description |
//! | `query` | what a list is asked for |
//! | `upload` | bundles that strangers send |
//! | `torrents` | announced bundles, as RSS for torrent clients |

pub(crate) mod badge;
pub(crate) mod dumps;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod handlers;
pub(crate) mod live;
pub(crate) mod model;
pub(crate) mod openapi;
pub(crate) mod query;
pub(crate) mod torrents;
pub(crate) mod upload;

use crate::index::RunEntry;
pub use openapi::description;

/// The address of a run's page. The contract is part of it: other contracts may claim the same run.
pub(crate) fn run_address(run: &RunEntry) -> String {
    format!("/runs/{}?contract={}", run.run, run.contract)
}
