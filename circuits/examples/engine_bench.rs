//! One step proof by the engine or by the library, measured: `cargo run -p circuits --example engine_bench --
//! 2410 3 /tmp/bench engine 2`.
//!
//! Arguments: parameters (or a whole shape, as [`StepShape`] is written), repetitions, folder where reference strings are
//! kept, `engine` or `library`, threads. Proves a fresh step of Adam with random weights and gradients, verifies every proof
//! with the library, and prints one JSON object: times in milliseconds, CPU time in seconds, peak memory of this process in
//! bytes, while the key was made and while the proofs were; the key, made by the same prover, is part of the latter. Of the
//! engine's last proof also the phases.

use std::time::Instant;

use circuits::{
    keys::StepProvingKey,
    linked::RunSecret,
    reference::{PRODUCTS_START, S, State, StepConstants, next_schedule},
    step::shape::StepShape,
    step::witness::{StepTag, StepWitness, instances},
};
use halo2_proofs::halo2curves::bn256::Fr;
use ledger::{Hyper, Rule};
use rand::{Rng, SeedableRng, rngs::StdRng};

#[path = "support/phases.rs"]
mod phases;
#[path = "support/usage.rs"]
mod usage;

/// Bytes of a commitment.
const POINT: usize = 32;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    const USAGE: &str = "usage: engine_bench PARAMETERS|SHAPE REPETITIONS HOME engine|library THREADS";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [size, repetitions, home, prover, threads] = args.as_slice() else { return Err(USAGE.into()) };
    let (repetitions, threads): (usize, usize) = (repetitions.parse()?, threads.parse()?);
    let shape = match size.parse() {
        Ok(n_params) => StepShape::choose(Rule::AdamW, n_params, 20)?,
        Err(_) => size.parse()?,
    };
    let n_params = shape.n_params;
    let by_library = match prover.as_str() {
        "library" => true,
        "engine" => false,
        _ => return Err(USAGE.into()),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;

    let cache = srs::SrsCache::new(std::path::Path::new(home).join("srs"));
    let srs = cache.development(srs::SrsSize::new(shape.k)?, &srs::silent)?;
    let start = Instant::now();
    let key = match by_library {
        true => StepProvingKey::generate_by_library(srs.params(), &shape),
        false => StepProvingKey::generate(srs.params(), &shape),
    }?;
    let key_ms = start.elapsed().as_millis();
    let key_peak = usage::peak_memory();

    let mut rng = StdRng::seed_from_u64(1);
    let mut random = |bound: i64| -> Vec<i64> { (0..n_params).map(|_| rng.gen_range(-bound..bound)).collect() };
    let (weights, gradient) = (random(1 << 22), random(1 << 24));
    let q32 = |x: f64| (x * S as f64).round() as u64;
    let hyper = Hyper { beta1: q32(0.9), beta2: q32(0.999), eps: q32(1e-8), lr: q32(1e-3), weight_decay: 0 };
    let schedule = next_schedule(Rule::AdamW, &hyper, PRODUCTS_START)?;
    let constants = StepConstants::new(Rule::AdamW, true, &hyper, &schedule);
    let instances = instances(&StepTag { run: Fr::one(), step: 0, chunk: 0 }, &constants);
    let witness = StepWitness::honest(&shape, constants, &State::fresh(weights), &gradient)?;
    let seed = |state| RunSecret([1; 32]).state_seed(&Fr::one(), state).column_seed(0);
    let (before, after) = (seed(0), seed(1));

    let (mut prove_ms, mut cpu_s) = (Vec::new(), Vec::new());
    let mut advice = String::new();
    let (mut peak, mut of_phases) = (0, Vec::new());
    for repetition in 0..repetitions.max(1) {
        let (witness, rng) = (witness.clone(), StdRng::seed_from_u64(repetition as u64));
        let mut phases = phases::Phases::start();
        let (start, cpu) = (Instant::now(), usage::cpu_seconds());
        let proof = match by_library {
            true => key.prove_by_library(srs.params(), witness, &instances, (&before, &after), rng),
            false => key.prove_watched(srs.params(), witness, &instances, (&before, &after), rng, &mut phases),
        }?;
        prove_ms.push(start.elapsed().as_millis());
        cpu_s.push(usage::cpu_seconds() - cpu);
        let last_peak = usage::peak_memory();
        of_phases = phases.finish();
        peak = of_phases.iter().filter_map(|p| p["peak_rss_bytes"].as_u64()).fold(last_peak.max(peak), u64::max);
        let vk = key.verifying_key();
        vk.verify(srs.params(), &instances, &proof)?;
        // Equal for both provers: what the same random stream determines.
        let bytes = &proof[..vk.inner().cs().num_advice_columns() * POINT];
        advice = bytes.iter().map(|b| format!("{b:02x}")).collect();
    }
    let report = serde_json::json!({
        "prover": prover,
        "threads": threads,
        "params": n_params,
        "shape": shape.to_string(),
        "commitments": key.verifying_key().n_points(),
        "key_ms": key_ms,
        "key_digest": circuits::convert::from_fr(&key.verifying_key().digest()).to_string(),
        "advice": advice,
        "prove_ms": prove_ms,
        "cpu_s": cpu_s,
        "key_peak_rss_bytes": key_peak,
        "peak_rss_bytes": peak,
        "phases": of_phases,
    });
    println!("{report}");
    Ok(())
}
