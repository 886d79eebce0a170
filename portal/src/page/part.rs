//! What several pages are made of.

use ledger::Hyper;
use leptos::prelude::*;

pub(super) use crate::api::run_address;
use crate::{
    index::{RunEntry, Status},
    time::{plain, rfc3339},
};

/// A hash or id, in full. It breaks anywhere, so that it fits a phone.
pub(super) fn hash(value: impl ToString) -> AnyView {
    view! { <code class="hash">{value.to_string()}</code> }.into_any()
}

/// The first and last digits of a hash or id.
pub(super) fn short(value: impl ToString) -> String {
    let text = value.to_string();
    match (text.get(..10), text.get(text.len().saturating_sub(6)..)) {
        (Some(head), Some(tail)) if text.len() > 20 => format!("{head}…{tail}"),
        _ => text,
    }
}

/// A number of 32 fractional bits, with as few decimals as tell it from all others (`docs/spec/statement.md`).
pub(super) fn shortest(raw: u64) -> String {
    const ONE: f64 = Hyper::ONE as f64;
    let exact = raw as f64 / ONE;
    let written = (0..=16).map(|digits| format!("{exact:.digits$}"));
    let mut same = written.filter(|text| text.parse().is_ok_and(|read: f64| (read * ONE).round() as u64 == raw));
    same.next().unwrap_or_else(|| exact.to_string())
}

/// A moment.
pub(super) fn moment(unix: u64) -> AnyView {
    view! { <time datetime=rfc3339(unix)>{plain(unix)}</time> }.into_any()
}

/// The address of something below a run.
pub(super) fn below(run: &RunEntry, path: &str) -> String {
    format!("/runs/{}/{path}?contract={}", run.run, run.contract)
}

/// The address of something below a run for programs.
pub(super) fn api_below(run: &RunEntry, path: &str) -> String {
    format!("/api/v1/runs/{}{path}?contract={}", run.run, run.contract)
}

/// Icon and words of a status. The icon is for the eye only; the words say the same.
pub(super) fn status(status: Status) -> AnyView {
    let icon = match status {
        Status::Verified => "✓",
        Status::BundleNotSeen => "○",
        Status::PartlyCovered => "◐",
        Status::Frozen => "‖",
        Status::Conflict => "≠",
        Status::Invalid => "✗",
        Status::Registered => "·",
        Status::Unconfirmed => "…",
    };
    let class = format!("status {}", status.code());
    view! { <span class=class><span class="icon" aria-hidden="true">{icon}</span>{status.words()}</span> }.into_any()
}

/// A line of facts: name and value.
pub(super) fn fact(name: &'static str, value: impl IntoView + 'static) -> AnyView {
    view! { <div><dt>{name}</dt><dd>{value.into_any()}</dd></div> }.into_any()
}

/// A table that scrolls by itself where it is wider than the page, by keyboard too.
pub(super) fn table(label: &'static str, head: &[&'static str], rows: Vec<Vec<AnyView>>) -> AnyView {
    let head: Vec<_> = head.iter().map(|words| view! { <th scope="col">{*words}</th> }).collect();
    let row = |cells: Vec<AnyView>| {
        let cells: Vec<_> = cells.into_iter().map(|cell| view! { <td>{cell}</td> }).collect();
        view! { <tr>{cells}</tr> }
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    view! {
        <div class="scroll" role="region" aria-label=label tabindex="0">
            <table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
        </div>
    }
    .into_any()
}

/// A text as a cell or a fact.
pub(super) fn text(value: impl ToString) -> AnyView {
    value.to_string().into_any()
}

/// A link as a cell or a fact.
pub(super) fn link(address: String, words: impl ToString) -> AnyView {
    view! { <a href=address>{words.to_string()}</a> }.into_any()
}

/// A command to copy, and what it does.
pub(super) fn command(what: &'static str, line: String) -> AnyView {
    view! { <div class="command"><p>{what}</p><pre tabindex="0"><code>{line}</code></pre></div> }.into_any()
}

/// The way back to the run.
pub(super) fn trail(run: &RunEntry, here: String) -> AnyView {
    view! {
        <nav class="trail" aria-label="Breadcrumb">
            <ol>
                <li><a href="/">"Runs"</a></li>
                <li><a href=run_address(run)>{format!("Run {}", short(run.run))}</a></li>
                <li aria-current="page">{here}</li>
            </ol>
        </nav>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn numbers_are_written_as_they_were_meant() {
        for (raw, expected) in [
            (0, "0"),
            (1 << 32, "1"),
            (3_865_470_566, "0.9"),
            (4_290_672_329, "0.999"),
            (12_884_902, "0.003"),
            (43, "0.00000001"),
        ] {
            assert_eq!(shortest(raw), expected);
        }
        assert_eq!(shortest(u64::MAX), "4294967296");
    }
}
