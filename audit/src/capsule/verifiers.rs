//! The verifiers that a capsule's epoch keys give.

use std::path::Path;

use epochcheck::EpochVerifyingKey;
use ledger::RunDescription;

use super::contents::{self, steps_of};
use super::error::CapsuleError;
use super::read::{Capsule, MAX_CODE_BYTES, MAX_SOURCE_BYTES};
use crate::circuit::{EpochCircuit, wrap_k};
use crate::error::{AuditError, Reason};
use crate::keys::{Keys, StepKey};
use crate::verifier;

/// Hex digits from which on a number in a verifier's source is one of its key or reference string. Shorter ones stand in
/// the code in other forms.
const KEY_DIGITS: usize = 60;

impl Capsule {
    /// Compares each verifier with what its key gives; with a compiler its code, else only the numbers in it.
    ///
    /// Errors: a failed check `verifier code`.
    pub fn check_verifiers(&self, run: &RunDescription, solc: Option<&Path>) -> Result<usize, AuditError> {
        self.check_sources()?;
        let step = self.step(run)?;
        let wrap_k = wrap_k(&self.run()?)?;
        for epoch in &self.contents().epochs {
            let n_steps = steps_of(epoch.log_steps);
            let circuit = EpochCircuit::new(run, n_steps as usize, wrap_k)?;
            let key = self.epoch(&step, &circuit)?;
            self.check_verifier(&step, &key, &circuit, solc).map_err(|reason| {
                AuditError::failed("verifier code", CapsuleError::Code { n_steps, reason: reason.to_string() })
            })?;
        }
        Ok(self.contents().epochs.len())
    }

    fn check_verifier(
        &self,
        step: &StepKey,
        key: &EpochVerifyingKey,
        circuit: &EpochCircuit,
        solc: Option<&Path>,
    ) -> Result<(), Reason> {
        let n_steps = circuit.n_steps as u64;
        let source = verifier::source(&step.srs, key, circuit).map_err(Reason::other)?;
        let path = contents::verifier_source(n_steps);
        let got = self.archive.read(&path, MAX_SOURCE_BYTES)?;
        if got != source.solidity.as_bytes() {
            return Err(format!("{path} is not what the key gives").into());
        }
        let code = self.archive.read(&contents::verifier_code(n_steps), MAX_CODE_BYTES)?;
        for number in numbers(&source.solidity) {
            if !code.windows(number.len()).any(|part| part == number) {
                let number = hex::encode(&number);
                return Err(format!("0x{number} of the key or the reference string is not in the code").into());
            }
        }
        if let Some(solc) = solc {
            let compiled = verifier_gen::compile(solc, &source.solidity).map_err(Reason::other)?;
            if compiled.runtime != code {
                return Err(format!("the code is not what the compiler makes of {path}").into());
            }
        }
        Ok(())
    }
}

/// The long numbers of a source, as the shortest bytes: those of the key and of the reference string.
fn numbers(source: &str) -> Vec<Vec<u8>> {
    let hex_numbers = source.split("0x").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        &rest[..end]
    });
    let long = hex_numbers.filter(|digits| (KEY_DIGITS..=64).contains(&digits.len()));
    // Comments name the key's digest, which is no number of the code.
    let lines = source.lines().filter(|line| line.trim_start().starts_with("//")).collect::<Vec<_>>();
    let in_code = long.filter(|digits| !lines.iter().any(|line| line.contains(digits)));
    in_code
        .filter_map(|digits| {
            let bytes = hex::decode(format!("{digits:0>64}")).ok()?;
            let start = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[start..].to_vec())
        })
        .collect()
}
