//! Counters in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the proving times' histogram, seconds.
const BUCKETS: [f64; 9] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// What has happened since the process began.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Steps accepted.
    pub accepted: AtomicU64,
    /// Steps proved and in the log.
    pub proved: AtomicU64,
    /// Attempts to prove that failed and are repeated.
    pub failed: AtomicU64,
    /// Bytes of uploads accepted.
    pub uploaded_bytes: AtomicU64,
    requests: Mutex<BTreeMap<u16, u64>>,
    proving: Mutex<Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What the service knows at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Runs.
    pub runs: usize,
    /// Steps that wait for their proofs.
    pub queued: usize,
    /// Steps that may wait.
    pub queue_limit: usize,
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        if let Ok(mut requests) = self.requests.lock() {
            *requests.entry(status).or_default() += 1;
        }
    }

    /// Counts a proved step.
    pub fn step_proved(&self, took: Duration) {
        self.proved.fetch_add(1, Ordering::Relaxed);
        let Ok(mut histogram) = self.proving.lock() else { return };
        let seconds = took.as_secs_f64();
        for (count, bound) in histogram.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// The page.
    pub fn render(&self, gauges: Gauges) -> String {
        let mut out = String::new();
        let mut simple = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a String does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        simple("cairn_prover_runs", "gauge", "Runs of this service.", gauges.runs as u64);
        simple("cairn_prover_queue_steps", "gauge", "Steps that wait for their proofs.", gauges.queued as u64);
        simple("cairn_prover_queue_limit_steps", "gauge", "Steps that may wait.", gauges.queue_limit as u64);
        let counters = [
            ("cairn_prover_steps_accepted_total", "Steps accepted.", &self.accepted),
            ("cairn_prover_steps_proved_total", "Steps proved and logged.", &self.proved),
            ("cairn_prover_failures_total", "Attempts to prove that failed and are repeated.", &self.failed),
            ("cairn_prover_uploaded_bytes_total", "Bytes of accepted uploads.", &self.uploaded_bytes),
        ];
        for (name, help, value) in counters {
            simple(name, "counter", help, value.load(Ordering::Relaxed));
        }
        let name = "cairn_prover_requests_total";
        let _ = writeln!(out, "# HELP {name} Answers by status.\n# TYPE {name} counter");
        if let Ok(requests) = self.requests.lock() {
            for (status, count) in requests.iter() {
                let _ = writeln!(out, "{name}{{status=\"{status}\"}} {count}");
            }
        }
        let name = "cairn_prover_step_seconds";
        let _ = writeln!(out, "# HELP {name} Time from start to log of a step.\n# TYPE {name} histogram");
        if let Ok(histogram) = self.proving.lock() {
            for (count, bound) in histogram.counts.iter().zip(BUCKETS) {
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
            }
            let Histogram { count, sum, .. } = &*histogram;
            let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
        }
        out
    }
}
