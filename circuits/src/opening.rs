//! Openings: the values and the seed of one state show which weights a commitment holds (spec `commitment`, "Opening").

use halo2_proofs::{
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
        group::Curve,
    },
    poly::{
        EvaluationDomain,
        commitment::{Blind, Params},
        kzg::commitment::ParamsKZG,
    },
};
use ledger::CurvePoint;

use crate::convert::{ConvertError, from_g1};
use crate::linked::{ColumnSeed, ProofSeed, StateSeed, blinding};
use crate::reference::State;
use crate::step::circuit::signed;
use crate::step::shape::StepShape;

/// Commitment of one chunk's state column.
///
/// `blinding_rows`: of the step key, see [`crate::keys::StepVerifyingKey::blinding_rows`]. `state` may be shorter than
/// the shape's parameters; the rest is zero.
///
/// Errors: [`ConvertError::Infinity`], which no honest seed gives.
pub fn commit_column(
    params: &ParamsKZG<Bn256>,
    shape: &StepShape,
    blinding_rows: usize,
    state: &State,
    seed: &ColumnSeed,
) -> Result<CurvePoint, ConvertError> {
    let n = 1usize << shape.k;
    let mut column = vec![Fr::ZERO; n];
    for (i, ((w, m), v)) in state.w.iter().zip(&state.m).zip(&state.v).enumerate() {
        let at = i * shape.rows;
        column[at] = signed(*w);
        column[at + 1] = signed(*m);
        column[at + 2] = Fr::from(*v);
    }
    column[n - blinding_rows..].copy_from_slice(&seed.blinding(blinding_rows));
    commit(params, shape, column)
}

/// Commitment of one chunk's gradient column in a proof made with [`ProofSeed::rng`].
///
/// Shape, errors: as [`commit_column`]. Scale: `gradient` raw Q24.
pub fn commit_gradient(
    params: &ParamsKZG<Bn256>,
    shape: &StepShape,
    blinding_rows: usize,
    gradient: &[i64],
    seed: &ProofSeed,
) -> Result<CurvePoint, ConvertError> {
    let n = 1usize << shape.k;
    let mut column = vec![Fr::ZERO; n];
    for (i, g) in gradient.iter().enumerate() {
        column[i * shape.rows] = signed(*g);
    }
    column[n - blinding_rows..].copy_from_slice(&blinding(seed.rng(), blinding_rows));
    commit(params, shape, column)
}

fn commit(params: &ParamsKZG<Bn256>, shape: &StepShape, column: Vec<Fr>) -> Result<CurvePoint, ConvertError> {
    let domain = EvaluationDomain::<Fr>::new(1, shape.k);
    let poly = domain.lagrange_from_vec(column);
    let point: G1Affine = params.commit_lagrange(&poly, Blind(Fr::ZERO)).to_affine();
    from_g1(&point)
}

/// The chunks of a state: `K` pieces of `⌈n / K⌉` parameters, the last one shorter.
pub fn chunks(state: &State, n_chunks: usize) -> Vec<State> {
    let len = chunk_len(state.len(), n_chunks);
    (0..n_chunks)
        .map(|c| {
            let range = (c * len).min(state.len())..((c + 1) * len).min(state.len());
            State {
                w: state.w[range.clone()].to_vec(),
                m: state.m[range.clone()].to_vec(),
                v: state.v[range].to_vec(),
                p1: state.p1,
                p2: state.p2,
            }
        })
        .collect()
}

/// Parameters of a full chunk.
pub fn chunk_len(n_params: usize, n_chunks: usize) -> usize {
    n_params.div_ceil(n_chunks.max(1))
}

/// Commitments of all chunks of a state.
///
/// Errors: as [`commit_column`].
pub fn commit_state(
    params: &ParamsKZG<Bn256>,
    shape: &StepShape,
    blinding_rows: usize,
    state: &State,
    n_chunks: usize,
    seed: &StateSeed,
) -> Result<Vec<CurvePoint>, ConvertError> {
    chunks(state, n_chunks)
        .iter()
        .zip(0..)
        .map(|(chunk, c)| commit_column(params, shape, blinding_rows, chunk, &seed.column_seed(c)))
        .collect()
}
