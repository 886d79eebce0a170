//! The parts of the contract that depend on the key, as lines of Yul.

use halo2_proofs::{
    arithmetic::Field,
    halo2curves::{
        bn256::{Fr, G1Affine},
        ff::PrimeField,
    },
    plonk::{self, ConstraintSystem, VerifyingKey},
};

use crate::{
    encode::omega_power,
    generate::{GenerateError, is_infinity},
    layout::{
        Denominator, POINT, WORD, challenge_mptr, commitment_cptr, evaluation_cptr, instance_eval_mptr,
        key_scalar_mptr, scalar_mptr,
    },
    shape::{Challenge, Commitment, Poly, Query, Shape, permutation_columns},
    yul::{Expr, literal, word},
};

/// One line.
pub type Line = String;

/// Distinct points of the key that are opened, each with the polynomials it commits to.
pub struct KeyPoints {
    /// The points; none is at infinity, which adds nothing to the sum.
    pub points: Vec<(G1Affine, Vec<Poly>)>,
}

impl KeyPoints {
    /// Collects the points in the order in which they are opened.
    pub fn new(shape: &Shape, vk: &VerifyingKey<G1Affine>) -> Self {
        let mut points: Vec<(G1Affine, Vec<Poly>)> = Vec::new();
        for poly in shape.sets.iter().flat_map(|set| &set.polys) {
            let point = match poly {
                Poly::Fixed(i) => vk.fixed_commitments()[*i],
                Poly::Sigma(i) => vk.permutation().commitments()[*i],
                _ => continue,
            };
            if is_infinity(&point) {
                continue;
            }
            match points.iter_mut().find(|(known, _)| *known == point) {
                Some((_, polys)) => polys.push(*poly),
                None => points.push((point, vec![*poly])),
            }
        }
        Self { points }
    }

    /// Index of a polynomial's point, and whether others share it and were opened before.
    fn index(&self, poly: Poly) -> Option<(usize, bool)> {
        let position = |(_, polys): &(G1Affine, Vec<Poly>)| polys.iter().position(|p| *p == poly);
        self.points.iter().enumerate().find_map(|(i, entry)| Some((i, position(entry)? > 0)))
    }
}

/// ω^rotation as a word.
pub fn omega(shape: &Shape, rotation: i32) -> String {
    word(omega_power(shape, rotation).to_repr().as_ref())
}

/// 1/n as a word.
pub fn n_inverse(shape: &Shape) -> String {
    let n = Fr::from(1 << shape.k);
    // 2^k is not zero in the field.
    word(n.invert().unwrap_or(Fr::ZERO).to_repr().as_ref())
}

/// Absorbs and squeezes.
pub fn transcript(shape: &Shape) -> Vec<Line> {
    let mut out = Vec::new();
    for (i, round) in shape.rounds.iter().enumerate() {
        let mut end = WORD;
        let mut absorb = |cptr: String, length: usize| {
            if length > 0 {
                out.push(format!("calldatacopy(add(TRANSCRIPT_MPTR, {end:#x}), {cptr}, {length:#x})"));
                end += length;
            }
        };
        if i == 0 {
            absorb("INSTANCES_CPTR".to_owned(), shape.n_instances * WORD);
        }
        if let Some(first) = round.commitments.first() {
            absorb(commitment_cptr(*first), round.commitments.len() * POINT);
        }
        if let (true, Some(first)) = (round.evaluations, shape.evaluations.first()) {
            absorb(evaluation_cptr(*first), shape.evaluations.len() * WORD);
        }
        for challenge in &round.challenges {
            let mptr = challenge_mptr(*challenge);
            out.push(if end == WORD { format!("squeezeAgain({mptr})") } else { format!("squeeze({mptr}, {end:#x})") });
            end = WORD;
        }
    }
    out
}

/// Checks that every evaluation is below the modulus.
pub fn canonical(shape: &Shape) -> Vec<Line> {
    let lines = shape.evaluations.iter();
    lines.map(|query| format!("ok := and(ok, lt(calldataload({}), r))", evaluation_cptr(*query))).collect()
}

/// The instance column at one rotation.
pub struct InstanceSum {
    /// Where its value goes.
    pub value: String,
    /// Where its denominator goes.
    pub denominator: String,
    /// x·ω^rotation.
    pub start: String,
    /// Product of ω^(row − rotation) over the rows of the instances.
    pub roots: String,
}

/// The instance column at all rotations.
pub fn instance_sums(shape: &Shape) -> Vec<InstanceSum> {
    let sum = |rotation: &i32| InstanceSum {
        value: instance_eval_mptr(*rotation),
        denominator: Denominator::Instances(*rotation).to_string(),
        start: rotated(shape, *rotation),
        roots: literal(&(0..shape.n_instances as i32).map(|row| omega_power(shape, row - rotation)).product()),
    };
    shape.instance_rotations.iter().map(sum).collect()
}

/// x·ω^rotation.
fn rotated(shape: &Shape, rotation: i32) -> String {
    match rotation {
        0 => "x".to_owned(),
        _ => format!("mulmod(x, {}, r)", literal(&omega_power(shape, rotation))),
    }
}

/// Leaves in `d` the product of x − ω^row over the blinding rows, and in `derivative` its derivative by x: Horner's
/// rule, and the product rule beside it.
pub fn blinding(shape: &Shape) -> Vec<Line> {
    // Coefficients, lowest first; the highest is 1.
    let mut coefficients = vec![Fr::ONE];
    for row in 1..=shape.n_blinding as i32 {
        let root = omega_power(shape, -row);
        coefficients.insert(0, Fr::ZERO);
        for i in 1..coefficients.len() {
            let shifted = coefficients[i] * root;
            coefficients[i - 1] -= shifted;
        }
    }
    let mut out = Vec::new();
    for coefficient in coefficients.iter().rev().skip(1) {
        out.push("derivative := addmod(mulmod(derivative, x, r), d, r)".to_owned());
        out.push(format!("d := addmod(mulmod(d, x, r), {}, r)", literal(coefficient)));
    }
    out
}

/// Commitment of the polynomial that is opened first, whose scalar is 1; none if it is the key's.
pub fn first_point(shape: &Shape) -> Option<Commitment> {
    let first = shape.sets.first()?.polys.first()?;
    shape.commitments().find(|commitment| *commitment == Commitment::Poly(*first))
}

/// Commitments that lie in calldata one behind the other.
pub struct PointRange {
    /// The first one.
    pub first: String,
    /// The last one.
    pub last: String,
}

/// All commitments of the proof but [`first_point`].
pub fn proof_points(shape: &Shape) -> Vec<PointRange> {
    let commitments: Vec<Commitment> = shape.commitments().collect();
    let opening = [Commitment::W, Commitment::WPrime];
    let first = first_point(shape);
    let before = commitments.split(|commitment| Some(*commitment) == first);
    let range = |points: &[Commitment]| {
        Some(PointRange { first: points.first()?.to_string(), last: points.last()?.to_string() })
    };
    before.chain([opening.as_slice()]).filter_map(range).collect()
}

/// u − x·ω^rotation for every rotation, and the product over the first set.
pub fn opening_denominators(shape: &Shape) -> Vec<Line> {
    let mut out = Vec::new();
    for rotation in shape.rotations() {
        let point = rotated(shape, rotation);
        out.push(format!("mstore({}, addmod(u, sub(r, {point}), r))", Denominator::Opening(rotation)));
    }
    let first = shape.sets.first().map_or(&[][..], |set| &set.rotations);
    let product = first
        .iter()
        .map(|rotation| format!("mload({})", Denominator::Opening(*rotation)))
        .reduce(|product, factor| format!("mulmod({product}, {factor}, r)"));
    out.push(format!("mstore(Z_FIRST_MPTR, {})", product.unwrap_or_else(|| "1".to_owned())));
    out
}

/// Scalars of all points, and that of the generator.
pub fn openings(shape: &Shape, key: &KeyPoints) -> Vec<Line> {
    let mut out = Vec::new();
    for (i, set) in shape.sets.iter().enumerate() {
        let rotations: Vec<String> = set.rotations.iter().map(ToString::to_string).collect();
        out.push(format!("// Set {i}: rotations {}.", rotations.join(", ")));
        if i == 0 {
            out.push("s := 1".to_owned());
        } else {
            out.push("scale := mulmod(scale, mload(NU_MPTR), r)".to_owned());
            out.push("s := scale".to_owned());
            for rotation in &set.rotations {
                out.push(format!("s := mulmod(s, mload({}), r)", Denominator::Opening(*rotation)));
            }
        }
        for (j, poly) in set.polys.iter().enumerate() {
            if j > 0 {
                out.push("s := mulmod(s, mu, r)".to_owned());
            }
            if first_point(shape) != Some(Commitment::Poly(*poly)) {
                out.extend(store_scalar(shape, key, *poly));
            }
        }
        out.push("sum := 0".to_owned());
        for rotation in &set.rotations {
            out.extend(combine_evaluations(&set.polys, *rotation));
            let weight = spread(shape, &set.rotations, *rotation);
            if weight != Fr::ONE {
                out.push(format!("e := mulmod(e, {}, r)", literal(&weight)));
            }
            out.push(format!("sum := addmod(sum, mulmod(e, mload({}), r), r)", Denominator::Opening(*rotation)));
        }
        out.push("sum := mulmod(sum, scale, r)".to_owned());
        out.extend((1..set.rotations.len()).map(|_| "sum := mulmod(sum, mload(INV_X_MPTR), r)".to_owned()));
        out.push("total := addmod(total, sum, r)".to_owned());
    }
    out
}

/// Stores the scalar `s` of a polynomial for its point or points.
fn store_scalar(shape: &Shape, key: &KeyPoints, poly: Poly) -> Vec<Line> {
    match poly {
        Poly::Fixed(_) | Poly::Sigma(_) => match key.index(poly) {
            None => Vec::new(),
            Some((index, false)) => vec![format!("mstore({}, s)", key_scalar_mptr(index))],
            Some((index, true)) => {
                let slot = key_scalar_mptr(index);
                vec![format!("mstore({slot}, addmod(mload({slot}), s, r))")]
            }
        },
        Poly::Quotient => {
            let n_pieces = shape.commitments().filter(|c| matches!(c, Commitment::QuotientPiece(_))).count();
            let mut out = vec!["e := s".to_owned()];
            for piece in 0..n_pieces {
                if piece > 0 {
                    out.push("e := mulmod(e, mload(X_N_MPTR), r)".to_owned());
                }
                out.push(format!("mstore({}, e)", scalar_mptr(Commitment::QuotientPiece(piece))));
            }
            out
        }
        _ => vec![format!("mstore({}, s)", scalar_mptr(Commitment::Poly(poly)))],
    }
}

/// Leaves Σ μ^j·(value of the set's j-th polynomial) in `e`.
fn combine_evaluations(polys: &[Poly], rotation: i32) -> Vec<Line> {
    let value = |poly: &Poly| match poly {
        Poly::Quotient => "mload(QUOTIENT_EVAL_MPTR)".to_owned(),
        _ => format!("calldataload({})", evaluation_cptr(Query { poly: *poly, rotation })),
    };
    let mut values = polys.iter().rev().map(value);
    let mut out: Vec<Line> = values.next().map(|last| format!("e := {last}")).into_iter().collect();
    out.extend(values.map(|value| format!("e := addmod(mulmod(e, mu, r), {value}, r)")));
    out
}

/// 1 / Π (ω^rotation − ω^other) over the other rotations of a set.
fn spread(shape: &Shape, rotations: &[i32], rotation: i32) -> Fr {
    let at = omega_power(shape, rotation);
    let others = rotations.iter().filter(|other| **other != rotation);
    let product: Fr = others.map(|other| at - omega_power(shape, *other)).product();
    // Rotations of a set differ by less than n, so the roots do.
    product.invert().unwrap_or(Fr::ZERO)
}

/// The constraints of the circuit at x.
pub struct Constraints {
    /// Variables that the lines use.
    pub variables: Vec<String>,
    /// Lines that fold each constraint into `h`.
    pub lines: Vec<Line>,
}

fn challenge(challenge: Challenge) -> Expr {
    Expr::mload(&challenge_mptr(challenge))
}

fn evaluation(poly: Poly, rotation: i32) -> Expr {
    Expr::calldataload(&evaluation_cptr(Query { poly, rotation }))
}

/// A constraint of the key, or part of one, over words of calldata and memory. None for a selector, which no key has.
fn lower(expression: &plonk::Expression<Fr>) -> Option<Expr> {
    expression.evaluate(
        &|constant| Some(Expr::Constant(constant)),
        &|_| None,
        &|query| Some(evaluation(Poly::Fixed(query.column_index()), query.rotation().0)),
        &|query| Some(evaluation(Poly::Advice(query.column_index()), query.rotation().0)),
        &|query| Some(Expr::mload(&instance_eval_mptr(query.rotation().0))),
        &|user| Some(challenge(Challenge::User(user.index()))),
        &|a| Some(-a?),
        &|a, b| Some(a? + b?),
        &|a, b| Some(a? * b?),
        &|a, factor| Some(a? * Expr::Constant(factor)),
    )
}

/// What folds constraints into `h`.
#[derive(Default)]
struct Folder {
    lines: Vec<Line>,
    count: usize,
}

impl Folder {
    /// Folds `t0` in.
    fn fold(&mut self) {
        self.lines.push(if self.count == 0 {
            "h := t0".to_owned()
        } else {
            "h := addmod(mulmod(h, y, r), t0, r)".to_owned()
        });
        self.count += 1;
    }

    fn push(&mut self, expression: &Expr) -> Result<(), GenerateError> {
        let statements = expression.statements().ok_or(GenerateError::TooNested { constraint: self.count })?;
        self.lines.extend(statements);
        self.fold();
        Ok(())
    }

    fn comment(&mut self, text: String) {
        self.lines.push(format!("// {text}"));
    }
}

/// Writes gates, permutation argument and lookups in halo2's order.
///
/// Errors: [`GenerateError::TooNested`].
pub fn constraints(shape: &Shape, cs: &ConstraintSystem<Fr>) -> Result<Constraints, GenerateError> {
    let mut folder = Folder::default();
    for gate in cs.gates() {
        let name: String = gate.name().chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        folder.comment(format!("Gate {name:?}."));
        for polynomial in gate.polynomials() {
            let expression = lower(polynomial).ok_or(GenerateError::TooNested { constraint: folder.count })?;
            folder.push(&expression)?;
        }
    }
    permutation(shape, cs, &mut folder)?;
    lookups(cs, &mut folder)?;
    let used = (0..crate::yul::N_VARIABLES).map(|i| format!("t{i}"));
    let variables = used.filter(|name| folder.lines.iter().any(|line| line.contains(&format!("{name} :=")))).collect();
    Ok(Constraints { variables, lines: folder.lines })
}

fn l_first() -> Expr {
    Expr::mload("L_FIRST_MPTR")
}

fn l_last() -> Expr {
    Expr::mload("L_LAST_MPTR")
}

fn l_active() -> Expr {
    Expr::mload("L_ACTIVE_MPTR")
}

fn one() -> Expr {
    Expr::Constant(Fr::ONE)
}

/// z is 0 or 1 where `l_last` is 1.
fn is_bit(z: Expr) -> Expr {
    l_last() * (z.clone() * z.clone() - z)
}

fn permutation(shape: &Shape, cs: &ConstraintSystem<Fr>, folder: &mut Folder) -> Result<(), GenerateError> {
    let columns = permutation_columns(cs);
    let n_products = columns.len().div_ceil(shape.permutation_chunk);
    if n_products == 0 {
        return Ok(());
    }
    let z = |i: usize, rotation: i32| evaluation(Poly::PermutationProduct(i), rotation);
    folder.comment("Permutation argument.".to_owned());
    folder.push(&(l_first() * (one() - z(0, 0))))?;
    folder.push(&is_bit(z(n_products - 1, 0)))?;
    for i in 1..n_products {
        folder.push(&(l_first() * (z(i, 0) - z(i - 1, shape.last_rotation()))))?;
    }
    // t2 runs through β·x·δ^i over the columns of all chunks.
    folder.lines.push("t2 := mulmod(mload(BETA_MPTR), mload(X_MPTR), r)".to_owned());
    let delta = word(Fr::DELTA.to_repr().as_ref());
    for (i, chunk) in columns.chunks(shape.permutation_chunk).enumerate() {
        folder.lines.push(format!("t0 := {}", z(i, 1).statement_operand()));
        folder.lines.push(format!("t1 := {}", z(i, 0).statement_operand()));
        for (j, column) in chunk.iter().enumerate() {
            let sigma = i * shape.permutation_chunk + j;
            let value = match column {
                Some(poly) => evaluation(*poly, 0),
                None => Expr::mload(&instance_eval_mptr(0)),
            };
            folder.lines.extend([
                format!("t3 := addmod({}, mload(GAMMA_MPTR), r)", value.statement_operand()),
                format!(
                    "t0 := mulmod(t0, addmod(mulmod(mload(BETA_MPTR), {}, r), t3, r), r)",
                    evaluation(Poly::Sigma(sigma), 0).statement_operand()
                ),
                "t1 := mulmod(t1, addmod(t2, t3, r), r)".to_owned(),
            ]);
            if sigma + 1 < columns.len() {
                folder.lines.push(format!("t2 := mulmod(t2, {delta}, r)"));
            }
        }
        folder.lines.push("t0 := mulmod(mload(L_ACTIVE_MPTR), addmod(t0, sub(r, t1), r), r)".to_owned());
        folder.fold();
    }
    Ok(())
}

fn lookups(cs: &ConstraintSystem<Fr>, folder: &mut Folder) -> Result<(), GenerateError> {
    for (i, lookup) in cs.lookups().iter().enumerate() {
        folder.comment(format!("Lookup {i}."));
        let too_nested = GenerateError::TooNested { constraint: folder.count };
        let compress = |expressions: &[plonk::Expression<Fr>]| {
            let mut out = Some(Expr::Constant(Fr::ZERO));
            for expression in expressions {
                out = Some(out? * challenge(Challenge::Theta) + lower(expression)?);
            }
            out
        };
        let (Some(input), Some(table)) = (compress(lookup.input_expressions()), compress(lookup.table_expressions()))
        else {
            return Err(too_nested);
        };
        let [beta, gamma] = [Challenge::Beta, Challenge::Gamma].map(challenge);
        let z = evaluation(Poly::LookupProduct(i), 0);
        let z_next = evaluation(Poly::LookupProduct(i), 1);
        let permuted_input = evaluation(Poly::LookupInput(i), 0);
        let permuted_previous = evaluation(Poly::LookupInput(i), -1);
        let permuted_table = evaluation(Poly::LookupTable(i), 0);
        folder.push(&(l_first() * (one() - z.clone())))?;
        folder.push(&is_bit(z.clone()))?;
        let left = z_next * (permuted_input.clone() + beta.clone()) * (permuted_table.clone() + gamma.clone());
        let right = z * (input + beta) * (table + gamma);
        folder.push(&(l_active() * (left - right)))?;
        folder.push(&(l_first() * (permuted_input.clone() - permuted_table.clone())))?;
        let step = (permuted_input.clone() - permuted_table) * (permuted_input - permuted_previous);
        folder.push(&(l_active() * step))?;
    }
    Ok(())
}
