//! Progress bars with time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// A bar of `len` units.
pub fn bar(out: &Output, len: u64, what: &str) -> ProgressBar {
    if !out.progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:28} [{bar:30}] {pos}/{len} {elapsed} left {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(len).with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// A bar of `len` bytes.
pub fn bytes(out: &Output, len: u64, what: &str) -> ProgressBar {
    if !out.progress() {
        return ProgressBar::hidden();
    }
    let template = "{msg:28} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} left {eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(len).with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// A spinner for work whose phases are not reported, with the time it took before, if known.
pub fn spinner(out: &Output, what: &str, expected: Option<Duration>) -> ProgressBar {
    if !out.progress() {
        return ProgressBar::hidden();
    }
    let Some(expected) = expected else {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        return bar;
    };
    // The work reports no phases: the bar follows the time that the same work took last, and waits at its end.
    let seconds = expected.as_secs().max(1);
    let style = ProgressStyle::with_template("{msg:28} [{bar:30}] {elapsed} left about {eta} (by the last run)")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(seconds).with_style(style).with_message(what.to_owned());
    let ticking = bar.clone();
    std::thread::spawn(move || {
        for second in 1..seconds {
            std::thread::sleep(Duration::from_secs(1));
            if ticking.is_finished() {
                return;
            }
            ticking.set_position(second);
        }
    });
    bar
}
