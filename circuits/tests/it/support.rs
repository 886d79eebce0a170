//! Small keys, states and attackers shared by the tests.

use std::sync::{Arc, LazyLock};

use circuits::keys::{StepProvingKey, StepVerifyingKey};
use circuits::linked::{ColumnSeed, RunSecret};
use circuits::reference::{S, State, StepConstants, Update, next_schedule};
use circuits::step::circuit::StepCircuit;
use circuits::step::gate::N_INSTANCES;
use circuits::step::shape::StepShape;
use circuits::step::witness::{StepTag, StepWitness, instances};
use halo2_proofs::{
    dev::{MockProver, VerifyFailure},
    halo2curves::bn256::{Bn256, Fr},
    poly::kzg::commitment::ParamsKZG,
};
use ledger::{Hyper, Rule, Schedule};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Parameters of the small circuits.
pub const N: usize = 5;
/// k of the small circuits.
pub const K: u32 = 10;
/// Limb width of the small circuits.
pub const LIMB_BITS: u32 = 8;

/// A keyed small circuit.
pub struct Keyed {
    /// Its shape.
    pub shape: StepShape,
    /// SRS of matching size.
    pub params: ParamsKZG<Bn256>,
    /// Proving key.
    pub pk: StepProvingKey,
    /// Verifying key.
    pub vk: StepVerifyingKey,
}

/// The small shape of a rule.
pub fn shape(rule: Rule) -> StepShape {
    StepShape::at(rule, N, K, LIMB_BITS).expect("the small shape exists")
}

fn keyed(rule: Rule) -> Keyed {
    let shape = shape(rule);
    let params = ParamsKZG::setup(K, StdRng::seed_from_u64(7));
    let pk = StepProvingKey::generate(&params, &shape).expect("small key");
    let vk = pk.verifying_key();
    Keyed { shape, params, pk, vk }
}

static ADAMW: LazyLock<Keyed> = LazyLock::new(|| keyed(Rule::AdamW));
static SGD: LazyLock<Keyed> = LazyLock::new(|| keyed(Rule::Sgd));

/// Keys of the small circuit of `rule`, made once.
pub fn key(rule: Rule) -> &'static Keyed {
    match rule {
        Rule::AdamW => &ADAMW,
        Rule::Sgd => &SGD,
    }
}

/// Usual hyper-parameters: β1 0.9, β2 0.999, ε 1e-8, lr 1e-3, weight decay 0.01.
pub fn hyper(rule: Rule) -> Hyper {
    let q32 = |x: f64| (x * S as f64).round() as u64;
    match rule {
        Rule::AdamW => {
            Hyper { beta1: q32(0.9), beta2: q32(0.999), eps: q32(1e-8), lr: q32(1e-3), weight_decay: q32(0.01) }
        }
        Rule::Sgd => Hyper { beta1: q32(0.9), beta2: 0, eps: 0, lr: q32(0.05), weight_decay: q32(0.01) },
    }
}

/// Deterministic weights in ±1.
pub fn weights(n: usize, seed: u64) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n).map(|_| rng.gen_range(-(1i64 << 24)..1 << 24)).collect()
}

/// Deterministic gradients in ±1/4.
pub fn gradient(n: usize, seed: u64) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6772_6164);
    (0..n).map(|_| rng.gen_range(-(1i64 << 22)..1 << 22)).collect()
}

/// One step with everything an honest prover or an attacker starts from.
#[derive(Clone)]
pub struct Step {
    /// State before.
    pub before: State,
    /// Gradient.
    pub gradient: Vec<i64>,
    /// Constants of the gate.
    pub constants: StepConstants,
    /// Instance column, run 1, chunk 0.
    pub instances: [Fr; N_INSTANCES],
}

/// The first `count` steps of a fresh run of `rule`.
pub fn steps(rule: Rule, count: usize) -> Vec<Step> {
    let mut state = State::fresh(weights(N, 1));
    (0..count as u64)
        .map(|t| {
            let (hyper, fresh, gradient) = (hyper(rule), t == 0, gradient(N, t));
            let (after, schedule) = state.step(rule, fresh, &hyper, &gradient).expect("in range");
            let constants = StepConstants::new(rule, fresh, &hyper, &schedule);
            let tag = StepTag { run: Fr::from(1), step: t, chunk: 0 };
            let before = std::mem::replace(&mut state, after);
            Step { before, gradient, constants, instances: instances(&tag, &constants) }
        })
        .collect()
}

/// A later step (t = 1), where every term of the update is at work.
pub fn later(rule: Rule) -> Step {
    steps(rule, 2).remove(1)
}

/// Schedule of step `t` of a fresh run.
pub fn schedule_at(rule: Rule, t: usize) -> Schedule {
    let mut products = (S, S);
    let mut last = None;
    for _ in 0..=t {
        let schedule = next_schedule(rule, &hyper(rule), products).expect("in range");
        products = (schedule.p1, schedule.p2);
        last = Some(schedule);
    }
    last.expect("at least one step")
}

impl Step {
    /// Honest updates.
    pub fn updates(&self, rule: Rule) -> Vec<Update> {
        self.before.updates(rule, &self.constants, &self.gradient).expect("in range")
    }

    /// Honest witness.
    pub fn witness(&self, rule: Rule) -> StepWitness {
        StepWitness::honest(&shape(rule), self.constants, &self.before, &self.gradient).expect("in range")
    }
}

/// Seeds of two neighbouring states of a test run.
pub fn seeds(run: u64, step: u64, chunk: u32) -> (ColumnSeed, ColumnSeed) {
    let secret = RunSecret([9; 32]);
    let seed = |state| secret.state_seed(&Fr::from(run), state).column_seed(chunk);
    (seed(step), seed(step + 1))
}

/// A real proof of a witness, honest or not.
pub fn prove(rule: Rule, witness: StepWitness, instances: &[Fr; N_INSTANCES], step: u64) -> Vec<u8> {
    let key = key(rule);
    let (input, output) = seeds(1, step, 0);
    key.pk
        .prove(&key.params, witness, instances, (&input, &output), rand::rngs::OsRng)
        .expect("proving does not look at the statement")
}

/// Names of the gates that a witness violates, in order and without repetition; empty when it is satisfied.
pub fn violated(shape: &StepShape, witness: StepWitness, instances: &[Fr; N_INSTANCES]) -> Vec<String> {
    let circuit = StepCircuit::new(shape.clone(), Arc::new(witness));
    let prover = MockProver::run(shape.k, &circuit, vec![instances.to_vec()]).expect("the circuit synthesizes");
    let mut names: Vec<String> = match prover.verify() {
        Ok(()) => Vec::new(),
        Err(failures) => failures.iter().map(gate_name).collect(),
    };
    names.dedup();
    names
}

/// The gate's name; any other kind of failure as it prints itself.
fn gate_name(failure: &VerifyFailure) -> String {
    let VerifyFailure::ConstraintNotSatisfied { constraint, .. } = failure else {
        return failure.to_string();
    };
    let text = constraint.to_string();
    match (text.find("gate "), text.rfind("')")) {
        (Some(start), Some(end)) => {
            let rest = &text[start..end];
            rest.find("('").map_or_else(|| text.clone(), |at| rest[at + 2..].to_owned())
        }
        _ => text,
    }
}
