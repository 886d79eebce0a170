//! The quotient h = numerator / (X^n − 1), in pieces of n coefficients.
//!
//! The numerator is evaluated on as many cosets of the domain as h has pieces. On coset j, X^n is a constant c_j, so that
//! `Σ_i c_j^i·h_i` is known there, hence as a polynomial of degree below n; the pieces follow from these by a Vandermonde
//! system for each coefficient.

use std::{borrow::Cow, collections::HashMap};

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};
use rayon::prelude::*;

use crate::error::EngineError;
use crate::fft::{powers_from, write_bit_reversed};
#[cfg(target_arch = "x86_64")]
use crate::fma::{Fma, LANES, sums};
use crate::key::PreparedKey;
use crate::memory::Work;
use crate::program::{Column, Symbol};
use crate::room::Room;
use crate::view::KeyView;

/// Coefficients that one task works on.
const CHUNK: usize = 1 << 8;

/// The pieces of h, lowest first, in natural order. `witness` gives the coefficients, in reversed order, of the columns
/// that are not the key's; `enter` is asked before each coset.
///
/// Errors: those of `enter`.
pub(crate) fn pieces<'a>(
    key: &PreparedKey,
    pk: &KeyView<'_>,
    witness: impl Fn(Column) -> &'a [Fr] + Sync,
    symbol: impl Fn(Symbol) -> Fr,
    mut enter: impl FnMut(usize) -> Result<(), EngineError>,
) -> Result<Vec<Vec<Fr>>, EngineError> {
    let domain = &key.domain;
    let room = Room::new(domain.n());
    let on_cosets = key
        .shifts
        .iter()
        .enumerate()
        .map(|(c, shift)| {
            enter(c)?;
            let coset = domain.coset(*shift);
            let load = |column: &Column| {
                let values = key.values_on(pk, c, &coset, *column, &room).unwrap_or_else(|| {
                    let mut values = room.take();
                    values.copy_from_slice(witness(*column));
                    domain.to_values(&coset, &mut values);
                    Cow::Owned(values)
                });
                (*column, values)
            };
            let mut columns: HashMap<Column, Cow<'_, [Fr]>> = HashMap::new();
            let mut values = room.take();
            values.fill(Fr::ZERO);
            for part in &key.numerator {
                // With little memory a column is transformed anew for each part that reads it.
                let (loads, drops) = match key.work() {
                    Work::AtOnce => (&part.loads, &part.drops),
                    Work::OneByOne => (&part.reads, &part.reads),
                };
                columns.par_extend(loads.par_iter().with_max_len(1).map(load));
                part.program.add_to(&mut values, &symbol, |column| columns[&column].as_ref());
                for column in drops {
                    if let Some(Cow::Owned(values)) = columns.remove(column) {
                        room.put(values);
                    }
                }
            }
            domain.to_coefficients(&mut values);
            let mut coefficients = room.take();
            write_bit_reversed(&values, &mut coefficients);
            room.put(values);
            Ok(coefficients)
        })
        .collect::<Result<Vec<Vec<Fr>>, EngineError>>()?;
    Ok(separate(key, &on_cosets, &room))
}

/// The pieces out of the coefficients on each coset, all in natural order.
fn separate(key: &PreparedKey, on_cosets: &[Vec<Fr>], room: &Room) -> Vec<Vec<Fr>> {
    let n = key.domain.n();
    let d = on_cosets.len();
    let inverse = |x: Fr| Option::from(x.invert()).unwrap_or(Fr::ZERO);
    let nodes: Vec<Fr> = key.shifts.iter().map(|shift| key.vanishing(shift) + Fr::ONE).collect();
    let shifts: Vec<Fr> = key.shifts.iter().map(|shift| inverse(*shift)).collect();
    // weights[j][i]: what coset j contributes to piece i, the division by X^n − 1 included.
    let weights: Vec<Vec<Fr>> = (0..d)
        .map(|j| {
            let factor = inverse(key.vanishing(&key.shifts[j]));
            lagrange(&nodes, j).into_iter().map(|c| c * factor).collect()
        })
        .collect();
    let mut out: Vec<Vec<Fr>> = (0..d).map(|_| room.take()).collect();
    out.iter_mut().for_each(|piece| piece.fill(Fr::ZERO));
    let chunk = CHUNK.min(n);
    // Value i of coset j is to be multiplied with its inverse shift to the i-th: within a chunk by these, for the chunk by weights.
    let scales: Vec<Vec<Fr>> = shifts.iter().map(|shift| powers_from(Fr::ONE, *shift, chunk)).collect();
    let recombine = recombination(&scales);
    let mut tasks: Vec<Vec<&mut [Fr]>> = (0..n / chunk).map(|_| Vec::with_capacity(d)).collect();
    for piece in &mut out {
        for (task, part) in tasks.iter_mut().zip(piece.chunks_mut(chunk)) {
            task.push(part);
        }
    }
    tasks.into_par_iter().enumerate().for_each(|(t, mut parts)| {
        let start = t * chunk;
        let values: Vec<&[Fr]> = on_cosets.iter().map(|values| &values[start..]).collect();
        let scaled = |(weights, shift): (&Vec<Fr>, &Fr)| {
            let scale = shift.pow_vartime([start as u64]);
            weights.iter().map(|weight| *weight * scale).collect()
        };
        let weights: Vec<Vec<Fr>> = weights.iter().zip(&shifts).map(scaled).collect();
        recombine(&values, &weights, &mut parts);
    });
    out
}

/// Values of the cosets and their weights to parts of the pieces.
type Recombination<'a> = dyn Fn(&[&[Fr]], &[Vec<Fr>], &mut [&mut [Fr]]) + Sync + 'a;

/// Makes parts i, as long as the scales, `Σ_j weights[j][i]·scales[j]·values[j]`, out of zero.
fn recombination(scales: &[Vec<Fr>]) -> Box<Recombination<'_>> {
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect()
        && scales.iter().all(|scales| scales.len().is_multiple_of(LANES))
    {
        let factors: Vec<sums::Factors<'_>> = scales.iter().map(|scales| sums::Factors::new(shown, scales)).collect();
        return Box::new(move |values, weights, parts| sums::recombine(shown, &factors, values, weights, parts));
    }
    Box::new(move |values, weights, parts| {
        for ((values, scales), weights) in values.iter().zip(scales).zip(weights) {
            for (i, (value, scale)) in values.iter().zip(scales).enumerate() {
                let value = *value * scale;
                for (part, weight) in parts.iter_mut().zip(weights) {
                    part[i] += value * weight;
                }
            }
        }
    })
}

/// Coefficients of the polynomial that is 1 at node `j` and 0 at the others.
fn lagrange(nodes: &[Fr], j: usize) -> Vec<Fr> {
    let mut coefficients = vec![Fr::ONE];
    let mut denominator = Fr::ONE;
    for (i, node) in nodes.iter().enumerate() {
        if i == j {
            continue;
        }
        // Times X − node.
        coefficients.push(Fr::ZERO);
        for c in (0..coefficients.len()).rev() {
            let shifted = if c > 0 { coefficients[c - 1] } else { Fr::ZERO };
            coefficients[c] = shifted - coefficients[c] * node;
        }
        denominator *= nodes[j] - node;
    }
    let scale: Fr = Option::from(denominator.invert()).unwrap_or(Fr::ZERO);
    coefficients.into_iter().map(|c| c * scale).collect()
}
