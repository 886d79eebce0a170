//! Verifiers that accepted epochs, and the contracts that are followed.

use axum::{extract::State, response::Html};
use leptos::prelude::*;

use super::{
    PageRefusal, Place, layout,
    part::{hash, link, moment, table, text},
};
use crate::{
    api::handlers::MAX_LINES,
    index::{SourceEntry, VerifierEntry},
    server::AppState,
};

/// The page of the verifiers.
pub(crate) async fn page(State(state): State<AppState>) -> Result<Html<String>, PageRefusal> {
    let verifiers = state.index().verifiers(MAX_LINES).await?;
    let sources = state.index().sources().await?;
    Ok(layout("Verifiers", Place::Registry, None, content(&verifiers, &sources)))
}

fn content(verifiers: &[VerifierEntry], sources: &[SourceEntry]) -> AnyView {
    let verifier = |entry: &VerifierEntry| {
        let state = if entry.frozen { "frozen: accepts nothing" } else { "in use" };
        vec![
            hash(entry.verifier),
            hash(entry.selector),
            text(state),
            text(entry.n_epochs),
            text(entry.n_runs),
            moment(entry.last_at),
            text(entry.chain),
        ]
    };
    let source = |entry: &SourceEntry| {
        let position = entry.position.map_or_else(|| "nothing yet".to_owned(), |at| at.number.to_string());
        let runs = link(format!("/?contract={}", entry.source.contract), "its runs");
        vec![
            hash(entry.source.contract),
            text(entry.source.chain),
            text(entry.source.first_block),
            text(position),
            runs,
        ]
    };
    let rows: Vec<_> = verifiers.iter().map(verifier).collect();
    let verifiers = if rows.is_empty() {
        view! { <p class="empty">"No verifier accepted an epoch yet."</p> }.into_any()
    } else {
        table("Table of verifiers", &["Verifier", "Selector", "State", "Epochs", "Runs", "Last used", "Chain"], rows)
    };
    view! {
        <h1>"Verifiers"</h1>
        <p class="lede">
            "A run is bound to a selector when it is registered. The registry gives the verifier contract of a selector: it may be "
            "added after a delay and frozen at once, never replaced."
        </p>
        {verifiers}
        <h2>"Contracts that this portal follows"</h2>
        {table("Table of contracts", &["RunAnchor", "Chain", "Read from block", "Read up to block", "Runs"], sources.iter().map(source).collect())}
        {super::part::command("Ask the registry yourself:", "cairn registry --help".to_owned())}
    }
    .into_any()
}
