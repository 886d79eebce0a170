//! A tiny step circuit, honest runs of it, and their statements.

use std::sync::LazyLock;

use aggregator::{EpochInput, StepInput};
use circuits::claim::{chunk_instances, constants};
use circuits::convert::{from_fr, to_fr};
use circuits::keys::{StepProvingKey, StepVerifyingKey};
use circuits::linked::RunSecret;
use circuits::opening::{chunk_len, chunks};
use circuits::reference::{S, State};
use circuits::step::shape::StepShape;
use circuits::step::witness::StepWitness;
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use ledger::{ChunkIndex, FieldElement, Hyper, NumberFormat, Policy, Rule, RunId, StepIndex, StepStatement};
use rand::{Rng, SeedableRng, rngs::OsRng, rngs::StdRng};

/// Parameters of one chunk.
pub const N: usize = 5;
/// k of the step circuit: limbs of 11 bits, so that a parameter has few rows and a proof few evaluations.
pub const STEP_K: u32 = 12;

/// A keyed step circuit.
pub struct Keyed {
    /// SRS of the step circuit: the low powers of the development string, as in a run.
    pub params: ParamsKZG<Bn256>,
    /// Proving key.
    pub pk: StepProvingKey,
    /// Verifying key.
    pub vk: StepVerifyingKey,
}

/// A directory for development strings that outlives a test run.
pub fn srs(k: u32) -> srs::Srs {
    let cache = srs::SrsCache::new(std::env::temp_dir().join("cairn-test-srs"));
    cache.development(srs::SrsSize::new(k).expect("a size"), &srs::silent).expect("a development string")
}

/// The tiny shape of `rule` with `n` parameters.
pub fn shape(rule: Rule, n: usize) -> StepShape {
    StepShape::at(rule, n, STEP_K, 11).expect("the tiny shape exists")
}

impl Keyed {
    /// Generates keys for `n` parameters.
    pub fn new(rule: Rule, n: usize) -> Self {
        let params = srs(STEP_K).params().clone();
        let pk = StepProvingKey::generate(&params, &shape(rule, n)).expect("a key");
        let vk = pk.verifying_key();
        Self { params, pk, vk }
    }
}

static ADAMW: LazyLock<Keyed> = LazyLock::new(|| Keyed::new(Rule::AdamW, N));
static SGD: LazyLock<Keyed> = LazyLock::new(|| Keyed::new(Rule::Sgd, N));

/// Keys of the tiny circuit, made once.
pub fn key(rule: Rule) -> &'static Keyed {
    match rule {
        Rule::AdamW => &ADAMW,
        Rule::Sgd => &SGD,
    }
}

/// β1 0.9, β2 0.999, ε 1e-8, lr 1e-3, weight decay 0.01.
pub fn hyper(rule: Rule) -> Hyper {
    let q32 = |x: f64| (x * S as f64).round() as u64;
    match rule {
        Rule::AdamW => {
            Hyper { beta1: q32(0.9), beta2: q32(0.999), eps: q32(1e-8), lr: q32(1e-3), weight_decay: q32(0.01) }
        }
        Rule::Sgd => Hyper { beta1: q32(0.9), beta2: 0, eps: 0, lr: q32(0.05), weight_decay: q32(0.01) },
    }
}

/// The policy of the tiny runs.
pub fn policy(rule: Rule, n_chunks: usize) -> Policy {
    let Hyper { beta1, beta2, eps, lr, weight_decay } = hyper(rule);
    Policy {
        rule,
        beta1,
        beta2,
        eps,
        weight_decay,
        lr_max: 2 * lr,
        format: NumberFormat::Q24,
        n_params: (N * n_chunks) as u64,
        n_chunks: n_chunks as u32,
        layout_digest: FieldElement::from(5),
        step_key_digest: from_fr(&key(rule).vk.digest()),
    }
}

/// The first `count` proved steps of run `run`, as one epoch.
pub fn epoch(rule: Rule, run: u64, n_chunks: usize, count: usize) -> EpochInput {
    epoch_with(key(rule), rule, run, n_chunks, count)
}

/// As [`epoch`], proved with `keys`, whose chunks hold at least [`N`] parameters.
pub fn epoch_with(keys: &Keyed, rule: Rule, run: u64, n_chunks: usize, count: usize) -> EpochInput {
    let id = RunId::from(FieldElement::from(run));
    let secret = RunSecret([run as u8; 32]);
    let mut rng = StdRng::seed_from_u64(run);
    let n = N * n_chunks;
    let mut state = State::fresh((0..n).map(|_| rng.gen_range(-(1i64 << 24)..1 << 24)).collect());
    let products = (state.p1, state.p2);
    let steps = (0..count as u64)
        .map(|t| {
            let (hyper, fresh) = (hyper(rule), t == 0);
            let gradient: Vec<i64> = (0..n).map(|_| rng.gen_range(-(1i64 << 22)..1 << 22)).collect();
            let (after, schedule) = state.step(rule, fresh, &hyper, &gradient).expect("in range");
            let mut statement =
                StepStatement { chunks: Vec::new(), fresh, hyper, run: id, schedule, step: StepIndex(t) };
            let k = constants(rule, &statement);
            let seed = |state| secret.state_seed(&to_fr(id.to_field()), state);
            let len = chunk_len(n, n_chunks);
            let mut proofs = Vec::new();
            for (c, chunk) in chunks(&state, n_chunks).iter().enumerate() {
                let gradient = &gradient[c * len..][..chunk.len()];
                let witness = StepWitness::honest(keys.vk.shape(), k, chunk, gradient).expect("in range");
                let c = c as u32;
                let instances = chunk_instances(rule, &statement, ChunkIndex(c));
                let (input, output) = (seed(t).column_seed(c), seed(t + 1).column_seed(c));
                let proof = keys.pk.prove(&keys.params, witness, &instances, (&input, &output), OsRng).expect("proves");
                statement.chunks.push(keys.vk.points(&proof).expect("well formed"));
                proofs.push(proof);
            }
            state = after;
            StepInput { statement, proofs }
        })
        .collect();
    EpochInput { policy: policy(rule, n_chunks), products, steps }
}
