//! Polynomials by their coefficients: evaluation, linear combination, division by a root.

use halo2_proofs::halo2curves::{bn256::Fr, ff::Field};
use rayon::prelude::*;

use crate::fft::{bit_reverse, powers_from, write_bit_reversed};
#[cfg(target_arch = "x86_64")]
use crate::fma::{Fma, LANES, segments, sums};
use crate::room::Room;

/// Coefficients that one task works on.
const CHUNK: usize = 1 << 11;
/// Coefficients that are multiplied with the same powers when a polynomial is evaluated: these stay near, and are few to make.
const POWERS: usize = 1 << 9;
/// Neighbours that are worked through one after the other where each needs the one before; a power of two.
pub(crate) const SEGMENT: usize = 1 << 5;
/// Segments side by side that one task works on, in elements.
pub(crate) const GROUP: usize = 8 * SEGMENT;

/// In which order coefficients stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Constant term first.
    Natural,
    /// As [`crate::fft`] leaves them.
    Reversed,
}

/// Coefficients of one polynomial; in reversed order their number is a power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poly<'a> {
    pub(crate) coefficients: &'a [Fr],
    pub(crate) order: Order,
}

impl<'a> Poly<'a> {
    pub(crate) fn natural(coefficients: &'a [Fr]) -> Self {
        Self { coefficients, order: Order::Natural }
    }

    pub(crate) fn reversed(coefficients: &'a [Fr]) -> Self {
        Self { coefficients, order: Order::Reversed }
    }

    /// The value at `x`.
    pub(crate) fn evaluate(&self, x: Fr) -> Fr {
        let n = self.coefficients.len();
        let chunk = POWERS.min(n).max(1);
        // In natural order a chunk is a polynomial in x, in reversed order, where neighbours are n/2 apart, one in x^{n/chunk}.
        let (powers, rest) = match self.order {
            Order::Natural => (powers_from(Fr::ONE, x, chunk), x.pow_vartime([chunk as u64])),
            Order::Reversed => (bit_reverse(&powers_from(Fr::ONE, x.pow_vartime([(n / chunk) as u64]), chunk)), x),
        };
        let values = dots(self.coefficients, &powers);
        match values.as_slice() {
            [] => Fr::ZERO,
            [value] => *value,
            // The values of chunks are coefficients themselves, in the same order.
            coefficients => Poly { coefficients, order: self.order }.evaluate(rest),
        }
    }
}

/// `Σ factor·value` of each chunk of values that is as long as the factors; the last may be shorter.
fn dots(values: &[Fr], factors: &[Fr]) -> Vec<Fr> {
    let chunks = values.par_chunks(factors.len());
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect() {
        let factors = sums::Factors::new(shown, factors);
        return chunks.map(|values| factors.dot(values)).collect();
    }
    chunks.map(|values| values.iter().zip(factors).map(|(a, b)| *a * b).sum()).collect()
}

/// Makes `out` `Σ factor·values`; some values may end before it does.
fn sum_of_multiples(terms: &[(Fr, &[Fr])], out: &mut [Fr]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(shown) = Fma::detect()
        && out.len().is_multiple_of(LANES)
        && terms.iter().all(|(_, values)| values.len() >= out.len())
    {
        return sums::combine(shown, terms, out);
    }
    out.fill(Fr::ZERO);
    for (factor, values) in terms {
        if *factor == Fr::ONE {
            out.iter_mut().zip(*values).for_each(|(o, x)| *o += x);
        } else {
            out.iter_mut().zip(*values).for_each(|(o, x)| *o += *factor * x);
        }
    }
}

/// [`sum_of_multiples`] of what the values are from `start` on.
fn combine_at(start: usize, terms: &[(Fr, &[Fr])], out: &mut [Fr]) {
    let here: Vec<(Fr, &[Fr])> =
        terms.iter().map(|(factor, values)| (*factor, values.get(start..).unwrap_or_default())).collect();
    sum_of_multiples(&here, out);
}

/// `Σ factor·polynomial` in natural order, as long as the columns of `room`. No polynomial is longer; those in reversed order are as
/// long.
pub(crate) fn combine(terms: &[(Fr, Poly<'_>)], room: &Room) -> Vec<Fr> {
    let sum = |order: Order| {
        let terms: Vec<_> =
            terms.iter().filter(|(_, p)| p.order == order).map(|(factor, p)| (*factor, p.coefficients)).collect();
        if terms.is_empty() {
            return None;
        }
        let mut out = room.take();
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, out)| combine_at(c * CHUNK, &terms, out));
        Some(out)
    };
    let reversed = sum(Order::Reversed).map(|values| {
        let mut reversed = room.take();
        write_bit_reversed(&values, &mut reversed);
        room.put(values);
        reversed
    });
    match (sum(Order::Natural), reversed) {
        (Some(mut a), Some(b)) => {
            a.par_iter_mut().zip(&b).with_min_len(CHUNK).for_each(|(a, b)| *a += b);
            room.put(b);
            a
        }
        (Some(a), None) | (None, Some(a)) => a,
        (None, None) => {
            let mut zero = room.take();
            zero.fill(Fr::ZERO);
            zero
        }
    }
}

/// A sum of multiples that is to be divided by `X − root`.
#[derive(Debug)]
pub(crate) struct Division<'a> {
    pub(crate) root: Fr,
    /// In natural order.
    pub(crate) terms: Vec<(Fr, &'a [Fr])>,
}

/// Adds the quotients, without remainders, to `sum`; no term is longer. Takes as much memory as so many dividends `at_once`, and
/// one part in 32 more.
///
/// A coefficient of a quotient is the value at the root of the coefficients above, from which the next follows. To begin
/// anywhere, all segments are evaluated first.
pub(crate) fn divide_onto(sum: &mut [Fr], divisions: &[Division<'_>], at_once: usize) {
    let segments = GROUP / SEGMENT;
    let n = sum.len();
    let at_once = at_once.min(divisions.len()).max(1);
    // Dividends of a group stand together, and so do the values of their segments.
    let mut dividends = vec![Fr::ZERO; at_once * n.next_multiple_of(GROUP)];
    let mut carries = vec![Fr::ZERO; dividends.len() / SEGMENT];
    for divisions in divisions.chunks(at_once) {
        let len = |group: usize| GROUP.min(n - group * GROUP);
        let groups = dividends.par_chunks_mut(at_once * GROUP).zip(carries.par_chunks_mut(at_once * segments));
        groups.enumerate().for_each(|(group, (dividends, values))| {
            let dividends = dividends.chunks_mut(GROUP).zip(values.chunks_mut(segments));
            for (division, (dividend, values)) in divisions.iter().zip(dividends) {
                let dividend = &mut dividend[..len(group)];
                combine_at(group * GROUP, &division.terms, dividend);
                segment_values(dividend, division.root, values);
            }
        });
        let mut above: Vec<(Fr, Fr)> =
            divisions.iter().map(|d| (Fr::ZERO, d.root.pow_vartime([SEGMENT as u64]))).collect();
        for values in carries.chunks_mut(at_once * segments).rev() {
            for (values, (carry, power)) in values.chunks_mut(segments).zip(&mut above) {
                for value in values.iter_mut().rev() {
                    let next = *value + *carry * *power;
                    *value = *carry;
                    *carry = next;
                }
            }
        }
        let groups = dividends.par_chunks(at_once * GROUP).zip(carries.par_chunks(at_once * segments));
        sum.par_chunks_mut(GROUP).zip(groups).for_each(|(sum, (dividends, carries))| {
            let dividends = dividends.chunks(GROUP).zip(carries.chunks(segments));
            for (division, (dividend, carries)) in divisions.iter().zip(dividends) {
                divide_segments(sum, &dividend[..sum.len()], division.root, carries);
            }
        });
    }
}

/// Writes the values of the segments of a group; zero for those that it is too short for.
fn segment_values(group: &[Fr], root: Fr, values: &mut [Fr]) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(shown), Some(group)) = (Fma::detect(), group.as_array()) {
        return values.copy_from_slice(&segments::values(shown, group, root));
    }
    let mut segments = group.chunks(SEGMENT);
    for value in values {
        let segment = segments.next().unwrap_or_default();
        *value = segment.iter().rev().fold(Fr::ZERO, |sum, c| sum * root + c);
    }
}

/// Adds the quotients of the segments of a group, each of which begins with what the ones above it carry.
fn divide_segments(sum: &mut [Fr], group: &[Fr], root: Fr, carries: &[Fr]) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(shown), Some(sum), Some(group), Some(carries)) =
        (Fma::detect(), sum.as_mut_array(), group.as_array(), carries.as_array())
    {
        return segments::divide_onto(shown, sum, group, root, carries);
    }
    for ((sum, segment), carry) in sum.chunks_mut(SEGMENT).zip(group.chunks(SEGMENT)).zip(carries) {
        let mut carry = *carry;
        for (sum, c) in sum.iter_mut().zip(segment).rev() {
            *sum += carry;
            carry = *c + carry * root;
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::samples::elements;

    /// Around one, segments, groups, and tasks.
    const SIZES: [usize; 16] = [1, 2, 7, 8, 31, 32, 33, 255, 256, 257, 511, 512, 520, 2048, 2304, 5000];

    fn roots() -> Vec<Fr> {
        let mut roots = vec![Fr::ZERO, Fr::ONE, -Fr::ONE];
        roots.extend(elements::<Fr>(4, 7));
        roots
    }

    fn horner(coefficients: &[Fr], x: Fr) -> Fr {
        coefficients.iter().rev().fold(Fr::ZERO, |sum, c| sum * x + c)
    }

    #[test]
    fn values_are_those_of_horner() {
        for n in SIZES {
            for root in roots() {
                for coefficients in [elements(n, n as u64), vec![-Fr::ONE; n], vec![Fr::ZERO; n]] {
                    let value = horner(&coefficients, root);
                    assert_eq!(Poly::natural(&coefficients).evaluate(root), value, "{n} at {root:?}");
                    if n.is_power_of_two() {
                        let reversed = bit_reverse(&coefficients);
                        assert_eq!(Poly::reversed(&reversed).evaluate(root), value, "{n} reversed, at {root:?}");
                    }
                }
            }
        }
        assert_eq!(Poly::natural(&[]).evaluate(Fr::ONE), Fr::ZERO);
    }

    #[test]
    fn quotients_are_those_of_plain_division() {
        for n in SIZES {
            for root in roots() {
                for coefficients in [elements(n, n as u64), vec![-Fr::ONE; n], vec![Fr::ZERO; n]] {
                    let before = elements::<Fr>(n, 3);
                    let mut sum = before.clone();
                    // Of several, taken together or not: twice the quotient, and nothing.
                    let division = |terms| Division { root, terms };
                    let short = &coefficients[..1];
                    let divisions = [
                        division(vec![(Fr::ONE, &*coefficients)]),
                        division(vec![]),
                        division(vec![(-Fr::ONE, short), (Fr::from(3), &*coefficients), (-Fr::ONE, &*coefficients)]),
                        division(vec![(Fr::ONE, short)]),
                        division(vec![(-Fr::from(2), &*coefficients)]),
                    ];
                    divide_onto(&mut sum, &divisions, 1 + n % 4);
                    let mut carry = Fr::ZERO;
                    for i in (0..n).rev() {
                        assert_eq!(sum[i], before[i] + carry, "{i} of {n} by {root:?}");
                        carry = coefficients[i] + carry * root;
                    }
                }
            }
        }
    }

    #[test]
    fn sums_are_those_of_their_terms() {
        for n in SIZES.into_iter().filter(|n| n.is_power_of_two()) {
            // What is used again is overwritten.
            let room = Room::new(n);
            room.put(elements(n, 13));
            for terms in 0..8 {
                let polys: Vec<Vec<Fr>> = (0..terms).map(|i| elements(n, i as u64)).collect();
                let factors: Vec<Fr> = elements(terms, 11);
                let reversed: Vec<Vec<Fr>> = polys.iter().map(|p| bit_reverse(p)).collect();
                // Every third in reversed order, and a short one.
                let short = elements(1, 12);
                let mut all: Vec<(Fr, Poly<'_>)> = vec![(-Fr::ONE, Poly::natural(&short))];
                for (i, factor) in factors.iter().enumerate() {
                    let poly = if i % 3 == 1 { Poly::reversed(&reversed[i]) } else { Poly::natural(&polys[i]) };
                    all.push((*factor, poly));
                }
                let sum = combine(&all, &room);
                for i in 0..n {
                    let mut want: Fr = factors.iter().zip(&polys).map(|(factor, poly)| *factor * poly[i]).sum();
                    if i == 0 {
                        want -= short[0];
                    }
                    assert_eq!(sum[i], want, "{i} of {n}, {terms} terms");
                }
                room.put(sum);
            }
        }
    }
}
