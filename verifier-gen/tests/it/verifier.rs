//! A deployed verifier with its honest proof, and what it answers.

use halo2_base::halo2_proofs::halo2curves::bn256::Fr;
use sha3::{Digest, Keccak256};
use verifier_gen::{Encoder, compile::Optimizer, layout::Region};

use crate::{
    circuits::Case,
    evm::{Answer, Chain, compile},
};

/// Errors of the contract.
pub const ERRORS: [&str; 11] = [
    "UnknownFunction(bytes4)",
    "BadCalldataLength(uint256,uint256)",
    "BadEncoding(uint256,uint256,uint256)",
    "InstanceNotCanonical(uint256,uint256)",
    "EvaluationNotCanonical(uint256,uint256)",
    "InverseHintWrong(uint256,uint256)",
    "AccumulatorNotCanonical(uint256)",
    "PointAtInfinity()",
    "PointNotOnCurve(uint256,uint256)",
    "PrecompileFailed()",
    "ProofInvalid()",
];

/// The error in what a call gave.
pub fn error(answer: &Answer) -> &'static str {
    let Answer::Reverted(data) = answer else { panic!("{answer:?}") };
    let selector = |error: &str| data.starts_with(&Keccak256::digest(error.as_bytes())[..4]);
    let found = ERRORS.into_iter().find(|error| selector(error)).expect("an error of the interface");
    let arguments = found.matches(',').count() + usize::from(!found.ends_with("()"));
    assert_eq!(data.len(), 4 + 32 * arguments, "{found}");
    found.split('(').next().expect("a name")
}

/// A deployed verifier with its honest proof.
pub struct Verifier {
    pub case: Case,
    pub encoder: Encoder,
    pub chain: Chain,
}

impl Verifier {
    pub fn new(case: Case) -> Self {
        let compiled = compile(&case.source().solidity, Optimizer::Full);
        Self { encoder: case.encoder(), chain: Chain::deploy(&compiled.creation).0, case }
    }

    pub fn honest(&self) -> Vec<u8> {
        self.encoder.encode_calldata(&self.case.proof, &self.case.instances).expect("an encoding")
    }

    pub fn accepts(&self, calldata: &[u8]) -> bool {
        let mut one = vec![0; 32];
        one[31] = 1;
        match self.chain.call(calldata) {
            Answer::Returned(data) => {
                assert_eq!(data, one);
                true
            }
            answer => {
                error(&answer);
                false
            }
        }
    }

    pub fn refusal(&self, calldata: &[u8]) -> &'static str {
        error(&self.chain.call(calldata))
    }

    /// Both verdicts on a proof and instances that may be wrong; the contract gets a fitting hint.
    pub fn both_refuse(&self, proof: &[u8], instances: &[Fr]) -> &'static str {
        assert!(!self.case.native(proof, instances), "{}: halo2 accepts", self.case.name);
        let calldata = self.encoder.encode_calldata(proof, instances).expect("an encoding");
        self.refusal(&calldata)
    }

    /// Offset of a piece in halo2's proof.
    pub fn in_proof(&self, region: &Region) -> usize {
        region.offset - self.encoder.calldata_layout()[0].offset
    }

    pub fn regions(&self, doc: &str) -> Vec<usize> {
        let regions = self.encoder.calldata_layout().iter().filter(|region| region.doc == doc);
        regions.map(|region| self.in_proof(region)).collect()
    }

    pub fn points(&self) -> Vec<usize> {
        [self.regions("commitment"), self.regions("opening")].concat()
    }
}
