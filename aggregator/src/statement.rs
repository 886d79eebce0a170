//! The constraints of an epoch beyond proof verification: consecutive steps, links, policy, schedule, digests
//! (spec `epoch`, ids `epoch-*`). Separate from the verification so that each can be tested alone.

use std::rc::Rc;

use circuits::convert::to_fr;
use circuits::digest::{Domain, FORMAT_Q24, rule_word};
use circuits::reference::S;
use circuits::step::gate::{InstanceRow, N_INSTANCES};
use halo2_base::{
    AssignedValue, Context,
    QuantumCell::{Constant, Existing},
    gates::{GateInstructions, RangeChip, RangeInstructions},
};
use halo2_ecc::{bigint::ProperCrtUint, ecc::EcPoint, fields::FieldChip};
use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};
use ledger::{Hyper, Policy, Rule, Schedule};
use snark_verifier::util::hash::Poseidon;
use snark_verifier_sdk::halo2::{POSEIDON_SPEC, aggregation::Halo2Loader};

/// A curve point in the circuit: coordinates of three 88-bit limbs.
pub type Point = EcPoint<Fr, ProperCrtUint<Fr>>;

/// Bits of t₀; a step beyond is impossible.
pub const STEP_BITS: usize = 40;

/// One chunk of one step as the verifier saw it.
#[derive(Clone, Debug)]
pub struct ChunkCells {
    /// The instance column, in the order of [`InstanceRow`].
    pub instances: [AssignedValue<Fr>; N_INSTANCES],
    /// `[state_in, state_out, gradient]`.
    pub points: [Point; 3],
}

/// Values that the statement needs besides what the step proofs show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The run's policy; rule, number of chunks and step key are constants of the circuit.
    pub policy: Policy,
    /// (P1, P2) of the state before the first step.
    pub products: (u64, u64),
    /// Learning rate and schedule of each step.
    pub steps: Vec<(Hyper, Schedule)>,
}

/// Instances of the epoch after the accumulator, in order: run, t₀, fresh, S_in, S_out, policy, D….
pub type Outputs = Vec<AssignedValue<Fr>>;

struct Chip<'a, 'c> {
    loader: &'a Rc<Halo2Loader<'c>>,
    range: &'a RangeChip<Fr>,
}

impl Chip<'_, '_> {
    fn with<T>(&self, f: impl FnOnce(&mut Context<Fr>, &RangeChip<Fr>) -> T) -> T {
        f(self.loader.ctx_mut().main(), self.range)
    }

    fn witness(&self, value: u64) -> AssignedValue<Fr> {
        self.with(|ctx, _| ctx.load_witness(Fr::from(value)))
    }

    fn constant(&self, value: u64) -> AssignedValue<Fr> {
        self.with(|ctx, _| ctx.load_constant(Fr::from(value)))
    }

    fn bits(&self, a: AssignedValue<Fr>, bits: usize) {
        self.with(|ctx, range| range.range_check(ctx, a, bits));
    }

    fn equal(&self, a: AssignedValue<Fr>, b: AssignedValue<Fr>) {
        self.with(|ctx, _| ctx.constrain_equal(&a, &b));
    }

    fn is(&self, a: AssignedValue<Fr>, value: u64) {
        self.with(|ctx, range| range.gate().assert_is_const(ctx, &a, &Fr::from(value)));
    }

    /// `value − a`, for a constant minuend.
    fn minuend(&self, value: u64, a: AssignedValue<Fr>) -> AssignedValue<Fr> {
        self.with(|ctx, range| range.gate().sub(ctx, Constant(Fr::from(value)), Existing(a)))
    }

    fn mul(&self, a: AssignedValue<Fr>, b: AssignedValue<Fr>) -> AssignedValue<Fr> {
        self.with(|ctx, range| range.gate().mul(ctx, a, b))
    }

    fn scale(&self, a: AssignedValue<Fr>, by: Fr) -> AssignedValue<Fr> {
        self.with(|ctx, range| range.gate().mul(ctx, Existing(a), Constant(by)))
    }

    fn add_constant(&self, a: AssignedValue<Fr>, value: u64) -> AssignedValue<Fr> {
        self.with(|ctx, range| range.gate().add(ctx, Existing(a), Constant(Fr::from(value))))
    }

    fn sub(&self, a: AssignedValue<Fr>, b: AssignedValue<Fr>) -> AssignedValue<Fr> {
        self.with(|ctx, range| range.gate().sub(ctx, a, b))
    }

    /// Constrains `quotient = ⌊numerator / divisor⌋` for a divisor in 1..2³² and a quotient below 2^`bits`.
    fn floor_division(
        &self,
        numerator: AssignedValue<Fr>,
        divisor: AssignedValue<Fr>,
        quotient: AssignedValue<Fr>,
        bits: usize,
    ) {
        let remainder = self.sub(numerator, self.mul(quotient, divisor));
        self.bits(quotient, bits);
        self.bits(remainder, 32);
        // divisor − 1 − remainder ≥ 0
        let slack = self.sub(divisor, self.add_constant(remainder, 1));
        self.bits(slack, 32);
    }

    /// `next = round(p·β / 2³²)`, below 2³².
    fn product_step(&self, p: AssignedValue<Fr>, beta: AssignedValue<Fr>, next: AssignedValue<Fr>) {
        let numerator = self.add_constant(self.mul(p, beta), 1 << 31);
        let remainder = self.sub(numerator, self.scale(next, Fr::from(S)));
        self.bits(remainder, 32);
        self.bits(next, 32);
    }

    fn hash(&self, words: &[AssignedValue<Fr>]) -> AssignedValue<Fr> {
        let mut sponge = Poseidon::<Fr, _, 3, 2>::from_spec(self.loader, POSEIDON_SPEC.clone());
        let words: Vec<_> = words.iter().map(|w| self.loader.scalar_from_assigned(*w)).collect();
        sponge.update(&words);
        sponge.squeeze().into_assigned()
    }

    /// x and y in two words each (176 and 78 bits).
    fn words(&self, point: &Point) -> [AssignedValue<Fr>; 4] {
        let half = |c: &ProperCrtUint<Fr>| {
            let limbs = c.limbs();
            let low = self.with(|ctx, range| {
                let shift = Fr::from(1 << 44).square();
                range.gate().mul_add(ctx, Existing(limbs[1]), Constant(shift), Existing(limbs[0]))
            });
            [low, limbs[2]]
        };
        let ([x0, x1], [y0, y1]) = (half(point.x()), half(point.y()));
        [x0, x1, y0, y1]
    }

    fn equal_points(&self, a: &Point, b: &Point) {
        for (a, b) in [(a.x(), b.x()), (a.y(), b.y())] {
            for (a, b) in a.limbs().iter().zip(b.limbs()) {
                self.equal(*a, *b);
            }
            self.equal(*a.native(), *b.native());
        }
    }

    fn state_digest(&self, p: (AssignedValue<Fr>, AssignedValue<Fr>), points: &[&Point]) -> AssignedValue<Fr> {
        let mut words = vec![self.constant(Domain::State.word()), p.0, p.1, self.constant(points.len() as u64)];
        for point in points {
            words.extend(self.words(point));
        }
        self.hash(&words)
    }
}

/// Constrains a commitment to be finite: the loader admits the point at infinity, as (0, 0) (spec `epoch-finite`).
///
/// The order of the group is odd, so y = 0 at infinity only; the limbs of y are range-checked to 88 bits and y is below
/// the modulus (assignment enforces both), so their sum is 0 exactly when y is.
pub fn finite(loader: &Rc<Halo2Loader<'_>>, range: &RangeChip<Fr>, point: &Point) {
    let mut pool = loader.ctx_mut();
    let ctx = pool.main();
    let sum = range.gate().sum(ctx, point.y().limbs().iter().copied());
    let at_infinity = range.gate().is_zero(ctx, sum);
    range.gate().assert_is_const(ctx, &at_infinity, &Fr::ZERO);
}

/// Both coordinates are below the base-field modulus, so that a point has one encoding in transcript and digests (spec
/// `epoch-canonical`).
pub fn canonical(loader: &Rc<Halo2Loader<'_>>, point: &Point) {
    let ecc = loader.ecc_chip();
    for coordinate in [point.x(), point.y()] {
        let mut pool = loader.ctx_mut();
        ecc.field_chip().enforce_less_than(pool.main(), coordinate.clone());
    }
}

/// Adds the statement's constraints for `steps[t][chunk]` and returns the instances.
///
/// The step proofs are taken as verified; their instances and points are what this constrains.
pub fn constrain<'c>(
    loader: &Rc<Halo2Loader<'c>>,
    range: &RangeChip<Fr>,
    rule: Rule,
    step_key_digest: Fr,
    steps: &[Vec<ChunkCells>],
    witness: &Witness,
) -> Outputs {
    let chip = Chip { loader, range };
    let n_chunks = steps[0].len();
    let row = |cells: &ChunkCells, row: InstanceRow| cells.instances[row as usize];
    let first = &steps[0][0];

    // Policy values. Their ranges: β, wd, lr_max below 2³²; eps in 1..=2³² (AdamW) or 0.
    let policy = &witness.policy;
    let [beta1, beta2, eps, decay, lr_max] =
        [policy.beta1, policy.beta2, policy.eps, policy.weight_decay, policy.lr_max].map(|x| chip.witness(x));
    for x in [beta1, beta2, decay, lr_max] {
        chip.bits(x, 32);
    }
    match rule {
        Rule::AdamW => {
            // 0 ≤ eps − 1 < 2³²
            let below = chip.with(|ctx, range| range.gate().sub(ctx, Existing(eps), Constant(Fr::ONE)));
            chip.bits(below, 32);
        }
        Rule::Sgd => {
            chip.is(eps, 0);
            chip.is(beta2, 0);
        }
    }

    // Products before the first step: at most 2³²; exactly 2³² at a fresh start.
    let fresh = row(first, InstanceRow::Fresh);
    chip.with(|ctx, range| range.gate().assert_bit(ctx, fresh));
    let (p1, p2) = (chip.witness(witness.products.0), chip.witness(witness.products.1));
    for p in [p1, p2] {
        chip.bits(p, 33);
        let below = chip.minuend(S, p);
        chip.bits(below, 33);
        chip.is(chip.mul(fresh, below), 0);
    }
    let inputs: Vec<&Point> = steps[0].iter().map(|c| &c.points[0]).collect();
    for point in &inputs {
        canonical(loader, point);
    }
    let state_in = chip.state_digest((p1, p2), &inputs);

    let run = row(first, InstanceRow::Run);
    let t0 = row(first, InstanceRow::Step);
    chip.bits(t0, STEP_BITS);

    let mut digests = Vec::with_capacity(steps.len());
    let mut products = (p1, p2);
    for (i, (chunks, (hyper, schedule))) in steps.iter().zip(&witness.steps).enumerate() {
        let t = chip.add_constant(t0, i as u64);
        let head = &chunks[0];
        // Steps are consecutive, of this run, chunk by chunk; only the first may be fresh.
        for (c, cells) in chunks.iter().enumerate() {
            chip.equal(row(cells, InstanceRow::Run), run);
            chip.equal(row(cells, InstanceRow::Step), t);
            chip.is(row(cells, InstanceRow::Chunk), c as u64);
            if i > 0 {
                chip.is(row(cells, InstanceRow::Fresh), 0);
                chip.equal_points(&cells.points[0], &steps[i - 1][c].points[1]);
            }
            for constant in [
                InstanceRow::Fresh,
                InstanceRow::Beta1,
                InstanceRow::Beta2,
                InstanceRow::A,
                InstanceRow::C,
                InstanceRow::Eps,
                InstanceRow::Decay,
            ] {
                chip.equal(row(cells, constant), row(head, constant));
            }
            canonical(loader, &cells.points[1]);
            canonical(loader, &cells.points[2]);
            for point in &cells.points {
                finite(loader, range, point);
            }
        }
        // Policy.
        chip.equal(row(head, InstanceRow::Beta1), beta1);
        chip.equal(row(head, InstanceRow::Beta2), beta2);
        chip.equal(row(head, InstanceRow::Eps), eps);
        let lr = chip.witness(hyper.lr);
        chip.bits(lr, 32);
        chip.bits(chip.sub(lr_max, lr), 32);
        let step_decay = match rule {
            Rule::AdamW => chip.mul(lr, decay),
            Rule::Sgd => decay,
        };
        chip.equal(row(head, InstanceRow::Decay), step_decay);
        // Schedule.
        let (a, c) = (row(head, InstanceRow::A), row(head, InstanceRow::C));
        match rule {
            Rule::AdamW => {
                let next = (chip.witness(schedule.p1), chip.witness(schedule.p2));
                chip.product_step(products.0, beta1, next.0);
                chip.product_step(products.1, beta2, next.1);
                let rest1 = chip.minuend(S, next.0);
                chip.floor_division(chip.scale(lr, Fr::from(S)), rest1, a, 48);
                let rest2 = chip.minuend(S, next.1);
                chip.floor_division(chip.constant(1 << 48), rest2, c, 40);
                products = next;
            }
            Rule::Sgd => {
                chip.equal(a, lr);
                chip.is(c, 0);
            }
        }
        // D_t.
        let mut words = vec![chip.constant(Domain::Step.word()), run, t, row(head, InstanceRow::Fresh)];
        words.extend([beta1, beta2, eps, decay, lr, products.0, products.1, a, c]);
        words.push(chip.constant(n_chunks as u64));
        for cells in chunks {
            for point in &cells.points {
                words.extend(chip.words(point));
            }
        }
        digests.push(chip.hash(&words));
    }
    let outputs: Vec<&Point> = steps[steps.len() - 1].iter().map(|c| &c.points[1]).collect();
    let state_out = chip.state_digest(products, &outputs);

    let mut words = vec![chip.constant(Domain::Policy.word()), chip.constant(rule_word(rule))];
    words.extend([beta1, beta2, eps, decay, lr_max, chip.constant(FORMAT_Q24), chip.witness(policy.n_params)]);
    words.push(chip.constant(n_chunks as u64));
    words.push(chip.with(|ctx, _| ctx.load_witness(to_fr(policy.layout_digest))));
    words.push(chip.with(|ctx, _| ctx.load_constant(step_key_digest)));
    let policy = chip.hash(&words);

    let mut out = vec![run, t0, fresh, state_in, state_out, policy];
    out.extend(digests);
    out
}
