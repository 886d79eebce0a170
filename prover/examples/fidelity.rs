//! Prints the fidelity figures of `docs/`: `cargo run -p prover --example fidelity -- testdata/digits.csv.gz`.

use std::path::PathBuf;

use ledger::Rule;
use prover::{
    data::{FeatureMax, LabelledData, Seed},
    train::{
        GradientScale, HyperValues, LrSchedule, Mlp, TrainConfig,
        fidelity::{Signs, compare, small_gradients},
    },
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "testdata/digits.csv.gz".into());
    let data = LabelledData::read(&PathBuf::from(file), FeatureMax(16.0))?;
    let model = Mlp::new(&[64, 32, 10])?;
    for gradient_scale in [GradientScale::ONE, GradientScale::default()] {
        let factor = gradient_scale.factor();
        for lr in [0.001, 0.003, 0.01] {
            let hyper = HyperValues::adam(lr).quantize(Rule::AdamW, gradient_scale)?;
            let (model, seed) = (model.clone(), Seed(1));
            let config = TrainConfig {
                model,
                rule: Rule::AdamW,
                hyper,
                lr_schedule: LrSchedule::CONSTANT,
                gradient_scale,
                batch_size: 32,
                seed,
            };
            println!("scale {factor}, lr {lr}: {:?}", compare(&config, &data, 1000)?);
        }
        let hyper = HyperValues::adam(0.001).quantize(Rule::AdamW, gradient_scale)?;
        for size in [1e-4, 1e-6, 1e-7] {
            for signs in [Signs::Steady, Signs::Random] {
                let result = small_gradients(&hyper, gradient_scale, signs, size, 1000, 1000, Seed(1))?;
                println!("scale {factor}, gradients of {size:e}, {signs:?}: {result:?}");
            }
        }
    }
    Ok(())
}
