//! What people read. Every page is whole without scripts; its address says everything that it shows.
//!
//! | module | purpose |
//! |---|---|
//! | `check` | how to check this portal |
//! | `compare` | where two runs differ |
//! | `epoch` | one anchored epoch |
//! | `part` | what several pages are made of |
//! | `plot` | what is said of steps, drawn |
//! | `record` | what the files of a bundle say of a step |
//! | `registry` | verifiers and contracts |
//! | `run` | one run |
//! | `runs` | search and list |
//! | `step` | one step and its path to the root |
//! | `strip` | coverage and growth, drawn |
//! | `verify` | checks in the visitor's browser |

use axum::{
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use leptos::prelude::*;

use crate::server::Refusal;

pub(crate) mod check;
mod climb;
pub(crate) mod compare;
pub(crate) mod epoch;
mod facets;
mod part;
mod plot;
mod record;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod step;
mod strip;
pub(crate) mod verify;

/// The style of all pages.
const STYLE: &str = include_str!("../assets/style.css");
/// What stands beside the title in lists of pages: a cairn.
const ICON: &str = include_str!("../assets/icon.svg");

/// The address of a text with its digest, so that browsers never show an old one.
fn versioned(path: &str, text: &str) -> String {
    format!("{path}?v={}", hex::encode(&ledger::Digest::of(text.as_bytes()).0[..8]))
}

/// A text whose address changes with it, so it may be kept for good.
fn kept(kind: &'static str, text: &'static str) -> Response {
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, keep)], text).into_response()
}

/// The style.
pub(crate) async fn style() -> Response {
    kept("text/css; charset=utf-8", STYLE)
}

/// The icon.
pub(crate) async fn icon() -> Response {
    kept("image/svg+xml", ICON)
}

/// Where a page stands in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the runs.
    Runs,
    /// Comparing.
    Compare,
    /// Verifying files in the browser.
    Verify,
    /// Verifiers and contracts.
    Registry,
    /// How to check.
    Check,
    /// Nowhere.
    None,
}

/// A whole page around its content.
pub(crate) fn layout(
    title: &str,
    place: Place,
    feed: Option<String>,
    content: impl IntoView + 'static,
) -> Html<String> {
    let links = [
        ("/", "Runs", Place::Runs),
        ("/compare", "Compare", Place::Compare),
        ("/verify", "Verify a file", Place::Verify),
        ("/registry", "Verifiers", Place::Registry),
        ("/check", "How to check us", Place::Check),
    ];
    let links = links.map(|(address, words, of)| {
        let current = (of == place).then_some("page");
        view! { <li><a href=address aria-current=current>{words}</a></li> }
    });
    let feed =
        feed.map(|address| view! { <link rel="alternate" type="application/atom+xml" title="Events" href=address/> });
    let whole = view! {
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <title>{format!("{title} · Cairn")}</title>
                <link rel="icon" type="image/svg+xml" href=versioned("/icon.svg", ICON)/>
                <link rel="stylesheet" href=versioned("/style.css", STYLE)/>
                {feed}
            </head>
            <body>
                <a class="skip" href="#content">"Skip to content"</a>
                <header class="top">
                    <div class="wrap">
                        <a class="brand" href="/">"Cairn"<span>" audit portal"</span></a>
                        <nav aria-label="Main"><ul>{links.into_iter().collect::<Vec<_>>()}</ul></nav>
                    </div>
                </header>
                <main id="content" class="wrap" tabindex="-1">{content.into_any()}</main>
                <footer class="wrap">
                    <p>
                        "The chain decides. A proof says that an update was computed right; it does not say that the gradient is "
                        "honest or the data good. " <a href="/check">"Do not trust this portal: check it."</a>
                    </p>
                    <p><a href="/api/v1/openapi.json">"API description (OpenAPI)"</a></p>
                </footer>
            </body>
        </html>
    };
    Html(format!("<!DOCTYPE html>{}", whole.to_html()))
}

/// A refusal as a page.
pub(crate) struct PageRefusal(pub(crate) Refusal);

impl<E: Into<Refusal>> From<E> for PageRefusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        self.0.log();
        let (status, _) = self.0.kind();
        let heading = match status.as_u16() {
            404 => "Not found",
            400 => "This was not understood",
            409 => "Which one?",
            _ => "This did not work",
        };
        let choices = match &self.0 {
            Refusal::SeveralRuns { run, contracts } => contracts
                .iter()
                .map(|contract| {
                    let address = format!("/runs/{run}?contract={contract}");
                    view! { <li><a href=address>"Contract "<code>{contract.to_string()}</code></a></li> }
                })
                .collect(),
            _ => Vec::new(),
        };
        let content = view! {
            <h1>{heading}</h1>
            <p class="lede">{self.0.to_string()}</p>
            <ul>{choices}</ul>
            <p><a href="/">"All runs"</a></p>
        };
        self.0.finish((status, layout(heading, Place::None, None, content)).into_response())
    }
}
