//! The dumps of the index, as the files that they are.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use crate::server::{AppState, Refusal};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Days that have a dump.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DumpsView {
    /// `YYYY-MM-DD`, the newest first; each has `/dumps/{day}/dump.json`, which names its files.
    days: Vec<String>,
}

/// Days that have a dump, if this portal writes any.
#[utoipa::path(get, path = "/dumps", responses((status = 200, body = DumpsView), (status = 404, description = "none are written")))]
pub(crate) async fn days(State(state): State<AppState>) -> Result<Json<DumpsView>, Refusal> {
    let dumps = state.dumps().ok_or(Refusal::NoRoute {})?;
    let days = dumps.days().map_err(|error| Refusal::internal(&error))?;
    Ok(Json(DumpsView { days }))
}

/// A file of a dump: `dump.json`, `runs.jsonl.gz`, `epochs.jsonl.gz` or `steps.jsonl.gz`.
#[utoipa::path(get, path = "/dumps/{day}/{file}", params(("day" = String, Path), ("file" = String, Path)),
    responses((status = 200, content_type = "application/gzip", body = String), (status = 404, description = "no such file")))]
pub(crate) async fn file(
    State(state): State<AppState>,
    Path((day, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let path = state.dumps().and_then(|dumps| dumps.file(&day, &name)).ok_or(Refusal::NoRoute {})?;
    let file = tokio::fs::File::open(&path).await.map_err(|_| Refusal::NoRoute {})?;
    let length = file.metadata().await.map_err(|error| Refusal::internal(&error))?.len();
    let kind = if name.ends_with(".gz") { "application/gzip" } else { "application/json" };
    // A day's dump never changes.
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CACHE_CONTROL, "public, max-age=86400, immutable".to_owned()),
    ];
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let n = file.read(&mut chunk).await?;
        chunk.truncate(n);
        Ok::<_, std::io::Error>((n > 0).then_some((chunk, file)))
    });
    Ok((headers, Body::from_stream(chunks)).into_response())
}
