//! The multi-scalar multiplication against halo2curves, and what its constraints refuse.

use std::mem;

use aggregator::curve::{Affine, CurveChip, Running};
use aggregator::fq::{Factor, FqChip};
use aggregator::msm::{Auxiliary, DIGITS, MsmChip, digit_bits, digits, digits_from};
use aggregator::statement::canonical;
use halo2_base::{
    AssignedValue, Context,
    gates::{
        RangeChip,
        circuit::{CircuitBuilderStage, builder::BaseCircuitBuilder},
    },
    utils::{fe_to_biguint, modulus},
};
use halo2_ecc::{bn254::FpChip, ecc::EcPoint, fields::FieldChip};
use halo2_proofs::{
    dev::{MockProver, VerifyFailure},
    halo2curves::{
        bn256::{Fq, Fr, G1, G1Affine},
        ff::{Field, PrimeField},
        group::{Curve, Group, prime::PrimeCurveAffine},
    },
};
use num_bigint::BigUint;
use rand::{SeedableRng, rngs::StdRng};
use snark_verifier_sdk::{
    BITS, LIMBS,
    halo2::aggregation::{BaseFieldEccChip, Halo2Loader},
};

/// What refused a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Gate,
    Lookup,
    Copy,
}

/// Fills a circuit by `fill` and names the kinds of constraint that fail.
fn refusals(k: u32, fill: impl FnOnce(&mut Context<Fr>, &RangeChip<Fr>)) -> Vec<Refusal> {
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Mock)
        .use_k(k as usize)
        .use_lookup_bits(k as usize - 1)
        .use_instance_columns(0);
    let range = builder.range_chip();
    fill(builder.main(0), &range);
    builder.calculate_params(Some(20));
    let prover = MockProver::run(k, &builder, vec![]).expect("synthesizes");
    let failures = prover.verify_par().err().unwrap_or_default();
    let mut kinds = Vec::new();
    for failure in failures {
        let kind = match failure {
            VerifyFailure::ConstraintNotSatisfied { .. } => Refusal::Gate,
            VerifyFailure::Lookup { .. } => Refusal::Lookup,
            VerifyFailure::Permutation { .. } => Refusal::Copy,
            // This halo2's mock prover does not record which cells were assigned, so it reports all of them.
            VerifyFailure::CellNotAssigned { .. } => continue,
            other => panic!("unexpected {other}"),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn load(ctx: &mut Context<Fr>, ecc: &BaseFieldEccChip<'_>, point: G1Affine) -> Affine {
    Affine::from(&ecc.load_private::<G1Affine>(ctx, (point.x, point.y)))
}

/// Runs `Σ scalar·base + Σ units` in a circuit.
fn run(
    ctx: &mut Context<Fr>,
    range: &RangeChip<Fr>,
    terms: &[(Fr, G1Affine)],
    units: &[G1Affine],
) -> (G1Affine, Affine) {
    let fp = FpChip::<Fr>::new(range, BITS, LIMBS);
    let ecc = BaseFieldEccChip::new(&fp);
    let seeds = [11, 12].map(|seed| ctx.load_witness(Fr::from(seed)));
    let auxiliary = Auxiliary::new(ctx, &ecc, seeds);
    let loaded: Vec<_> = terms.iter().map(|(k, p)| (ctx.load_witness(*k), load(ctx, &ecc, *p))).collect();
    let added: Vec<_> = units.iter().map(|p| load(ctx, &ecc, *p)).collect();
    let sum = MsmChip::new(CurveChip::new(FqChip::new(range))).evaluate(ctx, &auxiliary, &loaded, &added);
    (sum.value(), sum)
}

fn expected(terms: &[(Fr, G1Affine)], units: &[G1Affine]) -> G1Affine {
    let scaled: G1 = terms.iter().map(|(k, p)| *p * k).sum();
    units.iter().fold(scaled, |sum, p| sum + p).to_affine()
}

fn points(n: usize) -> Vec<G1Affine> {
    let mut rng = StdRng::seed_from_u64(7);
    (0..n).map(|_| G1::random(&mut rng).to_affine()).collect()
}

/// Without the constraints: the witness is the group's.
fn evaluates(terms: &[(Fr, G1Affine)], units: &[G1Affine]) {
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Mock).use_k(17).use_lookup_bits(16);
    let range = builder.range_chip();
    let (sum, _) = run(builder.main(0), &range, terms, units);
    assert_eq!(sum, expected(terms, units), "{terms:?} {units:?}");
}

fn edge_scalars() -> Vec<Fr> {
    let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2), -Fr::from(2)];
    scalars.extend([1, 63, 126, 127, 128, 253].map(|i| Fr::from(2).pow_vartime([i])));
    // All digits 1, all −1, and the two patterns that alternate.
    let all = Fr::from(2).pow_vartime([DIGITS as u64]) - Fr::ONE;
    let third = all * Fr::from(3).invert().expect("3 is not 0");
    scalars.extend([all, -all, third, -third]);
    scalars
}

#[test]
fn random_sums_are_the_groups() {
    let mut rng = StdRng::seed_from_u64(8);
    for n in 1..=9 {
        let terms: Vec<_> = points(n).into_iter().map(|p| (Fr::random(&mut rng), p)).collect();
        evaluates(&terms, &[]);
        evaluates(&terms, &points(3)[1..]);
    }
}

#[test]
fn edge_scalars_and_related_bases_are_the_groups() {
    let g = points(3);
    for k in edge_scalars() {
        evaluates(&[(k, g[0])], &g[1..2]);
        // Equal bases, opposite bases, multiples, in one clump and across clumps.
        evaluates(&[(k, g[0]), (Fr::from(5), g[0]), (k, g[0]), (k, g[0]), (k, g[0])], &g[1..2]);
        evaluates(&[(k, g[0]), (k, -g[0]), (Fr::ONE, g[1]), (k, -g[0]), (k, g[0])], &g[2..]);
        evaluates(&[(k, g[0]), (Fr::ONE, (g[0] * Fr::from(2)).to_affine()), (k, g[2])], &[g[0], g[0], g[1]]);
    }
}

/// Bases that cancel but for a unit, every constraint included.
#[test]
fn constraints_hold_for_edge_cases() {
    let g = points(2);
    let scalars = edge_scalars();
    let mut terms: Vec<_> = scalars.iter().take(6).map(|k| (*k, g[0])).collect();
    terms.extend([(scalars[5], -g[0]), (-Fr::ONE, g[1])]);
    let units = [g[1], -g[0]];
    let kinds = refusals(18, |ctx, range| {
        let (sum, _) = run(ctx, range, &terms, &units);
        assert_eq!(sum, expected(&terms, &units));
    });
    assert_eq!(kinds, []);
}

#[test]
fn sum_at_infinity_is_refused() {
    let g = points(1)[0];
    let kinds = refusals(17, |ctx, range| {
        run(ctx, range, &[(Fr::ONE, g), (-Fr::ONE, g)], &[]);
    });
    assert!(!kinds.is_empty());
}

#[test]
fn every_digit_string_but_one_is_refused() {
    let r = modulus::<Fr>();
    let fill = |scalar: Fr, bits: BigUint| {
        refusals(12, move |ctx, range| {
            let scalar = ctx.load_witness(scalar);
            digits_from(ctx, &FqChip::new(range), scalar, &bits);
        })
    };
    // B = 0 has another string, r; so has every B that stays below 2²⁵⁴ with r added.
    let most = (BigUint::from(1u8) << DIGITS) - 1u8 - &r;
    for b in [BigUint::from(0u8), BigUint::from(1u8), most] {
        let b_in_field = halo2_base::utils::biguint_to_fe::<Fr>(&b);
        let scalar = b_in_field.double() - (Fr::from(2).pow_vartime([DIGITS as u64]) - Fr::ONE);
        assert_eq!(digit_bits(scalar), b);
        assert_eq!(fill(scalar, b.clone()), []);
        assert!(fill(scalar, &b + &r).contains(&Refusal::Lookup), "B + r is not below r");
        assert_eq!(fill(scalar, &b + 1u8), [Refusal::Copy], "the digits of another scalar");
    }
    for scalar in edge_scalars() {
        assert_eq!(fill(scalar, digit_bits(scalar)), []);
    }
}

#[test]
fn digit_other_than_one_or_minus_one_is_refused() {
    for (value, position) in [(Fr::ZERO, 0), (Fr::from(3), 1), (Fr::from(2), DIGITS - 1)] {
        let kinds = refusals(12, |ctx, range| {
            let scalar = ctx.load_witness(Fr::from(77));
            let digits = digits(ctx, &FqChip::new(range), scalar);
            digits[position].debug_prank(ctx, value);
        });
        assert!(kinds.contains(&Refusal::Gate), "{value:?} at {position}: {kinds:?}");
    }
}

/// a·b − c = 0 for an honest product, for one that is off by one, and for one that is larger by the modulus.
#[test]
fn wrong_product_is_refused() {
    let mut rng = StdRng::seed_from_u64(9);
    let (a, b) = (Fq::random(&mut rng), Fq::random(&mut rng));
    let product = |c: Fq| {
        refusals(12, move |ctx, range| {
            let fq = FqChip::new(range);
            let [a, b, c] = [a, b, c].map(|x| fq.witness(ctx, x));
            fq.vanishes(ctx, &[(&a, &b)], &[(Factor::Minus, &c)]);
        })
    };
    assert_eq!(product(a * b), []);
    for wrong in [a * b + Fq::ONE, a * b - Fq::ONE, Fq::ZERO] {
        assert!(product(wrong).contains(&Refusal::Gate));
    }
}

/// Each limb and the native value of a product's operand are bound.
#[test]
fn tampered_limb_is_refused() {
    let mut rng = StdRng::seed_from_u64(10);
    let (a, b) = (Fq::random(&mut rng), Fq::random(&mut rng));
    for limb in 0..3 {
        let kinds = refusals(12, |ctx, range| {
            let fq = FqChip::new(range);
            let [a, b, c] = [a, b, a * b].map(|x| fq.witness(ctx, x));
            fq.vanishes(ctx, &[(&a, &b)], &[(Factor::Minus, &c)]);
            let cell: AssignedValue<Fr> = c.limbs()[limb];
            cell.debug_prank(ctx, *cell.value() + Fr::ONE);
        });
        assert!(kinds.contains(&Refusal::Gate) && kinds.contains(&Refusal::Copy), "limb {limb}: {kinds:?}");
    }
}

#[test]
fn wrong_sum_of_points_is_refused() {
    let g = points(2);
    let add = |forge: bool| {
        refusals(14, |ctx, range| {
            let fp = FpChip::<Fr>::new(range, BITS, LIMBS);
            let ecc = BaseFieldEccChip::new(&fp);
            let curve = CurveChip::new(FqChip::new(range));
            let (p, q) = (load(ctx, &ecc, g[0]), load(ctx, &ecc, g[1]));
            let sum = curve.add(ctx, &Running::from(&p), q.signed(Factor::Plus));
            let sum = curve.settle(ctx, &sum);
            assert_eq!(sum.value(), (g[0] + g[1]).to_affine());
            if forge {
                // The opposite point: every line equation that does not hold the ordinate stays true.
                let opposite = curve.fq().witness(ctx, -sum.y.value());
                curve.fq().vanishes(ctx, &[], &[(Factor::Plus, &opposite), (Factor::Minus, &sum.y)]);
            }
        })
    };
    assert_eq!(add(false), []);
    assert!(add(true).contains(&Refusal::Gate));
}

/// Opposite points have no slope; a point and itself have any: the chip relies on the auxiliary points for that.
#[test]
fn opposite_points_do_not_add() {
    let g = points(1)[0];
    let kinds = refusals(14, |ctx, range| {
        let fp = FpChip::<Fr>::new(range, BITS, LIMBS);
        let ecc = BaseFieldEccChip::new(&fp);
        let curve = CurveChip::new(FqChip::new(range));
        let (p, q) = (load(ctx, &ecc, g), load(ctx, &ecc, -g));
        curve.add(ctx, &Running::from(&p), q.signed(Factor::Plus));
    });
    assert!(kinds.contains(&Refusal::Gate));
}

#[test]
fn auxiliary_point_of_another_seed_is_refused() {
    let seeds = |prank: Option<Fr>| {
        refusals(12, |ctx, range| {
            let fp = FpChip::<Fr>::new(range, BITS, LIMBS);
            let ecc = BaseFieldEccChip::new(&fp);
            let seeds = [5, 6].map(|seed| ctx.load_witness(Fr::from(seed)));
            Auxiliary::new(ctx, &ecc, seeds);
            if let Some(value) = prank {
                seeds[1].debug_prank(ctx, value);
            }
        })
    };
    assert_eq!(seeds(None), []);
    assert!(seeds(Some(Fr::from(1 << 20))).contains(&Refusal::Copy));
}

/// x and x + p are one coordinate to the curve equation and two to a transcript; only the smaller is admitted.
#[test]
fn coordinate_encoded_above_the_modulus_is_refused() {
    let p = modulus::<Fq>();
    // Twice the coordinate must fit 254 bits: the chip's range check is no comparison with p.
    let point = points(64)
        .into_iter()
        .find(|point| [point.x, point.y].iter().all(|c| fe_to_biguint(c) + &p < BigUint::from(1u8) << 254))
        .expect("about one point in ten");
    let circuit = |shift: [bool; 2], check: bool| {
        let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Mock)
            .use_k(12)
            .use_lookup_bits(11)
            .use_instance_columns(0);
        let range = builder.range_chip();
        let fp = FpChip::<Fr>::new(&range, BITS, LIMBS);
        let loader = Halo2Loader::new(BaseFieldEccChip::new(&fp), mem::take(builder.pool(0)));
        {
            let coordinates = [point.x, point.y].map(|c| fe_to_biguint(&c));
            let mut pool = loader.ctx_mut();
            let ctx = pool.main();
            let [x, y] = [0, 1].map(|i| {
                let integer = if shift[i] { &coordinates[i] + &p } else { coordinates[i].clone() };
                let coordinate = fp.load_constant_uint(ctx, integer);
                fp.range_check(ctx, coordinate.clone(), 254);
                coordinate
            });
            let loaded = EcPoint::new(x, y);
            loader.ecc_chip().assert_is_on_curve::<G1Affine>(ctx, &loaded);
            drop(pool);
            if check {
                canonical(&loader, &loaded);
            }
        }
        *builder.pool(0) = loader.take_ctx();
        builder.calculate_params(Some(20));
        let prover = MockProver::run(12, &builder, vec![]).expect("synthesizes");
        let failures = prover.verify_par().err().unwrap_or_default();
        failures.into_iter().any(|f| !matches!(f, VerifyFailure::CellNotAssigned { .. }))
    };
    assert!(!circuit([false, false], true), "the honest encoding");
    for shift in [[true, false], [false, true], [true, true]] {
        assert!(!circuit(shift, false), "{shift:?}: nothing else refuses it");
        assert!(circuit(shift, true), "{shift:?}");
    }
    assert!(!bool::from(point.is_identity()));
}

#[test]
fn odd_multiples_are_the_groups() {
    let base = points(1)[0];
    for low in [0, 1, 2, u128::MAX >> 1, 0x5555_5555_5555_5555_5555_5555_5555_5555] {
        let found = refusals(16, |ctx, range| {
            let fp = FpChip::<Fr>::new(range, BITS, LIMBS);
            let point = load(ctx, &BaseFieldEccChip::new(&fp), base);
            let bits: Vec<_> = (0..127).map(|j| ctx.load_witness(Fr::from((low >> j & 1) as u64))).collect();
            let curve = CurveChip::new(FqChip::new(range));
            let multiple = curve.odd_multiple(ctx, &point, &bits);
            let multiple = curve.settle(ctx, &multiple);
            let factor = Fr::from_u128(low) * Fr::from(2) + Fr::ONE;
            assert_eq!(multiple.value(), (base * factor).to_affine(), "2·{low} + 1");
        });
        assert_eq!(found, [], "2·{low} + 1");
    }
}
