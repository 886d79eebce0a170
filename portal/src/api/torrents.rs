//! Announced bundles as RSS 2.0 with magnet links, which torrent clients subscribe to.

use std::fmt::Write;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};

use super::{
    feed::{escaped, urn},
    model::NOT_PROVED,
    query::{MAX_ENTRIES, Pairs, RunQuery, only, resolve},
    run_address,
};
use crate::{
    index::{BundleEntry, RunEntry},
    server::{AppState, Refusal},
    time::rfc822,
};

/// The newest announced bundle of each run of a filter, the last anchored first.
#[utoipa::path(get, path = "/torrents.rss",
    responses((status = 200, content_type = "application/rss+xml", body = String), (status = 400, description = "malformed")))]
pub(crate) async fn runs(State(state): State<AppState>, Query(pairs): Query<Pairs>) -> Result<Response, Refusal> {
    let query = RunQuery::last_anchored(&pairs)?;
    let mut items = String::new();
    for run in &query.run(state.index()).await?.page.runs {
        if let [newest, ..] = state.index().bundles(run.key, 1).await?.as_slice() {
            item(&mut items, run, newest);
        }
    }
    Ok(rss("Bundles of runs on chain", &format!("/?{}", query.to_query(None)), &items))
}

/// All announced bundles of a run, the newest first.
#[utoipa::path(get, path = "/runs/{run}/torrents.rss",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "application/rss+xml", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn run(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let run = resolve(state.index(), &run, &pairs).await?;
    let mut items = String::new();
    for bundle in &state.index().bundles(run.key, MAX_ENTRIES).await? {
        item(&mut items, &run, bundle);
    }
    Ok(rss(&format!("Bundles of run {}", run.run), &run_address(&run), &items))
}

/// The link of an announced bundle, v1's infohash first: clients that know only one read that.
pub(crate) fn magnet(bundle: &BundleEntry) -> String {
    let announcement = &bundle.announcement;
    // A v2 infohash in a magnet is a multihash: 0x12 SHA-256, 0x20 bytes (BEP 9).
    let (v1, v2) = (hex::encode(announcement.infohash_v1), hex::encode(announcement.infohash_v2.0));
    format!("magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}")
}

fn item(out: &mut String, run: &RunEntry, bundle: &BundleEntry) {
    let (magnet, page) = (escaped(&magnet(bundle)), escaped(&run_address(run)));
    let title = format!("Run {}, {} steps: {}", run.run, bundle.announcement.size, run.status.words());
    let guid = format!("{}:bundle:{}", urn(run), hex::encode(bundle.announcement.infohash_v1));
    // Writing to a String does not fail. The size is not on chain; readers of RSS want a number.
    let _ = writeln!(
        out,
        "<item><title>{}</title><link>{page}</link><guid isPermaLink=\"false\">{}</guid><pubDate>{}</pubDate>\
         <enclosure url=\"{magnet}\" length=\"0\" type=\"application/x-bittorrent\"/></item>",
        escaped(&title),
        escaped(&guid),
        rfc822(bundle.time),
    );
}

fn rss(title: &str, link: &str, items: &str) -> Response {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\">\n<channel>\n<title>{}</title>\n<link>{}</link>\n\
         <description>{}</description>\n{items}</channel>\n</rss>\n",
        escaped(title),
        escaped(link),
        escaped(NOT_PROVED),
    );
    ([(header::CONTENT_TYPE, "application/rss+xml; charset=utf-8")], text).into_response()
}
