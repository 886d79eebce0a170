//! The protocol once more, slowly: polynomials by their coefficients, multiplied and divided as on paper, on no coset and
//! without a transform; sums of points one by one. The engine's whole proof equals this one's, byte for byte.
//!
//! Source: The halo2 book, "Protocol description"; Boneh, Drake, Fisch, Gabizon, eprint 2020/081 for the opening.

use std::collections::BTreeMap;

use halo2_proofs::{
    arithmetic::lagrange_interpolate,
    halo2curves::{
        bn256::{Fr, G1, G1Affine},
        ff::{Field, PrimeField},
        group::{Curve, Group},
    },
    plonk::{Any, Column, Expression},
    poly::commitment::ParamsProver,
    transcript::{Blake2bWrite, Challenge255, Transcript as _, TranscriptWrite as _, TranscriptWriterBuffer as _},
};
use rand::RngCore;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::support::Keyed;

/// Coefficients, constant term first.
#[derive(Clone, Debug, Default)]
struct Poly(Vec<Fr>);

impl Poly {
    fn constant(c: Fr) -> Self {
        Self(vec![c])
    }

    fn add(&self, other: &Self) -> Self {
        let at = |p: &Self, i: usize| p.0.get(i).copied().unwrap_or(Fr::ZERO);
        Self((0..self.0.len().max(other.0.len())).map(|i| at(self, i) + at(other, i)).collect())
    }

    fn scale(&self, factor: Fr) -> Self {
        Self(self.0.iter().map(|c| *c * factor).collect())
    }

    fn sub(&self, other: &Self) -> Self {
        self.add(&other.scale(-Fr::ONE))
    }

    fn mul(&self, other: &Self) -> Self {
        let mut out = vec![Fr::ZERO; (self.0.len() + other.0.len()).saturating_sub(1)];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                out[i + j] += *a * b;
            }
        }
        Self(out)
    }

    /// `p(factor·X)`.
    fn stretch(&self, factor: Fr) -> Self {
        let mut power = Fr::ONE;
        let next = |c: &Fr| {
            let out = *c * power;
            power *= factor;
            out
        };
        Self(self.0.iter().map(next).collect())
    }

    fn at(&self, x: Fr) -> Fr {
        self.0.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c)
    }

    /// The quotient by a polynomial with leading coefficient 1 that divides this.
    fn divided_by(&self, divisor: &Self) -> Self {
        let mut rest = self.0.clone();
        let degree = divisor.0.len() - 1;
        let mut quotient = vec![Fr::ZERO; rest.len().saturating_sub(degree).max(1)];
        for i in (degree..rest.len()).rev() {
            let factor = rest[i];
            quotient[i - degree] = factor;
            for (j, c) in divisor.0.iter().enumerate() {
                rest[i - degree + j] -= factor * c;
            }
        }
        assert!(rest.iter().all(|c| c.is_zero_vartime()), "the division leaves a remainder");
        Self(quotient)
    }

    fn root(x: Fr) -> Self {
        Self(vec![-x, Fr::ONE])
    }
}

/// The subgroup, with what follows from its generator.
struct Rows {
    n: usize,
    omega: Fr,
    usable: usize,
    blinding: usize,
}

impl Rows {
    fn power(&self, exponent: i64) -> Fr {
        self.omega.pow_vartime([exponent.rem_euclid(self.n as i64) as u64])
    }

    /// The polynomial with these values.
    fn interpolate(&self, values: &[Fr]) -> Poly {
        let inverse = Fr::from(self.n as u64).invert().expect("n is not 0");
        let coefficient = |j: usize| -> Fr {
            values.iter().enumerate().map(|(i, v)| *v * self.power(-((i * j) as i64))).sum::<Fr>() * inverse
        };
        Poly((0..self.n).map(coefficient).collect())
    }

    /// 1 in these rows and 0 in the others.
    fn indicator(&self, ones: std::ops::Range<usize>) -> Poly {
        let values: Vec<Fr> = (0..self.n).map(|row| Fr::from(u64::from(ones.contains(&row)))).collect();
        self.interpolate(&values)
    }
}

/// All columns by name.
struct All {
    advice: Vec<Vec<Fr>>,
    instance: Vec<Vec<Fr>>,
    fixed: Vec<Vec<Fr>>,
}

impl All {
    fn column(&self, column: &Column<Any>) -> &[Fr] {
        match column.column_type() {
            Any::Advice(_) => &self.advice[column.index()],
            Any::Fixed => &self.fixed[column.index()],
            Any::Instance => &self.instance[column.index()],
        }
    }

    fn value(&self, expression: &Expression<Fr>, row: usize) -> Fr {
        let at = |column: &[Fr], rotation: i32| {
            column[(row as i64 + i64::from(rotation)).rem_euclid(column.len() as i64) as usize]
        };
        expression.evaluate(
            &|c| c,
            &|_| unreachable!("selectors became columns"),
            &|q| at(&self.fixed[q.column_index()], q.rotation().0),
            &|q| at(&self.advice[q.column_index()], q.rotation().0),
            &|q| at(&self.instance[q.column_index()], q.rotation().0),
            &|_| unreachable!("drawn circuits have no challenge"),
            &|a| -a,
            &|a, b| a + b,
            &|a, b| a * b,
            &|a, factor| a * factor,
        )
    }

    fn poly(&self, rows: &Rows, expression: &Expression<Fr>) -> Poly {
        let rotated = |column: &[Fr], rotation: i32| rows.interpolate(column).stretch(rows.power(i64::from(rotation)));
        expression.evaluate(
            &Poly::constant,
            &|_| unreachable!("selectors became columns"),
            &|q| rotated(&self.fixed[q.column_index()], q.rotation().0),
            &|q| rotated(&self.advice[q.column_index()], q.rotation().0),
            &|q| rotated(&self.instance[q.column_index()], q.rotation().0),
            &|_| unreachable!("drawn circuits have no challenge"),
            &|a| a.scale(-Fr::ONE),
            &|a, b| a.add(&b),
            &|a, b| a.mul(&b),
            &|a, factor| a.scale(factor),
        )
    }
}

/// The engine's order of a lookup's columns (docs/adr/0011): by value, every entry that is used beside the first of its
/// inputs, the others in ascending order in the rows left.
fn permute(input: &[Fr], table: &[Fr]) -> (Vec<Fr>, Vec<Fr>) {
    let key = |x: &Fr| {
        let mut bytes = x.to_repr().as_ref().to_vec();
        bytes.reverse();
        bytes
    };
    let count = |values: &[Fr]| {
        let mut counts: BTreeMap<Vec<u8>, (Fr, usize)> = BTreeMap::new();
        values.iter().for_each(|v| counts.entry(key(v)).or_insert((*v, 0)).1 += 1);
        counts
    };
    let (inputs, mut entries) = (count(input), count(table));
    for used in inputs.keys() {
        entries.get_mut(used).expect("an input that the table has").1 -= 1;
    }
    let mut left = entries.into_values().flat_map(|(value, times)| std::iter::repeat_n(value, times));
    let (mut permuted, mut beside) = (Vec::new(), Vec::new());
    for (value, times) in inputs.into_values() {
        for i in 0..times {
            permuted.push(value);
            beside.push(if i == 0 { value } else { left.next().expect("as many entries as inputs") });
        }
    }
    (permuted, beside)
}

/// `z` with z(0) = first and z(row + 1) = z(row)·numerator/denominator, blinded.
fn product(rows: &Rows, first: Fr, factor: impl Fn(usize) -> (Fr, Fr), rng: &mut impl RngCore) -> Vec<Fr> {
    let mut z = vec![first];
    for row in 0..rows.n - rows.blinding - 1 {
        let (numerator, denominator) = factor(row);
        z.push(z[row] * numerator * denominator.invert().unwrap_or(Fr::ZERO));
    }
    z.resize_with(rows.n, || Fr::random(&mut *rng));
    // The factor that KZG does not use.
    Fr::random(rng);
    z
}

/// A lookup's compressed and permuted columns, and the running product.
struct Lookup {
    compressed: [Vec<Fr>; 2],
    input: Vec<Fr>,
    table: Vec<Fr>,
    product: Vec<Fr>,
}

/// The proof of a circuit without challenges, with the draws of `engine::prove`.
pub fn prove(keyed: &Keyed, advice: Vec<Vec<Fr>>, instances: &[Vec<Fr>], mut rng: impl RngCore) -> Vec<u8> {
    let (pk, cs) = (&keyed.pk, keyed.pk.get_vk().cs());
    let n = pk.l0().len();
    let omega = pk.get_vk().get_domain().get_omega();
    let blinding = cs.blinding_factors();
    let rows = Rows { n, omega, usable: n - (blinding + 1), blinding };
    let mut transcript = Blake2bWrite::<_, G1Affine, Challenge255<_>>::init(Vec::new());
    let commit = |poly: &Poly| -> G1Affine {
        poly.0.iter().zip(keyed.params.get_g()).map(|(c, g)| *g * c).fold(G1::identity(), |a, b| a + b).to_affine()
    };
    pk.get_vk().hash_into(&mut transcript).expect("a transcript");
    for value in instances.iter().flatten() {
        transcript.common_scalar(*value).expect("a transcript");
    }
    let padded = |values: &Vec<Fr>| values.iter().copied().chain(std::iter::repeat(Fr::ZERO)).take(n).collect();
    let mut all = All {
        advice,
        instance: instances.iter().map(padded).collect(),
        fixed: pk.fixed_values().iter().map(|c| c.to_vec()).collect(),
    };
    for column in &mut all.advice {
        column.resize_with(n, || Fr::random(&mut rng));
    }
    for _ in &all.advice {
        Fr::random(&mut rng);
    }
    for column in &all.advice {
        transcript.write_point(commit(&rows.interpolate(column))).expect("a transcript");
    }

    let theta: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let mut lookups: Vec<Lookup> = Vec::new();
    for lookup in cs.lookups() {
        let compressed = [lookup.input_expressions(), lookup.table_expressions()].map(|side| {
            let value = |row| side.iter().fold(Fr::ZERO, |sum, e| sum * theta + all.value(e, row));
            (0..n).map(value).collect::<Vec<Fr>>()
        });
        let (mut input, mut table) = permute(&compressed[0][..rows.usable], &compressed[1][..rows.usable]);
        input.resize_with(n, || Fr::random(&mut rng));
        table.resize_with(n, || Fr::random(&mut rng));
        Fr::random(&mut rng);
        Fr::random(&mut rng);
        lookups.push(Lookup { compressed, input, table, product: Vec::new() });
    }
    for column in lookups.iter().flat_map(|l| [&l.input, &l.table]) {
        transcript.write_point(commit(&rows.interpolate(column))).expect("a transcript");
    }

    let beta: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let gamma: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let permuted = cs.permutation().get_columns();
    let sigmas = pk.permutation().permutations();
    let label = |column: usize| Fr::DELTA.pow_vartime([column as u64]);
    let set_len = cs.degree() - 2;
    let mut products: Vec<Vec<Fr>> = Vec::new();
    let numbers: Vec<usize> = (0..permuted.len()).collect();
    let sets: Vec<&[usize]> = numbers.chunks(set_len).collect();
    for set in &sets {
        let first = products.last().map_or(Fr::ONE, |z| z[rows.usable]);
        let factor = |row: usize| {
            let terms = set.iter().map(|&j| {
                let value = all.column(&permuted[j])[row] + gamma;
                (value + beta * label(j) * rows.power(row as i64), value + beta * sigmas[j][row])
            });
            terms.fold((Fr::ONE, Fr::ONE), |product, term| (product.0 * term.0, product.1 * term.1))
        };
        products.push(product(&rows, first, factor, &mut rng));
    }
    for lookup in &mut lookups {
        let [input, table] = &lookup.compressed;
        let factor = |row: usize| {
            ((input[row] + beta) * (table[row] + gamma), (lookup.input[row] + beta) * (lookup.table[row] + gamma))
        };
        lookup.product = product(&rows, Fr::ONE, factor, &mut rng);
    }
    for column in products.iter().chain(lookups.iter().map(|l| &l.product)) {
        transcript.write_point(commit(&rows.interpolate(column))).expect("a transcript");
    }
    let mut seed = [0; 32];
    let draws: [u64; 8] = std::array::from_fn(|_| rng.next_u64());
    seed.chunks_exact_mut(8).zip(draws).for_each(|(bytes, draw)| bytes.copy_from_slice(&draw.to_le_bytes()));
    let mut stream = ChaCha20Rng::from_seed(seed);
    let random = Poly(vec![Fr::random(&mut stream), Fr::random(&mut stream)]);
    transcript.write_point(commit(&random)).expect("a transcript");

    let y: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let poly = |values: &[Fr]| rows.interpolate(values);
    let (first, last) = (rows.indicator(0..1), rows.indicator(rows.usable..rows.usable + 1));
    let active = rows.indicator(0..rows.usable);
    let one = Poly::constant(Fr::ONE);
    let plus = |p: &Poly, c: Fr| p.add(&Poly::constant(c));
    let boolean = |z: &Poly| z.mul(z).sub(z);
    let last_rotation = -(rows.blinding as i64 + 1);
    let product_polys: Vec<Poly> = products.iter().map(|z| poly(z)).collect();
    let mut constraints: Vec<Poly> =
        cs.gates().iter().flat_map(|gate| gate.polynomials()).map(|e| all.poly(&rows, e)).collect();
    if let (Some(z), Some(end)) = (product_polys.first(), product_polys.last()) {
        constraints.push(first.mul(&one.sub(z)));
        constraints.push(last.mul(&boolean(end)));
        for pair in product_polys.windows(2) {
            constraints.push(first.mul(&pair[1].sub(&pair[0].stretch(rows.power(last_rotation)))));
        }
        for (set, z) in sets.iter().zip(&product_polys) {
            let (mut left, mut right) = (z.stretch(omega), z.clone());
            for &j in *set {
                let value = plus(&poly(all.column(&permuted[j])), gamma);
                left = left.mul(&value.add(&poly(&sigmas[j]).scale(beta)));
                right = right.mul(&value.add(&Poly(vec![Fr::ZERO, beta * label(j)])));
            }
            constraints.push(active.mul(&left.sub(&right)));
        }
    }
    for (lookup, of) in lookups.iter().zip(cs.lookups()) {
        let compressed = |side: &[Expression<Fr>]| {
            side.iter().fold(Poly::default(), |sum, e| sum.scale(theta).add(&all.poly(&rows, e)))
        };
        let (z, input, table) = (poly(&lookup.product), poly(&lookup.input), poly(&lookup.table));
        let left = z.stretch(omega).mul(&plus(&input, beta)).mul(&plus(&table, gamma));
        let right = z
            .mul(&plus(&compressed(of.input_expressions()), beta))
            .mul(&plus(&compressed(of.table_expressions()), gamma));
        let difference = input.sub(&table);
        constraints.push(first.mul(&one.sub(&z)));
        constraints.push(last.mul(&boolean(&z)));
        constraints.push(active.mul(&left.sub(&right)));
        constraints.push(first.mul(&difference));
        constraints.push(active.mul(&difference.mul(&input.sub(&input.stretch(rows.power(-1))))));
    }
    let numerator = constraints.iter().fold(Poly::default(), |sum, c| sum.scale(y).add(c));
    let mut vanishing = vec![Fr::ZERO; n + 1];
    (vanishing[0], vanishing[n]) = (-Fr::ONE, Fr::ONE);
    let mut h = numerator.divided_by(&Poly(vanishing)).0;
    let n_pieces = cs.degree() - 1;
    assert!(h.iter().skip(n * n_pieces).all(|c| c.is_zero_vartime()), "h fits its pieces");
    h.resize(n * n_pieces, Fr::ZERO);
    let pieces: Vec<Poly> = h.chunks(n).map(|piece| Poly(piece.to_vec())).collect();
    for _ in &pieces {
        Fr::random(&mut rng);
    }
    for piece in &pieces {
        transcript.write_point(commit(piece)).expect("a transcript");
    }

    let x: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let xn = x.pow_vartime([n as u64]);
    let h = pieces.iter().rev().fold(Poly::default(), |sum, piece| sum.scale(xn).add(piece));
    // Every opened polynomial, and where each kind of them starts.
    let fixed: Vec<Poly> = all.fixed.iter().map(|c| poly(c)).collect();
    let advice: Vec<Poly> = all.advice.iter().map(|c| poly(c)).collect();
    let mut polys: Vec<Poly> = advice;
    let mut add = |more: Vec<Poly>| {
        let start = polys.len();
        polys.extend(more);
        start
    };
    let fixed = add(fixed);
    let sigma = add(sigmas.iter().map(|c| poly(c)).collect());
    let product = add(product_polys);
    let lookup = add(lookups.iter().flat_map(|l| [poly(&l.product), poly(&l.input), poly(&l.table)]).collect());
    let quotient = add(vec![h, random]);
    let random = quotient + 1;

    let advice_queries = cs.advice_queries().iter().map(|(c, r)| (c.index(), i64::from(r.0)));
    let fixed_queries = cs.fixed_queries().iter().map(|(c, r)| (fixed + c.index(), i64::from(r.0)));
    let mut written: Vec<(usize, i64)> = advice_queries.clone().chain(fixed_queries.clone()).collect();
    let mut opened: Vec<(usize, i64)> = advice_queries.collect();
    written.push((random, 0));
    written.extend((0..sigmas.len()).map(|j| (sigma + j, 0)));
    for set in 0..sets.len() {
        written.extend([(product + set, 0), (product + set, 1)]);
        opened.extend([(product + set, 0), (product + set, 1)]);
        if set + 1 < sets.len() {
            written.push((product + set, last_rotation));
        }
    }
    opened.extend((0..sets.len()).rev().skip(1).map(|set| (product + set, last_rotation)));
    for l in 0..lookups.len() {
        let [z, input, table] = [0, 1, 2].map(|i| lookup + 3 * l + i);
        written.extend([(z, 0), (z, 1), (input, 0), (input, -1), (table, 0)]);
        opened.extend([(z, 0), (input, 0), (table, 0), (input, -1), (z, 1)]);
    }
    opened.extend(fixed_queries);
    opened.extend((0..sigmas.len()).map(|j| (sigma + j, 0)));
    opened.extend([(quotient, 0), (random, 0)]);
    for (poly, rotation) in written {
        transcript.write_scalar(polys[poly].at(x * rows.power(rotation))).expect("a transcript");
    }

    let y: Fr = *transcript.squeeze_challenge_scalar::<()>();
    // Polynomials with the points of each, then those with the same points together.
    let mut points_of: Vec<(usize, Vec<Fr>)> = Vec::new();
    for (poly, rotation) in opened {
        let point = x * rows.power(rotation);
        match points_of.iter_mut().find(|(p, _)| *p == poly) {
            Some((_, points)) if points.contains(&point) => {}
            Some((_, points)) => points.push(point),
            None => points_of.push((poly, vec![point])),
        }
    }
    let mut groups: Vec<(Vec<Fr>, Vec<usize>)> = Vec::new();
    for (poly, points) in points_of {
        let same = |other: &[Fr]| other.len() == points.len() && points.iter().all(|p| other.contains(p));
        match groups.iter_mut().find(|(other, _)| same(other)) {
            Some((_, members)) => members.push(poly),
            None => groups.push((points, vec![poly])),
        }
    }
    let v: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let folded: Vec<(Poly, Poly)> = groups
        .iter()
        .map(|(points, members)| {
            let sum = members.iter().rev().fold(Poly::default(), |sum, m| sum.scale(y).add(&polys[*m]));
            let values: Vec<Fr> = points.iter().map(|p| sum.at(*p)).collect();
            (sum, Poly(lagrange_interpolate(points, &values)))
        })
        .collect();
    let roots = |points: &mut dyn Iterator<Item = Fr>| points.fold(one.clone(), |p, x| p.mul(&Poly::root(x)));
    let quotients: Vec<Poly> = groups
        .iter()
        .zip(&folded)
        .map(|((points, _), (sum, low))| sum.sub(low).divided_by(&roots(&mut points.iter().copied())))
        .collect();
    let w = quotients.iter().rev().fold(Poly::default(), |sum, q| sum.scale(v).add(q));
    transcript.write_point(commit(&w)).expect("a transcript");

    let u: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let mut points: Vec<Fr> = Vec::new();
    for point in groups.iter().flat_map(|(points, _)| points) {
        if !points.contains(point) {
            points.push(*point);
        }
    }
    let others = |of: &[Fr]| roots(&mut points.iter().copied().filter(|p| !of.contains(p))).at(u);
    let mut linear = w.scale(-roots(&mut points.iter().copied()).at(u));
    let mut power = Fr::ONE;
    for ((of, _), (sum, low)) in groups.iter().zip(&folded) {
        linear = linear.add(&plus(sum, -low.at(u)).scale(power * others(of)));
        power *= v;
    }
    let scale = others(&groups[0].0).invert().expect("u is none of the points");
    transcript.write_point(commit(&linear.divided_by(&Poly::root(u)).scale(scale))).expect("a transcript");
    transcript.finalize()
}
