//! One epoch proof of 4 steps of the demo's circuit by the engine or by the library, measured: `cargo run -p aggregator
//! --example epoch_bench -- /tmp/bench engine 2`.
//!
//! Arguments: folder where reference strings are kept, `engine` or `library`, threads. The steps have the shape
//! of 2,410 parameters of Adam, of which few are used (the others are zero): the epoch circuit does not depend on them. The
//! proof is verified with the library. Prints one JSON object: times in milliseconds, CPU time in seconds, peak memory of
//! this process in bytes. The key is made here by the same prover; it is part of the memory, not of the proving time.

use std::{path::Path, time::Instant};

use aggregator::{EpochProvingKey, EpochShape};
use circuits::{keys::StepProvingKey, step::shape::StepShape};
use ledger::Rule;
use rand::{SeedableRng, rngs::StdRng};

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/it/support.rs"]
mod support;
#[path = "../../circuits/examples/support/usage.rs"]
mod usage;

/// k of the epoch circuit of the demo.
const EPOCH_K: u32 = 21;
/// Parameters of the demo's model.
const PARAMS: usize = 2410;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    const USAGE: &str = "usage: epoch_bench HOME engine|library THREADS";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, prover, threads] = args.as_slice() else { return Err(USAGE.into()) };
    let by_library = match prover.as_str() {
        "library" => true,
        "engine" => false,
        _ => return Err(USAGE.into()),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;

    let home = Path::new(home);
    let cache = srs::SrsCache::new(home.join("srs"));
    let srs = |k| -> Result<srs::Srs, Failure> { Ok(cache.development(srs::SrsSize::new(k)?, &srs::silent)?) };
    let step_shape = StepShape::choose(Rule::AdamW, PARAMS, 20)?;
    let (step_srs, epoch_srs) = (srs(step_shape.k)?, srs(EPOCH_K)?);
    let pk = StepProvingKey::generate(step_srs.params(), &step_shape)?;
    let steps = support::Keyed { params: step_srs.params().clone(), vk: pk.verifying_key(), pk };
    let shape = EpochShape { n_steps: 4, n_chunks: 1, k: EPOCH_K };
    let start = Instant::now();
    let key = match by_library {
        true => EpochProvingKey::generate_by_library(epoch_srs.params(), &steps.params, &steps.vk, &shape),
        false => EpochProvingKey::generate(epoch_srs.params(), &steps.params, &steps.vk, &shape),
    }?;
    let key_ms = start.elapsed().as_millis();

    let input = support::epoch_with(&steps, Rule::AdamW, 1, 1, shape.n_steps);
    let witness = input.witness();
    let rng = StdRng::seed_from_u64(1);
    let (start, cpu) = (Instant::now(), usage::cpu_seconds());
    let proof = match by_library {
        true => key.prove_by_library(epoch_srs.params(), &witness, rng),
        false => key.prove(epoch_srs.params(), &witness, rng),
    }?;
    let (prove_ms, cpu_s) = (start.elapsed().as_millis(), usage::cpu_seconds() - cpu);
    key.verifying_key().verify(epoch_srs.params(), &proof)?;
    let report = serde_json::json!({
        "prover": prover,
        "threads": threads.parse::<usize>()?,
        "k": EPOCH_K,
        "columns": key.stats().columns,
        "cells": key.stats().cells,
        "key_ms": key_ms,
        "key_digest": circuits::convert::from_fr(&key.verifying_key().digest()).to_string(),
        "prove_ms": [prove_ms],
        "cpu_s": [cpu_s],
        "peak_rss_bytes": usage::peak_memory(),
    });
    println!("{report}");
    Ok(())
}
