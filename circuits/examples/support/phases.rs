//! Time and peak memory of each phase of a proof.

use std::{ops::ControlFlow, time::Instant};

use engine::{Phase, Watch};
use serde_json::{Value, json};

use crate::usage::peak_memory;

/// Measures while a proof runs.
pub struct Phases {
    done: Vec<Value>,
    running: Option<(String, Instant)>,
}

impl Phases {
    /// Before the proof; what was used until now is forgotten.
    pub fn start() -> Self {
        forget_peak();
        Self { done: Vec::new(), running: None }
    }

    /// After the proof: `phase`, `ms`, `peak_rss_bytes` of each phase, in order.
    pub fn finish(mut self) -> Vec<Value> {
        self.note();
        self.done
    }

    fn note(&mut self) {
        if let Some((phase, since)) = self.running.take() {
            let ms = since.elapsed().as_millis();
            self.done.push(json!({ "phase": phase, "ms": ms, "peak_rss_bytes": peak_memory() }));
        }
        forget_peak();
    }
}

impl Watch for Phases {
    fn next(&mut self, phase: Phase) -> ControlFlow<()> {
        self.note();
        let name = match phase {
            Phase::Coset { index, of } => format!("coset {} of {of}", index + 1),
            other => format!("{other:?}").to_lowercase(),
        };
        self.running = Some((name, Instant::now()));
        ControlFlow::Continue(())
    }
}

/// Lets the peak start anew from what is resident now: proc(5), `/proc/pid/clear_refs`. Linux only; elsewhere it stays.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
