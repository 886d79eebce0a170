//! Where two runs differ.

use axum::{
    extract::{Query, State},
    response::Html,
};
use ledger::StepIndex;
use leptos::prelude::*;

use super::{
    PageRefusal, Place,
    climb::Climb,
    layout,
    part::{below, fact, hash, link, moment, run_address, short, shortest, status, table, text},
};
use crate::{
    api::{
        handlers::{Evidence, evidence},
        query::{MAX_LIMIT, Pairs, only, parameter, resolve},
    },
    index::{EpochEntry, Index, RunEntry, StepWord},
    server::{AppState, Refusal},
};

/// Two runs side by side.
struct Pair {
    left: RunEntry,
    right: RunEntry,
    divergence: Divergence,
    first: First,
}

/// The first step that differs.
enum First {
    /// One run on two contracts: its leaves are the same on both, as far as both go, or differ here.
    Leaf(Option<Box<[Evidence; 2]>>),
    /// Two runs: their records say the same, as far as both are here, or differ here.
    Word {
        /// Steps whose records both are here.
        n_common: u64,
        /// What they say, and where that is under the roots.
        other: Option<Box<[(StepWord, Evidence); 2]>>,
    },
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
            let (left, right) = (named(state.index(), a, &pairs).await?, named(state.index(), b, &pairs).await?);
            let divergence = diverge(state.index(), &left, &right).await?;
            let first = first(&state, &left, &right).await?;
            Some(Pair { left, right, divergence, first })
        }
        _ => None,
    };
    let typed = (a.unwrap_or_default().to_owned(), b.unwrap_or_default().to_owned());
    Ok(layout("Compare", Place::Compare, None, content(typed, pair.as_ref(), all)))
}

/// The run of `RUN` or `RUN@CONTRACT`.
async fn named(index: &Index, text: &str, pairs: &Pairs) -> Result<RunEntry, Refusal> {
    match text.split_once('@') {
        Some((run, contract)) => resolve(index, run, &vec![("contract".to_owned(), contract.to_owned())]).await,
        None => resolve(index, text, pairs).await,
    }
}

/// Finds the first step that differs, with its place under both roots.
async fn first(state: &AppState, left: &RunEntry, right: &RunEntry) -> Result<First, Refusal> {
    let index = state.index();
    let both = async |step: StepIndex| {
        Ok::<_, Refusal>([evidence(state, left, step.0).await?, evidence(state, right, step.0).await?])
    };
    if left.run == right.run {
        let other = match index.first_other_leaf(left, right).await? {
            Some((leaf, _)) => Some(Box::new(both(leaf.step).await?)),
            None => None,
        };
        return Ok(First::Leaf(other));
    }
    let n_common = index.n_common_words(left, right).await?;
    let other = match index.first_other_word(left, right).await? {
        Some((ours, theirs)) => {
            let [a, b] = both(ours.step).await?;
            Some(Box::new([(ours, a), (theirs, b)]))
        }
        None => None,
    };
    Ok(First::Word { n_common, other })
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
            <p class="help">"Ids of runs; RUN@CONTRACT where several contracts have one."</p>
            <label class="choice"><input type="checkbox" name="all" value="1" checked=all/>" Also what is the same"</label>
            <button type="submit">"Compare"</button>
        </form>
        {pair.map(|pair| result(pair, all))}
    }
    .into_any()
}

fn result(pair: &Pair, all: bool) -> AnyView {
    let Pair { left, right, divergence, first } = pair;
    type Line = (&'static str, bool, fn(&RunEntry) -> AnyView);
    let lines: [Line; 12] = [
        ("Optimizer", left.optimizer == right.optimizer, |run| text(run.optimizer)),
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
        <section aria-labelledby="first"><h2 id="first">"The first step that differs"</h2>{parted(left, right, first)}</section>
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

/// The first step that differs, drawn up to both roots.
fn parted(left: &RunEntry, right: &RunEntry, first: &First) -> AnyView {
    let common = left.size.0.min(right.size.0);
    match first {
        First::Leaf(None) => {
            view! { <p>{format!("Both contracts carry the same leaf for each of the {common} steps that both have.")}</p> }.into_any()
        }
        First::Leaf(Some(sides)) => {
            let [a, b] = &**sides;
            let words = format!(
                "One run, two contracts, and two leaves for step {}: at most one of them is what its owner calls the run. The steps before it are the same.",
                a.step.step
            );
            view! { <p class="warning" role="note">{words}</p><div class="sides">{side("First", left, a, None)}{side("Second", right, b, None)}</div> }.into_any()
        }
        First::Word { n_common: 0, .. } => {
            view! { <p>"Two runs never share a leaf: each blinds its states by its own secret. Their records would tell, but no bundles of both passed here."</p> }.into_any()
        }
        First::Word { n_common, other: None } => {
            view! { <p>{format!("Learning rate, loss and gradient norm are the same in the records of all {n_common} steps that both have here.")}</p> }.into_any()
        }
        First::Word { other: Some(sides), .. } => {
            let [(ours, a), (theirs, b)] = &**sides;
            let words = format!(
                "Before step {}, the records of both say the same of learning rate, loss and gradient norm; here they do not. Each record is under its root by this path.",
                ours.step
            );
            view! { <p>{words}</p><div class="sides">{side("First", left, a, Some(ours))}{side("Second", right, b, Some(theirs))}</div> }.into_any()
        }
    }
}

/// A step of one run: what its record says, its leaf, the siblings on the way up, and the root.
fn side(name: &'static str, run: &RunEntry, evidence: &Evidence, word: Option<&StepWord>) -> AnyView {
    let Evidence { step, epoch, .. } = evidence;
    let Climb { rungs, reached, reaches_root } = Climb::of(evidence, run);
    let agrees = if reaches_root { "the root that the contract holds" } else { "not the root that the contract holds" };
    let rungs = rungs.iter().map(|rung| {
        let place = if rung.sibling_is_left { "left of our node: " } else { "right of our node: " };
        view! { <li>{place}{hash(rung.sibling)}</li> }
    });
    let rungs: Vec<_> = rungs.collect();
    let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not said".to_owned());
    let word = word.map(|word| {
        view! {
            {fact("Learning rate", text(shortest(word.learning_rate)))}
            {fact("Loss (the submitter's word)", text(said(&word.loss)))}
            {fact("Gradient norm (the submitter's word)", text(said(&word.gradient_norm)))}
        }
    });
    let address = below(run, &format!("steps/{}", step.step));
    view! {
        <section class="side">
            <h3>{format!("{name}: ")}{link(address, format!("step {}", step.step))}</h3>
            <dl class="facts">
                {word}
                {fact("Statement D", hash(step.digest))}
                {fact("Record A", hash(step.record_hash))}
                {fact("Leaf", hash(step.leaf()))}
                {fact("Siblings, from the leaf up", view! { <ol class="siblings">{rungs}</ol> })}
                {fact("Gives", view! { {hash(reached)}<p class="help">{format!("{agrees}, over {} steps", run.size)}</p> })}
                {fact("Anchored in epoch", link(below(run, &format!("epochs/{}", epoch.counter)), epoch.counter))}
            </dl>
        </section>
    }
    .into_any()
}
