//! One step: its leaf, and the path from it to the anchored root.

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Response},
};
use ledger::StepIndex;
use leptos::prelude::*;

use super::{
    PageRefusal, Place,
    climb::Climb,
    layout,
    part::{api_below, below, command, fact, hash, link, short, text, trail},
    record::StepFiles,
    verify,
};
use crate::{
    api::{
        handlers::{Evidence, evidence},
        query::{Pairs, number, only, resolve},
    },
    index::RunEntry,
    server::{AppState, Island, closed::Stamp},
};

/// The page of a step.
pub(crate) async fn page(
    State(state): State<AppState>,
    Path((run, step)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
    visitor: HeaderMap,
) -> Result<Response, PageRefusal> {
    only(&pairs, &[])?;
    let run = resolve(state.index(), &run, &pairs).await?;
    let (at, island) = (number("step", &step)?, state.options().island.as_ref());
    let epoch = state.index().epoch_of(run.key, StepIndex(at)).await?;
    let bundle = StepFiles::bundle(&state, &run).await?;
    let shown = (at, run.key, run.size, run.root, epoch, &bundle, island);
    let stamp = Stamp::of(&("step", shown));
    if let Some(page) = state.closed().get(stamp) {
        return Ok(page.answer(&visitor));
    }
    let evidence = evidence(&state, &run, at).await?;
    let title = format!("Step {step} of run {}", short(run.run));
    let files = StepFiles::of(bundle.clone(), &run, evidence.step.step).await?;
    let Html(page) = layout(&title, Place::Runs, None, content(&run, &evidence, files.as_ref(), island));
    if bundle.is_some() && files.is_none() {
        // Perhaps the files can be read the next time.
        return Ok(Html(page).into_response());
    }
    Ok(state.closed().keep(stamp, page).answer(&visitor))
}

fn content(run: &RunEntry, evidence: &Evidence, files: Option<&StepFiles>, island: Option<&Island>) -> AnyView {
    let Evidence { step, epoch, .. } = evidence;
    let at = step.step.0;
    let Climb { rungs, reaches_root, .. } = Climb::of(evidence, run);
    let verdict = if reaches_root {
        "This is the root that the contract holds."
    } else {
        "This is not the root that the contract holds."
    };
    let class = if reaches_root { "good" } else { "warning" };
    let rungs = rungs.into_iter().map(|rung| {
        let (left, right) = if rung.sibling_is_left {
            ("sibling, left", "our node, right")
        } else {
            ("our node, left", "sibling, right")
        };
        view! {
            <li>
                <p>{format!("SHA-256(0x01 ‖ {left} ‖ {right})")}</p>
                <dl class="facts">{fact("Sibling", hash(rung.sibling))}{fact("Node", hash(rung.node))}</dl>
            </li>
        }
    });
    let rungs: Vec<_> = rungs.collect();
    let to = |step: u64| below(run, &format!("steps/{step}"));
    let previous = at.checked_sub(1).map(|before| view! { <a rel="prev" href=to(before)>"Step before"</a> });
    let next = (at + 1 < run.size.0).then(|| view! { <a rel="next" href=to(at + 1)>"Step after"</a> });
    let preimage =
        format!("00 {:016x} {} {}", at, hex::encode(step.digest.as_bytes()), hex::encode(step.record_hash.0));
    view! {
        {trail(run, format!("Step {at}"))}
        <h1>{format!("Step {at}")}</h1>
        <p class="lede">
            "Proved: the committed state after this step is what the declared optimizer makes of the committed state and gradient "
            "before it. Not proved: that the gradient is honest or the data good."
        </p>
        <dl class="facts">
            {fact("Statement D (proved)", hash(step.digest))}
            {fact("Record A (the submitter's word)", hash(step.record_hash))}
            {fact("Epoch", link(below(run, &format!("epochs/{}", epoch.counter)), epoch.counter))}
            {fact("Transaction", hash(epoch.tx))}
        </dl>
        <nav class="pages" aria-label="Steps">{previous}{next}</nav>
        <section aria-labelledby="leaf">
            <h2 id="leaf">"From the leaf to the root"</h2>
            <p>"The leaf is SHA-256 of these 73 bytes: a zero, the step as 64-bit big-endian, D and A."</p>
            <pre class="bytes" tabindex="0"><code>{preimage}</code></pre>
            <dl class="facts">{fact("Leaf", hash(step.leaf()))}</dl>
            <ol class="path">{rungs}</ol>
            <dl class="facts">{fact("Root over", text(format!("{} steps", run.size)))}{fact("Root", hash(run.root))}</dl>
            <p class=class>{verdict}</p>
        </section>
        {verify::step(run, at, island)}
        {files.map(|files| files.show(run))}
        <section aria-labelledby="commands">
            <h2 id="commands">"Check it yourself"</h2>
            {command("With the run's files: every record, leaf, path and proof, against your own node:", format!("cairn verify --run runs/run-{} --all --rpc URL --contract {}", run.run, run.contract))}
            {command("The contract checks the same path:", format!("cast call {} 'head(bytes32)' {} --rpc-url URL", run.contract, run.run))}
            <p><a href=api_below(run, &format!("/steps/{at}"))>"This step as JSON, with its path"</a></p>
        </section>
    }
    .into_any()
}
