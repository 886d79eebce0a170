//! Search and list.

use axum::{
    extract::{Query, State},
    response::Html,
};
use leptos::prelude::*;

use super::{
    PageRefusal, Place, facets, layout,
    part::{below, moment, run_address, short, status, table, text},
};
use crate::{
    api::query::{Found, Pairs, RunQuery},
    index::{Facets, RunEntry, RunSort, Status},
    server::AppState,
    time::{date, now},
};

/// The list of runs.
pub(crate) async fn page(
    State(state): State<AppState>,
    Query(pairs): Query<Pairs>,
) -> Result<Html<String>, PageRefusal> {
    let query = RunQuery::parse(&pairs)?;
    let found = query.run(state.index()).await?;
    let counts = state.index().facets(&found.filter, now()).await?;
    let feed = format!("/feed.atom?{}", query.to_query(None));
    Ok(layout("Runs", Place::Runs, Some(feed), content(&query, &found, &counts)))
}

fn content(query: &RunQuery, found: &Found, counts: &Facets) -> AnyView {
    let runs = &found.page.runs;
    let rows: Vec<_> = runs.iter().map(row).collect();
    let steps = found.steps.iter().map(|(run, step)| {
        let address = below(run, &format!("steps/{step}"));
        view! { <li><a href=address>{format!("Step {step} of run {}", short(run.run))}</a></li> }
    });
    let steps: Vec<_> = steps.collect();
    let list = if rows.is_empty() {
        view! { <p class="empty">"No run matches."</p> }.into_any()
    } else {
        table(
            "Table of runs",
            &["Run", "Status", "Optimizer", "Steps", "Epochs", "Last anchored", "Registered", "Chain", "Owner"],
            rows,
        )
    };
    let next = found.page.next.map(|cursor| {
        let address = format!("/?{}", query.to_query(Some(cursor)));
        view! { <a rel="next" href=address>"Next page"</a> }
    });
    let first = query.cursor.map(|_| {
        let address = format!("/?{}", query.to_query(None));
        view! { <a rel="first" href=address>"First page"</a> }
    });
    let exports = query.to_query(None);
    view! {
        <h1>"Training runs on chain"</h1>
        <p class="lede">
            "Each step of these runs carries a zero-knowledge proof that its update was computed as declared. Contracts keep the "
            "roots; this portal shows them and never adds anything of its own."
        </p>
        {form(query, counts)}
        {facets::facets(query, counts)}
        <section aria-labelledby="found">
            <h2 id="found">{counted(counts.total)}</h2>
            <ul class="hits">{steps}</ul>
            {list}
            <nav class="pages" aria-label="Pages">{first}{next}</nav>
        </section>
        <p class="downloads">
            "This list as " <a href=format!("/api/v1/runs?{exports}")>"JSON"</a> ", "
            <a href=format!("/api/v1/export/runs.csv?{exports}")>"CSV"</a> ", "
            <a href=format!("/api/v1/export/runs.jsonl?{exports}")>"JSON lines"</a> " or "
            <a href=format!("/feed.atom?{exports}")>"Atom feed"</a> "; its bundles as "
            <a href=format!("/torrents.rss?{exports}")>"RSS for torrent clients"</a> "."
        </p>
    }
    .into_any()
}

fn counted(n: u64) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}

fn row(run: &RunEntry) -> Vec<AnyView> {
    let id = view! { <a class="mono" href=run_address(run)>{short(run.run)}</a> }.into_any();
    let owner = view! { <a class="mono" href=format!("/?owner={}", run.owner)>{short(run.owner)}</a> }.into_any();
    vec![
        id,
        status(run.status),
        text(run.optimizer),
        text(run.size),
        text(run.counter),
        run.anchored_at.map_or_else(|| text("never"), moment),
        moment(run.registered_at),
        text(run.chain),
        owner,
    ]
}

fn form(query: &RunQuery, counts: &Facets) -> AnyView {
    let filter = &query.filter;
    let kept: Vec<_> = filter
        .statuses
        .iter()
        .map(|status: &Status| view! { <input type="hidden" name="status" value=status.code()/> })
        .collect();
    let hidden = [
        ("owner", filter.owner.map(|owner| owner.to_string())),
        ("contract", filter.contract.map(|contract| contract.to_string())),
        ("optimizer", filter.optimizer.map(|optimizer| optimizer.code().to_owned())),
        ("policy", filter.policy.map(|policy| policy.to_string())),
        ("parent", filter.parent.map(|parent| parent.to_string())),
    ];
    let hidden: Vec<_> = hidden
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| view! { <input type="hidden" name=name value=value/> }))
        .collect();
    let only: Vec<_> = [
        ("owner", filter.owner.map(short)),
        ("policy", filter.policy.map(short)),
        ("parent", filter.parent.map(short)),
        ("contract", filter.contract.map(short)),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| format!("Only of {name} {value}. ")))
    .collect();
    let only = (!only.is_empty()).then(|| view! { <p>{only.concat()}<a href="/">"Show all"</a></p> });
    let chains: Vec<_> = counts
        .chains
        .iter()
        .map(|(chain, n)| {
            let selected = filter.chain == Some(*chain);
            view! { <option value=chain.to_string() selected=selected>{format!("{chain} ({n})")}</option> }
        })
        .collect();
    let sorts = RunSort::ALL.map(|sort| {
        let selected = sort == query.sort;
        view! { <option value=sort.code() selected=selected>{sort.words()}</option> }
    });
    let is_open = filter.chain.is_some()
        || filter.min_steps.is_some()
        || filter.max_steps.is_some()
        || filter.from.is_some()
        || filter.before.is_some()
        || query.sort != RunSort::default();
    let number = |steps: Option<u64>| steps.map(|steps| steps.to_string()).unwrap_or_default();
    let day = |unix: Option<u64>| unix.map(date).unwrap_or_default();
    let search = query.search.as_ref().map(crate::api::query::Needle::text).unwrap_or_default();
    view! {
        <form class="search" method="get" action="/" role="search">
            {kept}{hidden}{only}
            <label for="q">"Search"</label>
            <div class="line">
                <input id="q" name="q" type="search" value=search autocomplete="off" spellcheck="false" aria-describedby="q-help"/>
                <button type="submit">"Search"</button>
            </div>
            <p id="q-help" class="help">"Run, root, state, transaction, owner, infohash, or hash of a record or statement, in hex"</p>
            <details open=is_open>
                <summary>"Filter and sort"</summary>
                <div class="fields">
                    <div><label for="chain">"Chain"</label><select id="chain" name="chain"><option value="">"all"</option>{chains}</select></div>
                    <div><label for="min">"At least steps"</label><input id="min" name="min_steps" inputmode="numeric" pattern="[0-9]*" value=number(filter.min_steps)/></div>
                    <div><label for="max">"At most steps"</label><input id="max" name="max_steps" inputmode="numeric" pattern="[0-9]*" value=number(filter.max_steps)/></div>
                    <div><label for="from">"Registered from"</label><input id="from" name="from" type="date" value=day(filter.from)/></div>
                    <div><label for="before">"Registered before"</label><input id="before" name="before" type="date" value=day(filter.before)/></div>
                    <div><label for="sort">"Order"</label><select id="sort" name="sort">{sorts.into_iter().collect::<Vec<_>>()}</select></div>
                </div>
                <button type="submit">"Apply"</button>
            </details>
        </form>
    }
    .into_any()
}
