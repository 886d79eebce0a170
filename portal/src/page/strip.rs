//! Coverage and growth of a run, drawn. Each drawing has its table on the same page.

use leptos::prelude::*;

use super::plot::{across, frame, up};
use crate::{
    index::{EpochEntry, RunEntry, Status, Verification},
    time::plain,
};

/// Width and height of the strip, units.
const WIDTH: f64 = 1000.0;
const STRIP: f64 = 36.0;

/// How far a run is covered.
pub(super) struct Coverage {
    /// Steps that bundles checked here cover, from the first on.
    pub(super) checked: u64,
    /// Steps that are anchored.
    pub(super) anchored: u64,
    /// Steps that an epoch speaks of which does not follow: those before it are missing.
    pub(super) beyond: u64,
}

impl Coverage {
    /// Of a run with these epochs and checked bundles.
    pub(super) fn of(run: &RunEntry, ahead: &[EpochEntry], checked: &[Verification]) -> Self {
        let passed = checked.iter().filter(|checked| checked.failure.is_none());
        let counts = matches!(run.status, Status::Verified | Status::PartlyCovered);
        let sizes = passed.map(|checked| checked.size.0).filter(|size| counts && *size <= run.size.0);
        let beyond = ahead.iter().filter(|epoch| epoch.counter > run.counter).map(|epoch| epoch.size.0).max();
        Self { checked: sizes.max().unwrap_or(0), anchored: run.size.0, beyond: beyond.unwrap_or(0) }
    }

    /// One sentence of it.
    pub(super) fn words(&self) -> String {
        let Self { checked, anchored, beyond } = self;
        let missing = beyond.saturating_sub(*anchored);
        let missing = match missing {
            0 => String::new(),
            n => format!(" Events speak of {n} more, which do not follow."),
        };
        format!(
            "{anchored} steps anchored, each with a proof that the contract checked; {checked} of them checked again here from the files.{missing}"
        )
    }

    /// The strip: checked, anchored, not following, from the first step to the last.
    pub(super) fn draw(&self) -> AnyView {
        let whole = self.anchored.max(self.beyond);
        if whole == 0 {
            return view! { <p class="empty">"Nothing is anchored yet."</p> }.into_any();
        }
        let at = |steps: u64| WIDTH * steps as f64 / whole as f64;
        let parts = [
            ("checked", 0, self.checked),
            ("anchored", self.checked, self.anchored),
            ("missing", self.anchored, whole),
        ];
        let parts = parts.map(|(class, from, to)| {
            (to > from).then(|| {
                let (x, width) = (format!("{:.2}", at(from)), format!("{:.2}", at(to) - at(from)));
                view! { <rect class=class x=x y="0" width=width height=format!("{STRIP}")/> }
            })
        });
        let key = [("checked", "checked here"), ("anchored", "anchored"), ("missing", "not following")];
        let key = key.map(
            |(class, words)| view! { <li><span class=format!("key {class}") aria-hidden="true"></span>{words}</li> },
        );
        let frame = format!("0 0 {WIDTH} {STRIP}");
        view! {
            <figure class="strip">
                <svg viewBox=frame preserveAspectRatio="none" role="img" aria-label=self.words()>{parts.into_iter().collect::<Vec<_>>()}</svg>
                <figcaption><p>{self.words()}</p><ul class="legend">{key.into_iter().collect::<Vec<_>>()}</ul></figcaption>
            </figure>
        }
        .into_any()
    }
}

/// Anchored steps over time, as stairs. The table of epochs has the numbers.
pub(super) fn growth(run: &RunEntry, epochs: &[EpochEntry]) -> Option<AnyView> {
    let last = epochs.last()?;
    let (start, end) = (run.registered_at, last.time.max(run.registered_at + 1));
    let x = |time: u64| across(time.saturating_sub(start) as f64 / (end - start) as f64);
    let y = |steps: u64| up(steps as f64 / last.size.0.max(1) as f64);
    let mut path = format!("M{:.1},{:.1}", x(start), y(epochs[0].first_step.0));
    for epoch in epochs {
        path.push_str(&format!("H{:.1}V{:.1}", x(epoch.time), y(epoch.size.0)));
    }
    let label = format!("Anchored steps over time: {} after {} epochs", last.size, epochs.len());
    let framed = frame(label, path, format!("{} steps", last.size), [plain(start), plain(end)]);
    Some(
        view! {
            <figure class="plot">
                {framed}
                <figcaption>"Anchored steps over time, from registration to the last epoch. The numbers are in the table of epochs."</figcaption>
            </figure>
        }
        .into_any(),
    )
}
