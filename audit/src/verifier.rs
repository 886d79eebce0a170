//! The Solidity verifier that a key and a reference string give.

use epochcheck::EpochVerifyingKey;
use srs::{SrsSize, SrsVerifier};
use verifier_gen::{Accumulator, Options, Setup, VerifierSource};

use crate::circuit::EpochCircuit;
use crate::error::AuditError;

/// Where the accumulator stands among an epoch's instances.
pub const ACCUMULATOR: Accumulator = Accumulator::Limbs { first: 0 };

/// The verifier of the epochs of a circuit.
///
/// Errors: [`AuditError::Keys`], [`AuditError::Srs`].
pub fn source(
    srs: &SrsVerifier,
    key: &EpochVerifyingKey,
    circuit: &EpochCircuit,
) -> Result<VerifierSource, AuditError> {
    let mut command = format!("cairn verifier --epoch-size {}", circuit.n_steps);
    if let Some(k) = circuit.wrap_k {
        command += &format!(" --wrap {k}");
    }
    let options = Options {
        contract: "EpochVerifier",
        n_instances: key.n_instances(),
        accumulator: ACCUMULATOR,
        command: &command,
    };
    let params = srs.params(SrsSize::new(key.shape().k)?);
    verifier_gen::generate_from(&Setup::from(&params), key.inner(), &options)
        .map_err(|error| AuditError::Keys(Box::new(error)))
}
