//! Multi-scalar multiplication of many bases at once (spec `epoch`, ids `msm-*`).
//!
//! Scalars are written in digits 1 and −1 ([`digits`]), so that no digit is zero. Bases go in clumps of four. For a bit
//! position a clump adds `s_a·(P_a + t_b·P_b + t_c·P_c + t_d·P_d)` with relative signs t = s_a·s: one of eight table points,
//! chosen by the characters of the relative signs, with the sign of its ordinate as a factor. All clumps share the
//! doublings.
//!
//! Additions are incomplete ([`crate::curve`]). Two auxiliary points that are hashed from all bases and scalars
//! ([`Auxiliary`]) make the exceptional cases impossible: each base is shifted by a multiple of the first, the running sum
//! starts at the second. The bases themselves may be equal, opposite, or anything else on the curve.

use halo2_base::{
    AssignedValue, Context,
    QuantumCell::{Constant, Existing, Witness},
    gates::{GateInstructions, RangeInstructions},
    utils::{biguint_to_fe, fe_to_biguint, modulus},
};
use halo2_ecc::{
    ecc::BaseFieldEccChip,
    fields::{FieldChip, fp::FpChip},
};
use halo2_proofs::halo2curves::{
    CurveAffine,
    bn256::{Fq, Fr, G1Affine},
    ff::Field,
};
use num_bigint::BigUint;

use crate::curve::{Affine, CurveChip, Running};
use crate::fq::{Chain, Element, Factor, FqChip, LIMBS, power_of_two};
use crate::statement::Point;

/// Digits of a scalar: 2²⁵⁴ > r.
pub const DIGITS: usize = 254;
/// Digits of each half, which is an integer far below r.
const HALF: usize = DIGITS / 2;
/// Bases of a clump.
pub const CLUMP: usize = 4;
/// Points in a clump's table.
const TABLE: usize = 1 << (CLUMP - 1);
/// Doublings after which the running sum's multiple of the start is brought back to one; divides `DIGITS − 1`.
const RESET: usize = 11;
/// Bits of the counter that leads from a hash to an abscissa.
const COUNTER_BITS: usize = 8;

/// Two points nobody knows a relation to, not before the bases and scalars are fixed (`msm-auxiliary`).
#[derive(Clone, Debug)]
pub struct Auxiliary {
    offset: Affine,
    start: Affine,
}

impl Auxiliary {
    /// Hashes to the curve: the abscissa is a seed plus a counter of eight bits.
    ///
    /// The seeds must be hashes of everything that determines the bases and the scalars.
    pub fn new(ctx: &mut Context<Fr>, ecc: &BaseFieldEccChip<'_, G1Affine>, seeds: [AssignedValue<Fr>; 2]) -> Self {
        let [offset, start] = seeds.map(|seed| hash_to_curve(ctx, ecc, seed));
        Self { offset, start }
    }
}

fn hash_to_curve(ctx: &mut Context<Fr>, ecc: &BaseFieldEccChip<'_, G1Affine>, seed: AssignedValue<Fr>) -> Affine {
    let abscissa = |counter: u64| biguint_to_fe::<Fq>(&fe_to_biguint(&(*seed.value() + Fr::from(counter))));
    let ordinate = |x: Fq| Option::<Fq>::from((x.square() * x + G1Affine::b()).sqrt());
    // One x in two has a point; that none of all counters has is as unlikely as a guessed hash.
    let counter = (0..1 << COUNTER_BITS).find(|counter| ordinate(abscissa(*counter)).is_some()).unwrap_or(0);
    let x = abscissa(counter);
    let y = ordinate(x).unwrap_or(Fq::ZERO);

    let fp: &FpChip<'_, Fr, Fq> = ecc.field_chip();
    let point: Point = ecc.load_private::<G1Affine>(ctx, (x, y));
    fp.enforce_less_than(ctx, point.x().clone());
    let counter = fp.gate().sub(ctx, *point.x().native(), seed);
    fp.range().range_check(ctx, counter, COUNTER_BITS);
    Affine::from(&point)
}

/// Digits of a scalar, lowest first: `scalar ≡ Σ s_j·2^j (mod r)` with each s_j 1 or −1 (`msm-digits`).
///
/// There is exactly one such sum that the constraints admit: `B = (Σ s_j·2^j + 2²⁵⁴ − 1)/2`, whose bits are the digits, is
/// constrained to be below r.
pub fn digits(ctx: &mut Context<Fr>, fq: &FqChip<'_>, scalar: AssignedValue<Fr>) -> Vec<AssignedValue<Fr>> {
    digits_from(ctx, fq, scalar, &digit_bits(*scalar.value()))
}

/// B of a scalar, below r: bit j is set where digit j is 1.
pub fn digit_bits(scalar: Fr) -> BigUint {
    let half = Fr::from(2).invert().unwrap_or(Fr::ZERO);
    fe_to_biguint(&((scalar + power_of_two(DIGITS) - Fr::ONE) * half))
}

/// As [`digits`], with B as the prover chooses it.
pub fn digits_from(
    ctx: &mut Context<Fr>,
    fq: &FqChip<'_>,
    scalar: AssignedValue<Fr>,
    bits: &BigUint,
) -> Vec<AssignedValue<Fr>> {
    let half = Fr::from(2).invert().unwrap_or(Fr::ZERO);
    let sign = |j: usize| if bits.bit(j as u64) { Fr::ONE } else { -Fr::ONE };

    let mut signs = Vec::with_capacity(DIGITS);
    let mut squares = Chain::start(ctx, Constant(Fr::ZERO));
    for j in 0..DIGITS {
        // Each square adds one to the sum.
        let digit = squares.square_to(Witness(sign(j)), Fr::from(j as u64 + 1));
        signs.push(digit);
    }
    // B = low + 2¹²⁷·high in bits, each half from its digits.
    let mut weighted = |signs: &[AssignedValue<Fr>]| {
        let mut sum = Chain::start(ctx, Constant((power_of_two(HALF) - Fr::ONE) * half));
        for (j, digit) in signs.iter().enumerate() {
            sum.add(Existing(*digit), Constant(power_of_two(j) * half));
        }
        sum.finish()
    };
    let (low, high) = (weighted(&signs[..HALF]), weighted(&signs[HALF..]));

    // r − 1 − B = v·2¹²⁷ + u with a borrow, hence B < r.
    let most = modulus::<Fr>() - 1u8;
    let (most_high, most_low) = (&most >> HALF, &most & ((BigUint::from(1u8) << HALF) - 1u8));
    let range = fq.range();
    let gate = range.gate();
    let borrow = Fr::from(u64::from(fe_to_biguint(low.value()) > most_low));
    let borrow = ctx.load_witness(borrow);
    gate.assert_bit(ctx, borrow);
    let mut u = Chain::start(ctx, Constant(biguint_to_fe(&most_low)));
    u.add(Existing(low), Constant(-Fr::ONE)).add(Existing(borrow), Constant(power_of_two(HALF)));
    let u = u.finish();
    let mut v = Chain::start(ctx, Constant(biguint_to_fe(&most_high)));
    v.add(Existing(high), Constant(-Fr::ONE)).add(Existing(borrow), Constant(-Fr::ONE));
    let v = v.finish();
    range.range_check(ctx, u, HALF);
    range.range_check(ctx, v, HALF);

    // scalar = 2·B − (2²⁵⁴ − 1)
    let mut composed = Chain::start(ctx, Constant(Fr::ONE - power_of_two(DIGITS)));
    composed.add(Existing(low), Constant(Fr::from(2))).add(Existing(high), Constant(power_of_two(HALF + 1)));
    let composed = composed.finish();
    ctx.constrain_equal(&composed, &scalar);
    signs
}

/// One clump: table in the basis of characters, digits of its scalars.
struct Clump {
    /// Table points, by bit i set where the relative sign of base i + 1 is −1.
    points: Vec<G1Affine>,
    /// Coefficients of the limbs of x and y, `[coordinate][limb][character]`.
    coefficients: [[Vec<AssignedValue<Fr>>; LIMBS]; 2],
    /// Digits, `[base][position]`.
    digits: [Vec<AssignedValue<Fr>>; CLUMP],
}

/// Multi-scalar multiplication.
#[derive(Clone, Copy, Debug)]
pub struct MsmChip<'a> {
    curve: CurveChip<'a>,
}

impl<'a> MsmChip<'a> {
    /// On `curve`.
    pub fn new(curve: CurveChip<'a>) -> Self {
        Self { curve }
    }

    /// `Σ scalar·base + Σ units`. Bases and units are curve points, not the point at infinity; the caller checks this.
    ///
    /// A sum that is the point at infinity can't be proved. Both limbs and value of the result are those of
    /// [`crate::fq`]: not reduced.
    pub fn evaluate(
        &self,
        ctx: &mut Context<Fr>,
        auxiliary: &Auxiliary,
        terms: &[(AssignedValue<Fr>, Affine)],
        units: &[Affine],
    ) -> Affine {
        let offsets = self.offsets(ctx, &auxiliary.offset);
        // One more slot takes the offsets off again, the rest is padding.
        let n_slots = (terms.len() + 1).next_multiple_of(CLUMP);
        let one = ctx.load_constant(Fr::ONE);
        let mut scalars: Vec<_> = terms.iter().map(|(scalar, _)| *scalar).collect();
        scalars.resize(n_slots - 1, one);
        let balance = balance(ctx, &scalars);
        scalars.push(balance);
        let mut shifted: Vec<Affine> = Vec::with_capacity(n_slots);
        for slot in 0..n_slots {
            let offset = &offsets[slot % CLUMP];
            shifted.push(match terms.get(slot) {
                Some((_, base)) => self.sum(ctx, base, offset, Factor::Plus),
                None => offset.clone(),
            });
        }
        let clumps: Vec<Clump> = shifted
            .chunks_exact(CLUMP)
            .zip(scalars.chunks_exact(CLUMP))
            .map(|(bases, scalars)| self.clump(ctx, bases, scalars))
            .collect();

        let reset = self.reset(ctx, &auxiliary.start);
        let mut sum = Running::from(&auxiliary.start);
        for position in (0..DIGITS).rev() {
            let doublings = DIGITS - 1 - position;
            if doublings > 0 {
                let settled = self.curve.settle(ctx, &sum);
                sum = self.curve.double(ctx, &settled);
                if doublings.is_multiple_of(RESET) {
                    sum = self.curve.add(ctx, &sum, reset.signed(Factor::Minus));
                }
            }
            for clump in &clumps {
                sum = self.add_chosen(ctx, &sum, clump, position);
            }
        }
        for unit in units {
            sum = self.curve.add(ctx, &sum, unit.signed(Factor::Plus));
        }
        sum = self.curve.add(ctx, &sum, auxiliary.start.signed(Factor::Minus));
        self.curve.settle(ctx, &sum)
    }

    fn sum(&self, ctx: &mut Context<Fr>, a: &Affine, b: &Affine, sign: Factor) -> Affine {
        let sum = self.curve.add(ctx, &Running::from(a), b.signed(sign));
        self.curve.settle(ctx, &sum)
    }

    /// 1, 2, 4, 8 times the offset.
    fn offsets(&self, ctx: &mut Context<Fr>, offset: &Affine) -> Vec<Affine> {
        let mut multiples = vec![offset.clone()];
        while multiples.len() < CLUMP {
            let double = self.curve.double(ctx, &multiples[multiples.len() - 1]);
            multiples.push(self.curve.settle(ctx, &double));
        }
        multiples
    }

    /// 2^RESET − 1 times the start.
    fn reset(&self, ctx: &mut Context<Fr>, start: &Affine) -> Affine {
        let mut power = start.clone();
        for _ in 0..RESET {
            let double = self.curve.double(ctx, &power);
            power = self.curve.settle(ctx, &double);
        }
        self.sum(ctx, &power, start, Factor::Minus)
    }

    fn clump(&self, ctx: &mut Context<Fr>, bases: &[Affine], scalars: &[AssignedValue<Fr>]) -> Clump {
        let signs = [Factor::Plus, Factor::Minus];
        let firsts = signs.map(|sign| self.sum(ctx, &bases[0], &bases[1], sign));
        let seconds = signs.map(|sign| self.sum(ctx, &bases[2], &bases[3], sign));
        // Index: bit 0 for base 1, bit 1 for base 2, bit 2 for base 3, set where the sign is −1. The last two are
        // ±(base 2 ± base 3).
        let table: Vec<Affine> = (0..TABLE)
            .map(|index| {
                let (b, c, d) = (index & 1, index >> 1 & 1, index >> 2 & 1);
                self.sum(ctx, &firsts[b], &seconds[c ^ d], signs[c])
            })
            .collect();
        let points = table.iter().map(Affine::value).collect();
        let mut coordinate = |of: fn(&Affine) -> &Element| {
            std::array::from_fn(|limb| {
                let column: Vec<_> = table.iter().map(|point| of(point).limbs()[limb]).collect();
                characters(ctx, column)
            })
        };
        let coefficients = [coordinate(|point| &point.x), coordinate(|point| &point.y)];
        let digits = std::array::from_fn(|i| digits(ctx, self.curve.fq(), scalars[i]));
        Clump { points, coefficients, digits }
    }

    /// Adds the clump's table point for the digits at `position` (`msm-select`).
    fn add_chosen(&self, ctx: &mut Context<Fr>, sum: &Running, clump: &Clump, position: usize) -> Running {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| clump.digits[i][position]);
        let gate = self.curve.fq().range().gate();
        let mut times = |a, b| gate.mul(ctx, a, b);
        // Relative signs and their products, in the order of the characters 1 … 7.
        let (tb, tc, td) = (times(a, b), times(a, c), times(a, d));
        let (tbc, tbd, tcd) = (times(b, c), times(b, d), times(c, d));
        let tbcd = times(tb, tcd);
        let chosen = [tb, tc, tbc, td, tbd, tcd, tbcd];
        let minus = |sign: &AssignedValue<Fr>| usize::from(*sign.value() != Fr::ONE);
        let point = clump.points[minus(&tb) | minus(&tc) << 1 | minus(&td) << 2];
        let [x, y] = [(0, point.x), (1, point.y)].map(|(coordinate, value)| {
            let [low, middle, top] = &clump.coefficients[coordinate];
            self.curve.fq().combination(ctx, [low, middle, top], &chosen, value)
        });
        self.curve.add(ctx, sum, Affine { x, y }.signed(Factor::Sign(a)))
    }
}

/// The scalar of 8·offset that takes all offsets off: `−Σ scalar·(1, 2, 4, 8, 1, …)/8`.
fn balance(ctx: &mut Context<Fr>, scalars: &[AssignedValue<Fr>]) -> AssignedValue<Fr> {
    let eighth = Fr::from(1 << (CLUMP - 1)).invert().unwrap_or(Fr::ZERO);
    let mut sum = Chain::start(ctx, Constant(Fr::ZERO));
    for (slot, scalar) in scalars.iter().enumerate() {
        sum.add(Existing(*scalar), Constant(-eighth * Fr::from(1 << (slot % CLUMP))));
    }
    sum.finish()
}

/// From values by sign pattern to coefficients by character: `value(σ) = Σ_S coefficient_S·χ_S(σ)`, with
/// `coefficient_S = Σ_σ value(σ)·χ_S(σ)/8`. Patterns and characters are masks over three relative signs.
fn characters(ctx: &mut Context<Fr>, mut column: Vec<AssignedValue<Fr>>) -> Vec<AssignedValue<Fr>> {
    let eighth = Fr::from(TABLE as u64).invert().unwrap_or(Fr::ZERO);
    for bit in 0..CLUMP - 1 {
        let scale = if bit == CLUMP - 2 { eighth } else { Fr::ONE };
        for low in (0..TABLE).filter(|index| index >> bit & 1 == 0) {
            let high = low | 1 << bit;
            let (a, b) = (column[low], column[high]);
            let mut combine = |sign: Fr| {
                if scale == Fr::ONE {
                    return Chain::start(ctx, Existing(a)).add(Existing(b), Constant(sign)).finish();
                }
                let mut sum = Chain::start(ctx, Constant(Fr::ZERO));
                sum.add(Existing(a), Constant(scale)).add(Existing(b), Constant(sign * scale)).finish()
            };
            (column[low], column[high]) = (combine(Fr::ONE), combine(-Fr::ONE));
        }
    }
    column
}
