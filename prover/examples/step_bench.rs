//! One size of step proof, measured: `cargo run -p prover --example step_bench -- 2410 3 /tmp/bench`.
//!
//! Arguments: parameters, repetitions, folder where reference strings are kept. Proves step 1 of a run of Adam from a random state with random gradients (their
//! values do not matter for time) and prints one JSON object: sizes, times in milliseconds, CPU time in seconds, peak
//! memory of this process in bytes, and how far the integer update is from the float64 one. The reference string and the
//! key are made here and are part of the memory, not of the proving time.

use std::time::Instant;

use circuits::{
    claim::verify_step, convert::from_fr, keys::StepProvingKey, linked::RunSecret, reference::State,
    step::shape::StepShape,
};
use ledger::{FieldElement, Hyper, NumberFormat, Policy, Rule, RunId, StepIndex};
use prover::{
    step::{Seeds, StepProver},
    train::{GradientScale, HyperValues},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

#[path = "../../circuits/examples/support/usage.rs"]
mod usage;

type Failure = Box<dyn std::error::Error>;

/// Verifications that are averaged.
const VERIFICATIONS: u32 = 20;
/// One, in the format of weights and gradients (Q24) and of v (Q48).
const ONE: f64 = (1u64 << 24) as f64;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let n_params: usize = args.next().ok_or("usage: step_bench PARAMETERS REPETITIONS HOME")?.parse()?;
    let repetitions: usize = args.next().ok_or("REPETITIONS is missing")?.parse()?;
    let home = std::path::PathBuf::from(args.next().ok_or("HOME is missing")?);

    let shape = StepShape::choose(Rule::AdamW, n_params, 20)?;
    let cache = srs::SrsCache::new(home.join("srs"));
    let srs = cache.development(srs::SrsSize::new(shape.k)?, &srs::silent)?;
    let start = Instant::now();
    let key = StepProvingKey::generate(srs.params(), &shape)?;
    let key_ms = start.elapsed().as_millis();
    let verifying_key = key.verifying_key();

    let hyper = HyperValues::adam(0.001).quantize(Rule::AdamW, GradientScale::ONE)?;
    let policy = policy(n_params, hyper, from_fr(&verifying_key.digest()));
    let seeds = Seeds { secret: RunSecret([7; 32]), genesis: None };
    let prover = StepProver::new(srs.params(), &key, policy, RunId::from(FieldElement::from(1)), false, seeds)?;

    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut random = |least: i64, most: i64| -> Vec<i64> {
        let mut one = || {
            let size = least + (rng.next_u64() % (most - least) as u64) as i64;
            if rng.next_u64() & 1 == 0 { size } else { -size }
        };
        (0..n_params).map(|_| one()).collect()
    };
    // Weights within ±0.25, gradients of size 0.25 to 1: what the peer of `cargo xtask bench` can take.
    let (weights, first, gradient) = (random(0, 1 << 22), random(1 << 22, 1 << 24), random(1 << 22, 1 << 24));
    let (state, _) = State::fresh(weights).step(Rule::AdamW, true, &hyper, &first)?;

    let (mut prove_ms, mut cpu_s, mut proved) = (Vec::new(), Vec::new(), None);
    for _ in 0..repetitions.max(1) {
        let (start, cpu) = (Instant::now(), usage::cpu_seconds());
        proved = Some(prover.prove(StepIndex(1), &state, &hyper, &gradient, &mut |_, _| {})?);
        prove_ms.push(start.elapsed().as_millis());
        cpu_s.push(usage::cpu_seconds() - cpu);
    }
    let proved = proved.ok_or("no repetition")?;
    let start = Instant::now();
    for _ in 0..VERIFICATIONS {
        verify_step(&verifying_key, srs.params(), &policy, &proved.statement, &proved.proofs)?;
    }
    let verify_ms = start.elapsed().as_secs_f64() * 1e3 / f64::from(VERIFICATIONS);

    let cs = verifying_key.inner().cs();
    let best = prove_ms.iter().min().copied().unwrap_or(1).max(1);
    let (max_error, mean_update) = error(&state, &proved.next, &gradient);
    let report = serde_json::json!({
        "params": n_params,
        "shape": shape.to_string(),
        "k": shape.k,
        "columns": cs.num_advice_columns(),
        "commitments": verifying_key.n_points(),
        "proof_bytes": proved.proofs[0].len(),
        "key_ms": key_ms,
        "prove_ms": prove_ms,
        "cpu_s": cpu_s,
        "params_per_s": n_params as f64 * 1e3 / best as f64,
        "verify_ms": verify_ms,
        "peak_rss_bytes": usage::peak_memory(),
        "max_error": max_error,
        "mean_update": mean_update,
    });
    println!("{report}");
    Ok(())
}

fn policy(n_params: usize, hyper: Hyper, step_key_digest: FieldElement) -> Policy {
    Policy {
        rule: Rule::AdamW,
        beta1: hyper.beta1,
        beta2: hyper.beta2,
        eps: hyper.eps,
        weight_decay: hyper.weight_decay,
        lr_max: hyper.lr,
        format: NumberFormat::Q24,
        n_params: n_params as u64,
        n_chunks: 1,
        layout_digest: FieldElement::from(0),
        step_key_digest,
    }
}

/// Largest deviation of w' from float64 Adam on the same state and gradient, and the mean size of its updates; both in
/// units of a weight.
fn error(before: &State, after: &State, gradient: &[i64]) -> (f64, f64) {
    let (beta1, beta2, lr, eps) = (0.9f64, 0.999f64, 0.001f64, 1e-8f64);
    // The integer run is at its second step.
    let (c1, c2) = (1.0 - beta1 * beta1, 1.0 - beta2 * beta2);
    let (mut worst, mut sum) = (0f64, 0f64);
    for (i, g) in gradient.iter().enumerate() {
        let (cell, g) = (before.cell(i), *g as f64 / ONE);
        let m = beta1 * cell.m as f64 / ONE + (1.0 - beta1) * g;
        let v = beta2 * cell.v as f64 / (ONE * ONE) + (1.0 - beta2) * g * g;
        let update = lr * (m / c1) / ((v / c2).sqrt() + eps);
        let got = (after.w[i] - cell.w) as f64 / ONE;
        worst = worst.max((got + update).abs());
        sum += update.abs();
    }
    (worst, sum / before.len() as f64)
}
