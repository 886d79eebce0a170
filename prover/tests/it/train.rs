//! The reference trainer: exact, repeatable, resumable, and good enough.

use circuits::reference::{RangeError, State};
use ledger::{Rule, StepIndex};
use prover::{
    data::{LabelledData, Seed},
    train::{
        Decay, GradientScale, HyperValues, Lineage, LrSchedule, Mlp, Subset, TrainConfig, TrainError, Trainer,
        dequantize,
        fidelity::{Signs, compare, small_gradients},
        quantize,
    },
};

use crate::data::digits;

fn adam(lr: f64) -> TrainConfig {
    let gradient_scale = GradientScale::default();
    TrainConfig {
        model: Mlp::new(&[64, 32, 10]).unwrap(),
        rule: Rule::AdamW,
        hyper: HyperValues::adam(lr).quantize(Rule::AdamW, gradient_scale).unwrap(),
        lr_schedule: LrSchedule::CONSTANT,
        gradient_scale,
        batch_size: 32,
        seed: Seed(1),
    }
}

fn sgd() -> TrainConfig {
    let gradient_scale = GradientScale::default();
    let hyper = HyperValues::sgd(0.1, 0.9).quantize(Rule::Sgd, gradient_scale).unwrap();
    TrainConfig { rule: Rule::Sgd, hyper, ..adam(0.001) }
}

#[test]
fn layout_of_the_demo_model() {
    let model = Mlp::new(&[64, 32, 10]).unwrap();
    let tensors: Vec<_> =
        model.layout().tensors().iter().map(|t| (t.name.as_str(), t.shape.clone(), t.offset)).collect();
    let expected = [
        ("fc1.weight", vec![32, 64], 0),
        ("fc1.bias", vec![32], 2048),
        ("fc2.weight", vec![10, 32], 2080),
        ("fc2.bias", vec![10], 2400),
    ];
    assert_eq!(tensors, expected);
    assert_eq!(model.n_params(), 2410);
    assert_eq!(model.layout().n_params(), 2410);
}

#[test]
fn sizes_that_are_no_model_are_refused() {
    for sizes in [&[][..], &[5], &[5, 0, 3], &[1 << 13, 1 << 13], &[usize::MAX, usize::MAX]] {
        assert!(matches!(Mlp::new(sizes), Err(TrainError::Sizes { .. })), "{sizes:?}");
    }
}

#[test]
fn gradient_equals_finite_differences() {
    let data = digits();
    let model = Mlp::new(&[64, 7, 10]).unwrap();
    let params = dequantize(&model.init(Seed(9)));
    let rows: Vec<usize> = (0..20).collect();
    let analytic = model.loss_gradient(&params, &data, &rows).gradient;
    let h = 1e-6;
    for i in (0..params.len()).step_by(13).chain(params.len() - 17..params.len()) {
        let loss_at = |delta: f64| {
            let mut moved = params.clone();
            moved[i] += delta;
            model.loss_gradient(&moved, &data, &rows).loss
        };
        let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
        assert!((numeric - analytic[i]).abs() < 1e-7, "parameter {i}: {numeric} against {}", analytic[i]);
    }
    assert!(analytic.iter().filter(|g| g.abs() > 1e-4).count() > 100);
}

#[test]
fn every_step_is_the_reference_update_of_the_one_before() {
    let data = digits();
    for config in [adam(0.001), sgd()] {
        let mut trainer = Trainer::new(config.clone(), &data).unwrap();
        let mut last = trainer.state().clone();
        for t in 0..5 {
            let step = trainer.advance().unwrap();
            assert_eq!((step.step, step.fresh), (StepIndex(t), t == 0));
            assert_eq!(step.before, last);
            let (after, schedule) = last.step(config.rule, t == 0, &config.hyper, &step.gradient).unwrap();
            assert_eq!((&step.after, step.schedule), (&after, schedule));
            assert!(step.gradient.iter().any(|&g| g != 0));
            last = after;
        }
    }
}

#[test]
fn a_resumed_run_continues_bit_for_bit() {
    let data = digits();
    let whole: Vec<_> = Trainer::new(adam(0.001), &data).unwrap().take(60).map(Result::unwrap).collect();
    // 44 steps are one pass: the cuts lie in different passes.
    for cut in [1usize, 7, 44, 50] {
        let (state, step) = (whole[cut].before.clone(), StepIndex(cut as u64));
        let resumed = Trainer::resume(adam(0.001), &data, Lineage::Fresh, state, step).unwrap();
        let rest: Vec<_> = resumed.take(60 - cut).map(Result::unwrap).collect();
        assert_eq!(rest, whole[cut..]);
    }
}

#[test]
fn seeds_give_different_runs_and_a_child_is_not_fresh() {
    let data = digits();
    let first = |seed| Trainer::new(TrainConfig { seed, ..adam(0.001) }, &data).unwrap().advance().unwrap();
    assert_ne!(first(Seed(1)).before.w, first(Seed(2)).before.w);
    let parent = first(Seed(1)).after;
    let mut child = Trainer::resume(adam(0.001), &data, Lineage::Child, parent.clone(), StepIndex(0)).unwrap();
    assert!(!child.advance().unwrap().fresh);
    // With m ≠ 0 a fresh step 0 has no result.
    let mut wrong = Trainer::resume(adam(0.001), &data, Lineage::Fresh, parent, StepIndex(0)).unwrap();
    let got = wrong.advance();
    assert!(
        matches!(&got, Err(TrainError::Update { source: RangeError::NotFresh { .. }, .. })),
        "{:?}",
        got.map(|s| s.step)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let data = digits();
    let refusal = |config: TrainConfig| Trainer::new(config, &data).map(|_| ()).unwrap_err();
    let model = |sizes: &[usize]| Mlp::new(sizes).unwrap();
    let got = refusal(TrainConfig { model: model(&[63, 10]), ..adam(0.001) });
    assert!(matches!(got, TrainError::Features { expected: 63, got: 64 }));
    let got = refusal(TrainConfig { model: model(&[64, 9]), ..adam(0.001) });
    assert!(matches!(got, TrainError::Classes { expected: 9, got: 10 }));
    for batch_size in [0, 1439] {
        let got = refusal(TrainConfig { batch_size, ..adam(0.001) });
        assert!(matches!(got, TrainError::BatchSize { max: 1438, .. }));
    }
    let got = Trainer::resume(adam(0.001), &data, Lineage::Fresh, State::fresh(vec![0; 3]), StepIndex(0));
    assert!(matches!(got.map(|_| ()), Err(TrainError::StateLength { expected: 2410, got: 3 })));
}

#[test]
fn gradients_out_of_range_name_tensor_index_and_value() {
    // One logit far above the others and wrong: the gradient of its bias is 1, scaled 2^16.
    let data =
        LabelledData::parse(b"1,0\n1,0\n1,0\n1,0\n1,0\n1,0\n", prover::data::FeatureMax(1.0), ledger::Digest::of(b""))
            .unwrap();
    let config = TrainConfig {
        model: Mlp::new(&[1, 2]).unwrap(),
        gradient_scale: GradientScale::new(16).unwrap(),
        batch_size: 2,
        ..adam(0.001)
    };
    // fc1.weight [2, 1], fc1.bias [2]: only the bias of class 1 is set, to 100.
    let state = State::fresh(vec![0, 0, 0, 100 << 24]);
    let mut trainer = Trainer::resume(config, &data, Lineage::Fresh, state.clone(), StepIndex(0)).unwrap();
    let got = trainer.next();
    assert!(
        matches!(&got, Some(Err(TrainError::GradientRange { step: StepIndex(0), tensor, index: 0, value }))
            if tensor == "fc1.weight" && *value == -65536.0),
        "{:?}",
        got.map(|r| r.map(|s| s.step))
    );
    assert!(trainer.next().is_none());
    assert_eq!(trainer.state(), &state);
}

#[test]
fn updates_out_of_range_name_tensor_index_and_quantity() {
    let data = digits();
    // Weights of the first hidden unit sit at both ends of the range in turn, so a step of 0.9 pushes some of them out.
    let mut w = Mlp::new(&[64, 32, 10]).unwrap().init(Seed(1));
    for (i, w) in w[..64].iter_mut().enumerate() {
        *w = if i % 2 == 0 { (1 << 31) - 1 } else { -(1 << 31) };
    }
    let gradient_scale = GradientScale::ONE;
    let hyper = HyperValues::adam(0.9).quantize(Rule::AdamW, gradient_scale).unwrap();
    let config = TrainConfig { hyper, gradient_scale, ..adam(0.001) };
    let start = State::fresh(w);
    let mut trainer = Trainer::resume(config, &data, Lineage::Fresh, start.clone(), StepIndex(0)).unwrap();
    let got = trainer.advance().map(|step| step.step);
    let Err(TrainError::Update { step: StepIndex(0), tensor, index, source }) = &got else { panic!("{got:?}") };
    assert_eq!(tensor, "fc1.weight");
    assert!(*index < 64);
    assert!(matches!(source, RangeError::Signed { what: "w'", .. }), "{source:?}");
    assert_eq!((trainer.state(), trainer.step_index()), (&start, StepIndex(0)));
}

#[test]
fn quantization_rounds_to_nearest_and_refuses_the_rest() {
    let unit = 1.0 / f64::from(1 << 24);
    assert_eq!(quantize(&[0.4 * unit, 0.6 * unit, -0.6 * unit, 1.0, -128.0]), Ok(vec![0, 1, -1, 1 << 24, -(1 << 31)]));
    for bad in [128.0, -128.1, f64::NAN, f64::INFINITY] {
        assert_eq!(quantize(&[0.0, bad]).map_err(|(index, _)| index), Err(1), "{bad}");
    }
}

#[test]
fn hyper_parameters_out_of_range_are_named() {
    let one = GradientScale::ONE;
    let quantized = HyperValues::adam(0.001).quantize(Rule::AdamW, one).unwrap();
    assert_eq!((quantized.beta1, quantized.eps, quantized.lr), (3_865_470_566, 43, 4_294_967));
    let scaled = HyperValues::adam(0.001).quantize(Rule::AdamW, GradientScale::default()).unwrap();
    assert_eq!((scaled.eps, scaled.lr), (2749, 4_294_967));
    let refused = |values: HyperValues, rule, expected| {
        let got = values.quantize(rule, one);
        assert!(matches!(&got, Err(TrainError::HyperValue { what, .. }) if *what == expected), "{got:?}");
    };
    let adam = HyperValues::adam(0.001);
    refused(HyperValues { lr: 1.0, ..adam }, Rule::AdamW, "lr");
    refused(HyperValues { lr: f64::NAN, ..adam }, Rule::AdamW, "lr");
    refused(HyperValues { beta1: -0.1, ..adam }, Rule::AdamW, "beta1");
    refused(HyperValues { beta2: 1.0, ..adam }, Rule::AdamW, "beta2");
    refused(HyperValues { eps: 0.0, ..adam }, Rule::AdamW, "eps");
    refused(adam, Rule::Sgd, "beta2");
    refused(HyperValues { eps: 1e-8, ..HyperValues::sgd(0.1, 0.9) }, Rule::Sgd, "eps");
    assert!(matches!(GradientScale::new(17), Err(TrainError::GradientScale { got: 17 })));
}

#[test]
fn integer_adam_follows_float_adam_and_reaches_95_percent() {
    let result = compare(&adam(0.001), &digits(), 1000).unwrap();
    assert!(result.integer_accuracy >= 0.95, "{result:?}");
    assert!((result.integer_accuracy - result.float_accuracy).abs() < 0.01, "{result:?}");
    assert!(result.independent.max < 0.005 && result.independent.rms < 1e-4, "{result:?}");
    assert!(result.same_gradients.max < 0.005, "{result:?}");
    assert!(matches!(compare(&sgd(), &digits(), 1), Err(TrainError::NotAdam { .. })));
}

#[test]
fn integer_sgd_learns() {
    let data = digits();
    let mut trainer = Trainer::new(sgd(), &data).unwrap();
    let losses: Vec<f64> = trainer.by_ref().take(600).map(|step| step.unwrap().loss).collect();
    assert!(losses[0] > 1.5 && losses[599] < 0.2, "{} to {}", losses[0], losses[599]);
    assert!(trainer.accuracy(Subset::Test) >= 0.95);
}

#[test]
fn updates_by_gradients_of_a_millionth_stay_below_twice_those_of_float64() {
    for scale in [GradientScale::ONE, GradientScale::default()] {
        let hyper = HyperValues::adam(0.001).quantize(Rule::AdamW, scale).unwrap();
        let study = |signs| small_gradients(&hyper, scale, signs, 1e-6, 200, 1000, Seed(1)).unwrap();
        let steady = study(Signs::Steady);
        assert_eq!(steady.n_updates, 200_000);
        assert!(steady.max_ratio <= 2.0 && steady.max_ratio > 0.5, "{steady:?}");
        // Where the float update crosses 0 a ratio says nothing; the excess over twofold stays a fraction of a learning rate.
        let random = study(Signs::Random);
        let bound = if scale == GradientScale::ONE { 0.2 } else { 0.005 };
        assert!(random.max_excess < bound, "{random:?}");
    }
}

#[test]
fn learning_rate_schedules_are_pure_functions_of_the_step() {
    let peak = 1_000_000;
    let rates = |decay, warmup, horizon| {
        let schedule = LrSchedule::new(decay, warmup, horizon).unwrap();
        (0..horizon + 2).map(|t| schedule.at(peak, StepIndex(t))).collect::<Vec<_>>()
    };
    assert_eq!(rates(Decay::Constant, 2, 4), [500_000, peak, peak, peak, peak, peak]);
    assert_eq!(rates(Decay::Linear, 0, 4), [peak, 750_000, 500_000, 250_000, 0, 0]);
    assert_eq!(rates(Decay::Linear, 2, 4), [500_000, peak, peak, 500_000, 0, 0]);
    // (1 + cos(π·i/4)) / 2.
    assert_eq!(rates(Decay::Cosine, 0, 4), [peak, 853_553, 500_000, 146_447, 0, 0]);
    // Extremes neither overflow nor exceed the peak.
    for decay in [Decay::Linear, Decay::Cosine] {
        let schedule = LrSchedule::new(decay, 1 << 51, 1 << 52).unwrap();
        for t in [0, (1 << 51) - 1, 1 << 51, (1 << 52) - 1, u64::MAX] {
            assert!(schedule.at(u64::from(u32::MAX), StepIndex(t)) <= u64::from(u32::MAX));
        }
    }
    for (warmup, horizon) in [(0, 0), (4, 4), (5, 4), (0, (1 << 52) + 1)] {
        let got = LrSchedule::new(Decay::Cosine, warmup, horizon);
        assert!(
            matches!(got, Err(TrainError::Warmup { horizon: h, got: w }) if (h, w) == (horizon, warmup)),
            "{got:?}"
        );
    }
    assert_eq!(LrSchedule::CONSTANT.to_string(), "constant");
    let shown = LrSchedule::new(Decay::Cosine, 2, 8).unwrap().to_string();
    assert_eq!(shown, "cosine over 8 steps, warm-up 2");
}

#[test]
fn a_run_with_a_schedule_resumes_bit_for_bit() {
    let data = digits();
    let config = TrainConfig { lr_schedule: LrSchedule::new(Decay::Cosine, 3, 12).unwrap(), ..adam(0.001) };
    let whole: Vec<_> = Trainer::new(config.clone(), &data).unwrap().take(12).map(Result::unwrap).collect();
    let rates: Vec<_> = whole.iter().map(|s| s.hyper.lr).collect();
    assert_eq!(rates.iter().max(), Some(&config.hyper.lr));
    assert!(rates[..3].is_sorted() && rates[3..].is_sorted_by(|a, b| a > b), "{rates:?}");
    for cut in [1, 3, 7] {
        let (state, step) = (whole[cut].before.clone(), StepIndex(cut as u64));
        let resumed = Trainer::resume(config.clone(), &data, Lineage::Fresh, state, step).unwrap();
        assert_eq!(resumed.take(12 - cut).map(Result::unwrap).collect::<Vec<_>>(), whole[cut..]);
    }
}
