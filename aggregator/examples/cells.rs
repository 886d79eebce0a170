//! Cells of an epoch circuit by component, without proving: `cargo run -p aggregator --example cells -- [STEPS [K [STEP_SHAPE]]]`.
//!
//! The step circuit is the demo's if no other is given (as [`StepShape`] is written): AdamW with 2,410 parameters at k = 15.

use aggregator::EpochShape;
use aggregator::keys::profile;
use circuits::keys::StepVerifyingKey;
use circuits::step::shape::StepShape;
use ledger::Rule;
use srs::{SrsCache, SrsSize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n_steps: usize = arguments.next().map_or(Ok(4), |x| x.parse())?;
    let k: u32 = arguments.next().map_or(Ok(21), |x| x.parse())?;
    let step = match arguments.next() {
        Some(shape) => shape.parse()?,
        None => StepShape::choose(Rule::AdamW, 2_410, 20)?,
    };
    let cache = SrsCache::new(std::env::temp_dir().join("cairn-test-srs"));
    let srs = cache.development(SrsSize::new(step.k)?, &srs::silent)?;
    let key = StepVerifyingKey::generate(srs.params(), &step)?;
    let shape = EpochShape { n_steps, n_chunks: 1, k };
    let (profile, stats) = profile(srs.params(), &key, &shape)?;

    println!("{n_steps} steps, k = {k}, {} columns", stats.columns);
    println!("{:<32} {:>10} {:>10}", "component", "cells", "a step");
    for (part, cells) in &profile.parts {
        println!("{part:<32} {cells:>10} {:>10}", cells / n_steps);
    }
    println!("{:<32} {:>10} {:>10}", "all", profile.total(), profile.total() / n_steps);
    Ok(())
}
