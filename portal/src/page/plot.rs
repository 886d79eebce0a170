//! What the submitter says of steps, drawn: one plot for each quantity, and the table behind.

use leptos::prelude::*;

use super::part::{below, link, table, text};
use crate::index::{RunEntry, StepWord};

/// Points of a plot at most: more steps are drawn as every second, third, … one.
const MAX_POINTS: u64 = 240;

/// Width, height and margin of a plot, units; it is drawn as wide as there is room.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 4.0;

/// Every how many steps of a run are drawn.
pub(super) fn stride(run: &RunEntry) -> u64 {
    run.size.0.div_ceil(MAX_POINTS).max(1)
}

/// A quantity of a step, and what it is called.
struct Quantity {
    name: &'static str,
    of: fn(&StepWord) -> Option<f64>,
}

const QUANTITIES: [Quantity; 4] = [
    Quantity { name: "Loss", of: |word| word.loss.as_ref()?.parse().ok() },
    Quantity { name: "Learning rate", of: |word| Some(word.rate()) },
    Quantity { name: "Gradient norm", of: |word| word.gradient_norm.as_ref()?.parse().ok() },
    Quantity { name: "Proving time (ms)", of: |word| Some(word.prove_ms? as f64) },
];

/// The plots and their table; none if no record is here.
pub(super) fn plots(run: &RunEntry, words: &[StepWord]) -> Option<AnyView> {
    let last = words.last()?;
    let drawn: Vec<_> = QUANTITIES.iter().filter_map(|quantity| draw(quantity, words, last.step.0)).collect();
    let or_dash = |value: Option<String>| text(value.unwrap_or_else(|| "–".to_owned()));
    let row = |word: &StepWord| {
        vec![
            link(below(run, &format!("steps/{}", word.step)), word.step),
            or_dash(word.loss.clone()),
            text(word.rate()),
            or_dash(word.gradient_norm.clone()),
            or_dash(word.prove_ms.map(|ms| ms.to_string())),
        ]
    };
    let rows = words.iter().map(row).collect();
    let every = match stride(run) {
        1 => "Every step.".to_owned(),
        n => format!("Every {n}th step; all are in the API."),
    };
    let head = ["Step", "Loss", "Learning rate", "Gradient norm", "Proving time (ms)"];
    Some(
        view! {
            <section aria-labelledby="series">
                <h2 id="series">"Course of the run"</h2>
                <p>
                    "From the records of a bundle that passed every check. The learning rate is proved to be within the policy; "
                    "loss, norm and times are the submitter's word, fixed by the hash under the root. "{every}
                </p>
                {drawn}
                <details><summary>"The numbers"</summary>{table("Table of steps and what is said of them", &head, rows)}</details>
            </section>
        }
        .into_any(),
    )
}

/// A line through the values there are; none if there is none.
fn draw(quantity: &Quantity, words: &[StepWord], last: u64) -> Option<AnyView> {
    let points: Vec<(u64, f64)> = words
        .iter()
        .filter_map(|word| Some((word.step.0, (quantity.of)(word)?)))
        .filter(|(_, y)| y.is_finite())
        .collect();
    let (low, high) = bounds(&points)?;
    let x = |step: u64| across(step as f64 / last.max(1) as f64);
    // A line of equal values is in the middle. Halves are taken first: the difference of two large values may be no number.
    let y = |value: f64| up(if high > low { (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) } else { 0.5 });
    let mut path = String::new();
    for (step, value) in &points {
        let letter = if path.is_empty() { 'M' } else { 'L' };
        path.push_str(&format!("{letter}{:.1},{:.1}", x(*step), y(*value)));
    }
    if let [(step, value)] = points[..] {
        path.push_str(&format!("H{:.1}V{:.1}", x(step) + 2.0, y(value)));
    }
    let name = quantity.name;
    let label = format!("{name} of {} steps, from {} to {}", points.len(), shown(low), shown(high));
    let framed = frame(label, path, shown(high), [shown(low), format!("step {last}")]);
    Some(view! { <figure class="plot"><figcaption>{name}</figcaption>{framed}</figure> }.into_any())
}

/// Where a share of the width is, units.
pub(super) fn across(share: f64) -> f64 {
    MARGIN + (WIDTH - 2.0 * MARGIN) * share
}

/// Where a share of the height is, from the axis up, units.
pub(super) fn up(share: f64) -> f64 {
    HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * share
}

/// A line with its axes: what is written above them, and below at both ends. `label` says all of it to those who do not see it.
pub(super) fn frame(label: String, path: String, above: String, [left, right]: [String; 2]) -> AnyView {
    let axes = format!("M{},{}V{}H{}", across(0.0), up(1.0), up(0.0), across(1.0));
    view! {
        <p class="scale" aria-hidden="true">{above}</p>
        <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" role="img" aria-label=label>
            <path class="axis" d=axes></path>
            <path class="line" d=path></path>
        </svg>
        <p class="scale" aria-hidden="true"><span>{left}</span><span>{right}</span></p>
    }
    .into_any()
}

fn bounds(points: &[(u64, f64)]) -> Option<(f64, f64)> {
    let first = points.first()?.1;
    Some(points.iter().fold((first, first), |(low, high), (_, y)| (low.min(*y), high.max(*y))))
}

/// Four significant digits.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e5).contains(&size) => {
            let digits = (3 - size.log10().floor() as i32).clamp(0, 6);
            format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
        }
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use ledger::StepIndex;

    use super::*;

    fn word(step: u64, loss: &str) -> StepWord {
        let loss = Some(loss.to_owned());
        StepWord { step: StepIndex(step), learning_rate: 0, loss, gradient_norm: None, prove_ms: None }
    }

    fn path(words: &[StepWord]) -> String {
        let html = draw(&QUANTITIES[0], words, words.last().unwrap().step.0).unwrap().to_html();
        // The axis is drawn first.
        let line = html.split(" d=\"").nth(2).unwrap();
        line.split('"').next().unwrap().to_owned()
    }

    #[test]
    fn lines_stay_inside_for_any_values() {
        assert_eq!(path(&[word(0, "2"), word(1, "1")]), "M4.0,4.0L996.0,216.0");
        assert_eq!(path(&[word(0, "3"), word(4, "3")]), "M4.0,110.0L996.0,110.0");
        let largest = f64::MAX.to_string();
        assert_eq!(path(&[word(0, &largest), word(1, &format!("-{largest}"))]), "M4.0,4.0L996.0,216.0");
        assert_eq!(path(&[word(3, "1")]), "M996.0,110.0H998.0V110.0");
    }

    #[test]
    fn numbers_have_four_digits() {
        let cases = [(0.0, "0"), (2.5010029, "2.501"), (0.003, "0.003000"), (946.0, "946.0"), (1e9, "1.000e9")];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected);
        }
    }
}
