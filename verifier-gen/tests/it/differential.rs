//! halo2's verifier and the contract agree, on honest proofs and on hundreds of wrong ones.

use std::{collections::BTreeMap, sync::OnceLock};

use halo2_base::halo2_proofs::{
    arithmetic::Field,
    halo2curves::{bn256::Fr, ff::PrimeField, group::prime::PrimeCurveAffine},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use verifier_gen::{Accumulator, baseline, compile::Optimizer};

use crate::{
    circuits::{self, Case},
    evm::{Answer, Chain, compile},
    vector,
    verifier::Verifier,
};

/// Order of the scalar field.
const R: [u8; 32] = hex32("30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001");
/// Order of the base field.
const P: [u8; 32] = hex32("30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47");

const fn hex32(text: &str) -> [u8; 32] {
    const fn digit(c: u8) -> u8 {
        if c.is_ascii_digit() { c - b'0' } else { c - b'a' + 10 }
    }
    let text = text.as_bytes();
    let mut out = [0; 32];
    let mut i = 0;
    while i < 32 {
        out[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    out
}

/// Adds a number to a big-endian word, if it fits.
fn add(word: &mut [u8], number: &[u8; 32]) -> bool {
    let mut carry = 0u16;
    for (to, from) in word.iter_mut().zip(number).rev() {
        let sum = u16::from(*to) + u16::from(*from) + carry;
        *to = sum as u8;
        carry = sum >> 8;
    }
    carry == 0
}

/// The verifiers of all circuits and of the demo's epochs, compiled once.
fn verifiers() -> &'static [Verifier] {
    static ALL: OnceLock<Vec<Verifier>> = OnceLock::new();
    ALL.get_or_init(|| circuits::all().into_iter().chain([vector::demo()]).map(Verifier::new).collect())
}

/// The verifier of one circuit.
fn verifier(name: &str) -> &'static Verifier {
    verifiers().iter().find(|verifier| verifier.case.name == name).expect("a circuit of that name")
}

fn each(check: impl Fn(&Verifier)) {
    verifiers().iter().for_each(check);
}

#[test]
fn honest_proofs_are_accepted() {
    each(|verifier| {
        assert!(verifier.case.native(&verifier.case.proof, &verifier.case.instances), "{}", verifier.case.name);
        assert!(verifier.accepts(&verifier.honest()), "{}", verifier.case.name);
    });
}

#[test]
fn a_flipped_bit_anywhere_in_the_proof_is_refused_by_both() {
    let mut count = BTreeMap::new();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for verifier in verifiers() {
        for word in 0..verifier.case.proof.len() / 32 {
            let mut proof = verifier.case.proof.clone();
            proof[32 * word + (rng.next_u32() % 32) as usize] ^= 1 << (rng.next_u32() % 8);
            *count.entry(verifier.both_refuse(&proof, &verifier.case.instances)).or_insert(0) += 1;
        }
    }
    let total: u32 = count.values().sum();
    println!("{total} proofs with a flipped bit: {count:?}");
    assert!(total > 200);
    assert!(count.keys().all(|e| { ["PointNotOnCurve", "EvaluationNotCanonical", "ProofInvalid"].contains(e) }));
}

#[test]
fn another_value_of_any_evaluation_is_refused_by_both() {
    each(|verifier| {
        for at in verifier.regions("evaluation") {
            let mut proof = verifier.case.proof.clone();
            let mut one = [0; 32];
            one[31] = 1;
            add(&mut proof[at..at + 32], &one);
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "ProofInvalid");
        }
    });
}

#[test]
fn an_evaluation_plus_the_modulus_is_refused_by_both() {
    each(|verifier| {
        for at in verifier.regions("evaluation") {
            let mut proof = verifier.case.proof.clone();
            assert!(add(&mut proof[at..at + 32], &R));
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "EvaluationNotCanonical");
        }
    });
}

#[test]
fn swapped_points_are_refused_by_both() {
    each(|verifier| {
        for pair in verifier.points().windows(2) {
            let mut proof = verifier.case.proof.clone();
            let (a, b) = (pair[0], pair[1]);
            if proof[a..a + 64] == proof[b..b + 64] {
                continue;
            }
            for i in 0..64 {
                proof.swap(a + i, b + i);
            }
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "ProofInvalid");
        }
    });
}

#[test]
fn negated_points_are_refused_by_both() {
    each(|verifier| {
        for at in verifier.points() {
            let mut proof = verifier.case.proof.clone();
            // p − y, by adding p + 1 to the complement of y.
            let y = &mut proof[at + 32..at + 64];
            y.iter_mut().for_each(|byte| *byte = !*byte);
            let mut next = P;
            next[31] += 1;
            add(y, &next);
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "ProofInvalid");
        }
    });
}

#[test]
fn points_off_the_curve_are_refused_by_both() {
    each(|verifier| {
        for at in verifier.points() {
            let mut proof = verifier.case.proof.clone();
            proof[at + 63] ^= 1;
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "PointNotOnCurve");
        }
    });
}

#[test]
fn a_coordinate_plus_the_modulus_is_refused_by_both() {
    each(|verifier| {
        for at in verifier.points() {
            for at in [at, at + 32] {
                let mut proof = verifier.case.proof.clone();
                assert!(add(&mut proof[at..at + 32], &P));
                assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "PointNotOnCurve");
            }
        }
    });
}

#[test]
fn the_point_at_infinity_is_refused_by_both() {
    each(|verifier| {
        for at in verifier.points() {
            let mut proof = verifier.case.proof.clone();
            proof[at..at + 64].fill(0);
            assert_eq!(verifier.both_refuse(&proof, &verifier.case.instances), "PointAtInfinity");
        }
    });
}

#[test]
fn another_instance_is_refused_by_both() {
    each(|verifier| {
        for index in 0..verifier.case.instances.len() {
            for difference in [Fr::ONE, -Fr::ONE] {
                let mut instances = verifier.case.instances.clone();
                instances[index] += difference;
                let error = verifier.both_refuse(&verifier.case.proof, &instances);
                let expected = ["ProofInvalid", "PointNotOnCurve", "AccumulatorNotCanonical"];
                assert!(expected.contains(&error), "{error}");
            }
        }
    });
}

#[test]
fn an_instance_plus_the_modulus_is_refused() {
    each(|verifier| {
        let base = verifier.honest().len() - 32 * verifier.case.instances.len();
        for index in 0..verifier.case.instances.len() {
            let mut calldata = verifier.honest();
            assert!(add(&mut calldata[base + 32 * index..base + 32 * index + 32], &R));
            assert_eq!(verifier.refusal(&calldata), "InstanceNotCanonical");
        }
    });
}

#[test]
fn a_wrong_hint_is_refused() {
    each(|verifier| {
        let honest = verifier.honest();
        let at = honest.len() - 32 * (verifier.case.instances.len() + 2);
        let hint = honest[at..at + 32].to_vec();
        let mut wrong = vec![vec![0; 32], vec![0xff; 32], R.to_vec()];
        let mut plus_modulus = hint.clone();
        assert!(add(&mut plus_modulus, &R));
        wrong.push(plus_modulus);
        for bit in 0..256 {
            let mut flipped = hint.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            wrong.push(flipped);
        }
        for hint in wrong {
            let mut calldata = honest.clone();
            calldata[at..at + 32].copy_from_slice(&hint);
            assert_eq!(verifier.refusal(&calldata), "InverseHintWrong");
        }
    });
}

#[test]
fn any_flipped_bit_of_the_calldata_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for verifier in verifiers() {
        let honest = verifier.honest();
        // Each byte of selector and offsets, then a bit in every word.
        let prefix = (0..100).collect::<Vec<usize>>();
        let words = (100..honest.len()).step_by(32).map(|at| at + (rng.next_u32() % 32) as usize);
        for at in prefix.into_iter().chain(words.filter(|at| *at < honest.len()).collect::<Vec<_>>()) {
            let mut calldata = honest.clone();
            calldata[at] ^= 1 << (rng.next_u32() % 8);
            *count.entry(verifier.refusal(&calldata)).or_default() += 1;
        }
    }
    println!("{} calls with a flipped bit: {count:?}", count.values().sum::<u32>());
    assert!(count["UnknownFunction"] >= 20 && count["BadEncoding"] >= 96 * 5);
}

#[test]
fn calldata_of_another_length_is_refused() {
    let verifier = verifier("Plonk");
    let honest = verifier.honest();
    for length in (4..honest.len()).step_by(7).chain([honest.len() - 1]) {
        assert_eq!(verifier.refusal(&honest[..length]), "BadCalldataLength", "{length}");
    }
    for length in 0..4 {
        assert_eq!(verifier.refusal(&honest[..length]), "UnknownFunction", "{length}");
    }
    for extra in [1, 31, 32, 1000] {
        let longer = [honest.clone(), vec![0; extra]].concat();
        assert_eq!(verifier.refusal(&longer), "BadCalldataLength");
    }
}

#[test]
fn a_second_encoding_of_the_same_statement_is_refused() {
    let verifier = verifier("Plonk");
    let honest = verifier.honest();
    let n_instances = 32 * (verifier.case.instances.len() + 1);
    // Instances before the proof: a decoder takes it, and everything has the same length.
    let (head, tail) = honest.split_at(4 + 64);
    let (proof, instances) = tail.split_at(tail.len() - n_instances);
    let mut swapped = head.to_vec();
    swapped[4 + 30..4 + 32].copy_from_slice(&((64 + n_instances) as u16).to_be_bytes());
    swapped[36 + 30..36 + 32].copy_from_slice(&64u16.to_be_bytes());
    swapped.extend([instances, proof].concat());
    assert_eq!(swapped.len(), honest.len());
    assert_eq!(verifier.refusal(&swapped), "BadEncoding");
}

#[test]
fn a_proof_of_one_circuit_is_refused_by_the_verifier_of_another() {
    let verifier = verifier("Accumulator");
    let other = circuits::base();
    let calldata = other.encoder().encode_calldata(&other.proof, &other.instances).expect("an encoding");
    assert_eq!(verifier.refusal(&calldata), "BadCalldataLength");
}

#[test]
fn a_false_accumulator_is_refused_although_the_proof_holds() {
    // The circuit does not constrain its accumulator, so the proof itself holds for any.
    let verifier = verifier("Accumulator");
    for (name, case) in circuits::false_accumulators() {
        assert_eq!(case.source(), verifier.case.source(), "the key is the same");
        assert!(!case.native(&case.proof, &case.instances), "{name}");
        let calldata = verifier.encoder.encode_calldata(&case.proof, &case.instances).expect("an encoding");
        let error = verifier.refusal(&calldata);
        let expected = match name {
            "other point" | "swapped" => "ProofInvalid",
            "off the curve" | "coordinate plus modulus" => "PointNotOnCurve",
            "at infinity" => "PointAtInfinity",
            _ => "AccumulatorNotCanonical",
        };
        assert_eq!(error, expected, "{name}");
    }
}

/// For circuits as large as an epoch's: on the smallest ones the checks that the loader lacks weigh more.
#[test]
fn ours_is_half_the_loaders_size_and_cheaper() {
    let wide = Verifier::new(vector::wide());
    for ours in [verifier("Base"), verifier("Epoch4"), &wide] {
        let name = ours.case.name;
        let Case { params, vk, instances, accumulator, proof, .. } = &ours.case;
        let source = baseline::generate(params, vk, instances.len(), *accumulator).expect("a key for the loader");
        let loader = compile(&source, Optimizer::WithoutYul);
        let ours_size = compile(&ours.case.source().solidity, Optimizer::Full).runtime.len();
        assert!(2 * ours_size <= loader.runtime.len(), "{name}: {ours_size} and {} bytes", loader.runtime.len());
        let (chain, _) = Chain::deploy(&loader.creation);
        let execution = |chain: &Chain, calldata: &[u8]| {
            let (answer, gas, precompiles) = chain.call_inspected(calldata);
            assert!(matches!(answer, Answer::Returned(_)), "{answer:?}");
            let base = 21_000 + calldata.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum::<u64>();
            (gas - base - precompiles.points_gas(), precompiles)
        };
        let (ours_gas, ours_points) = execution(&ours.chain, &ours.honest());
        let (loader_gas, loader_points) = execution(&chain, &baseline::calldata(instances, proof));
        // What both pay alike is five sixths of the loader's gas; of all else ours needs at most three quarters.
        assert!(ours_points.points_gas() <= loader_points.points_gas(), "{name}: {ours_points:?}, {loader_points:?}");
        assert!(4 * ours_gas <= 3 * loader_gas, "{name}: {ours_gas} and {loader_gas} gas");
        assert_eq!(ours_points.inversions.calls, 0, "{name}");
    }
}

/// A point costs a multiplication and an addition, but the first, which the sum begins with, and the pairing's second,
/// W′, whose scalar is 1.
#[test]
fn no_point_is_multiplied_without_need() {
    each(|verifier| {
        let key = &verifier.case.vk;
        let proof = verifier.points().len();
        let mut of_key: Vec<_> = key.fixed_commitments().iter().chain(key.permutation().commitments()).collect();
        of_key.retain(|point| !bool::from(point.is_identity()));
        of_key.sort_by_key(|point| (point.x.to_repr(), point.y.to_repr()));
        of_key.dedup();
        let accumulator = if verifier.case.accumulator == Accumulator::None { 0 } else { 2 };
        let (answer, _, precompiles) = verifier.chain.call_inspected(&verifier.honest());
        assert!(matches!(answer, Answer::Returned(_)), "{answer:?}");
        // The generator, all points of the key, all of the proof but the first, both of the accumulator.
        let needed = (1 + of_key.len() + proof - 1 + accumulator) as u64;
        assert_eq!(precompiles.multiplications.calls, needed, "{}", verifier.case.name);
        assert_eq!(precompiles.additions.calls, needed, "{}", verifier.case.name);
        assert_eq!(precompiles.pairings.calls, 1, "{}", verifier.case.name);
    });
}
