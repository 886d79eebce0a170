//! One anchored epoch.

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{Html, Response},
};
use leptos::prelude::*;

use super::{
    PageRefusal, Place, layout,
    part::{below, fact, hash, link, moment, short, table, text, trail},
};
use crate::{
    api::{
        handlers::anchored_steps,
        query::{Pairs, number, only, resolve},
    },
    index::{EpochEntry, RunEntry, StepEntry},
    server::{AppState, Refusal, closed::Stamp},
};

/// Steps on the page; the largest epoch that a contract takes is far below.
const MAX_STEPS: u32 = 1_000;

/// The page of an epoch.
pub(crate) async fn page(
    State(state): State<AppState>,
    Path((run, epoch)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
    visitor: HeaderMap,
) -> Result<Response, PageRefusal> {
    only(&pairs, &[])?;
    let run = resolve(state.index(), &run, &pairs).await?;
    let got = number("epoch", &epoch)?;
    let none = || Refusal::NoEpoch { run: run.run, expected: run.counter, got };
    let before = got.checked_sub(1).filter(|_| got <= run.counter).ok_or_else(none)?;
    let epoch = state.index().epochs(run.key, before, 1).await?.pop().filter(|epoch| epoch.counter == got);
    let epoch = epoch.ok_or_else(none)?;
    let is_last = epoch.counter == run.counter;
    let stamp = Stamp::of(&("epoch", run.key, &epoch, is_last));
    if let Some(page) = state.closed().get(stamp) {
        return Ok(page.answer(&visitor));
    }
    let n_steps = u32::try_from(epoch.n_steps()).unwrap_or(MAX_STEPS).clamp(1, MAX_STEPS);
    let steps = anchored_steps(state.index(), &run, epoch.first_step, n_steps).await?;
    let title = format!("Epoch {got} of run {}", short(run.run));
    let Html(page) = layout(&title, Place::Runs, None, content(&run, &epoch, &steps));
    Ok(state.closed().keep(stamp, page).answer(&visitor))
}

fn content(run: &RunEntry, epoch: &EpochEntry, steps: &[StepEntry]) -> AnyView {
    let row = |step: &StepEntry| {
        vec![
            link(below(run, &format!("steps/{}", step.step)), step.step),
            view! { <code title=step.digest.to_string()>{short(step.digest)}</code> }.into_any(),
            view! { <code title=step.record_hash.to_string()>{short(step.record_hash)}</code> }.into_any(),
            view! { <code title=step.leaf().to_string()>{short(step.leaf())}</code> }.into_any(),
        ]
    };
    let rows = steps.iter().map(row).collect();
    let to = |counter: u64| below(run, &format!("epochs/{counter}"));
    let previous = (epoch.counter > 1).then(|| view! { <a rel="prev" href=to(epoch.counter - 1)>"Epoch before"</a> });
    let next =
        (epoch.counter < run.counter).then(|| view! { <a rel="next" href=to(epoch.counter + 1)>"Epoch after"</a> });
    let last = epoch.size.0.saturating_sub(1);
    view! {
        {trail(run, format!("Epoch {}", epoch.counter))}
        <h1>{format!("Epoch {}", epoch.counter)}</h1>
        <p class="lede">
            {format!("Steps {} to {last}. The contract took the first step, the state before and the policy from its own storage, \
                      checked one proof over all of these steps, and stored what the proof says comes out.", epoch.first_step)}
        </p>
        <dl class="facts">
            {fact("State before", hash(epoch.state_in))}
            {fact("State after", hash(epoch.state_out))}
            {fact("Root after", hash(epoch.root))}
            {fact("Verifier", hash(epoch.verifier))}
            {fact("Submitter", hash(epoch.submitter))}
            {fact("Transaction", hash(epoch.tx))}
            {fact("Block", view! { {text(epoch.block.number)}" "{hash(epoch.block.hash)} })}
            {fact("Gas of the transaction", epoch.gas.map_or_else(|| text("not known"), text))}
            {fact("Anchored", moment(epoch.time))}
        </dl>
        <nav class="pages" aria-label="Epochs">{previous}{next}</nav>
        <h2>"Steps"</h2>
        {table("Table of steps", &["Step", "Statement D", "Record A", "Leaf"], rows)}
        <p class="help">"The statement digest is proved. The record hash is the submitter's word: it is under the root, not under the proof."</p>
    }
    .into_any()
}
