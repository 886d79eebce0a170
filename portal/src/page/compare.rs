//! Where two runs differ.

use axum::{
    extract::{Query, State},
    response::Html,
};
use leptos::prelude::*;

use super::{
    PageRefusal, Place, layout,
    part::{below, hash, link, moment, run_address, short, status, table, text},
};
use crate::{
    api::query::{MAX_LIMIT, Pairs, only, parameter, resolve},
    index::{EpochEntry, Index, RunEntry},
    server::{AppState, Refusal},
};

/// Two runs side by side.
struct Pair {
    left: RunEntry,
    right: RunEntry,
    divergence: Divergence,
}

/// Where the states of two runs part.
enum Divergence {
    /// They do not start from the same state.
    Start,
    /// Their commitments are the same after so many steps, and nowhere later in common.
    Never {
        /// The steps.
        steps: u64,
    },
    /// Their commitments are the same after `same` steps, and differ after the epochs that end next.
    After {
        /// Steps after which the states were last the same.
        same: u64,
        /// The epoch of the first run after which they differ.
        left: Box<EpochEntry>,
        /// That of the second.
        right: Box<EpochEntry>,
    },
}

/// The page of two runs.
pub(crate) async fn page(
    State(state): State<AppState>,
    Query(pairs): Query<Pairs>,
) -> Result<Html<String>, PageRefusal> {
    only(&pairs, &["a", "b", "all"])?;
    let all = parameter(&pairs, "all").is_some();
    let (a, b) = (parameter(&pairs, "a"), parameter(&pairs, "b"));
    let pair = match (a, b) {
        (Some(a), Some(b)) => {
            let (left, right) = (resolve(state.index(), a, &pairs).await?, resolve(state.index(), b, &pairs).await?);
            let divergence = diverge(state.index(), &left, &right).await?;
            Some(Pair { left, right, divergence })
        }
        _ => None,
    };
    let typed = (a.unwrap_or_default().to_owned(), b.unwrap_or_default().to_owned());
    Ok(layout("Compare", Place::Compare, None, content(typed, pair.as_ref(), all)))
}

/// Finds the first epochs that end at the same step with different commitments to the state. Equal commitments are equal states;
/// different ones say nothing by themselves, as each run blinds its own (`docs/spec/commitment.md`).
async fn diverge(index: &Index, left: &RunEntry, right: &RunEntry) -> Result<Divergence, Refusal> {
    if left.registration.genesis_state != right.registration.genesis_state {
        return Ok(Divergence::Start);
    }
    let (mut ours, mut theirs) = (Epochs::of(left), Epochs::of(right));
    let mut same = 0;
    let (mut one, mut two) = (ours.next(index).await?, theirs.next(index).await?);
    while let (Some(a), Some(b)) = (&one, &two) {
        match a.size.cmp(&b.size) {
            std::cmp::Ordering::Less => one = ours.next(index).await?,
            std::cmp::Ordering::Greater => two = theirs.next(index).await?,
            std::cmp::Ordering::Equal if a.state_out == b.state_out => {
                same = a.size.0;
                (one, two) = (ours.next(index).await?, theirs.next(index).await?);
            }
            std::cmp::Ordering::Equal => {
                return Ok(Divergence::After { same, left: Box::new(a.clone()), right: Box::new(b.clone()) });
            }
        }
    }
    Ok(Divergence::Never { steps: same })
}

/// The epochs of a run, page by page.
struct Epochs<'r> {
    run: &'r RunEntry,
    page: std::vec::IntoIter<EpochEntry>,
    after: u64,
}

impl<'r> Epochs<'r> {
    fn of(run: &'r RunEntry) -> Self {
        Self { run, page: Vec::new().into_iter(), after: 0 }
    }

    async fn next(&mut self, index: &Index) -> Result<Option<EpochEntry>, Refusal> {
        if self.page.len() == 0 && self.after < self.run.counter {
            self.page = index.epochs(self.run.key, self.after, MAX_LIMIT).await?.into_iter();
        }
        let next = self.page.next().filter(|epoch| epoch.counter <= self.run.counter);
        self.after = next.as_ref().map_or(self.run.counter, |epoch| epoch.counter);
        Ok(next)
    }
}

fn content((a, b): (String, String), pair: Option<&Pair>, all: bool) -> AnyView {
    view! {
        <h1>"Compare two runs"</h1>
        <form class="search" method="get" action="/compare">
            <div class="fields">
                <div><label for="a">"First run"</label><input id="a" name="a" value=a required=true autocomplete="off" spellcheck="false"/></div>
                <div><label for="b">"Second run"</label><input id="b" name="b" value=b required=true autocomplete="off" spellcheck="false"/></div>
            </div>
            <label class="choice"><input type="checkbox" name="all" value="1" checked=all/>" Also what is the same"</label>
            <button type="submit">"Compare"</button>
        </form>
        {pair.map(|pair| result(pair, all))}
    }
    .into_any()
}

fn result(pair: &Pair, all: bool) -> AnyView {
    let Pair { left, right, divergence } = pair;
    type Line = (&'static str, bool, fn(&RunEntry) -> AnyView);
    let lines: [Line; 11] = [
        ("Status", left.status == right.status, |run| status(run.status)),
        ("Policy", left.registration.policy_digest == right.registration.policy_digest, |run| {
            hash(run.registration.policy_digest)
        }),
        ("Verifier selector", left.registration.selector == right.registration.selector, |run| {
            hash(run.registration.selector)
        }),
        ("State at the start", left.registration.genesis_state == right.registration.genesis_state, |run| {
            hash(run.registration.genesis_state)
        }),
        ("State at the end", left.state == right.state, |run| hash(run.state)),
        ("Root", left.root == right.root, |run| hash(run.root)),
        ("Steps", left.size == right.size, |run| text(run.size)),
        ("Epochs", left.counter == right.counter, |run| text(run.counter)),
        ("Owner", left.owner == right.owner, |run| hash(run.owner)),
        ("Registered", left.registered_at == right.registered_at, |run| moment(run.registered_at)),
        ("Contract", (left.chain, left.contract) == (right.chain, right.contract), |run| {
            text(format!("{} on chain {}", run.contract, run.chain))
        }),
    ];
    let rows: Vec<_> = lines
        .into_iter()
        .filter(|(_, same, _)| all || !same)
        .map(|(name, same, of)| vec![text(name), text(if same { "same" } else { "differs" }), of(left), of(right)])
        .collect();
    let differences = if rows.is_empty() {
        view! { <p class="empty">"Nothing differs but the runs' ids."</p> }.into_any()
    } else {
        table("Table of differences", &["What", "Same", "First", "Second"], rows)
    };
    view! {
        <section aria-labelledby="states">
            <h2 id="states">"Where the committed states part"</h2>
            <p class="help">"Commitments to states are blinded by each run's own secret: equal ones are equal states, different ones may still hide equal states. Only the same run on two contracts, and children at their start, share them."</p>
            {parting(left, right, divergence)}
        </section>
        <section aria-labelledby="differences">
            <h2 id="differences">"Differences"</h2>
            <p>
                "First: " <a href=run_address(left)>{format!("run {}", short(left.run))}</a> ". Second: "
                <a href=run_address(right)>{format!("run {}", short(right.run))}</a> "."
            </p>
            {differences}
        </section>
    }
    .into_any()
}

fn parting(left: &RunEntry, right: &RunEntry, divergence: &Divergence) -> AnyView {
    let epochs = match divergence {
        Divergence::Start => return view! { <p>"The runs start from different commitments."</p> }.into_any(),
        Divergence::Never { steps } => {
            let words = format!(
                "Their anchored commitments are the same after {steps} steps, and at no later step are both anchored."
            );
            return view! { <p>{words}</p> }.into_any();
        }
        Divergence::After { same, left: a, right: b } => {
            let words = format!(
                "The commitments are the same after {same} steps and differ after {}. The step that first differs is one of {same} to {}: \
                 the contracts keep them at the ends of epochs.",
                a.size,
                a.size.0.saturating_sub(1)
            );
            (words, a, b)
        }
    };
    let (words, a, b) = epochs;
    let evidence = |run: &RunEntry, epoch: &EpochEntry| {
        let last = epoch.size.0.saturating_sub(1);
        vec![
            link(below(run, &format!("epochs/{}", epoch.counter)), format!("epoch {}", epoch.counter)),
            hash(epoch.state_out),
            hash(epoch.root),
            link(below(run, &format!("steps/{last}")), format!("step {last} and its path")),
        ]
    };
    view! {
        <p>{words}</p>
        {table("Table of evidence", &["Epoch", "State after", "Root after", "Merkle evidence"], vec![evidence(left, a), evidence(right, b)])}
    }
    .into_any()
}
