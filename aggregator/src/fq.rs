//! Relations over BN254's base field in the cells of the scalar field (spec `epoch`, ids `msm-relation`, `msm-range`).
//!
//! halo2-ecc reduces after each product. Here a whole equation `Σ a·b + Σ c·x ≡ 0 (mod p)` is checked at once: one
//! quotient, three carries, and only values that a later equation multiplies are made into range-checked elements.
//!
//! The equation is shown over the integers: `Σ a·b + Σ c·x + M·p − q·p` vanishes modulo 2²⁶⁴ (limb by limb, with
//! carries) and modulo the scalar-field modulus r (on the native values), and is smaller than 2²⁶⁴·r, hence is zero.

use std::ops::Range;
use std::sync::LazyLock;

use halo2_base::{
    AssignedValue, Context,
    QuantumCell::{self, Constant, Existing, Witness},
    gates::{RangeChip, RangeInstructions},
    utils::{biguint_to_fe, fe_to_biguint, modulus},
};
use halo2_ecc::bigint::ProperCrtUint;
use halo2_proofs::halo2curves::{
    bn256::{Fq, Fr},
    ff::Field,
};
use num_bigint::{BigInt, BigUint, Sign};

/// Bits of a limb's position: an element is `l₀ + 2⁸⁸·l₁ + 2¹⁷⁶·l₂`. As snark-verifier's.
const LIMB_BITS: usize = 88;
/// Limbs of an element.
pub const LIMBS: usize = 3;
/// Bits of the top limb of a witness: values up to 2²⁵⁶, which quotients need.
const TOP_BITS: usize = 80;
/// Most bits to which the range check of a low limb may be rounded up to save cells.
const LOW_BITS_MAX: usize = 110;
/// Carries of honest equations are below 2⁹³ in absolute value; this much is added to make them positive.
const CARRY_SHIFT: usize = 93;
/// Most bits of a shifted carry.
const CARRY_BITS_MAX: usize = 112;
/// Sum of products of sizes (see [`Element`]) that an equation may have: 8·2⁵¹² stays far below 2²⁶⁴·r.
const SIZE_MAX: u32 = 8;
/// Span of the products of an honest equation in units of p², so that the quotient is below 2²⁵⁶.
const SPAN_MAX: i64 = 5;
/// Linear terms of an honest equation lie within ± this multiple of p.
const LINEAR_MAX: i64 = 8;

static P: LazyLock<BigInt> = LazyLock::new(|| modulus::<Fq>().into());
static P_LIMBS: LazyLock<[Fr; LIMBS]> = LazyLock::new(|| {
    let p = modulus::<Fq>();
    std::array::from_fn(|i| biguint_to_fe(&limb(&p, i)))
});
static P_NATIVE: LazyLock<Fr> = LazyLock::new(|| biguint_to_fe(&(modulus::<Fq>() % modulus::<Fr>())));
/// 2^(88·i).
static BASES: LazyLock<[Fr; LIMBS]> = LazyLock::new(|| std::array::from_fn(|i| power_of_two(i * LIMB_BITS)));

/// 2^`bits` in the scalar field.
pub fn power_of_two(bits: usize) -> Fr {
    Fr::from(2).pow_vartime([bits as u64])
}

fn limb(x: &BigUint, i: usize) -> BigUint {
    (x >> (i * LIMB_BITS)) & ((BigUint::from(1u8) << LIMB_BITS) - 1u8)
}

/// An element of the base field, as an integer in limbs; not necessarily reduced.
///
/// Range: of an honest prover, within `span` (in units of p); of any prover, below `size`·2²⁵⁶·(1 + 2⁻⁵⁷) in absolute
/// value, each limb below `size`·2¹¹⁰.
#[derive(Clone, Debug)]
pub struct Element {
    limbs: [AssignedValue<Fr>; LIMBS],
    native: AssignedValue<Fr>,
    value: BigInt,
    span: Range<i64>,
    size: u32,
}

impl Element {
    /// The limbs, low first.
    pub fn limbs(&self) -> &[AssignedValue<Fr>; LIMBS] {
        &self.limbs
    }

    /// The value as an element of the field.
    pub fn value(&self) -> Fq {
        let reduced = ((&self.value % &*P) + &*P) % &*P;
        biguint_to_fe(reduced.magnitude())
    }

    fn parts(&self) -> [AssignedValue<Fr>; LIMBS + 1] {
        let [a, b, c] = self.limbs;
        [a, b, c, self.native]
    }
}

impl From<&ProperCrtUint<Fr>> for Element {
    /// halo2-ecc checks the limbs to 88, 88 and 78 bits, and the native value.
    fn from(x: &ProperCrtUint<Fr>) -> Self {
        let limbs = std::array::from_fn(|i| x.limbs()[i]);
        Self { limbs, native: *x.native(), value: x.value().into(), span: 0..1, size: 1 }
    }
}

/// Coefficient of a linear term.
#[derive(Clone, Copy, Debug)]
pub enum Factor {
    /// 1.
    Plus,
    /// −1.
    Minus,
    /// A small constant.
    Times(i8),
    /// A cell that is constrained to 1 or −1.
    Sign(AssignedValue<Fr>),
}

impl Factor {
    fn cell(self) -> QuantumCell<Fr> {
        match self {
            Self::Plus => Constant(Fr::ONE),
            Self::Minus => Constant(-Fr::ONE),
            Self::Times(c) if c < 0 => Constant(-Fr::from(u64::from(c.unsigned_abs()))),
            Self::Times(c) => Constant(Fr::from(u64::from(c.unsigned_abs()))),
            Self::Sign(s) => Existing(s),
        }
    }

    fn value(self) -> i64 {
        match self {
            Self::Plus => 1,
            Self::Minus => -1,
            Self::Times(c) => c.into(),
            Self::Sign(s) if *s.value() == Fr::ONE => 1,
            Self::Sign(_) => -1,
        }
    }

    fn bound(self) -> i64 {
        match self {
            Self::Times(c) => i64::from(c).abs(),
            Self::Plus | Self::Minus | Self::Sign(_) => 1,
        }
    }

    /// Applied to a field value.
    pub fn of(self, x: Fq) -> Fq {
        let c = self.value();
        let magnitude = x * Fq::from(c.unsigned_abs());
        if c < 0 { -magnitude } else { magnitude }
    }
}

/// A running sum in the advice column: each term costs three cells and one gate `a + b·c = d`.
#[derive(Debug)]
pub struct Chain<'a> {
    ctx: &'a mut Context<Fr>,
    sum: Fr,
}

impl<'a> Chain<'a> {
    /// Starts with a new cell.
    pub fn start(ctx: &'a mut Context<Fr>, first: QuantumCell<Fr>) -> Self {
        let sum = *first.value();
        ctx.assign_region([first], []);
        Self { ctx, sum }
    }

    /// Goes on from the last cell of the column.
    pub fn resume(ctx: &'a mut Context<Fr>) -> Self {
        let sum = ctx.last().map_or(Fr::ZERO, |cell| *cell.value());
        Self { ctx, sum }
    }

    /// Adds `b·c`.
    pub fn add(&mut self, b: QuantumCell<Fr>, c: QuantumCell<Fr>) -> &mut Self {
        self.sum += *b.value() * c.value();
        self.ctx.assign_region([b, c, Witness(self.sum)], [-1]);
        self
    }

    /// Adds `b·c` and constrains the sum to be `total`.
    pub fn add_to(&mut self, b: QuantumCell<Fr>, c: QuantumCell<Fr>, total: Fr) -> &mut Self {
        self.sum = total;
        self.ctx.assign_region([b, c, Constant(total)], [-1]);
        self
    }

    /// Adds the square of a new cell, constrains the sum to be `total` and returns the cell.
    pub fn square_to(&mut self, b: QuantumCell<Fr>, total: Fr) -> AssignedValue<Fr> {
        self.ctx.assign_region([b], []);
        let b = self.ctx.get(-1);
        self.sum = total;
        self.ctx.assign_region([Existing(b), Constant(total)], [-2]);
        b
    }

    /// The sum.
    pub fn finish(&mut self) -> AssignedValue<Fr> {
        self.ctx.get(-1)
    }
}

/// Equations over the base field.
#[derive(Clone, Copy, Debug)]
pub struct FqChip<'a> {
    range: &'a RangeChip<Fr>,
}

impl<'a> FqChip<'a> {
    /// On `range`, whose lookup table must hold at least 2⁸ values.
    pub fn new(range: &'a RangeChip<Fr>) -> Self {
        assert!(range.lookup_bits() >= 8, "limbs are composed of lookups");
        Self { range }
    }

    /// The range chip.
    pub fn range(&self) -> &'a RangeChip<Fr> {
        self.range
    }

    /// A new cell of `bits` bits, or of as many as fill whole lookups if those are at most `most`; in that case the cell
    /// is the last of the column, so that a [`Chain`] can go on from it.
    fn ranged(&self, ctx: &mut Context<Fr>, value: u128, bits: usize, most: usize) -> AssignedValue<Fr> {
        let lookup = self.range.lookup_bits();
        let count = bits.div_ceil(lookup);
        let mask = (1u128 << lookup) - 1;
        let chunk = |i: usize| Witness(Fr::from(((value >> (i * lookup)) & mask) as u64));
        let mut chain = Chain::start(ctx, chunk(0));
        let mut chunks = vec![chain.finish()];
        for i in 1..count {
            chain.add(chunk(i), Constant(power_of_two(i * lookup)));
            chunks.push(chain.ctx.get(-3));
        }
        let sum = chain.finish();
        let rest = if count * lookup <= most { lookup } else { bits - (count - 1) * lookup };
        for (i, chunk) in chunks.into_iter().enumerate() {
            self.range.range_check(ctx, chunk, if i + 1 == count { rest } else { lookup });
        }
        sum
    }

    /// A new element below 2²⁵⁶·(1 + 2⁻⁵⁷) (`msm-range`), not necessarily below p.
    fn integer(&self, ctx: &mut Context<Fr>, value: BigInt) -> Element {
        let [low, middle, top] = std::array::from_fn(|i| low_u128(&limb(value.magnitude(), i)));
        let top = self.ranged(ctx, top, TOP_BITS, TOP_BITS);
        let middle = self.ranged(ctx, middle, LIMB_BITS, LOW_BITS_MAX);
        let low = self.ranged(ctx, low, LIMB_BITS, LOW_BITS_MAX);
        self.element(ctx, [low, middle, top], value, 0..1, 1)
    }

    /// Composes the native value of limbs, the lowest of which is the last cell of the column.
    fn element(
        &self,
        ctx: &mut Context<Fr>,
        limbs: [AssignedValue<Fr>; LIMBS],
        value: BigInt,
        span: Range<i64>,
        size: u32,
    ) -> Element {
        let mut chain = Chain::resume(ctx);
        for (limb, base) in limbs.iter().zip(BASES.iter()).skip(1) {
            chain.add(Existing(*limb), Constant(*base));
        }
        let native = chain.finish();
        Element { limbs, native, value, span, size }
    }

    /// A witness.
    pub fn witness(&self, ctx: &mut Context<Fr>, value: Fq) -> Element {
        self.integer(ctx, fe_to_biguint(&value).into())
    }

    /// `a − b`, without reduction.
    pub fn difference(&self, ctx: &mut Context<Fr>, a: &Element, b: &Element) -> Element {
        let (left, right) = (a.parts(), b.parts());
        let [x, y, z, native] = std::array::from_fn(|i| {
            let difference = *left[i].value() - right[i].value();
            ctx.assign_region([Existing(right[i]), Constant(Fr::ONE), Witness(difference), Existing(left[i])], [0]);
            ctx.get(-2)
        });
        Element {
            limbs: [x, y, z],
            native,
            value: &a.value - &b.value,
            span: a.span.start - b.span.end..a.span.end - b.span.start,
            size: a.size + b.size,
        }
    }

    /// `c·a` for a small c, without reduction.
    pub fn multiple(&self, ctx: &mut Context<Fr>, a: &Element, c: i8) -> Element {
        let factor = Factor::Times(c).cell();
        let [x, y, z, native] = a.parts().map(|part| {
            let product = *part.value() * factor.value();
            ctx.assign_region([Constant(Fr::ZERO), factor, Existing(part), Witness(product)], [0]);
            ctx.get(-1)
        });
        let ends = (a.span.start * i64::from(c), a.span.end * i64::from(c));
        Element {
            limbs: [x, y, z],
            native,
            value: &a.value * BigInt::from(c),
            span: ends.0.min(ends.1)..ends.0.max(ends.1),
            size: a.size * u32::from(c.unsigned_abs()),
        }
    }

    /// The element `Σ_s coefficients[s]·characters[s]`, for an honest prover `value`; `characters[0]` is 1.
    ///
    /// The caller sees to it that for every assignment of the characters the sums are limbs of a witness.
    pub fn combination(
        &self,
        ctx: &mut Context<Fr>,
        coefficients: [&[AssignedValue<Fr>]; LIMBS],
        characters: &[AssignedValue<Fr>],
        value: Fq,
    ) -> Element {
        let mut sum = |coefficients: &[AssignedValue<Fr>]| {
            let mut chain = Chain::start(ctx, Existing(coefficients[0]));
            for (coefficient, character) in coefficients[1..].iter().zip(characters) {
                chain.add(Existing(*coefficient), Existing(*character));
            }
            chain.finish()
        };
        let [top, middle, low] = [2, 1, 0].map(|i| sum(coefficients[i]));
        self.element(ctx, [low, middle, top], fe_to_biguint(&value).into(), 0..1, 1)
    }

    /// Constrains `Σ a·b + Σ c·x ≡ 0 (mod p)` (`msm-relation`).
    ///
    /// Panics if the operands are too large for the argument to hold: a property of the circuit, not of the witness.
    pub fn vanishes(&self, ctx: &mut Context<Fr>, products: &[(&Element, &Element)], linear: &[(Factor, &Element)]) {
        let size: u32 = products.iter().map(|(a, b)| a.size * b.size).sum();
        let ends = |a: &Range<i64>, b: &Range<i64>| {
            let corners = [a.start * b.start, a.start * b.end, a.end * b.start, a.end * b.end];
            (corners.into_iter().min().unwrap_or(0), corners.into_iter().max().unwrap_or(0))
        };
        let spans = products.iter().map(|(a, b)| ends(&a.span, &b.span));
        let (least, most) = spans.fold((0, 0), |(least, most), (l, m)| (least + l, most + m));
        let linear_span: i64 = linear.iter().map(|(c, x)| c.bound() * x.span.start.abs().max(x.span.end.abs())).sum();
        assert!(size <= SIZE_MAX && most - least <= SPAN_MAX && linear_span <= LINEAR_MAX, "operands too large");

        // M·p ≥ −(least·p² − LINEAR_MAX·p), so that the quotient of an honest prover is not negative.
        let multiple = (&*P * BigInt::from(-least) + BigInt::from(LINEAR_MAX)) * &*P;
        let mut total = multiple.clone();
        for (a, b) in products {
            total += &a.value * &b.value;
        }
        for (c, x) in linear {
            total += BigInt::from(c.value()) * &x.value;
        }
        let quotient = match total.sign() {
            Sign::Minus => BigInt::ZERO,
            _ => &total / &*P,
        };
        let q = self.integer(ctx, quotient);

        // Each limb of the equation with its share of M·p; with the carry of the limb below it is 2⁸⁸ times its own
        // carry. Carries are shifted to be positive, and the shifts are taken off again by the constants.
        let shift = power_of_two(CARRY_SHIFT);
        let constants: [Fr; LIMBS] = std::array::from_fn(|i| {
            let share = biguint_to_fe::<Fr>(&limb(multiple.magnitude(), i)) + shift * BASES[1];
            if i == 0 { share } else { share - shift }
        });
        let terms: [Vec<(QuantumCell<Fr>, QuantumCell<Fr>)>; LIMBS] = std::array::from_fn(|i| {
            let mut terms = Vec::new();
            for (a, b) in products {
                terms.extend((0..=i).map(|j| (Existing(a.limbs[j]), Existing(b.limbs[i - j]))));
            }
            terms.extend(linear.iter().map(|(c, x)| (Existing(x.limbs[i]), c.cell())));
            terms.extend((0..=i).map(|j| (Existing(q.limbs[j]), Constant(-P_LIMBS[i - j]))));
            terms
        });
        let mut carries = [0; LIMBS];
        let mut below = Fr::ZERO;
        for (i, carry) in carries.iter_mut().enumerate() {
            let sum: Fr = terms[i].iter().map(|(b, c)| *b.value() * c.value()).sum::<Fr>() + constants[i] + below;
            *carry = low_u128(&(fe_to_biguint(&sum) >> LIMB_BITS));
            below = biguint_to_fe(&BigUint::from(*carry));
        }
        // From the top, so that a limb's sum goes on from the carry of the limb below.
        let mut own = self.ranged(ctx, carries[LIMBS - 1], CARRY_SHIFT + 1, CARRY_BITS_MAX);
        for i in (0..LIMBS).rev() {
            let before = i.checked_sub(1).map(|i| self.ranged(ctx, carries[i], CARRY_SHIFT + 1, CARRY_BITS_MAX));
            let mut chain = match before {
                Some(_) => Chain::resume(ctx),
                None => Chain::start(ctx, Constant(constants[i])),
            };
            if before.is_some() {
                chain.add(Constant(constants[i]), Constant(Fr::ONE));
            }
            for (b, c) in &terms[i] {
                chain.add(*b, *c);
            }
            chain.add_to(Existing(own), Constant(-BASES[1]), Fr::ZERO);
            own = before.unwrap_or(own);
        }
        let native = biguint_to_fe(&(multiple.magnitude() % modulus::<Fr>()));
        let mut chain = Chain::start(ctx, Constant(native));
        for (a, b) in products {
            chain.add(Existing(a.native), Existing(b.native));
        }
        for (c, x) in linear {
            chain.add(Existing(x.native), c.cell());
        }
        chain.add_to(Existing(q.native), Constant(-*P_NATIVE), Fr::ZERO);
    }
}

fn low_u128(x: &BigUint) -> u128 {
    let mut digits = x.iter_u64_digits();
    let mut next = || u128::from(digits.next().unwrap_or(0));
    next() | next() << 64
}
