//! The table of addresses.

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tower_http::compression::CompressionLayer;

use super::{
    cache::validate,
    guard::{limit, observe, protect, readable},
    refusal::Refusal,
    state::AppState,
};
use crate::api::{badge, export, feed, handlers, live, openapi};

/// The portal as a router. Exports and live updates are streams; everything else carries a validator.
pub fn router(state: AppState) -> Router {
    let limited = Router::new()
        .route("/runs/{run}/badge.svg", get(badge::svg))
        .route("/runs/{run}/feed.atom", get(feed::run))
        .route("/feed.atom", get(feed::runs))
        .route("/api/v1/runs", get(handlers::runs))
        .route("/api/v1/runs/{run}", get(handlers::run))
        .route("/api/v1/runs/{run}/epochs", get(handlers::epochs))
        .route("/api/v1/runs/{run}/steps", get(handlers::steps))
        .route("/api/v1/runs/{run}/steps/{step}", get(handlers::step))
        .route("/api/v1/runs/{run}/history", get(handlers::history))
        .route("/api/v1/runs/{run}/bundles", get(handlers::bundles))
        .route("/api/v1/runs/{run}/events", get(live::run))
        .route("/api/v1/runs/{run}/badge.json", get(badge::json))
        .route("/api/v1/runs/{run}/export/{file}", get(export::run))
        .route("/api/v1/export/{file}", get(export::runs))
        .route("/api/v1/verifiers", get(handlers::verifiers))
        .route("/api/v1/sources", get(handlers::sources))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .method_not_allowed_fallback(async || Refusal::Method {})
        .fallback(async || Refusal::NoRoute {})
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
