//! Bundles: run directories that are here, verified in full before anything is said of them, and what is served from them.
//!
//! A folder holds the directories of runs (`run-0x…`, as `cairn train` and `cairn fetch` make them). The folder is the queue:
//! it is looked through again and again, and each bundle of an indexed run is checked once, one after the other. What is
//! interrupted begins anew with the next start. Nothing in the folder is changed by that. Bundles also come into it by upload, and by
//! fetching what was announced on chain, if that is asked for.
//!
//! | module | purpose |
//! |---|---|
//! | `check` | all checks of one bundle, and what they say |
//! | `disk` | files that are read until the portal stops |
//! | `fetching` | bundles that were announced on chain: which is fetched when |
//! | `queue` | which bundle is checked when |
//! | `remote` | bundles in an object store, and the folder that they are copied to |
//! | `shelf` | bundles that passed: evidence and files of them |
//! | `survey` | what a directory holds, before any file of it is read |
//! | `torrent` | the `.torrent` of a bundle that passed |
//! | `upload` | bundles that strangers send |

mod check;
mod disk;
mod fetching;
mod queue;
mod remote;
pub(crate) mod shelf;
mod survey;
pub(crate) mod torrent;
mod upload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use audit::Keys;

pub use fetching::{FetchCounts, FetchOptions, Fetches, Transfer, TransferError, Transferring, Wanted};
pub use queue::Intake;
pub use remote::{Location, LocationError, ObjectsError, Remote, RemoteError, Traffic, TrafficCounts};
pub use shelf::Shelf;
pub use survey::{Limits, SurveyError, TooMuch};
pub use upload::{UploadError, Uploaded, Uploads};

/// Where keys come from. They are made on another thread than the portal's.
pub type SharedKeys = Arc<dyn Keys + Send + Sync>;

/// How bundles are taken in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder.
    pub folder: PathBuf,
    /// What a bundle may be.
    pub limits: Limits,
    /// Pause between two looks into the folder.
    pub interval: Duration,
    /// Largest upload, bytes; none are taken if it is not given.
    pub max_upload: Option<u64>,
    /// How announced bundles are fetched; none are if it is not given.
    pub fetch: Option<FetchOptions>,
    /// Time after which a check that could not be made is tried again.
    pub again: Duration,
}

impl Options {
    /// The bundles of a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            limits: Limits::default(),
            max_upload: None,
            fetch: None,
            interval: Duration::from_secs(15),
            again: Duration::from_secs(600),
        }
    }
}
