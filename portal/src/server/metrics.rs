//! Counters in the text format of Prometheus.

use std::{collections::BTreeMap, fmt::Write, sync::Mutex, time::Duration};

use crate::{
    bundles::{FetchCounts, TrafficCounts},
    follow::Health,
    index::{Facets, SourceEntry},
};

/// Upper bounds of the answers' histogram, seconds.
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// What has happened since the process began.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_status: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What the portal knows at this moment.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Runs by status.
    pub facets: Facets,
    /// What is followed, and how far it was read.
    pub sources: Vec<SourceEntry>,
    /// How the followers of this process do.
    pub followers: Vec<(SourceEntry, Health)>,
    /// Connections that listen to live updates.
    pub listeners: usize,
    /// Announced bundles that are fetched; none if none are.
    pub fetches: Option<FetchCounts>,
    /// What was exchanged with a store of bundles; none if there is none.
    pub traffic: Option<TrafficCounts>,
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16, took: Duration) {
        let Ok(mut counts) = self.0.lock() else { return };
        *counts.by_status.entry(status).or_default() += 1;
        let seconds = took.as_secs_f64();
        for (count, bound) in counts.buckets.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= bound);
        }
        counts.count += 1;
        counts.sum += seconds;
    }

    /// The page. Writing to a `String` does not fail.
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut out = String::new();
        family(&mut out, "cairn_portal_runs", "gauge", "Runs by status.");
        for (status, n) in &gauges.facets.statuses {
            let _ = writeln!(out, "cairn_portal_runs{{status=\"{}\"}} {n}", status.code());
        }
        family(&mut out, "cairn_portal_position_block", "gauge", "Last block that was read.");
        for entry in &gauges.sources {
            let block = entry.position.map_or(0, |at| at.number);
            let _ = writeln!(out, "cairn_portal_position_block{{{}}} {block}", labels(entry));
        }
        type Gauge = (&'static str, &'static str, &'static str, fn(&Health) -> u64);
        let followers: [Gauge; 3] = [
            (
                "cairn_portal_level_block",
                "gauge",
                "Newest block at which the index was level with the node.",
                |health| health.level_at.unwrap_or(0),
            ),
            (
                "cairn_portal_follow_failures",
                "gauge",
                "Rounds that failed since the last one that did not.",
                |health| health.n_failures.into(),
            ),
            ("cairn_portal_rollbacks_total", "counter", "Reorganisations that were followed.", |health| {
                health.n_rollbacks
            }),
        ];
        for (name, kind, help, value) in followers {
            family(&mut out, name, kind, help);
            for (entry, health) in &gauges.followers {
                let _ = writeln!(out, "{name}{{{}}} {}", labels(entry), value(health));
            }
        }
        family(&mut out, "cairn_portal_listeners", "gauge", "Connections that listen to live updates.");
        let _ = writeln!(out, "cairn_portal_listeners {}", gauges.listeners);
        if let Some(fetches) = &gauges.fetches {
            render_fetches(&mut out, fetches);
        }
        if let Some(traffic) = &gauges.traffic {
            render_traffic(&mut out, traffic);
        }
        let Ok(counts) = self.0.lock() else { return out };
        family(&mut out, "cairn_portal_requests_total", "counter", "Answers by status.");
        for (status, n) in &counts.by_status {
            let _ = writeln!(out, "cairn_portal_requests_total{{status=\"{status}\"}} {n}");
        }
        let name = "cairn_portal_request_seconds";
        family(&mut out, name, "histogram", "Time from request to the head of the answer.");
        for (count, bound) in counts.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let Counts { count, sum, .. } = &*counts;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
        out
    }
}

fn render_fetches(out: &mut String, fetches: &FetchCounts) {
    let name = "cairn_portal_fetches_total";
    family(out, name, "counter", "Attempts to fetch announced bundles, by how they ended.");
    for (result, n) in [("fetched", fetches.fetched), ("failed", fetches.failed), ("refused", fetches.refused)] {
        let _ = writeln!(out, "{name}{{result=\"{result}\"}} {n}");
    }
    family(out, "cairn_portal_fetches_running", "gauge", "Bundles that are being fetched.");
    let _ = writeln!(out, "cairn_portal_fetches_running {}", fetches.running);
    family(out, "cairn_portal_bundles_missing", "gauge", "Announced bundles that are not in the folder.");
    let _ = writeln!(out, "cairn_portal_bundles_missing {}", fetches.missing);
}

fn render_traffic(out: &mut String, traffic: &TrafficCounts) {
    let name = "cairn_portal_store_objects_total";
    family(out, name, "counter", "Objects that came from the store of bundles, and that were put into it.");
    let _ = writeln!(out, "{name}{{way=\"fetched\"}} {}\n{name}{{way=\"put\"}} {}", traffic.fetched, traffic.put);
    family(out, "cairn_portal_store_removed_total", "counter", "Runs that went from the store, and here with them.");
    let _ = writeln!(out, "cairn_portal_store_removed_total {}", traffic.removed);
    family(out, "cairn_portal_store_failures", "gauge", "Looks at the store that failed since the last that did not.");
    let _ = writeln!(out, "cairn_portal_store_failures {}", traffic.failures);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels(entry: &SourceEntry) -> String {
    format!("chain=\"{}\",contract=\"{}\"", entry.source.chain, entry.source.contract)
}
