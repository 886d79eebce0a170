//! One epoch proof of the demo's step circuit by the engine or by the library, measured: `cargo run -p aggregator
//! --example epoch_bench -- /tmp/bench engine 2`.
//!
//! Arguments: folder where reference strings are kept, `engine` or `library`, threads; if the epoch is not the demo's of 4 steps
//! and k = 21, its steps and its k; if their circuit is not the demo's of 2,410 parameters of Adam, its shape as [`StepShape`] is
//! written. Few parameters are used (the others are zero): the epoch circuit does not depend on them. The proof is verified
//! with the library. Prints one JSON object: times in milliseconds, CPU time in seconds, peak memory of
//! this process in bytes, while the key was made and while the proof was; the key, made by the same prover, is part of the
//! latter. Of the engine's proof also the phases.

use std::{path::Path, time::Instant};

use aggregator::{EpochProvingKey, EpochShape};
use circuits::{keys::StepProvingKey, step::shape::StepShape};
use ledger::Rule;
use rand::{SeedableRng, rngs::StdRng};

#[path = "../../circuits/examples/support/phases.rs"]
mod phases;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/it/support.rs"]
mod support;
#[path = "../../circuits/examples/support/usage.rs"]
mod usage;

/// Parameters of the demo's model.
const PARAMS: usize = 2410;
/// The demo's epochs.
const DEMO: EpochShape = EpochShape { n_steps: 4, n_chunks: 1, k: 21 };

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    const USAGE: &str = "usage: epoch_bench HOME engine|library THREADS [STEPS K [STEP_SHAPE]]";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, prover, threads, of_epoch @ ..] = args.as_slice() else { return Err(USAGE.into()) };
    let (shape, step_shape) = match of_epoch {
        [] => (DEMO, None),
        [n_steps, k] => (EpochShape { n_steps: n_steps.parse()?, k: k.parse()?, ..DEMO }, None),
        [n_steps, k, step] => (EpochShape { n_steps: n_steps.parse()?, k: k.parse()?, ..DEMO }, Some(step.parse()?)),
        _ => return Err(USAGE.into()),
    };
    let step_shape = step_shape.map_or_else(|| StepShape::choose(Rule::AdamW, PARAMS, 20), Ok)?;
    let by_library = match prover.as_str() {
        "library" => true,
        "engine" => false,
        _ => return Err(USAGE.into()),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;

    let home = Path::new(home);
    let cache = srs::SrsCache::new(home.join("srs"));
    let srs = |k| -> Result<srs::Srs, Failure> { Ok(cache.development(srs::SrsSize::new(k)?, &srs::silent)?) };
    let (step_srs, epoch_srs) = (srs(step_shape.k)?, srs(shape.k)?);
    let pk = StepProvingKey::generate(step_srs.params(), &step_shape)?;
    let steps = support::Keyed { params: step_srs.params().clone(), vk: pk.verifying_key(), pk };
    let start = Instant::now();
    let key = match by_library {
        true => EpochProvingKey::generate_by_library(epoch_srs.params(), &steps.params, &steps.vk, &shape),
        false => EpochProvingKey::generate(epoch_srs.params(), &steps.params, &steps.vk, &shape),
    }?;
    let key_ms = start.elapsed().as_millis();
    let key_peak = usage::peak_memory();

    let input = support::epoch_with(&steps, Rule::AdamW, 1, 1, shape.n_steps);
    let witness = input.witness();
    let rng = StdRng::seed_from_u64(1);
    let mut phases = phases::Phases::start();
    let (start, cpu) = (Instant::now(), usage::cpu_seconds());
    let proof = match by_library {
        true => key.prove_by_library(epoch_srs.params(), &witness, rng),
        false => key.prove_watched(epoch_srs.params(), &witness, rng, &mut phases),
    }?;
    let (prove_ms, cpu_s) = (start.elapsed().as_millis(), usage::cpu_seconds() - cpu);
    let last_peak = usage::peak_memory();
    let phases = phases.finish();
    key.verifying_key().verify(epoch_srs.params(), &proof)?;
    let report = serde_json::json!({
        "prover": prover,
        "threads": threads.parse::<usize>()?,
        "step": step_shape.to_string(),
        "steps": shape.n_steps,
        "k": shape.k,
        "columns": key.stats().columns,
        "cells": key.stats().cells,
        "proof_bytes": proof.proof.len(),
        "key_ms": key_ms,
        "key_digest": circuits::convert::from_fr(&key.verifying_key().digest()).to_string(),
        "prove_ms": [prove_ms],
        "cpu_s": [cpu_s],
        "key_peak_rss_bytes": key_peak,
        "peak_rss_bytes": phases.iter().filter_map(|p| p["peak_rss_bytes"].as_u64()).fold(last_peak, u64::max),
        "phases": phases,
    });
    println!("{report}");
    Ok(())
}
