//! One run.

use axum::{
    extract::{Path, Query, State},
    response::Html,
};
use ledger::{NumberFormat, Policy, StepIndex};
use leptos::prelude::*;

use super::{
    PageRefusal, Place, layout,
    part::{api_below, below, command, fact, hash, link, moment, run_address, short, shortest, status, table, text},
    plot::{plots, stride},
    strip::{Coverage, growth},
};
use crate::{
    api::{
        query::{MAX_LIMIT, Pairs, number, only, parameter, resolve},
        torrents::magnet,
    },
    index::{
        Arrival, ArrivalState, AttestationEntry, BundleEntry, EpochEntry, RunEntry, RunEvent, RunFilter, RunSort,
        Standing, StepWord, Verification,
    },
    seeders::{Peers, Seeders},
    server::AppState,
    time::now,
};

/// Epochs, bundles and events on the page; exports have all of them.
const MAX_LINES: u32 = 50;

/// What the page shows.
struct Shown {
    run: RunEntry,
    policy: Option<Policy>,
    epochs: Vec<EpochEntry>,
    next: Option<u64>,
    first: bool,
    bundles: Vec<BundleEntry>,
    checked: Vec<Verification>,
    arrived: Vec<Arrival>,
    words: Vec<StepWord>,
    attestations: Vec<AttestationEntry>,
    /// Runs that started from its end, as far as they are named on the page.
    children: Vec<RunEntry>,
    events: Vec<RunEvent>,
    seeders: Seeders,
}

/// The page of a run.
pub(crate) async fn page(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Html<String>, PageRefusal> {
    only(&pairs, &["after"])?;
    let run = resolve(state.index(), &run, &pairs).await?;
    let after = parameter(&pairs, "after").map(|text| number("after", text)).transpose()?.unwrap_or(0);
    let epochs = state.index().epochs(run.key, after, MAX_LIMIT).await?;
    let next = epochs.last().filter(|_| epochs.len() == MAX_LIMIT as usize).map(|last| last.counter);
    let bundles = state.index().bundles(run.key, MAX_LINES).await?;
    let checked = state.index().verifications(run.key, MAX_LINES).await?;
    let words = state.index().step_words(run.key, run.size, (StepIndex(0), stride(&run)), MAX_LIMIT * 2).await?;
    let arrived = state.index().arrivals(run.key, MAX_LINES).await?;
    let attestations = state.index().attestations(run.key, MAX_LINES).await?;
    let descent = RunFilter { parent: Some(run.run), chain: Some(run.chain), ..RunFilter::default() };
    let children = state.index().list(&descent, RunSort::Oldest, None, MAX_LINES).await?.runs;
    let events = state.index().run_events(run.key, MAX_LINES).await?;
    let feed = below(&run, "feed.atom");
    let title = format!("Run {}", short(run.run));
    let first = after == 0;
    let seeders = state.options().seeders.clone();
    let policy = state.index().policy(run.registration.policy_digest).await?;
    let shown = Shown {
        run,
        policy,
        epochs,
        next,
        first,
        bundles,
        checked,
        arrived,
        words,
        attestations,
        children,
        events,
        seeders,
    };
    Ok(layout(&title, Place::Runs, Some(feed), content(&shown)))
}

fn content(shown: &Shown) -> AnyView {
    let run = &shown.run;
    let conflict = match &run.standing {
        Standing::Conflict(reason) => {
            Some(view! { <p class="warning" role="note">{format!("Conflict: {reason}.")}</p> })
        }
        _ => None,
    };
    let coverage = Coverage::of(run, &shown.epochs, &shown.checked);
    view! {
        <nav class="trail" aria-label="Breadcrumb">
            <ol><li><a href="/">"Runs"</a></li><li aria-current="page">{format!("Run {}", short(run.run))}</li></ol>
        </nav>
        <h1>"Run "<span class="mono">{short(run.run)}</span></h1>
        <p class="verdict">{status(run.status)}<span>{run.status.meaning()}</span></p>
        {conflict}
        <p><a href=format!("/compare?a={}@{}", run.run, run.contract)>"Compare with another run"</a></p>
        {claims()}
        <section aria-labelledby="coverage"><h2 id="coverage">"Coverage"</h2>{coverage.draw()}</section>
        {facts(shown)}
        {policy(shown)}
        <section aria-labelledby="epochs">
            <h2 id="epochs">"Epochs"</h2>
            {growth(run, &shown.epochs).filter(|_| shown.first)}
            {epochs(shown)}
        </section>
        {plots(run, &shown.words)}
        {bundles(shown)}
        {attestations(&shown.attestations)}
        {commands(shown)}
        <section aria-labelledby="history"><h2 id="history">"What happened on chain"</h2>{history(&shown.events)}</section>
        {downloads(run)}
    }
    .into_any()
}

/// What is proved and what is not, in plain words.
fn claims() -> AnyView {
    view! {
        <section class="claims" aria-label="What is proved and what is not">
            <div class="proved">
                <h2>"Proved"</h2>
                <ul>
                    <li>"Every anchored step follows the declared optimizer, in exact integer arithmetic."</li>
                    <li>"Each step starts from the state that the one before ended in; none is skipped, repeated or swapped."</li>
                    <li>"Learning rate and hyper-parameters stay within the policy that was bound at registration."</li>
                    <li>"The contract checked these proofs itself before it stored the root."</li>
                </ul>
            </div>
            <div class="not-proved">
                <h2>"Not proved"</h2>
                <ul>
                    <li>"That the gradient is honest: it is committed to, not derived from data in the proof."</li>
                    <li>"That the data is good, licensed or free of bias, or that the model does what is said of it."</li>
                    <li>"Loss, notes and times in the records: they are the submitter's word, fixed by a hash."</li>
                </ul>
            </div>
        </section>
    }
    .into_any()
}

fn facts(shown: &Shown) -> AnyView {
    let run = &shown.run;
    let confirmed = match run.standing {
        Standing::Registered { block } | Standing::Anchored { block } => format!("at block {block}"),
        Standing::Conflict(_) | Standing::Incomplete => "no".to_owned(),
    };
    let parent = match run.registration.parent {
        Some(parent) => link(format!("/runs/{parent}"), short(parent)),
        None => text("none: it starts fresh"),
    };
    let children = match shown.children.len() {
        0 => text("none: no run started from its end"),
        n => {
            let links: Vec<_> = shown
                .children
                .iter()
                .map(|child| view! { <li>{link(run_address(child), short(child.run))}</li> })
                .collect();
            let all = (n == MAX_LINES as usize).then(|| link(format!("/?parent={}", run.run), "all of them"));
            view! { <ul class="hits">{links}</ul>{all} }.into_any()
        }
    };
    let owner = run.owner.to_string();
    view! {
        <section aria-labelledby="facts">
            <h2 id="facts">"What the chain says"</h2>
            <dl class="facts">
                {fact("Run", hash(run.run))}
                {fact("Root", hash(run.root))}
                {fact("State after the last step", hash(run.state))}
                {fact("State at the start", hash(run.registration.genesis_state))}
                {fact("Policy", view! { {hash(run.registration.policy_digest)}<p class="help">"Digest of rule, β1, β2, ε, weight decay, largest learning rate, number format, layout and step key. "<a href=format!("/?policy={}", run.registration.policy_digest)>"Runs under this policy"</a></p> })}
                {fact("Verifier selector", hash(run.registration.selector))}
                {fact("Steps and epochs", text(format!("{} steps in {} epochs", run.size, run.counter)))}
                {fact("More to come", text(if run.finalized { "no: finalized" } else { "yes: not finalized" }))}
                {fact("Contract's head agrees", text(confirmed))}
                {fact("Chain", text(run.chain))}
                {fact("Contract", hash(run.contract))}
                {fact("Owner", view! { {hash(&owner)}" "<a href=format!("/?owner={owner}")>"all runs"</a> })}
                {fact("Registered", moment(run.registered_at))}
                {fact("Last anchored", run.anchored_at.map_or_else(|| text("never"), moment))}
                {fact("Parent", parent)}
                {fact("Children", children)}
            </dl>
        </section>
    }
    .into_any()
}

/// What the run is bound to, in numbers.
fn policy(shown: &Shown) -> AnyView {
    let words = match &shown.policy {
        None => view! { <p class="empty">"The chain has the policy's digest. Its words travel in the run's bundle, and this portal has checked none with them yet."</p> }.into_any(),
        Some(policy) => {
            let real = |raw: &u64| text(shortest(*raw));
            let Policy { beta1, beta2, eps, format, layout_digest, lr_max, n_chunks, n_params, step_key_digest, weight_decay, rule: _ } =
                policy;
            let NumberFormat::Q24 = format;
            view! {
                <p>"Epoch proofs enforce these for every step. The digest above is made of exactly these words."</p>
                <dl class="facts">
                    {fact("Optimizer", text(shown.run.optimizer))}
                    {fact("β1", real(beta1))}
                    {fact("β2", real(beta2))}
                    {fact("ε", real(eps))}
                    {fact("Weight decay", real(weight_decay))}
                    {fact("Largest learning rate", real(lr_max))}
                    {fact("Parameters", text(n_params))}
                    {fact("Proofs a step", text(n_chunks))}
                    {fact("Numbers", text("q24: weights, gradient and first moment with 24 fractional bits, second moment with 48"))}
                    {fact("Layout", hash(layout_digest))}
                    {fact("Step key", hash(step_key_digest))}
                </dl>
            }
            .into_any()
        }
    };
    view! { <section aria-labelledby="policy"><h2 id="policy">"Policy and hyper-parameters"</h2>{words}</section> }
        .into_any()
}

fn epochs(shown: &Shown) -> AnyView {
    let run = &shown.run;
    if shown.epochs.is_empty() {
        return view! { <p class="empty">"No epoch is anchored."</p> }.into_any();
    }
    let row = |epoch: &EpochEntry| {
        let counter = if epoch.counter <= run.counter {
            link(below(run, &format!("epochs/{}", epoch.counter)), epoch.counter)
        } else {
            text(format!("{} (does not follow)", epoch.counter))
        };
        let steps = format!("{}–{}", epoch.first_step, epoch.size.0.saturating_sub(1));
        vec![
            counter,
            text(steps),
            moment(epoch.time),
            text(epoch.block.number),
            epoch.gas.map_or_else(|| text("–"), text),
            view! { <code title=epoch.tx.to_string()>{short(epoch.tx)}</code> }.into_any(),
            view! { <code title=epoch.verifier.to_string()>{short(epoch.verifier)}</code> }.into_any(),
            view! { <code title=epoch.root.to_string()>{short(epoch.root)}</code> }.into_any(),
        ]
    };
    let rows = shown.epochs.iter().map(row).collect();
    let next = shown.next.map(|after| {
        view! { <nav class="pages" aria-label="Epochs"><a rel="next" href=format!("/runs/{}?contract={}&after={after}", run.run, run.contract)>"More epochs"</a></nav> }
    });
    view! {
        {table("Table of epochs", &["Epoch", "Steps", "Anchored", "Block", "Gas", "Transaction", "Verifier", "Root"], rows)}
        {next}
    }
    .into_any()
}

fn bundles(shown: &Shown) -> AnyView {
    let announced = shown.bundles.iter().map(|bundle| {
        let magnet = magnet(bundle);
        vec![
            text(format!("{} steps", bundle.announcement.size)),
            link(magnet.clone(), "magnet link"),
            hash(format!("0x{}", hex::encode(bundle.announcement.infohash_v1))),
            hash(bundle.announcement.manifest_digest),
            seeders(shown.seeders.of(&bundle.announcement.infohash_v1)),
            view! { <code title=bundle.announcer.to_string()>{short(bundle.announcer)}</code> }.into_any(),
        ]
    });
    let announced: Vec<_> = announced.collect();
    let announced = if announced.is_empty() {
        view! { <p class="empty">"Nobody announced a bundle of this run on chain."</p> }.into_any()
    } else {
        table(
            "Table of announced bundles",
            &["Covers", "Torrent", "Infohash v1", "Manifest", "Seeders", "Announced by"],
            announced,
        )
    };
    let checked = shown.checked.iter().map(|checked| {
        let outcome =
            checked.failure.clone().map_or_else(|| "every check passed".to_owned(), |why| format!("failed: {why}"));
        vec![hash(checked.manifest), text(format!("{} steps", checked.size)), text(outcome), moment(checked.checked_at)]
    });
    let checked: Vec<_> = checked.collect();
    let checked = if checked.is_empty() {
        view! { <p class="empty">"This portal has not checked a bundle of this run. The chain's word stands alone."</p> }.into_any()
    } else {
        table("Table of checked bundles", &["Manifest", "Covers", "Outcome", "Checked"], checked)
    };
    view! {
        <section aria-labelledby="bundles">
            <h2 id="bundles">"Files"</h2>
            <p>"Records and proofs travel as torrents. An announcement is the announcer's word; what counts is that the files give the anchored root."</p>
            <h3>"Announced on chain"</h3>{announced}
            <h3>"Checked here"</h3>{checked}
            {arrived(shown)}
        </section>
    }
    .into_any()
}

/// What a tracker said of a torrent.
fn seeders(said: Option<Peers>) -> AnyView {
    match said {
        None => text("not asked"),
        Some(Peers { seeders, leechers, asked_at }) => {
            view! { {format!("{seeders}, and {leechers} fetching, by the tracker ")}{moment(asked_at)} }.into_any()
        }
    }
}

/// Bundles in the portal's folder, and the files of the one that passed.
fn arrived(shown: &Shown) -> Option<AnyView> {
    if shown.arrived.is_empty() {
        return None;
    }
    let row = |arrival: &Arrival| {
        let mut words = arrival.state.words().to_owned();
        if arrival.state == ArrivalState::Checking && arrival.total > 0 {
            words.push_str(&format!(": {} of {} step proofs", arrival.done, arrival.total));
        }
        let detail = arrival.detail.clone().or_else(|| Some(format!("{} checks made", arrival.report.len())));
        vec![
            arrival.manifest.map_or_else(|| text("not read"), hash),
            text(words),
            text(detail.unwrap_or_default()),
            moment(arrival.changed_at),
        ]
    };
    let rows = shown.arrived.iter().map(row).collect();
    let passed = shown.arrived.iter().any(|arrival| arrival.state == ArrivalState::Passed);
    let file = |name: &'static str| link(api_below(&shown.run, &format!("/files/{name}")), name);
    let files = passed.then(|| {
        view! {
            <p>
                "Download: " {file("run.json")} ", " {file("steps.jsonl")} ", " {file("checkpoint")} ", " {file("run_manifest.json")}
                ", which lists all other files; those of a step are on its page. The same as a torrent: "
                {link(api_below(&shown.run, "/bundle.torrent"), ".torrent")} "."
            </p>
        }
    });
    let head = ["Manifest", "Check", "Why", "Since"];
    Some(view! { <h3>"Here"</h3>{table("Table of bundles here", &head, rows)}{files} }.into_any())
}

/// The commands that repeat every check.
fn commands(shown: &Shown) -> AnyView {
    let run = &shown.run;
    let (id, contract) = (run.run, run.contract);
    let magnet = shown.bundles.first().map(|bundle| {
        let line = format!("cairn fetch --magnet '{}' --rpc URL --contract {contract} --out runs", magnet(bundle));
        command("Fetch the announced bundle and check it against the chain:", line)
    });
    view! {
        <section aria-labelledby="commands">
            <h2 id="commands">"Check it yourself"</h2>
            <p>"On your machine, with your own node as URL; nothing of this portal is needed."</p>
            {magnet}
            {command("Fetch the run from a peer that you know, whatever was announced:", format!("cairn fetch --run {id} --rpc URL --contract {contract} --peer HOST:PORT --out runs"))}
            {command("Check log, links, every step proof, every epoch proof, and the contract's head:", format!("cairn verify --run runs/run-{id} --all --rpc URL --contract {contract}"))}
            {command("Keep it available for others:", format!("cairn seed --run runs/run-{id} --listen 0.0.0.0:6881"))}
        </section>
    }
    .into_any()
}

fn attestations(said: &[AttestationEntry]) -> AnyView {
    let row = |entry: &AttestationEntry| {
        let word = match (&entry.revoked, entry.stands(now())) {
            (Some(reason), _) => text(format!("✗ taken back: {reason}")),
            (None, true) => text("✓ stands"),
            (None, false) => text("– ended"),
        };
        vec![
            view! { <code title=entry.auditor.to_string()>{short(entry.auditor)}</code> }.into_any(),
            word,
            text(entry.size),
            moment(entry.time),
            entry.expires_at.map_or_else(|| text("never"), moment),
            view! { <code title=entry.report.to_string()>{short(entry.report)}</code> }.into_any(),
            view! { <code title=entry.tx.to_string()>{short(entry.tx)}</code> }.into_any(),
        ]
    };
    let rows: Vec<_> = said.iter().map(row).collect();
    let list = if rows.is_empty() {
        view! { <p class="empty">"No auditor has said anything about this run on chain."</p> }.into_any()
    } else {
        let head = &["Auditor", "Word", "Steps", "Said", "Ends", "SHA-256 of the report", "Transaction"];
        table("Table of attestations", head, rows)
    };
    view! {
        <section aria-labelledby="attestations">
            <h2 id="attestations">"What auditors say"</h2>
            <p>"An attestation is its auditor's word about the first steps of the run. Whether you trust the auditor is up to you."</p>
            {list}
        </section>
    }
    .into_any()
}

fn history(events: &[RunEvent]) -> AnyView {
    let row = |event: &RunEvent| {
        vec![
            text(event.kind.replace('_', " ")),
            moment(event.time),
            text(event.block),
            event.size.map_or_else(|| text("–"), text),
            event.account.map_or_else(
                || text("–"),
                |account| view! { <code title=account.to_string()>{short(account)}</code> }.into_any(),
            ),
            view! { <code title=event.tx.to_string()>{short(event.tx)}</code> }.into_any(),
        ]
    };
    table(
        "Table of events",
        &["Event", "When", "Block", "Steps", "Account", "Transaction"],
        events.iter().map(row).collect(),
    )
}

fn downloads(run: &RunEntry) -> AnyView {
    let badge = below(run, "badge.svg");
    let picture = badge.clone();
    let alt = format!("cairn: update proved: {}", run.status.words());
    view! {
        <section aria-labelledby="downloads">
            <h2 id="downloads">"Downloads"</h2>
            <p>
                "Run " <a href=api_below(run, "")>"JSON"</a> ", epochs " <a href=api_below(run, "/export/epochs.csv")>"CSV"</a> " "
                <a href=api_below(run, "/export/epochs.jsonl")>"JSON lines"</a> ", steps "
                <a href=api_below(run, "/export/steps.csv")>"CSV"</a> " " <a href=api_below(run, "/export/steps.jsonl")>"JSON lines"</a>
                ", events " <a href=below(run, "feed.atom")>"Atom feed"</a> ", bundles "
                <a href=below(run, "torrents.rss")>"RSS for torrent clients"</a> "."
            </p>
            <p>"Badge: " <a href=badge><img src=picture alt=alt height="20"/></a></p>
        </section>
    }
    .into_any()
}
