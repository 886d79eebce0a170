//! Bundles that strangers send.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::model::UploadedView;
use crate::{
    bundles::UploadError,
    server::{AppState, Refusal},
};

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Busy => Self::UploadBusy { retry_after_s: 30 },
            UploadError::TooLarge { limit } => Self::UploadTooLarge { limit },
            UploadError::BrokeOff { .. } => Self::UploadBrokeOff { reason: error.to_string() },
            UploadError::Archive(reason) => Self::UploadRefused { state: "malformed", reason },
            UploadError::Refused { state, reason } => Self::UploadRefused { state: state.code(), reason },
            UploadError::NoRun { run } => Self::NoRun { run },
            UploadError::Here { run } => Self::UploadHere { run },
            error => Self::internal(&error),
        }
    }
}

/// Send a bundle: a capsule, or any archive of its kind (`docs/spec/capsule.md`) with the run under `run/`. Off unless the
/// portal was started with `--upload`. What it has must be anchored; its proofs are verified in turn then.
#[utoipa::path(put, path = "/api/v1/bundles",
    request_body(content_type = "application/x-tar", description = "the archive"),
    responses((status = 202, body = UploadedView, description = "it is in the folder, and waits for its turn"),
        (status = 400, description = "it broke off"), (status = 403, description = "this portal takes no uploads"),
        (status = 404, description = "no such run"), (status = 409, description = "the run is here already"),
        (status = 413, description = "too long"), (status = 422, description = "not a bundle of what is anchored"),
        (status = 503, description = "another one is arriving: Retry-After")))]
pub(crate) async fn put(State(state): State<AppState>, head: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let uploads = state.shelf().and_then(|shelf| shelf.uploads()).ok_or(Refusal::UploadOff {})?;
    let len = head.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    let taken = uploads.take(len, body.into_data_stream()).await?;
    tracing::info!(run = %taken.run, steps = taken.size.0, "bundle of run {} was uploaded", taken.run);
    Ok((StatusCode::ACCEPTED, Json(UploadedView::from(&taken))).into_response())
}
