//! The status of a run as a picture, and what the picture says as JSON.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};

use super::{
    model::{BadgeView, NOT_PROVED},
    query::{Pairs, only, resolve},
};
use crate::{
    index::{RunEntry, Status},
    server::{AppState, Refusal},
};

/// Width of a character and of the space around a text, units of the picture.
const CHARACTER: usize = 7;
const SPACE: usize = 16;

/// The status of a run as a picture.
#[utoipa::path(get, path = "/runs/{run}/badge.svg",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "image/svg+xml", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn svg(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], draw(&view(&entry))).into_response())
}

/// The status of a run for a badge.
#[utoipa::path(get, path = "/api/v1/runs/{run}/badge.json",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, body = BadgeView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn json(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<BadgeView>, Refusal> {
    only(&pairs, &[])?;
    Ok(Json(view(&resolve(state.index(), &run, &pairs).await?)))
}

fn view(entry: &RunEntry) -> BadgeView {
    let color = match entry.status {
        Status::Verified => "#1a6b3c",
        Status::BundleNotSeen | Status::PartlyCovered => "#1d5a96",
        Status::Registered | Status::Unconfirmed => "#5a6068",
        Status::Frozen => "#8a4b00",
        Status::Conflict | Status::Invalid => "#a3242b",
    };
    let unit = if entry.size.0 == 1 { "step" } else { "steps" };
    let message = match entry.status {
        Status::Registered => entry.status.words().to_owned(),
        _ => format!("{} · {} {unit}", entry.status.words(), entry.size),
    };
    BadgeView { label: "cairn: update proved", message, status: entry.status.code(), color, meaning: NOT_PROVED }
}

/// The picture. All texts are our own words and numbers.
fn draw(view: &BadgeView) -> String {
    let width = |text: &str| text.chars().count() * CHARACTER + SPACE;
    let BadgeView { label, message, color, meaning, .. } = view;
    let (left, right) = (width(label), width(message));
    let (whole, at_left, at_right) = (left + right, left / 2, left + right / 2);
    let font = "font-family=\"Verdana, DejaVu Sans, sans-serif\" font-size=\"11\" text-anchor=\"middle\" fill=\"#fff\"";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" viewBox=\"0 0 {whole} 20\" role=\"img\" \
         aria-label=\"{label}: {message}\"><title>{label}: {message}</title><desc>{meaning}</desc>\
         <rect width=\"{left}\" height=\"20\" fill=\"#30343a\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{color}\"/>\
         <text x=\"{at_left}\" y=\"14\" {font}>{label}</text><text x=\"{at_right}\" y=\"14\" {font}>{message}</text></svg>"
    )
}
