//! The description of the JSON, generated from the handlers.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use super::{badge, dumps, export, feed, files, handlers, live, torrents, upload};
use crate::server::Refusal;

/// The description of the addresses for programs.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cairn audit portal",
        description = "Runs that chains carry. Errors are {\"error\": {\"code\", \"message\", \"details\"}}."
    ),
    paths(
        handlers::runs,
        handlers::run,
        handlers::epochs,
        handlers::steps,
        handlers::step,
        handlers::series,
        handlers::history,
        handlers::bundles,
        handlers::attestations,
        handlers::verifiers,
        handlers::sources,
        handlers::health,
        handlers::metrics,
        badge::json,
        badge::svg,
        dumps::days,
        dumps::file,
        export::runs,
        export::run,
        feed::runs,
        feed::run,
        files::evidence,
        files::file,
        files::torrent,
        live::run,
        upload::put,
        torrents::runs,
        torrents::run,
        openapi
    )
)]
struct Description;

/// The OpenAPI description as JSON.
///
/// # Errors
/// If it cannot be written.
pub fn description() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json()
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, description = "OpenAPI", body = Object)))]
pub(crate) async fn openapi() -> Result<Response, Refusal> {
    let text = description().map_err(|error| Refusal::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
