//! What happened, as Atom (RFC 4287): one feed for a filter of runs, one for each run.

use std::fmt::Write;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};

use super::{
    model::NOT_PROVED,
    query::{MAX_ENTRIES, Pairs, RunQuery, only, resolve},
    run_address,
};
use crate::{
    index::{RunEntry, RunEvent},
    server::{AppState, Refusal},
    time::rfc3339,
};

/// Runs of a filter, the last anchored first.
#[utoipa::path(get, path = "/feed.atom",
    responses((status = 200, content_type = "application/atom+xml", body = String), (status = 400, description = "malformed")))]
pub(crate) async fn runs(State(state): State<AppState>, Query(pairs): Query<Pairs>) -> Result<Response, Refusal> {
    let query = RunQuery::last_anchored(&pairs)?;
    let found = query.run(state.index()).await?;
    let mut entries = String::new();
    let mut updated = 0;
    for run in &found.page.runs {
        let at = run.anchored_at.unwrap_or(run.registered_at);
        updated = updated.max(at);
        let id = format!("{}:steps:{}", urn(run), run.size);
        let title = format!("Run {}: {}, {} steps", run.run, run.status.words(), run.size);
        entry(&mut entries, &id, &title, at, &run_address(run));
    }
    let query = query.to_query(None);
    Ok(atom(&feed(&format!("urn:cairn:runs:{query}"), "Runs on chain", updated, &format!("/?{query}"), &entries)))
}

/// What happened to a run on chain, the newest first.
#[utoipa::path(get, path = "/runs/{run}/feed.atom",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "application/atom+xml", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn run(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let run = resolve(state.index(), &run, &pairs).await?;
    let events = state.index().run_events(run.key, MAX_ENTRIES).await?;
    let mut entries = String::new();
    for event in &events {
        let id = format!("{}:log:{}:{}", urn(&run), event.tx, event.log_index);
        entry(&mut entries, &id, &title(event), event.time, &run_address(&run));
    }
    let updated = events.first().map_or(run.registered_at, |event| event.time);
    Ok(atom(&feed(&urn(&run), &format!("Run {}", run.run), updated, &run_address(&run), &entries)))
}

/// A name of a run that holds wherever the feed is served.
pub(crate) fn urn(run: &RunEntry) -> String {
    format!("urn:cairn:{}:{}:{}", run.chain, run.contract, run.run)
}

fn title(event: &RunEvent) -> String {
    let steps = event.size.map(|size| format!(", {size} steps")).unwrap_or_default();
    format!("{}{steps}", event.kind.replace('_', " "))
}

fn feed(id: &str, title: &str, updated: u64, link: &str, entries: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<id>{}</id>\n\
         <title>{}</title>\n<subtitle>{}</subtitle>\n<updated>{}</updated>\n<author><name>Cairn audit portal</name></author>\n\
         <link rel=\"alternate\" type=\"text/html\" href=\"{}\"/>\n{entries}</feed>\n",
        escaped(id),
        escaped(title),
        escaped(NOT_PROVED),
        rfc3339(updated),
        escaped(link),
    )
}

fn entry(out: &mut String, id: &str, title: &str, at: u64, link: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "<entry><id>{}</id><title>{}</title><updated>{}</updated><link rel=\"alternate\" type=\"text/html\" href=\"{}\"/>\
         </entry>",
        escaped(id),
        escaped(title),
        rfc3339(at),
        escaped(link),
    );
}

fn atom(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/atom+xml; charset=utf-8")], text.to_owned()).into_response()
}

/// A text as it stands in XML, between tags and in quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
