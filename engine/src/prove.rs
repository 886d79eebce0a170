//! The proof, round by round, in the order in which the library's verifier reads it.

use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::{Field, PrimeField},
    },
    plonk::{Circuit, ConstraintSystem},
    poly::{commitment::Params as _, kzg::commitment::ParamsKZG},
    transcript::{EncodedChallenge, TranscriptWrite},
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use rayon::prelude::*;

use crate::bases::Bases;
use crate::constraints::{last_rotation, permuted, set_len};
use crate::error::EngineError;
use crate::few::{Hints, NoHints};
use crate::fft::Domain;
use crate::grand_product::{Fraction, Linear, More, running_product};
use crate::key::PreparedKey;
use crate::lookup::permute;
use crate::msm::commit;
use crate::opening::{Query, open};
use crate::poly::Poly;
use crate::program::{Column, Symbol};
use crate::quotient;
use crate::view::KeyView;
use crate::watch::{Phase, Unwatched, Watch, enter};
use crate::witness::synthesize;

/// Writes to the transcript what `create_proof` with SHPLONK writes for one circuit.
///
/// `rng` is drawn from as `create_proof` draws from its own, in the same order and number. Two things differ, neither visible
/// to a verifier: the random polynomial of the vanishing argument is linear and comes from `rng` (from the draws of its blinding
/// factor, which KZG does not use), not from a generator of the thread, and the groups of a lookup's permuted columns stand in
/// the order of their values.
///
/// The circuit is dropped when it has filled its columns.
///
/// Errors: [`EngineError`]. A false witness yields a proof that does not verify.
pub fn prove<'k, E, T, R, C>(
    params: &ParamsKZG<Bn256>,
    pk: impl Into<KeyView<'k>>,
    key: &PreparedKey,
    circuit: C,
    instances: &[&[Fr]],
    rng: R,
    transcript: &mut T,
) -> Result<(), EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E> + Sync,
    R: RngCore + CryptoRng + Sync,
    C: Circuit<Fr>,
{
    prove_watched((params, pk, key), circuit, instances, rng, transcript, &mut Unwatched)
}

/// [`prove`] that tells `watch` of each phase before it begins, and ends when told to.
///
/// Errors: [`EngineError`], [`EngineError::Cancelled`] among them; the transcript is then of no use.
pub fn prove_watched<'k, E, T, R, C>(
    key: (&ParamsKZG<Bn256>, impl Into<KeyView<'k>>, &PreparedKey),
    circuit: C,
    instances: &[&[Fr]],
    rng: R,
    transcript: &mut T,
    watch: &mut dyn Watch,
) -> Result<(), EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E> + Sync,
    R: RngCore + CryptoRng + Sync,
    C: Circuit<Fr>,
{
    prove_hinted(key, (circuit, NoHints), instances, rng, transcript, watch)
}

/// [`prove_watched`] of a circuit of whose columns more is known; the proof is the same, sooner. The hints are dropped with the
/// circuit.
///
/// Errors: as [`prove_watched`].
pub fn prove_hinted<'k, E, T, R, C>(
    (params, pk, key): (&ParamsKZG<Bn256>, impl Into<KeyView<'k>>, &PreparedKey),
    (circuit, hints): (C, impl Hints),
    instances: &[&[Fr]],
    mut rng: R,
    transcript: &mut T,
    watch: &mut dyn Watch,
) -> Result<(), EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E> + Sync,
    R: RngCore + CryptoRng + Sync,
    C: Circuit<Fr>,
{
    let pk = &pk.into();
    let cs = pk.vk.cs();
    key.check(pk)?;
    check_inputs(params, key, cs, instances)?;
    let bases = Bases::new(params)?;
    let (domain, n) = (&key.domain, key.domain.n());
    pk.vk.hash_into(transcript)?;

    enter(watch, Phase::Witness)?;
    let witness = synthesize(cs, &bases, (&circuit, &hints), instances, key.work(), &mut rng, transcript)?;
    // Its cells may take as much memory as the columns.
    drop((circuit, hints));
    let mut columns = Columns {
        advice: witness.advice,
        instance: instances.iter().map(|values| padded(values, n)).collect(),
        products: Vec::new(),
        lookups: Vec::new(),
    };
    let mut symbols = Symbols { challenges: witness.challenges, ..Symbols::default() };

    enter(watch, Phase::Lookups)?;
    symbols.theta = *transcript.squeeze_challenge_scalar::<()>();
    let compressed = commit_permuted(cs, pk, key, &bases, &symbols, &mut columns, &mut rng, transcript)?;
    symbols.beta = *transcript.squeeze_challenge_scalar::<()>();
    symbols.gamma = *transcript.squeeze_challenge_scalar::<()>();
    enter(watch, Phase::Products)?;
    columns.products = permutation_products(cs, pk, domain, &columns, &symbols, &mut rng);
    lookup_products(cs, compressed, &mut columns, &symbols, &mut rng);
    let products: Vec<&[Fr]> =
        columns.products.iter().chain(columns.lookups.iter().map(|l| &l.product)).map(Vec::as_slice).collect();
    write_points(&commit(&products, bases.lagrange(), key.work()), transcript)?;

    enter(watch, Phase::Coefficients)?;
    let random = random_polynomial(&mut rng);
    write_points(&commit(&[&random], bases.monomial(), key.work()), transcript)?;
    symbols.y = *transcript.squeeze_challenge_scalar::<()>();

    columns.all_mut().into_par_iter().for_each(|values| domain.to_coefficients(values));
    let of = key.shifts.len();
    let pieces = quotient::pieces(
        key,
        pk,
        |column| columns.get(column),
        |symbol| symbols.get(symbol),
        |index| enter(watch, Phase::Coset { index, of }),
    )?;
    enter(watch, Phase::Pieces)?;
    // A blinding factor for each piece, which KZG does not use.
    for _ in &pieces {
        Fr::random(&mut rng);
    }
    let views: Vec<&[Fr]> = pieces.iter().map(Vec::as_slice).collect();
    write_points(&commit(&views, bases.monomial(), key.work()), transcript)?;

    enter(watch, Phase::Opening)?;
    let x: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let polynomials =
        Polynomials { pk, columns: &columns, random: &random, pieces: &pieces, xn: x.pow_vartime([n as u64]) };
    let evaluated = Evaluated::new(cs, domain, &polynomials, x);
    for value in &evaluated.written {
        transcript.write_scalar(*value)?;
    }
    open(n, bases.monomial(), &evaluated.queries, |id| polynomials.terms(&evaluated.ids[id]), key.work(), transcript)
}

fn check_inputs(
    params: &ParamsKZG<Bn256>,
    key: &PreparedKey,
    cs: &ConstraintSystem<Fr>,
    instances: &[&[Fr]],
) -> Result<(), EngineError> {
    if params.k() != key.domain.k() {
        return Err(EngineError::SrsSize { expected: key.domain.k(), got: params.k() });
    }
    if instances.len() != cs.num_instance_columns() {
        return Err(EngineError::InstanceColumns { expected: cs.num_instance_columns(), got: instances.len() });
    }
    let usable = key.domain.n() - (cs.blinding_factors() + 1);
    for (column, values) in instances.iter().enumerate() {
        if values.len() > usable {
            return Err(EngineError::InstanceTooLong { column, expected: usable, got: values.len() });
        }
    }
    Ok(())
}

fn padded(values: &[Fr], n: usize) -> Vec<Fr> {
    let mut out = values.to_vec();
    out.resize(n, Fr::ZERO);
    out
}

fn write_points<E, T>(points: &[G1Affine], transcript: &mut T) -> Result<(), EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
{
    for point in points {
        transcript.write_point(*point)?;
    }
    Ok(())
}

/// Challenges drawn so far.
#[derive(Default)]
struct Symbols {
    challenges: Vec<Fr>,
    theta: Fr,
    beta: Fr,
    gamma: Fr,
    y: Fr,
}

impl Symbols {
    fn get(&self, symbol: Symbol) -> Fr {
        match symbol {
            Symbol::Challenge(i) => self.challenges[i],
            Symbol::Theta => self.theta,
            Symbol::Beta => self.beta,
            Symbol::Gamma => self.gamma,
            Symbol::Y => self.y,
        }
    }
}

/// Columns of one lookup.
struct LookupColumns {
    input: Vec<Fr>,
    table: Vec<Fr>,
    product: Vec<Fr>,
}

/// All columns that depend on the witness: values first, coefficients in reversed order later.
struct Columns {
    advice: Vec<Vec<Fr>>,
    instance: Vec<Vec<Fr>>,
    products: Vec<Vec<Fr>>,
    lookups: Vec<LookupColumns>,
}

impl Columns {
    /// The key's own columns are not among these; asked for one, the answer is empty.
    fn get(&self, column: Column) -> &[Fr] {
        match column {
            Column::Advice(i) => &self.advice[i],
            Column::Instance(i) => &self.instance[i],
            Column::Product(i) => &self.products[i],
            Column::Input(i) => &self.lookups[i].input,
            Column::Table(i) => &self.lookups[i].table,
            Column::LookupProduct(i) => &self.lookups[i].product,
            Column::Fixed(_) | Column::First | Column::Last | Column::Active | Column::Point | Column::Sigma(_) => &[],
        }
    }

    fn all_mut(&mut self) -> Vec<&mut Vec<Fr>> {
        let lookups = self.lookups.iter_mut().flat_map(|l| [&mut l.input, &mut l.table, &mut l.product]);
        self.advice.iter_mut().chain(&mut self.instance).chain(&mut self.products).chain(lookups).collect()
    }
}

/// Permutes and commits the columns of every lookup. Returns the compressed input and table of each.
#[expect(clippy::too_many_arguments, reason = "one round of the protocol, with all it reads")]
fn commit_permuted<E, T, R>(
    cs: &ConstraintSystem<Fr>,
    pk: &KeyView<'_>,
    key: &PreparedKey,
    bases: &Bases,
    symbols: &Symbols,
    columns: &mut Columns,
    rng: &mut R,
    transcript: &mut T,
) -> Result<Vec<[Vec<Fr>; 2]>, EngineError>
where
    E: EncodedChallenge<G1Affine>,
    T: TranscriptWrite<G1Affine, E>,
    R: RngCore,
{
    let n = key.domain.n();
    let usable = n - (cs.blinding_factors() + 1);
    let mut compressed = Vec::with_capacity(key.lookups.len());
    for (lookup, programs) in key.lookups.iter().enumerate() {
        let [input, table] = programs.each_ref().map(|program| {
            program.run(
                n,
                |symbol| symbols.get(symbol),
                |column| match column {
                    Column::Fixed(i) => pk.fixed_values[i],
                    other => columns.get(other),
                },
            )
        });
        let (mut permuted_input, mut permuted_table) =
            permute(&input[..usable], &table[..usable], n).ok_or(EngineError::NotInTable { lookup })?;
        permuted_input.resize_with(n, || Fr::random(&mut *rng));
        permuted_table.resize_with(n, || Fr::random(&mut *rng));
        // A blinding factor for each, which KZG does not use.
        Fr::random(&mut *rng);
        Fr::random(&mut *rng);
        columns.lookups.push(LookupColumns { input: permuted_input, table: permuted_table, product: Vec::new() });
        compressed.push([input, table]);
    }
    let views: Vec<&[Fr]> = columns.lookups.iter().flat_map(|l| [l.input.as_slice(), l.table.as_slice()]).collect();
    write_points(&commit(&views, bases.lagrange(), key.work()), transcript)?;
    Ok(compressed)
}

/// Blinds a running product: its last rows, and the factor that KZG does not use.
fn blind(cs: &ConstraintSystem<Fr>, product: &mut [Fr], rng: &mut impl RngCore) {
    let start = product.len() - cs.blinding_factors();
    for value in &mut product[start..] {
        *value = Fr::random(&mut *rng);
    }
    Fr::random(&mut *rng);
}

/// Running products of the permutation argument, a set of columns each; every set starts where the one before ended.
fn permutation_products(
    cs: &ConstraintSystem<Fr>,
    pk: &KeyView<'_>,
    domain: &Domain,
    columns: &Columns,
    symbols: &Symbols,
    rng: &mut impl RngCore,
) -> Vec<Vec<Fr>> {
    let (beta, gamma, omega) = (symbols.beta, symbols.gamma, domain.omega());
    let mut shift = beta;
    let mut first = Fr::ONE;
    let mut out = Vec::new();
    let permuted_columns = cs.permutation().get_columns();
    for (set, sigmas) in permuted_columns.chunks(set_len(cs)).zip(pk.sigma_values.chunks(set_len(cs))) {
        let fractions: Vec<Fraction<'_>> = set
            .iter()
            .zip(sigmas)
            .map(|(column, sigma)| {
                let values = match permuted(column) {
                    Column::Fixed(i) => pk.fixed_values[i],
                    other => columns.get(other),
                };
                let linear = |more| Linear { values, plus: gamma, more };
                let label = More::Power(shift);
                shift *= Fr::DELTA;
                Fraction { numerator: linear(label), denominator: linear(More::Multiple(beta, sigma)) }
            })
            .collect();
        let mut product = running_product(first, omega, &fractions);
        blind(cs, &mut product, rng);
        first = product[domain.n() - (cs.blinding_factors() + 1)];
        out.push(product);
    }
    out
}

/// Running products of the lookups.
fn lookup_products(
    cs: &ConstraintSystem<Fr>,
    compressed: Vec<[Vec<Fr>; 2]>,
    columns: &mut Columns,
    symbols: &Symbols,
    rng: &mut impl RngCore,
) {
    let (beta, gamma) = (symbols.beta, symbols.gamma);
    for (lookup, [input, table]) in columns.lookups.iter_mut().zip(compressed) {
        let linear = |values, plus| Linear { values, plus, more: More::Nothing };
        let fraction = |numerator, denominator, plus| Fraction {
            numerator: linear(numerator, plus),
            denominator: linear(denominator, plus),
        };
        let fractions = [fraction(&*input, &*lookup.input, beta), fraction(&*table, &*lookup.table, gamma)];
        lookup.product = running_product(Fr::ONE, Fr::ONE, &fractions);
        blind(cs, &mut lookup.product, rng);
    }
}

/// The random polynomial of the vanishing argument, by its two coefficients.
///
/// A proof depends on it by its values at the secret of the reference string and at x alone (its commitment, its evaluation, and
/// what the opening makes of both), and these are independent and uniform for a random polynomial of any degree from 1.
///
/// Takes the eight draws that the library spends on the blinding factor of its commitment. Four of them are the seed of ChaCha20.
fn random_polynomial(rng: &mut impl RngCore) -> [Fr; 2] {
    let draws: [u64; 8] = std::array::from_fn(|_| rng.next_u64());
    let mut seed = [0; 32];
    for (bytes, draw) in seed.chunks_exact_mut(8).zip(draws) {
        bytes.copy_from_slice(&draw.to_le_bytes());
    }
    let mut rng = ChaCha20Rng::from_seed(seed);
    [(); 2].map(|()| Fr::random(&mut rng))
}

/// One of the polynomials that are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    Witness(Column),
    Fixed(usize),
    Sigma(usize),
    Quotient,
    Random,
}

/// What the opened polynomials consist of.
struct Polynomials<'a> {
    pk: &'a KeyView<'a>,
    columns: &'a Columns,
    random: &'a [Fr],
    pieces: &'a [Vec<Fr>],
    xn: Fr,
}

impl<'a> Polynomials<'a> {
    fn terms(&self, id: &Id) -> Vec<(Fr, Poly<'a>)> {
        let one = |poly| vec![(Fr::ONE, poly)];
        match *id {
            Id::Witness(column) => one(Poly::reversed(self.columns.get(column))),
            Id::Fixed(i) => one(Poly::natural(self.pk.fixed_polys[i])),
            Id::Sigma(i) => one(Poly::natural(self.pk.sigma_polys[i])),
            Id::Random => one(Poly::natural(self.random)),
            Id::Quotient => {
                let powers = std::iter::successors(Some(Fr::ONE), |p| Some(*p * self.xn));
                powers.zip(self.pieces.iter().map(|p| Poly::natural(p))).collect()
            }
        }
    }

    fn evaluate(&self, id: &Id, point: Fr) -> Fr {
        self.terms(id).into_iter().map(|(factor, poly)| factor * poly.evaluate(point)).sum()
    }
}

/// Values of the opened polynomials.
struct Evaluated {
    /// What the transcript shows, in its order.
    written: Vec<Fr>,
    /// What is opened, in the order of the opening.
    queries: Vec<Query>,
    ids: Vec<Id>,
}

impl Evaluated {
    fn new(cs: &ConstraintSystem<Fr>, domain: &Domain, polynomials: &Polynomials<'_>, x: Fr) -> Self {
        let columns = polynomials.columns;
        let last = last_rotation(cs);
        let n_sets = columns.products.len();
        let advice = cs.advice_queries().iter().map(|(c, r)| (Id::Witness(Column::Advice(c.index())), r.0));
        let fixed = cs.fixed_queries().iter().map(|(c, r)| (Id::Fixed(c.index()), r.0));
        let sigmas = (0..polynomials.pk.sigma_polys.len()).map(|j| (Id::Sigma(j), 0));
        let product = |set| Id::Witness(Column::Product(set));

        let mut written: Vec<(Id, i32)> = advice.clone().chain(fixed.clone()).collect();
        written.push((Id::Random, 0));
        written.extend(sigmas.clone());
        for set in 0..n_sets {
            written.extend([(product(set), 0), (product(set), 1)]);
            if set + 1 < n_sets {
                written.push((product(set), last));
            }
        }
        let mut opened: Vec<(Id, i32)> = advice.collect();
        opened.extend((0..n_sets).flat_map(|set| [(product(set), 0), (product(set), 1)]));
        opened.extend((0..n_sets).rev().skip(1).map(|set| (product(set), last)));
        for l in 0..columns.lookups.len() {
            let (product, input, table) =
                (Id::Witness(Column::LookupProduct(l)), Id::Witness(Column::Input(l)), Id::Witness(Column::Table(l)));
            written.extend([(product, 0), (product, 1), (input, 0), (input, -1), (table, 0)]);
            opened.extend([(product, 0), (input, 0), (table, 0), (input, -1), (product, 1)]);
        }
        opened.extend(fixed);
        opened.extend(sigmas);
        opened.extend([(Id::Quotient, 0), (Id::Random, 0)]);

        let mut wanted: Vec<(Id, i32)> = Vec::new();
        for query in &written {
            if !wanted.contains(query) {
                wanted.push(*query);
            }
        }
        let point = |rotation: i32| x * domain.omega_pow(i64::from(rotation));
        let values: Vec<Fr> =
            wanted.par_iter().map(|(id, rotation)| polynomials.evaluate(id, point(*rotation))).collect();
        // Every written query was put among the wanted.
        let value = |query: &(Id, i32)| wanted.iter().position(|w| w == query).map_or(Fr::ZERO, |i| values[i]);
        let mut ids: Vec<Id> = Vec::new();
        let queries = opened
            .iter()
            .map(|query| {
                let poly = ids.iter().position(|id| *id == query.0).unwrap_or_else(|| {
                    ids.push(query.0);
                    ids.len() - 1
                });
                Query { poly, point: point(query.1) }
            })
            .collect();
        Self { written: written.iter().map(value).collect(), queries, ids }
    }
}
