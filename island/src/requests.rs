//! What a page asks.

use audit::evidence::{OnChain, StepEvidence, VerifierOnChain};
use audit::{AuditError, Capsule, Checks, Steps};
use chain::{BlockRef, words};
use ledger::{Address, ChainId, Digest, RunId, StepIndex};
use serde::{Deserialize, Serialize};

/// Why a question cannot be answered at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// An argument is not what it should be.
    #[error("{what}: {reason}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node answered something else.
    #[error(transparent)]
    Answer(#[from] words::AnswerError),
    /// Not the evidence of a step.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What a node has to be asked about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Questions {
    /// The chain whose node it has to be.
    pub chain_id: ChainId,
    /// The contract.
    pub contract: Address,
    /// Call data of `head`, hex.
    pub head: String,
    /// Call data of `runOf`, hex.
    pub run: String,
    /// Call data of `registry`, hex.
    pub registry: String,
    /// Call data of the registry's `verifierOf` for the step's epoch, hex; none if it is in none.
    pub verifier: Option<String>,
}

/// What a node answered, all at one block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Height of the block, hex as nodes write it.
    pub block_number: String,
    /// Its hash.
    pub block_hash: Digest,
    /// The node's chain, hex as nodes write it.
    pub chain_id: String,
    /// Answer to `head`, hex.
    pub head: String,
    /// Answer to `runOf`, hex.
    pub run: String,
    /// What the contract's registry says of the epoch's verifier; none if it was not asked.
    pub verifier: Option<VerifierAnswer>,
}

/// What a node answered about the verifier of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum VerifierAnswer {
    /// There is one.
    Placed {
        /// Answer to `registry`, hex.
        registry: String,
        /// Answer to `verifierOf`, hex.
        verifier: String,
        /// The code at that address, hex.
        code: String,
    },
    /// `verifierOf` reverted.
    Refused {
        /// The node's words.
        refused: String,
    },
}

fn argument<T, E: ToString>(what: &'static str, result: Result<T, E>) -> Result<T, RequestError> {
    result.map_err(|error| RequestError::Argument { what, reason: error.to_string() })
}

fn bytes(what: &'static str, text: &str) -> Result<Vec<u8>, RequestError> {
    argument(what, hex::decode(text.strip_prefix("0x").unwrap_or(text)))
}

fn quantity(what: &'static str, text: &str) -> Result<u64, RequestError> {
    argument(what, u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16))
}

impl Questions {
    /// About the run that the evidence is of.
    ///
    /// # Errors
    /// [`RequestError::Audit`].
    pub fn of(evidence: &[u8]) -> Result<Self, RequestError> {
        let evidence = StepEvidence::parse(evidence)?;
        let run = evidence.run()?;
        let call = |data: Vec<u8>| format!("0x{}", hex::encode(data));
        let (head, id) = (call(words::head_call(run.run)), run.identity);
        Ok(Self {
            chain_id: id.chain_id,
            contract: id.contract,
            head,
            run: call(words::run_call(run.run)),
            registry: call(words::registry_call()),
            verifier: evidence.verifier().map(|(family, size)| call(words::verifier_call(family, size))),
        })
    }
}

impl Answers {
    fn on_chain(&self, evidence: &StepEvidence) -> Result<OnChain, RequestError> {
        let (expected, got) = (evidence.run()?.identity.chain_id, quantity("chain id", &self.chain_id)?);
        if expected != ChainId(got) {
            let reason = format!("the run is on chain {expected}, the node is of chain {got}");
            return Err(RequestError::Argument { what: "node", reason });
        }
        let block = BlockRef { number: quantity("block number", &self.block_number)?, hash: self.block_hash };
        let (head, run) = (bytes("head", &self.head)?, bytes("run", &self.run)?);
        let verifier = self.verifier.as_ref().map_or(Ok(VerifierOnChain::NotAsked), VerifierAnswer::on_chain)?;
        Ok(OnChain { head: words::head(&head, block)?, run: words::run(&run)?, verifier })
    }

    fn parse(answers: Option<&str>, evidence: &StepEvidence) -> Result<Option<OnChain>, RequestError> {
        let Some(answers) = answers else { return Ok(None) };
        let answers: Self = argument("answers of the node", serde_json::from_str(answers))?;
        Ok(Some(answers.on_chain(evidence)?))
    }
}

impl VerifierAnswer {
    fn on_chain(&self) -> Result<VerifierOnChain, RequestError> {
        Ok(match self {
            Self::Refused { refused } => VerifierOnChain::None { reason: refused.clone() },
            Self::Placed { registry, verifier, code } => VerifierOnChain::Placed {
                registry: words::address("registry", &bytes("registry", registry)?)?,
                address: words::address("verifierOf", &bytes("verifierOf", verifier)?)?,
                code: bytes("code of the verifier", code)?,
            },
        })
    }
}

/// Checks one step. `answers`: JSON of [`Answers`], none without a node.
///
/// # Errors
/// [`RequestError`]; a check that failed is [`RequestError::Audit`], and a line.
pub fn verify_step(
    evidence: &[u8],
    (run, step): (&str, u64),
    answers: Option<&str>,
    checks: &mut Checks<'_>,
) -> Result<(), RequestError> {
    let evidence = StepEvidence::parse(evidence)?;
    let run: RunId = argument("run", run.parse())?;
    let on_chain = Answers::parse(answers, &evidence)?;
    Ok(evidence.check((run, StepIndex(step)), on_chain.as_ref(), checks)?)
}

/// Checks a capsule. `block_hash`: the one that its block has to have, if the visitor knows it.
///
/// # Errors
/// As [`verify_step`].
pub fn verify_capsule(capsule: Vec<u8>, block_hash: Option<&str>, checks: &mut Checks<'_>) -> Result<(), RequestError> {
    let block_hash: Option<Digest> = argument("block hash", block_hash.map(str::parse).transpose())?;
    let capsule = checks.pass_on(Capsule::from_bytes(capsule))?;
    Ok(capsule.audit(Steps::All, block_hash, checks)?)
}

/// Checks weights against the state after the step that the evidence is of.
///
/// # Errors
/// As [`verify_step`].
pub fn check_weights(
    evidence: &[u8],
    run: &str,
    answers: Option<&str>,
    files: (&[u8], &[u8]),
    checks: &mut Checks<'_>,
) -> Result<(), RequestError> {
    let evidence = StepEvidence::parse(evidence)?;
    let run: RunId = argument("run", run.parse())?;
    let on_chain = Answers::parse(answers, &evidence)?;
    Ok(evidence.check_weights(run, on_chain.as_ref(), files, checks)?)
}

/// Checks weights against a state of a capsule's run.
///
/// # Errors
/// As [`verify_step`].
pub fn check_capsule_weights(
    capsule: Vec<u8>,
    (weights, opening): (&[u8], &[u8]),
    checks: &mut Checks<'_>,
) -> Result<(), RequestError> {
    let capsule = checks.pass_on(Capsule::from_bytes(capsule))?;
    Ok(capsule.check_weights(weights, opening, checks)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_evidence_is_no_report() {
        let mut checks = Checks::default();
        let refused = verify_step(b"{}", ("0x01", 1), None, &mut checks);
        assert!(matches!(refused, Err(RequestError::Audit(AuditError::Evidence(_)))), "{refused:?}");
        assert!(checks.made().is_empty());
        assert!(matches!(Questions::of(b"[]"), Err(RequestError::Audit(AuditError::Evidence(_)))));
    }

    #[test]
    fn what_is_no_capsule_is_a_line() {
        let mut checks = Checks::default();
        let refused = verify_capsule(vec![1; 100], None, &mut checks);
        let Err(RequestError::Audit(AuditError::Failed(failure))) = refused else { panic!("{refused:?}") };
        assert_eq!((failure.check.as_str(), checks.made().len()), ("capsule", 1));
        let refused = verify_capsule(Vec::new(), Some("0x1"), &mut Checks::default());
        assert!(matches!(refused, Err(RequestError::Argument { what: "block hash", .. })), "{refused:?}");
    }

    #[test]
    fn answers_about_verifiers_are_read() {
        let read = |json: &str| serde_json::from_str::<VerifierAnswer>(json).expect("an answer").on_chain();
        let word = |byte: u8| format!("0x{}{}", "00".repeat(12), hex::encode([byte; 20]));
        let json = format!(r#"{{"registry":"{}","verifier":"{}","code":"0x6001"}}"#, word(1), word(2));
        let placed =
            VerifierOnChain::Placed { registry: Address([1; 20]), address: Address([2; 20]), code: vec![0x60, 1] };
        assert_eq!(read(&json).expect("a verifier"), placed);
        let none = read(r#"{"refused":"reverted"}"#).expect("none");
        assert_eq!(none, VerifierOnChain::None { reason: "reverted".to_owned() });
        let refused = read(r#"{"registry":"0x","verifier":"0x","code":"0x"}"#);
        assert!(matches!(refused, Err(RequestError::Answer(words::AnswerError::Length { got: 0, .. }))), "{refused:?}");
        assert!(serde_json::from_str::<VerifierAnswer>(r#"{"registry":"0x","refused":"","more":1}"#).is_err());
    }

    #[test]
    fn quantities_are_hex() {
        assert_eq!(quantity("block number", "0x1f").expect("a number"), 31);
        assert!(matches!(quantity("block number", "0xg"), Err(RequestError::Argument { what: "block number", .. })));
    }
}
