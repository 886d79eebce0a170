//! Where everything lies in the generated contract's calldata and memory: one list each, offsets derived from it.

use std::fmt;

use crate::shape::{ACCUMULATOR_LIMBS, Accumulator, Challenge, Commitment, Poly, Query, Shape};

/// Bytes of a word.
pub const WORD: usize = 32;
/// Bytes of a point: x, y.
pub const POINT: usize = 2 * WORD;
/// Where the proof's bytes begin: selector, two offsets, the length.
const PROOF_CPTR: usize = 4 + 3 * WORD;
/// Free memory as Solidity leaves it for a function that allocates nothing.
const FREE_MPTR: usize = 0x80;

/// A named piece of calldata or memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Name of its constant in the contract.
    pub name: String,
    /// First byte.
    pub offset: usize,
    /// Length in words.
    pub words: usize,
    /// What it holds.
    pub doc: String,
}

/// The pieces, one behind the other.
#[derive(Clone, Debug, Default)]
struct Space {
    regions: Vec<Region>,
    end: usize,
}

impl Space {
    fn starting_at(end: usize) -> Self {
        Self { regions: Vec::new(), end }
    }

    fn push(&mut self, name: impl Into<String>, words: usize, doc: impl Into<String>) -> usize {
        let offset = self.end;
        self.regions.push(Region { name: name.into(), offset, words, doc: doc.into() });
        self.end += words * WORD;
        offset
    }
}

/// Layout of one verifier.
#[derive(Clone, Debug)]
pub struct Layout {
    calldata: Space,
    memory: Space,
    /// Bytes of halo2's proof.
    pub halo2_proof_len: usize,
    /// Bytes of `proof`: halo2's and the hint.
    pub proof_len: usize,
    /// Bytes of the calldata.
    pub calldata_len: usize,
    /// Offset word of `instances`.
    pub instances_offset: usize,
}

impl fmt::Display for Poly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advice(i) => write!(f, "ADVICE_{i}"),
            Self::Fixed(i) => write!(f, "FIXED_{i}"),
            Self::Sigma(i) => write!(f, "SIGMA_{i}"),
            Self::PermutationProduct(i) => write!(f, "PRODUCT_{i}"),
            Self::LookupInput(i) => write!(f, "LOOKUP_INPUT_{i}"),
            Self::LookupTable(i) => write!(f, "LOOKUP_TABLE_{i}"),
            Self::LookupProduct(i) => write!(f, "LOOKUP_PRODUCT_{i}"),
            Self::Random => write!(f, "RANDOM"),
            Self::Quotient => write!(f, "QUOTIENT"),
        }
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poly(poly) => write!(f, "{poly}"),
            Self::QuotientPiece(i) => write!(f, "QUOTIENT_{i}"),
            Self::W => write!(f, "W"),
            Self::WPrime => write!(f, "W_PRIME"),
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(i) => write!(f, "CHALLENGE_{i}"),
            Self::Theta => write!(f, "THETA"),
            Self::Beta => write!(f, "BETA"),
            Self::Gamma => write!(f, "GAMMA"),
            Self::Y => write!(f, "Y"),
            Self::X => write!(f, "X"),
            Self::Mu => write!(f, "MU"),
            Self::Nu => write!(f, "NU"),
            Self::U => write!(f, "U"),
            Self::Fold => write!(f, "FOLD"),
        }
    }
}

/// A rotation as the end of a name.
pub fn rotation_suffix(rotation: i32) -> String {
    match rotation {
        0 => String::new(),
        1 => "_NEXT".to_owned(),
        -1 => "_PREV".to_owned(),
        r if r > 0 => format!("_NEXT{r}"),
        r => format!("_PREV{}", r.unsigned_abs()),
    }
}

/// Constant of a commitment in calldata.
pub fn commitment_cptr(commitment: Commitment) -> String {
    format!("{commitment}_CPTR")
}

/// Constant of an evaluation in calldata.
pub fn evaluation_cptr(query: Query) -> String {
    format!("{}{}_EVAL_CPTR", query.poly, rotation_suffix(query.rotation))
}

/// Constant of a challenge in memory.
pub fn challenge_mptr(challenge: Challenge) -> String {
    format!("{challenge}_MPTR")
}

/// Constant of the instance column's value at a rotation.
pub fn instance_eval_mptr(rotation: i32) -> String {
    format!("INSTANCE{}_EVAL_MPTR", rotation_suffix(rotation))
}

/// Constant of the scalar of a point of the proof.
pub fn scalar_mptr(commitment: Commitment) -> String {
    format!("{commitment}_SCALAR_MPTR")
}

/// Constant of the scalar of a point of the key.
pub fn key_scalar_mptr(index: usize) -> String {
    format!("KEY_{index}_SCALAR_MPTR")
}

/// Something that is inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denominator {
    /// x^n − 1.
    Vanishing,
    /// x.
    X,
    /// x − 1, for the Lagrange polynomial of the first row.
    First,
    /// x − ω^last, for that of the last row.
    Last,
    /// Product of x − ω^row over the blinding rows.
    Blinding,
    /// Product of x − ω^(row − rotation) over the rows of the instances.
    Instances(i32),
    /// u − x·ω^rotation.
    Opening(i32),
}

impl fmt::Display for Denominator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanishing => write!(f, "INV_VANISHING_MPTR"),
            Self::X => write!(f, "INV_X_MPTR"),
            Self::First => write!(f, "INV_FIRST_MPTR"),
            Self::Last => write!(f, "INV_LAST_MPTR"),
            Self::Blinding => write!(f, "INV_BLINDING_MPTR"),
            Self::Instances(r) => write!(f, "INV_INSTANCES{}_MPTR", rotation_suffix(*r)),
            Self::Opening(r) => write!(f, "INV_OPENING{}_MPTR", rotation_suffix(*r)),
        }
    }
}

/// Everything that is inverted, in the order of the contract.
pub fn denominators(shape: &Shape) -> Vec<Denominator> {
    let mut out =
        vec![Denominator::Vanishing, Denominator::X, Denominator::First, Denominator::Last, Denominator::Blinding];
    out.extend(shape.instance_rotations.iter().copied().map(Denominator::Instances));
    out.extend(shape.rotations().into_iter().map(Denominator::Opening));
    out
}

impl Layout {
    /// Lays out a verifier; `n_key_points` points of the key need a scalar of their own.
    pub fn new(shape: &Shape, n_key_points: usize) -> Self {
        let mut calldata = Space::starting_at(PROOF_CPTR);
        for commitment in shape.commitments() {
            calldata.push(commitment_cptr(commitment), 2, "commitment");
        }
        for query in &shape.evaluations {
            calldata.push(evaluation_cptr(*query), 1, "evaluation");
        }
        for commitment in [Commitment::W, Commitment::WPrime] {
            calldata.push(commitment_cptr(commitment), 2, "opening");
        }
        let halo2_proof_len = calldata.end - PROOF_CPTR;
        calldata.push("HINT_CPTR", 1, "inverse of the product of everything that is inverted");
        let proof_len = calldata.end - PROOF_CPTR;
        let instances_offset = calldata.end - 4;
        calldata.push("INSTANCES_LENGTH_CPTR", 1, "length of `instances`");
        calldata.push("INSTANCES_CPTR", shape.n_instances, "instances");
        let calldata_len = calldata.end;
        Self {
            calldata,
            memory: memory(shape, n_key_points),
            halo2_proof_len,
            proof_len,
            calldata_len,
            instances_offset,
        }
    }

    /// Pieces of the calldata behind the ABI's three words.
    pub fn calldata(&self) -> &[Region] {
        &self.calldata.regions
    }

    /// Pieces of memory.
    pub fn memory(&self) -> &[Region] {
        &self.memory.regions
    }
}

fn memory(shape: &Shape, n_key_points: usize) -> Space {
    let mut memory = Space::starting_at(FREE_MPTR);
    memory.push("MODULUS_MPTR", 1, "order of the scalar field; read back so that code holds it once");
    for challenge in shape.rounds.iter().flat_map(|round| &round.challenges) {
        memory.push(challenge_mptr(*challenge), 1, "challenge");
    }
    memory.push("X_N_MPTR", 1, "x^n");
    for denominator in denominators(shape) {
        memory.push(denominator.to_string(), 1, "to be inverted, then the inverse");
    }
    memory.push("PREFIX_MPTR", denominators(shape).len(), "products of what comes before each denominator");
    for rotation in &shape.instance_rotations {
        memory.push(instance_eval_mptr(*rotation), 1, "value of the instance column");
    }
    memory.push("L_FIRST_MPTR", 1, "Lagrange polynomial of the first row at x");
    memory.push("L_LAST_MPTR", 1, "of the last row that holds a witness");
    memory.push("L_ACTIVE_MPTR", 1, "1 on the rows before that, 0 on the last and the blinding rows");
    memory.push("Z_FIRST_MPTR", 1, "product of u - x*omega^rotation over the first rotation set");
    memory.push("QUOTIENT_EVAL_MPTR", 1, "value of the quotient at x");
    for commitment in shape.commitments().chain([Commitment::W, Commitment::WPrime]) {
        memory.push(scalar_mptr(commitment), 1, "scalar of a point of the proof");
    }
    for index in 0..n_key_points {
        memory.push(key_scalar_mptr(index), 1, "scalar of a point of the key");
    }
    memory.push("GENERATOR_SCALAR_MPTR", 1, "scalar of the generator");
    if shape.accumulator != Accumulator::None {
        memory.push("ACCUMULATOR_MPTR", ACCUMULATOR_LIMBS / 3, "lhs.x, lhs.y, rhs.x, rhs.y");
    }
    memory.push("SUM_MPTR", 2, "running sum of points; addition reads TERM_MPTR behind it");
    memory.push("TERM_MPTR", 3, "x, y, scalar");
    memory.push("PAIRING_MPTR", 12, "two pairs of a point of G1 and one of G2");
    let longest = shape
        .rounds
        .iter()
        .enumerate()
        .map(|(i, round)| {
            let instances = if i == 0 { shape.n_instances } else { 0 };
            let evaluations = if round.evaluations { shape.evaluations.len() } else { 0 };
            1 + instances + 2 * round.commitments.len() + evaluations
        })
        .max()
        .unwrap_or(1);
    memory.push("TRANSCRIPT_MPTR", longest.max(2), "transcript's last hash and what is absorbed since");
    memory
}
