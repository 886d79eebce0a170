//! The table of addresses.

use axum::{
    Router,
    extract::Request,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use tower_http::compression::CompressionLayer;

use super::{
    cache::validate,
    guard::{limit, observe, protect, readable},
    island,
    refusal::Refusal,
    state::AppState,
};
use crate::{
    api::{badge, dumps, export, feed, files, handlers, live, openapi, torrents, upload},
    page,
};

/// The portal as a router. Exports and live updates are streams; everything else carries a validator.
pub fn router(state: AppState) -> Router {
    let limited = Router::new()
        .route("/", get(page::runs::page))
        .route("/runs/{run}", get(page::run::page))
        .route("/runs/{run}/epochs/{epoch}", get(page::epoch::page))
        .route("/runs/{run}/steps/{step}", get(page::step::page))
        .route("/runs/{run}/badge.svg", get(badge::svg))
        .route("/runs/{run}/feed.atom", get(feed::run))
        .route("/compare", get(page::compare::page))
        .route("/registry", get(page::registry::page))
        .route("/check", get(page::check::page))
        .route("/feed.atom", get(feed::runs))
        .route("/torrents.rss", get(torrents::runs))
        .route("/runs/{run}/torrents.rss", get(torrents::run))
        .route("/dumps", get(dumps::days))
        .route("/dumps/{day}/{file}", get(dumps::file))
        .route("/verify", get(page::verify::page))
        .route("/style.css", get(page::style))
        .route("/icon.svg", get(page::icon))
        .route("/assets/island/{version}/{file}", get(island::file))
        .route("/api/v1/runs", get(handlers::runs))
        .route("/api/v1/runs/{run}", get(handlers::run))
        .route("/api/v1/runs/{run}/epochs", get(handlers::epochs))
        .route("/api/v1/runs/{run}/steps", get(handlers::steps))
        .route("/api/v1/runs/{run}/steps/{step}", get(handlers::step))
        .route("/api/v1/runs/{run}/steps/{step}/evidence", get(files::evidence))
        .route("/api/v1/runs/{run}/files/{*name}", get(files::file))
        .route("/api/v1/runs/{run}/bundle.torrent", get(files::torrent))
        .route("/api/v1/runs/{run}/series", get(handlers::series))
        .route("/api/v1/runs/{run}/history", get(handlers::history))
        .route("/api/v1/runs/{run}/bundles", get(handlers::bundles))
        .route("/api/v1/runs/{run}/attestations", get(handlers::attestations))
        .route("/api/v1/runs/{run}/events", get(live::run))
        .route("/api/v1/runs/{run}/badge.json", get(badge::json))
        .route("/api/v1/runs/{run}/export/{file}", get(export::run))
        .route("/api/v1/export/{file}", get(export::runs))
        .route("/api/v1/bundles", put(upload::put))
        .route("/api/v1/verifiers", get(handlers::verifiers))
        .route("/api/v1/sources", get(handlers::sources))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .method_not_allowed_fallback(async |request: Request| refuse(&request, Refusal::Method {}))
        .fallback(async |request: Request| refuse(&request, Refusal::NoRoute {}))
        .layer(from_fn(validate))
        .layer(from_fn(readable))
        .layer(from_fn_with_state(state.clone(), limit));
    Router::new()
        .route("/health", get(handlers::health))
        .route("/metrics", get(handlers::metrics))
        .merge(limited)
        .layer(CompressionLayer::new())
        .layer(from_fn(protect))
        .layer(from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

/// A refusal as the visitor reads it: programs JSON, people a page.
fn refuse(request: &Request, refusal: Refusal) -> Response {
    if request.uri().path().starts_with("/api/") {
        refusal.into_response()
    } else {
        page::PageRefusal(refusal).into_response()
    }
}
