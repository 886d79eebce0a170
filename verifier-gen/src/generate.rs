//! Verifying key → Solidity source.

use askama::Template;
use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fq, G1Affine, G2Affine},
        ff::PrimeField,
        group::prime::PrimeCurveAffine,
    },
    plonk::VerifyingKey,
    poly::{
        commitment::{Params, ParamsProver},
        kzg::commitment::ParamsKZG,
    },
};

use crate::{
    layout::{Layout, Region, denominators},
    sections::{self, KeyPoints, Line},
    shape::{Accumulator, Commitment, Shape},
    yul::word,
};

/// Why no verifier can be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The SRS has another size than the key.
    #[error("srs has k = {got}, the verifying key has k = {expected}")]
    SrsSize {
        /// k of the key.
        expected: u32,
        /// k of the SRS.
        got: u32,
    },
    /// The circuit has another number of instance columns than the contract reads.
    #[error("unsupported verifying key: expected {expected} instance column, got {got}")]
    InstanceColumns {
        /// Columns supported.
        expected: usize,
        /// Columns of the circuit.
        got: usize,
    },
    /// The instances do not fit the rows of their column.
    #[error("{got} instances do not fit the {limit} usable rows of the circuit")]
    TooManyInstances {
        /// Usable rows.
        limit: usize,
        /// Instances asked for.
        got: usize,
    },
    /// The accumulator's limbs reach beyond the instances.
    #[error("the accumulator needs {needed} instances, got {got}")]
    AccumulatorBeyondInstances {
        /// Instances needed.
        needed: usize,
        /// Instances asked for.
        got: usize,
    },
    /// The quotient of the key has another degree than its constraints need.
    #[error("unsupported verifying key: constraints of degree {constraints}, a quotient for degree {quotient}")]
    Degree {
        /// Degree of the constraints.
        constraints: usize,
        /// Degree that the quotient was made for.
        quotient: usize,
    },
    /// A constraint needs more variables than the EVM's stack holds.
    #[error("unsupported verifying key: constraint {constraint} is nested too deeply for the EVM's stack")]
    TooNested {
        /// Position of the constraint: gates, permutation argument, lookups.
        constraint: usize,
    },
    /// The name is not a Solidity identifier.
    #[error("{got:?} is no name for a contract")]
    ContractName {
        /// Name given.
        got: String,
    },
    /// The command would end the comment it stands in.
    #[error("the command must be one line, got {got:?}")]
    Command {
        /// Command given.
        got: String,
    },
    /// The template can't be filled.
    #[error("template: {0}")]
    Template(#[from] askama::Error),
}

/// What the contract shall check besides the key's constraints, and how it is labelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// Name of the contract, a Solidity identifier.
    pub contract: &'a str,
    /// Number of instances.
    pub n_instances: usize,
    /// Accumulator among them.
    pub accumulator: Accumulator,
    /// What a reader should run to get the same file; one line.
    pub command: &'a str,
}

/// A generated verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierSource {
    /// Solidity source with a provenance header.
    pub solidity: String,
    /// Digest of the verifying key (halo2's `transcript_repr`), 0x-hex big-endian.
    pub key_digest: String,
}

/// A point of the key, as it is written.
struct PointText {
    polys: String,
    x: String,
    y: String,
    scalar: String,
}

/// Something that is inverted, and where the product of what comes before it lies.
struct DenominatorText {
    name: String,
    offset: String,
}

/// A word of G2 in the order of the pairing precompile.
struct PairingWord {
    offset: String,
    value: String,
}

/// The contract; all text that does not depend on the key is in the template.
#[derive(Template)]
#[template(path = "Verifier.sol", escape = "none", ext = "txt")]
struct Contract<'a> {
    command: &'a str,
    version: &'static str,
    name: &'a str,
    key_digest: &'a str,
    k: u32,
    n_instances: usize,
    n_evaluations: usize,
    calldata: &'a [Region],
    memory: &'a [Region],
    proof_length: usize,
    instances_offset: usize,
    calldata_length: usize,
    first_evaluation: String,
    accumulator_cptr: Option<usize>,
    omega_inverse: String,
    n_inverse: String,
    omega_last: String,
    n_blinding: usize,
    blinding: Vec<Line>,
    denominators: Vec<DenominatorText>,
    first_point: Option<String>,
    proof_points: Vec<sections::PointRange>,
    transcript: Vec<Line>,
    canonical: Vec<Line>,
    instance_sums: Vec<sections::InstanceSum>,
    opening_denominators: Vec<Line>,
    constraint_variables: Vec<String>,
    constraints: Vec<Line>,
    openings: Vec<Line>,
    key_points: Vec<PointText>,
    generator: (String, String),
    pairing_words: Vec<PairingWord>,
}

fn coordinate(value: &Fq) -> String {
    word(value.to_repr().as_ref())
}

/// Coordinates of a point that is not the point at infinity.
fn coordinates(point: &G1Affine) -> (String, String) {
    (coordinate(&point.x), coordinate(&point.y))
}

/// Both points of G2, the second negated, so that the pairing of the whole is 1.
fn pairing_words(setup: &Setup) -> Vec<PairingWord> {
    let words = |point: G2Affine, at: usize| {
        let values = [point.x.c1, point.x.c0, point.y.c1, point.y.c0];
        values
            .into_iter()
            .enumerate()
            .map(move |(i, value)| PairingWord { offset: format!("{:#05x}", at + 32 * i), value: coordinate(&value) })
    };
    words(setup.g2, 0x40).chain(words(-setup.s_g2, 0x100)).collect()
}

/// What a verifier needs of a reference string: [1]₁, [1]₂ and [τ]₂, which are the same in every size of one ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    generator: G1Affine,
    g2: G2Affine,
    s_g2: G2Affine,
}

impl From<&ParamsKZG<Bn256>> for Setup {
    fn from(params: &ParamsKZG<Bn256>) -> Self {
        Self { generator: params.get_g()[0], g2: params.g2(), s_g2: params.s_g2() }
    }
}

/// Generates the verifier of a key.
///
/// Errors: [`GenerateError`].
pub fn generate(
    params: &ParamsKZG<Bn256>,
    vk: &VerifyingKey<G1Affine>,
    options: &Options<'_>,
) -> Result<VerifierSource, GenerateError> {
    let k = vk.get_domain().k();
    if params.k() != k {
        return Err(GenerateError::SrsSize { expected: k, got: params.k() });
    }
    generate_from(&Setup::from(params), vk, options)
}

/// As [`generate`], from what a verifier needs of the reference string: any size of the ceremony will do.
///
/// Errors: [`GenerateError`].
pub fn generate_from(
    setup: &Setup,
    vk: &VerifyingKey<G1Affine>,
    options: &Options<'_>,
) -> Result<VerifierSource, GenerateError> {
    let k = vk.get_domain().k();
    check_labels(options)?;
    let shape = Shape::new(vk, options.n_instances, options.accumulator)?;
    let key = KeyPoints::new(&shape, vk);
    let layout = Layout::new(&shape, key.points.len());
    let digest = word(shape.key_digest.to_repr().as_ref());
    let constraints = sections::constraints(&shape, vk.cs())?;
    let key_points = key.points.iter().enumerate().map(|(index, (point, polys))| {
        let (x, y) = coordinates(point);
        let names: Vec<String> = polys.iter().map(ToString::to_string).collect();
        PointText { polys: names.join(", "), x, y, scalar: crate::layout::key_scalar_mptr(index) }
    });
    let contract = Contract {
        command: options.command,
        version: env!("CARGO_PKG_VERSION"),
        name: options.contract,
        key_digest: &digest,
        k,
        n_instances: shape.n_instances,
        n_evaluations: shape.evaluations.len(),
        calldata: layout.calldata(),
        memory: layout.memory(),
        proof_length: layout.proof_len,
        instances_offset: layout.instances_offset,
        calldata_length: layout.calldata_len,
        first_evaluation: shape
            .evaluations
            .first()
            .map_or_else(|| crate::layout::commitment_cptr(Commitment::W), |q| crate::layout::evaluation_cptr(*q)),
        accumulator_cptr: match options.accumulator {
            Accumulator::None => None,
            Accumulator::Limbs { first } => Some(first * crate::layout::WORD),
        },
        omega_inverse: sections::omega(&shape, -1),
        n_inverse: sections::n_inverse(&shape),
        omega_last: sections::omega(&shape, shape.last_rotation()),
        n_blinding: shape.n_blinding,
        blinding: sections::blinding(&shape),
        denominators: denominator_texts(&shape),
        first_point: sections::first_point(&shape).map(crate::layout::commitment_cptr),
        proof_points: sections::proof_points(&shape),
        transcript: sections::transcript(&shape),
        canonical: sections::canonical(&shape),
        instance_sums: sections::instance_sums(&shape),
        opening_denominators: sections::opening_denominators(&shape),
        constraint_variables: constraints.variables,
        constraints: constraints.lines,
        openings: sections::openings(&shape, &key),
        key_points: key_points.collect(),
        generator: coordinates(&setup.generator),
        pairing_words: pairing_words(setup),
    };
    Ok(VerifierSource { solidity: contract.render()?, key_digest: digest })
}

fn denominator_texts(shape: &Shape) -> Vec<DenominatorText> {
    let text = |(i, denominator): (usize, crate::layout::Denominator)| DenominatorText {
        name: denominator.to_string(),
        offset: format!("{:#x}", i * crate::layout::WORD),
    };
    denominators(shape).into_iter().enumerate().map(text).collect()
}

/// Keeps what callers name out of the code.
fn check_labels(options: &Options<'_>) -> Result<(), GenerateError> {
    let mut letters = options.contract.chars();
    let identifier = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !identifier {
        return Err(GenerateError::ContractName { got: options.contract.to_owned() });
    }
    if options.command.chars().any(char::is_control) {
        return Err(GenerateError::Command { got: options.command.to_owned() });
    }
    Ok(())
}

/// Whether a point is the point at infinity, which has no coordinates.
pub(crate) fn is_infinity(point: &G1Affine) -> bool {
    bool::from(point.is_identity())
}
