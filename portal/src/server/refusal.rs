//! Why a request is refused: one variant per check, and the answer that says so, as JSON or as a page.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use ledger::RunId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{cause::with_causes, index::IndexError};

/// A refused request. The fields are the `details` of the answer.
#[derive(Debug, Serialize, thiserror::Error)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not what the address takes.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing at this address.
    #[error("there is no such address")]
    NoRoute {},
    /// The address does not take this method.
    #[error("this address does not take that method")]
    Method {},
    /// No indexed contract has such a run.
    #[error("no contract that this portal follows has a run {run}")]
    NoRun {
        /// The run asked for.
        run: RunId,
    },
    /// Several contracts say that they have the run.
    #[error("several contracts have a run {run}: say which by ?contract=")]
    SeveralRuns {
        /// The run asked for.
        run: RunId,
        /// Their addresses.
        contracts: Vec<ledger::Address>,
    },
    /// The run has no such epoch.
    #[error("run {run} has {expected} epochs, there is no epoch {got}")]
    NoEpoch {
        /// The run.
        run: RunId,
        /// Its last epoch, counted from 1.
        expected: u64,
        /// The epoch asked for.
        got: u64,
    },
    /// The run has no such step.
    #[error("run {run} has {expected} anchored steps, there is no step {got}")]
    NoStep {
        /// The run.
        run: RunId,
        /// Anchored steps.
        expected: u64,
        /// The step asked for.
        got: u64,
    },
    /// No bundle of the run that passed its checks is here.
    #[error("no bundle of run {run} that passed every check is here")]
    NoBundle {
        /// The run.
        run: RunId,
    },
    /// The bundle that is here ends before the step.
    #[error("the bundle of run {run} that is here has {expected} steps, not step {got}")]
    StepNotHere {
        /// The run.
        run: RunId,
        /// Steps that are here.
        expected: u64,
        /// The step asked for.
        got: u64,
    },
    /// The bundle has no such file.
    #[error("the bundle of run {run} has no file {got:?}")]
    NoFile {
        /// The run.
        run: RunId,
        /// The name asked for.
        got: String,
    },
    /// What was announced on chain is another torrent of the same files.
    #[error(
        "run {run}: the announced torrent has infohash {expected}, one made of these files with nothing added has {got}; use the magnet link"
    )]
    OtherTorrent {
        /// The run.
        run: RunId,
        /// Announced, v1.
        expected: String,
        /// Of the torrent that would be made.
        got: String,
    },
    /// The file is not what it was when it was checked.
    #[error("file {got:?} is not what it was when it was checked")]
    FileChanged {
        /// The file.
        got: String,
    },
    /// This portal takes no uploads.
    #[error("this portal takes no uploads")]
    UploadOff {},
    /// Another upload is arriving.
    #[error("another upload is arriving; try again in {retry_after_s} s")]
    UploadBusy {
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
    /// The upload is too long.
    #[error("an upload has at most {limit} bytes")]
    UploadTooLarge {
        /// Most bytes.
        limit: u64,
    },
    /// The upload came too slowly, or broke off.
    #[error("{reason}")]
    UploadBrokeOff {
        /// Why.
        reason: String,
    },
    /// The upload is not a bundle that the chain carries.
    #[error("{reason}")]
    UploadRefused {
        /// As it would stand in the folder; `malformed` if it is no archive of a run.
        state: &'static str,
        /// Why.
        reason: String,
    },
    /// The run is here already.
    #[error("run {run} is here already")]
    UploadHere {
        /// The run.
        run: RunId,
    },
    /// One address asks too often.
    #[error("too many requests from your address; try again in {retry_after_s} s")]
    TooMany {
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
    /// Too many listen to live updates.
    #[error("{limit} connections listen already; try again in {retry_after_s} s")]
    TooManyListeners {
        /// Connections that may listen.
        limit: usize,
        /// Seconds after which to try again.
        retry_after_s: u64,
    },
    /// Something that is not the visitor's fault.
    #[error("the portal failed; its log says why")]
    Internal {
        /// For the log only.
        #[serde(skip)]
        log: String,
    },
}

impl Refusal {
    /// Something that is not the visitor's fault.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Internal { log: with_causes(error) }
    }

    /// Status, and the word for programs.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed { .. } => (StatusCode::BAD_REQUEST, "malformed"),
            Self::NoRoute {} => (StatusCode::NOT_FOUND, "no_route"),
            Self::Method {} => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::NoRun { .. } => (StatusCode::NOT_FOUND, "no_run"),
            Self::SeveralRuns { .. } => (StatusCode::CONFLICT, "several_runs"),
            Self::NoEpoch { .. } => (StatusCode::NOT_FOUND, "no_epoch"),
            Self::NoStep { .. } => (StatusCode::NOT_FOUND, "no_step"),
            Self::NoBundle { .. } => (StatusCode::NOT_FOUND, "no_bundle"),
            Self::StepNotHere { .. } => (StatusCode::NOT_FOUND, "step_not_here"),
            Self::NoFile { .. } => (StatusCode::NOT_FOUND, "no_file"),
            Self::OtherTorrent { .. } => (StatusCode::CONFLICT, "other_torrent"),
            Self::FileChanged { .. } => (StatusCode::SERVICE_UNAVAILABLE, "file_changed"),
            Self::UploadOff {} => (StatusCode::FORBIDDEN, "upload_off"),
            Self::UploadBusy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "upload_busy"),
            Self::UploadTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"),
            Self::UploadBrokeOff { .. } => (StatusCode::BAD_REQUEST, "upload_broke_off"),
            Self::UploadRefused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "upload_refused"),
            Self::UploadHere { .. } => (StatusCode::CONFLICT, "upload_here"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            Self::TooManyListeners { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners"),
            Self::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Writes the failure to the log, if it is the portal's own.
    pub fn log(&self) {
        if let Self::Internal { log } = self {
            tracing::error!(error = %log, "request failed: {log}");
        }
    }

    /// Adds what every form of the answer carries.
    pub fn finish(&self, mut response: Response) -> Response {
        if let Self::TooMany { retry_after_s }
        | Self::TooManyListeners { retry_after_s, .. }
        | Self::UploadBusy { retry_after_s } = self
        {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        response
    }
}

impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.log();
        let (status, code) = self.kind();
        let details = match serde_json::to_value(&self) {
            Ok(Value::Object(fields)) => Value::Object(fields),
            _ => json!({}),
        };
        let body = json!({ "error": { "code": code, "message": self.to_string(), "details": details } });
        self.finish((status, Json(body)).into_response())
    }
}
