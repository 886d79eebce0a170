//! A small run to prove steps of, with keys that are made once.

use std::path::Path;
use std::sync::LazyLock;

use circuits::convert::from_fr;
use circuits::keys::StepProvingKey;
use circuits::linked::RunSecret;
use circuits::reference::State;
use circuits::step::shape::StepShape;
use ledger::{FieldElement, Hyper, NumberFormat, Policy, Rule, RunId, StepIndex};
use prover::step::{PreparedStep, Seeds, StepProver};
use srs::{Srs, SrsCache, SrsLabel, SrsSize};

const K: u32 = 10;
/// Parameters of the model; few enough for all of them in one chunk.
pub const N: usize = 8;
const HYPER: Hyper = Hyper { beta1: 3_865_470_566, beta2: 4_290_672_329, eps: 2_749, lr: 4_294_967, weight_decay: 0 };

/// Reference string and key.
pub struct Bench {
    pub srs: Srs,
    pub key: StepProvingKey,
}

/// Where development strings of tests are.
pub fn cache() -> SrsCache {
    SrsCache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("prover-srs"))
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let srs = cache().get(&SrsLabel::development(), SrsSize::new(K).expect("a size"), &srs::silent).expect("a string");
    let shape = StepShape::at(Rule::AdamW, N, K, 8).expect("a shape");
    let key = StepProvingKey::generate(srs.params(), &shape).expect("a key");
    Bench { srs, key }
});

/// The keys.
pub fn bench() -> &'static Bench {
    &BENCH
}

/// Proves steps of a run with `n_chunks` chunks.
pub fn prover(n_chunks: u32) -> StepProver<'static> {
    let bench = bench();
    let policy = Policy {
        rule: Rule::AdamW,
        beta1: HYPER.beta1,
        beta2: HYPER.beta2,
        eps: HYPER.eps,
        weight_decay: HYPER.weight_decay,
        lr_max: HYPER.lr,
        format: NumberFormat::Q24,
        n_params: N as u64,
        n_chunks,
        layout_digest: FieldElement::from(5),
        step_key_digest: from_fr(&bench.key.verifying_key().digest()),
    };
    let seeds = Seeds { secret: RunSecret([3; 32]), genesis: None };
    StepProver::new(bench.srs.params(), &bench.key, policy, RunId::from(FieldElement::from(9)), false, seeds)
        .expect("a prover")
}

/// Step 0 of that run.
pub fn step(n_chunks: u32) -> PreparedStep {
    step_with(n_chunks, 0)
}

/// Step 0 with a gradient that is `more` larger in each place; without, its first value is so small that it changes nothing.
pub fn step_with(n_chunks: u32, more: i64) -> PreparedStep {
    let state = State::fresh((0..N as i64).map(|i| i << 20).collect());
    prover(n_chunks).prepare(StepIndex(0), &state, &HYPER, &gradient(more)).expect("in range")
}

/// The first `n` steps of that run.
#[cfg(feature = "nats")]
pub fn steps(n_chunks: u32, n: u64) -> Vec<PreparedStep> {
    let mut steps = vec![step(n_chunks)];
    for index in (1..n).map(StepIndex) {
        let before = steps.last().map(|step| step.next.clone()).expect("the first step");
        steps.push(prover(n_chunks).prepare(index, &before, &HYPER, &gradient(0)).expect("in range"));
    }
    steps
}

fn gradient(more: i64) -> Vec<i64> {
    (0..N as i64).map(|i| 10_000 * i + 1 + more).collect()
}
