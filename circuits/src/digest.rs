//! Poseidon digests of states, steps and policies (spec `epoch`, section "Digests").
//!
//! The epoch circuit hashes the same words in the same order; `aggregator`'s tests compare the two.

use halo2_proofs::halo2curves::bn256::Fr;
use ledger::{CurvePoint, FieldElement, Hyper, NumberFormat, Policy, Rule, Schedule, StepStatement};

use crate::convert::{ConvertError, from_fr, to_fr, to_g1};
use crate::poseidon::hash;

/// First word of each digest, so that no digest of one kind is one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// State digest S.
    State = 1,
    /// Statement digest D_t.
    Step = 2,
    /// Policy digest.
    Policy = 3,
}

impl Domain {
    /// The word: ASCII "cairn" (0x636169726e) shifted by a byte, plus the kind.
    pub fn word(self) -> u64 {
        (0x0063_6169_726e << 8) | self as u64
    }
}

/// Number of the update rule in digests.
pub fn rule_word(rule: Rule) -> u64 {
    match rule {
        Rule::AdamW => 1,
        Rule::Sgd => 2,
    }
}

/// Number of the `q24` format in digests.
pub const FORMAT_Q24: u64 = 24;

/// Bits of a base-field coordinate in its first word; the second word holds the rest (78 bits).
pub const LOW_BITS: u32 = 176;

/// A point as four words: x mod 2¹⁷⁶, x / 2¹⁷⁶, and y likewise.
///
/// Errors: [`ConvertError`] if it is not a finite curve point.
pub fn point_words(point: &CurvePoint) -> Result<[Fr; 4], ConvertError> {
    to_g1(point)?;
    let (x, y) = point.coordinates();
    let ([x0, x1], [y0, y1]) = (coordinate_words(x), coordinate_words(y));
    Ok([x0, x1, y0, y1])
}

fn coordinate_words(big_endian: [u8; 32]) -> [Fr; 2] {
    let (high, low) = big_endian.split_at(32 - LOW_BITS as usize / 8);
    [low, high].map(|part| {
        // Horner over bytes: both parts have at most 22 bytes and stay below the modulus.
        part.iter().fold(Fr::from(0), |acc, byte| acc * Fr::from(256) + Fr::from(*byte as u64))
    })
}

/// State digest `S = H(domain, P1, P2, K, words of the K chunk commitments)`.
///
/// Contains neither run nor step, so that a child run can start from it.
///
/// Errors: [`ConvertError`] if a commitment is not a finite curve point.
pub fn state_digest<'a>(
    (p1, p2): (u64, u64),
    chunks: impl ExactSizeIterator<Item = &'a CurvePoint>,
) -> Result<FieldElement, ConvertError> {
    let mut words: Vec<Fr> = [Domain::State.word(), p1, p2, chunks.len() as u64].map(Fr::from).to_vec();
    for chunk in chunks {
        words.extend(point_words(chunk)?);
    }
    Ok(from_fr(&hash(&words)))
}

/// Statement digest `D_t = H(domain, run, t, fresh, β1, β2, eps, wd, lr, P1, P2, A, C, K, words of in, out, gradient of
/// each chunk)`.
///
/// Errors: [`ConvertError`] if a commitment is not a finite curve point.
pub fn step_digest(s: &StepStatement) -> Result<FieldElement, ConvertError> {
    let mut words = vec![Fr::from(Domain::Step.word()), to_fr(s.run.to_field())];
    let Hyper { beta1, beta2, eps, weight_decay, lr } = s.hyper;
    let Schedule { p1, p2, a, c } = s.schedule;
    words.extend(
        [s.step.0, s.fresh as u64, beta1, beta2, eps, weight_decay, lr, p1, p2, a, c, s.chunks.len() as u64]
            .map(Fr::from),
    );
    for chunk in &s.chunks {
        for point in [&chunk.input, &chunk.output, &chunk.gradient] {
            words.extend(point_words(point)?);
        }
    }
    Ok(from_fr(&hash(&words)))
}

/// Digest of the state after the step of `s`, from its output commitments and P1, P2.
///
/// Errors: as [`step_digest`].
pub fn state_after(s: &StepStatement) -> Result<FieldElement, ConvertError> {
    state_digest((s.schedule.p1, s.schedule.p2), s.chunks.iter().map(|c| &c.output))
}

/// Policy digest `H(domain, rule, β1, β2, eps, wd, lr_max, format, n_params, K, layout digest, step key digest)`.
pub fn policy_digest(p: &Policy) -> FieldElement {
    let format = match p.format {
        NumberFormat::Q24 => FORMAT_Q24,
    };
    let mut words = [
        Domain::Policy.word(),
        rule_word(p.rule),
        p.beta1,
        p.beta2,
        p.eps,
        p.weight_decay,
        p.lr_max,
        format,
        p.n_params,
        p.n_chunks as u64,
    ]
    .map(Fr::from)
    .to_vec();
    words.extend([to_fr(p.layout_digest), to_fr(p.step_key_digest)]);
    from_fr(&hash(&words))
}
