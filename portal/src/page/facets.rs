//! How many runs there are of each kind; each kind a link to the list of these, a chosen one a link back.

use leptos::prelude::*;

use crate::{
    api::query::RunQuery,
    index::{Facets, StepRange},
    time::{DAY, day_of, now},
};

/// One kind.
struct Choice {
    words: String,
    n: u64,
    /// The list with it.
    query: RunQuery,
    is_chosen: bool,
}

/// All facets of a list.
pub(super) fn facets(query: &RunQuery, facets: &Facets) -> AnyView {
    view! {
        {statuses(query, facets)}
        <div class="facet-rows">{optimizers(query, facets)}{sizes(query, facets)}{since(query, facets)}</div>
    }
    .into_any()
}

fn statuses(query: &RunQuery, facets: &Facets) -> AnyView {
    let chosen = &query.filter.statuses;
    let all = Choice {
        words: "all".to_owned(),
        n: facets.statuses.iter().map(|(_, n)| n).sum(),
        query: query.with(|filter| filter.statuses.clear()),
        is_chosen: chosen.is_empty(),
    };
    let choices = facets.statuses.iter().map(|(status, n)| Choice {
        words: status.words().to_owned(),
        n: *n,
        query: query.with(|filter| filter.statuses = vec![*status]),
        is_chosen: chosen.as_slice() == [*status],
    });
    row("Status", None, std::iter::once(all).chain(choices).collect())
}

fn optimizers(query: &RunQuery, facets: &Facets) -> Option<AnyView> {
    let chosen = query.filter.optimizer;
    let choices = facets.optimizers.iter().map(|(optimizer, n)| {
        let is_chosen = chosen == Some(*optimizer);
        let query = query.with(|filter| filter.optimizer = (!is_chosen).then_some(*optimizer));
        Choice { words: optimizer.words().to_owned(), n: *n, query, is_chosen }
    });
    several("Optimizer", choices.collect())
}

fn sizes(query: &RunQuery, facets: &Facets) -> Option<AnyView> {
    let chosen = (query.filter.min_steps, query.filter.max_steps);
    let choices = facets.sizes.iter().map(|(StepRange { min, max }, n)| {
        let range = (Some(*min), *max);
        let is_chosen = chosen == range;
        let query = query.with(|filter| {
            (filter.min_steps, filter.max_steps) = if is_chosen { (None, None) } else { range };
        });
        let words = max.map_or_else(|| format!("{min} or more"), |max| format!("{min} to {max}"));
        Choice { words, n: *n, query, is_chosen }
    });
    several("Steps", choices.collect())
}

fn since(query: &RunQuery, facets: &Facets) -> Option<AnyView> {
    let chosen = (query.filter.from, query.filter.before);
    let today = day_of(now());
    let choices = facets.since.iter().filter(|(_, n)| *n > 0).map(|(time, n)| {
        let is_chosen = chosen == (Some(*time), None);
        let query = query.with(|filter| (filter.from, filter.before) = ((!is_chosen).then_some(*time), None));
        let words = match today.saturating_sub(*time) / DAY {
            1 => "since yesterday".to_owned(),
            days => format!("last {days} days"),
        };
        Choice { words, n: *n, query, is_chosen }
    });
    several("Registered", choices.collect())
}

/// A row with something to choose.
fn several(label: &'static str, choices: Vec<Choice>) -> Option<AnyView> {
    let has_choice = choices.len() > 1 || choices.iter().any(|choice| choice.is_chosen);
    has_choice.then(|| row(label, Some(label), choices))
}

fn row(label: &'static str, shown: Option<&'static str>, choices: Vec<Choice>) -> AnyView {
    let link = |Choice { words, n, query, is_chosen }: Choice| {
        let address = format!("/?{}", query.to_query(None));
        let current = is_chosen.then_some("true");
        view! { <li><a href=address aria-current=current>{words}<span class="count">{format!(" {n}")}</span></a></li> }
    };
    let links: Vec<_> = choices.into_iter().map(link).collect();
    let shown = shown.map(|words| view! { <span class="facet-label" aria-hidden="true">{words}</span> });
    view! { <nav class="facets" aria-label=label>{shown}<ul>{links}</ul></nav> }.into_any()
}
