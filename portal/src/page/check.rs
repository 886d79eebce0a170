//! How to check this portal.

use axum::response::Html;
use leptos::prelude::*;

use super::{Place, layout, part::command};
use crate::index::Status;

/// The page.
pub(crate) async fn page() -> Html<String> {
    layout("How to check us", Place::Check, None, content())
}

fn content() -> AnyView {
    let words = Status::ALL.map(|status| {
        view! { <div><dt>{super::part::status(status)}</dt><dd>{status.meaning()}</dd></div> }
    });
    view! {
        <h1>"How to check us"</h1>
        <p class="lede">"You need not trust this portal. Everything on it follows from the chain, and every step can be repeated."</p>
        <section aria-labelledby="where">
            <h2 id="where">"Where each word comes from"</h2>
            <p>
                "The portal reads the events of RunAnchor contracts. It calls a run anchored only after the contract's own head, asked "
                "at one block, gave the same counter, root, state and finality as the events. It calls a run verified only if a "
                "bundle of exactly the anchored size and root passed every check here. Nobody can set these words: they are "
                "computed when the page is made, and an epoch that the chain takes back takes them along."
            </p>
            <dl class="facts">{words.into_iter().collect::<Vec<_>>()}</dl>
        </section>
        <section aria-labelledby="not">
            <h2 id="not">"What no page here says"</h2>
            <ul>
                <li>"That a gradient is honest. It is committed to; where it comes from is not in the proof."</li>
                <li>"That the data is good, lawful or free of bias."</li>
                <li>"That a model is fit for a purpose."</li>
                <li>"That loss values, notes and times in records are true: they are the submitter's word."</li>
                <li>"Anything, if the reference string of the proofs is a development one: whoever made it could forge proofs."</li>
            </ul>
        </section>
        <section aria-labelledby="how">
            <h2 id="how">"Repeat it"</h2>
            <p>
                "Every step's page has a button that makes all checks in your own browser, against a node that you choose. For a "
                "capsule or weights from disk there is " <a href="/verify">"a page of its own"</a> " that works with the network off."
            </p>
            {command("Ask the contract for the head of a run, without us:", "cast call CONTRACT 'head(bytes32)' RUN --rpc-url URL".to_owned())}
            {command("Check a run's files against the chain, every proof of it:", "cairn verify --run runs/run-RUN --all --rpc URL --contract CONTRACT".to_owned())}
            {command("Run this portal yourself, from nothing; it must show the same:", "cairn portal serve --database sqlite:mine.db --chain URL,CONTRACT".to_owned())}
        </section>
    }
    .into_any()
}
