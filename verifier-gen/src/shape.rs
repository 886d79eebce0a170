//! What a verifying key asks of its verifier, in the order of the protocol.
//!
//! Source: halo2-axiom 0.5.3, `plonk::verifier::verify_proof` with `VerifierSHPLONK` (`QUERY_INSTANCE = false`) and
//! snark-verifier's `EvmTranscript`. Nothing here depends on Solidity: the generator writes this description as code,
//! the encoder follows it to find the challenges.

use halo2_proofs::{
    halo2curves::bn256::{Fr, G1Affine},
    plonk::{self, Any, ConstraintSystem, VerifyingKey},
    poly::Rotation,
};

use crate::generate::GenerateError;

/// A polynomial that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Poly {
    /// Advice column.
    Advice(usize),
    /// Fixed column.
    Fixed(usize),
    /// Permutation polynomial of the i-th column of the permutation argument.
    Sigma(usize),
    /// Running product of the i-th chunk of the permutation argument.
    PermutationProduct(usize),
    /// Permuted input of a lookup.
    LookupInput(usize),
    /// Permuted table of a lookup.
    LookupTable(usize),
    /// Running product of a lookup.
    LookupProduct(usize),
    /// The vanishing argument's random polynomial.
    Random,
    /// The quotient, committed in pieces of degree n − 1.
    Quotient,
}

/// A commitment in a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commitment {
    /// Of one polynomial.
    Poly(Poly),
    /// Of one piece of the quotient, lowest first.
    QuotientPiece(usize),
    /// SHPLONK's W.
    W,
    /// SHPLONK's W′.
    WPrime,
}

/// A value of a polynomial at `x·ω^rotation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The polynomial.
    pub poly: Poly,
    /// Power of ω.
    pub rotation: i32,
}

/// A challenge, in the notation of the generated contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The circuit's own.
    User(usize),
    /// Compresses lookup columns.
    Theta,
    /// Permutation and lookup arguments.
    Beta,
    /// Permutation and lookup arguments.
    Gamma,
    /// Combines the constraints.
    Y,
    /// Where polynomials are opened.
    X,
    /// Combines the polynomials of a rotation set.
    Mu,
    /// Combines the rotation sets.
    Nu,
    /// Where SHPLONK's quotient is opened.
    U,
    /// Combines the proof's pairing with the accumulator's; the contract's own.
    Fold,
}

/// What is absorbed, then squeezed.
#[derive(Clone, Debug)]
pub struct Round {
    /// Points absorbed.
    pub commitments: Vec<Commitment>,
    /// Whether the evaluations are absorbed (after the points, of which that round has none).
    pub evaluations: bool,
    /// Challenges squeezed.
    pub challenges: Vec<Challenge>,
}

/// Polynomials opened at the same rotations.
#[derive(Clone, Debug)]
pub struct RotationSet {
    /// Rotations, in order of first appearance.
    pub rotations: Vec<i32>,
    /// Polynomials, in order of first appearance.
    pub polys: Vec<Poly>,
}

/// The accumulator among the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulator {
    /// None: the proof stands alone.
    None,
    /// Twelve limbs of 88 bits from this instance on, three per coordinate, lowest first: lhs.x, lhs.y, rhs.x, rhs.y;
    /// `e(lhs, [1]₂) = e(rhs, [τ]₂)` is checked with the proof.
    Limbs {
        /// Index of the first limb.
        first: usize,
    },
}

/// Limbs of an accumulator's coordinate, and their width in bits.
pub const LIMBS: usize = 3;
/// See [`LIMBS`].
pub const LIMB_BITS: usize = 88;
/// Limbs of a whole accumulator.
pub const ACCUMULATOR_LIMBS: usize = 4 * LIMBS;

/// The description.
#[derive(Clone, Debug)]
pub struct Shape {
    /// log₂ of the number of rows.
    pub k: u32,
    /// Generator of the domain.
    pub omega: Fr,
    /// What the transcript starts with.
    pub key_digest: Fr,
    /// Number of instances.
    pub n_instances: usize,
    /// Accumulator among them.
    pub accumulator: Accumulator,
    /// Transcript.
    pub rounds: Vec<Round>,
    /// Evaluations in the order of the proof.
    pub evaluations: Vec<Query>,
    /// Rotation sets in the order of SHPLONK.
    pub sets: Vec<RotationSet>,
    /// Rotations at which the instance column is read.
    pub instance_rotations: Vec<i32>,
    /// Rows at the end of the column that hold no witness, without `l_last`.
    pub n_blinding: usize,
    /// Columns per running product of the permutation argument.
    pub permutation_chunk: usize,
}

impl Shape {
    /// Describes a key.
    ///
    /// Errors: [`GenerateError`] for keys outside the supported class.
    pub fn new(
        vk: &VerifyingKey<G1Affine>,
        n_instances: usize,
        accumulator: Accumulator,
    ) -> Result<Self, GenerateError> {
        let cs = vk.cs();
        let domain = vk.get_domain();
        let n_pieces = domain.get_quotient_poly_degree();
        check_class(cs, domain.k(), n_pieces, n_instances, accumulator)?;
        let permutation_chunk = cs.degree() - 2;
        let n_products = cs.permutation().get_columns().len().div_ceil(permutation_chunk);
        let n_lookups = cs.lookups().len();
        let last = -(cs.blinding_factors() as i32 + 1);
        let evaluations = evaluations(cs, n_products, n_lookups, last);
        let sets = rotation_sets(&opening_order(cs, n_products, n_lookups, last));
        let mut instance_rotations: Vec<i32> = cs.instance_queries().iter().map(|(_, Rotation(r))| *r).collect();
        instance_rotations.sort_unstable();
        instance_rotations.dedup();
        Ok(Self {
            k: domain.k(),
            omega: domain.get_omega(),
            key_digest: vk.transcript_repr(),
            n_instances,
            accumulator,
            rounds: rounds(cs, n_products, n_lookups, n_pieces, accumulator),
            evaluations,
            sets,
            instance_rotations,
            n_blinding: cs.blinding_factors(),
            permutation_chunk,
        })
    }

    /// Rotation of `l_last`.
    pub fn last_rotation(&self) -> i32 {
        -(self.n_blinding as i32 + 1)
    }

    /// Commitments of the proof before the evaluations.
    pub fn commitments(&self) -> impl Iterator<Item = Commitment> + '_ {
        self.rounds
            .iter()
            .flat_map(|round| round.commitments.iter().copied())
            .filter(|c| !matches!(c, Commitment::W | Commitment::WPrime))
    }

    /// Rotations at which anything is opened, in order of first appearance.
    pub fn rotations(&self) -> Vec<i32> {
        let mut out = Vec::new();
        for rotation in self.sets.iter().flat_map(|set| &set.rotations) {
            if !out.contains(rotation) {
                out.push(*rotation);
            }
        }
        out
    }
}

fn check_class(
    cs: &ConstraintSystem<Fr>,
    k: u32,
    n_pieces: usize,
    n_instances: usize,
    accumulator: Accumulator,
) -> Result<(), GenerateError> {
    if cs.num_instance_columns() != 1 {
        return Err(GenerateError::InstanceColumns { expected: 1, got: cs.num_instance_columns() });
    }
    let usable = (1usize << k).saturating_sub(cs.blinding_factors() + 1);
    if n_instances > usable {
        return Err(GenerateError::TooManyInstances { limit: usable, got: n_instances });
    }
    if let Accumulator::Limbs { first } = accumulator {
        let needed = first.saturating_add(ACCUMULATOR_LIMBS);
        if n_instances < needed {
            return Err(GenerateError::AccumulatorBeyondInstances { needed, got: n_instances });
        }
    }
    // `cs.degree()` is capped by an environment variable when the key is made; a key made under another cap, or with
    // constraints above it, has another number of quotient pieces than its constraints need.
    let gates = cs.gates().iter().flat_map(|gate| gate.polynomials()).map(plonk::Expression::degree);
    let widest =
        |expressions: &[plonk::Expression<Fr>]| expressions.iter().map(|e| e.degree()).max().unwrap_or(1).max(1);
    let lookups =
        cs.lookups().iter().map(|l| (2 + widest(l.input_expressions()) + widest(l.table_expressions())).max(4));
    let constraints = gates.chain(lookups).max().unwrap_or(0);
    let degree = cs.degree();
    if degree < 3 || constraints > degree || n_pieces + 1 != degree {
        return Err(GenerateError::Degree { constraints: constraints.max(degree), quotient: n_pieces + 1 });
    }
    Ok(())
}

fn rounds(
    cs: &ConstraintSystem<Fr>,
    n_products: usize,
    n_lookups: usize,
    n_pieces: usize,
    accumulator: Accumulator,
) -> Vec<Round> {
    let points = |commitments: Vec<Commitment>, challenges: &[Challenge]| Round {
        commitments,
        evaluations: false,
        challenges: challenges.to_vec(),
    };
    let poly = Commitment::Poly;
    let column_phases = cs.advice_column_phase();
    let challenge_phases = cs.challenge_phase();
    let last_phase = column_phases.iter().max().copied().unwrap_or(0);
    let mut rounds: Vec<Round> = (0..=last_phase)
        .map(|phase| Round {
            commitments: positions(&column_phases, phase).map(|i| poly(Poly::Advice(i))).collect(),
            evaluations: false,
            challenges: positions(&challenge_phases, phase).map(Challenge::User).collect(),
        })
        .collect();
    if let Some(round) = rounds.last_mut() {
        round.challenges.push(Challenge::Theta);
    }
    let permuted = (0..n_lookups).flat_map(|i| [poly(Poly::LookupInput(i)), poly(Poly::LookupTable(i))]).collect();
    rounds.push(points(permuted, &[Challenge::Beta, Challenge::Gamma]));
    let products = (0..n_products)
        .map(|i| poly(Poly::PermutationProduct(i)))
        .chain((0..n_lookups).map(|i| poly(Poly::LookupProduct(i))))
        .chain([poly(Poly::Random)])
        .collect();
    rounds.push(points(products, &[Challenge::Y]));
    rounds.push(points((0..n_pieces).map(Commitment::QuotientPiece).collect(), &[Challenge::X]));
    rounds.push(Round { commitments: Vec::new(), evaluations: true, challenges: vec![Challenge::Mu, Challenge::Nu] });
    rounds.push(points(vec![Commitment::W], &[Challenge::U]));
    if accumulator != Accumulator::None {
        rounds.push(points(vec![Commitment::WPrime], &[Challenge::Fold]));
    }
    rounds
}

fn positions(phases: &[u8], phase: u8) -> impl Iterator<Item = usize> + '_ {
    phases.iter().enumerate().filter(move |(_, p)| **p == phase).map(|(i, _)| i)
}

fn advice_queries(cs: &ConstraintSystem<Fr>) -> impl Iterator<Item = Query> + '_ {
    cs.advice_queries()
        .iter()
        .map(|(c, Rotation(rotation))| Query { poly: Poly::Advice(c.index()), rotation: *rotation })
}

fn fixed_queries(cs: &ConstraintSystem<Fr>) -> impl Iterator<Item = Query> + '_ {
    cs.fixed_queries().iter().map(|(c, Rotation(rotation))| Query { poly: Poly::Fixed(c.index()), rotation: *rotation })
}

fn sigma_queries(cs: &ConstraintSystem<Fr>) -> impl Iterator<Item = Query> {
    (0..cs.permutation().get_columns().len()).map(|i| Query { poly: Poly::Sigma(i), rotation: 0 })
}

fn evaluations(cs: &ConstraintSystem<Fr>, n_products: usize, n_lookups: usize, last: i32) -> Vec<Query> {
    let at = |poly, rotation| Query { poly, rotation };
    let mut out: Vec<Query> = advice_queries(cs).chain(fixed_queries(cs)).collect();
    out.push(at(Poly::Random, 0));
    out.extend(sigma_queries(cs));
    for i in 0..n_products {
        let z = Poly::PermutationProduct(i);
        out.extend([at(z, 0), at(z, 1)]);
        if i + 1 < n_products {
            out.push(at(z, last));
        }
    }
    for i in 0..n_lookups {
        let (z, input, table) = (Poly::LookupProduct(i), Poly::LookupInput(i), Poly::LookupTable(i));
        out.extend([at(z, 0), at(z, 1), at(input, 0), at(input, -1), at(table, 0)]);
    }
    out
}

/// Order in which the opening argument sees the polynomials; another one than that of the evaluations.
fn opening_order(cs: &ConstraintSystem<Fr>, n_products: usize, n_lookups: usize, last: i32) -> Vec<Query> {
    let at = |poly, rotation| Query { poly, rotation };
    let mut out: Vec<Query> = advice_queries(cs).collect();
    for i in 0..n_products {
        out.extend([at(Poly::PermutationProduct(i), 0), at(Poly::PermutationProduct(i), 1)]);
    }
    out.extend((0..n_products).rev().skip(1).map(|i| at(Poly::PermutationProduct(i), last)));
    for i in 0..n_lookups {
        let (z, input, table) = (Poly::LookupProduct(i), Poly::LookupInput(i), Poly::LookupTable(i));
        out.extend([at(z, 0), at(input, 0), at(table, 0), at(input, -1), at(z, 1)]);
    }
    out.extend(fixed_queries(cs));
    out.extend(sigma_queries(cs));
    out.extend([at(Poly::Quotient, 0), at(Poly::Random, 0)]);
    out
}

/// Groups queries as halo2 does: polynomials in order of first appearance, sets likewise.
fn rotation_sets(queries: &[Query]) -> Vec<RotationSet> {
    let mut polys: Vec<(Poly, Vec<i32>)> = Vec::new();
    for query in queries {
        match polys.iter_mut().find(|(poly, _)| *poly == query.poly) {
            Some((_, rotations)) if rotations.contains(&query.rotation) => {}
            Some((_, rotations)) => rotations.push(query.rotation),
            None => polys.push((query.poly, vec![query.rotation])),
        }
    }
    let mut sets: Vec<RotationSet> = Vec::new();
    for (poly, rotations) in polys {
        let same = |set: &&mut RotationSet| {
            set.rotations.len() == rotations.len() && rotations.iter().all(|r| set.rotations.contains(r))
        };
        match sets.iter_mut().find(same) {
            Some(set) => set.polys.push(poly),
            None => sets.push(RotationSet { rotations, polys: vec![poly] }),
        }
    }
    sets
}

/// Columns of the permutation argument as polynomials; the instance column has no commitment.
pub fn permutation_columns(cs: &ConstraintSystem<Fr>) -> Vec<Option<Poly>> {
    let poly = |any: &Any, index| match any {
        Any::Advice(_) => Some(Poly::Advice(index)),
        Any::Fixed => Some(Poly::Fixed(index)),
        Any::Instance => None,
    };
    cs.permutation().get_columns().iter().map(|column| poly(column.column_type(), column.index())).collect()
}
