//! Whatever is sent, the contract accepts exactly what halo2 accepts in its one encoding: over mutations drawn from a seed.

use std::sync::OnceLock;

use halo2_base::halo2_proofs::halo2curves::{bn256::Fr, ff::PrimeField};

use verifier_gen::encode::SELECTOR;

use crate::{circuits, evm::Answer, verifier, verifier::Verifier};

/// One key without, one with an accumulator, compiled once.
fn verifiers() -> &'static [Verifier] {
    static ALL: OnceLock<Vec<Verifier>> = OnceLock::new();
    ALL.get_or_init(|| [circuits::plonk(), circuits::accumulator()].map(Verifier::new).into())
}

/// What a call came to: the name of the contract's error, or none if it accepted.
pub type Verdict = Option<&'static str>;

/// Reads `data` as a call of one of the verifiers and compares both verdicts.
///
/// Byte 0 says which verifier (modulo 2) and what follows (halved, modulo 3): the calldata itself; edits of the honest
/// calldata; edits of the honest proof and instances, which then get the hint that fits. Nothing for no data.
///
/// Panics if the verdicts differ, or the contract stops otherwise than by one of its errors.
pub fn agrees(data: &[u8]) -> Verdict {
    let (&head, rest) = data.split_first()?;
    let verifier = &verifiers()[usize::from(head % 2)];
    let calldata = match head / 2 % 3 {
        0 => rest.to_vec(),
        1 => edited(verifier.honest(), SELECTOR.len(), rest),
        _ => {
            let case = &verifier.case;
            let mut statement = case.proof.clone();
            case.instances.iter().for_each(|instance| statement.extend(word(instance)));
            let statement = edited(statement, 0, rest);
            let (proof, instances) = statement.split_at(statement.len().min(case.proof.len()));
            let instances: Option<Vec<Fr>> = instances.chunks(32).map(number).collect();
            let encoded = instances.and_then(|instances| verifier.encoder.encode_calldata(proof, &instances).ok());
            // What has no encoding is sent as it is.
            encoded.unwrap_or(statement)
        }
    };
    let answer = verifier.chain.call(&calldata);
    let verdict = match &answer {
        Answer::Returned(data) => {
            assert_eq!(number(data), Some(Fr::from(1)), "an accepted proof returns true");
            None
        }
        refused => Some(verifier::error(refused)),
    };
    assert_eq!(verdict.is_none(), native(verifier, &calldata), "{verdict:?} for {}", hex::encode(&calldata));
    verdict
}

/// halo2's verdict, if the calldata is the encoding of anything.
fn native(verifier: &Verifier, calldata: &[u8]) -> bool {
    let case = &verifier.case;
    let start = verifier.encoder.calldata_layout()[0].offset;
    if calldata.len() != verifier.honest().len() {
        return false;
    }
    let proof = &calldata[start..start + case.proof.len()];
    let words = calldata[calldata.len() - 32 * case.instances.len()..].chunks(32);
    let Some(instances) = words.map(number).collect::<Option<Vec<Fr>>>() else { return false };
    let encoded = verifier.encoder.encode_calldata(proof, &instances);
    encoded.is_ok_and(|encoded| encoded == calldata) && case.native(proof, &instances)
}

/// Edits of four bytes each: position (two, big-endian, modulo the length), kind, argument. Words begin at `first_word`.
fn edited(mut bytes: Vec<u8>, first_word: usize, edits: &[u8]) -> Vec<u8> {
    for edit in edits.chunks_exact(4) {
        let [high, low, kind, argument] = [edit[0], edit[1], edit[2], edit[3]];
        let length = bytes.len().max(1);
        let at = usize::from(u16::from_be_bytes([high, low])) % length;
        let word = at - at % 32 + first_word;
        let words = bytes.get_mut(word..).unwrap_or_default();
        match kind % 6 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= argument),
            1 => words.iter_mut().take(32).for_each(|byte| *byte = argument),
            2 => words.iter_mut().take(64).for_each(|byte| *byte = 0),
            3 => bytes.truncate(at),
            4 => bytes.resize(bytes.len() + usize::from(argument), 0),
            _ => {
                // One word takes the place of another.
                let from = usize::from(argument) * 32 % length;
                let from = from - from % 32 + first_word;
                if word.max(from) + 32 <= bytes.len() {
                    bytes.copy_within(from..from + 32, word);
                }
            }
        }
    }
    bytes
}

fn word(value: &Fr) -> [u8; 32] {
    let mut bytes = value.to_repr();
    bytes.reverse();
    bytes
}

/// A word below the modulus.
fn number(word: &[u8]) -> Option<Fr> {
    let mut bytes: [u8; 32] = word.try_into().ok()?;
    bytes.reverse();
    Fr::from_repr(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{RngCore, SeedableRng},
    };

    use super::*;

    #[test]
    fn contract_and_halo2_agree_on_mutated_calls() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut verdicts: BTreeMap<Verdict, u32> = BTreeMap::new();
        for round in 0..480u32 {
            // None to three edits, of the calldata or of proof and instances.
            let mut data = vec![0; 1 + 4 * (rng.next_u32() % 4) as usize];
            rng.fill_bytes(&mut data);
            data[0] = (2 + round % 4) as u8;
            *verdicts.entry(agrees(&data)).or_default() += 1;
        }
        println!("{verdicts:?}");
        assert!(verdicts[&None] > 20, "calls without an edit are honest");
        let errors = ["BadCalldataLength", "BadEncoding", "InstanceNotCanonical"];
        let deeper =
            ["EvaluationNotCanonical", "InverseHintWrong", "PointAtInfinity", "PointNotOnCurve", "ProofInvalid"];
        for error in errors.into_iter().chain(deeper) {
            assert!(verdicts.contains_key(&Some(error)), "{error} is reached");
        }
    }

    #[test]
    fn raw_calldata_is_judged_alike() {
        for which in 0..2 {
            let honest = [vec![which], verifiers()[usize::from(which)].honest()].concat();
            assert_eq!(agrees(&honest), None);
            assert_eq!(agrees(&honest[..honest.len() - 1]), Some("BadCalldataLength"));
            assert_eq!(agrees(&honest[..4]), Some("UnknownFunction"));
        }
        assert_eq!(agrees(&[]), None);
    }
}
