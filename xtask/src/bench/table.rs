//! Printing of figures.

use std::fs;

use anyhow::Context;
use serde_json::Value;

/// A figure beside its budget: `what  figure  (budget, over or ok)`.
pub fn line(what: &str, figure: &str, budget: Option<(&str, bool)>) {
    match budget {
        Some((budget, holds)) => {
            println!("  {what:44} {figure:24} budget {budget}: {}", if holds { "ok" } else { "OVER" });
        }
        None => println!("  {what:44} {figure}"),
    }
}

/// A number of an answer.
pub fn number(row: &Value, field: &str) -> anyhow::Result<f64> {
    row[field].as_f64().with_context(|| format!("{field} is missing or not a number in {row}"))
}

/// The smallest of an answer's list of numbers.
pub fn least(row: &Value, field: &str) -> anyhow::Result<f64> {
    let least = row[field].as_array().into_iter().flatten().filter_map(Value::as_f64).reduce(f64::min);
    least.with_context(|| format!("{field} is missing or empty in {row}"))
}

/// Seconds, from milliseconds.
pub fn seconds(ms: f64) -> String {
    format!("{:.2} s", ms / 1e3)
}

/// Bytes in a unit that reads well.
pub fn bytes(bytes: f64) -> String {
    if bytes < 1e9 { format!("{:.0} MB", bytes / 1e6) } else { format!("{:.2} GB", bytes / 1e9) }
}

/// Processor, cores, memory and load of this machine.
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kib: f64 = field("/proc/meminfo", "MemTotal").split_whitespace().next().unwrap_or("").parse().unwrap_or(0.0);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {cores} cores, {:.0} GiB, load before the run {}",
        field("/proc/cpuinfo", "model name"),
        kib / (1 << 20) as f64,
        load.split(' ').next().unwrap_or("unknown")
    )
}

/// Provers side by side, each row at the least of its repetitions.
pub fn peers(sides: &[(&str, &Value)]) -> anyhow::Result<()> {
    println!(
        "  {:7} {:>9} {:>3} {:>9} {:>9} {:>9} {:>9} {:>10} {:>14}",
        "side", "params", "k", "key", "prove", "CPU", "memory", "params/s", "error/update"
    );
    for (side, rows) in sides {
        for row in rows.as_array().into_iter().flatten() {
            println!(
                "  {side:7} {:>9} {:>3} {:>9} {:>9} {:>9} {:>9} {:>10.1} {:>12.4} %",
                number(row, "params")?,
                number(row, "k")?,
                seconds(number(row, "key_ms")?),
                seconds(least(row, "prove_ms")?),
                format!("{:.2} s", least(row, "cpu_s")?),
                bytes(number(row, "peak_rss_bytes")?),
                number(row, "params_per_s")?,
                100.0 * number(row, "max_error")? / number(row, "mean_update")?,
            );
        }
    }
    println!("  error/update: largest deviation of w' from float64 Adam, relative to the mean size of an update");
    Ok(())
}
