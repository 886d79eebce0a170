//! The requests of pages. Each check is told to `on_check` as JSON when it is made.

use audit::{Checks, Progress};
use wasm_bindgen::prelude::*;

use crate::requests::{self, Questions, RequestError};

#[wasm_bindgen]
extern "C" {
    /// A function of the page.
    pub type OnCheck;

    #[wasm_bindgen(method, structural)]
    fn tell(this: &OnCheck, line: &str);

    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now() -> f64;
}

/// Runs one request. True: every check that was made holds. False: one of them failed, and is the last line.
fn run(on_check: &OnCheck, request: impl FnOnce(&mut Checks<'_>) -> Result<(), RequestError>) -> Result<bool, JsError> {
    let mut checks = Checks::new(now, |progress| {
        if let Progress::Made(check) = progress {
            // A line of strings and numbers has a JSON.
            on_check.tell(&serde_json::to_string(check).unwrap_or_default());
        }
    });
    let result = request(&mut checks);
    match result {
        Ok(()) => Ok(true),
        Err(_) if !checks.all_hold() => Ok(false),
        Err(error) => Err(JsError::new(&error.to_string())),
    }
}

/// Version of the checks.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// What a node has to be asked about the run of this evidence: JSON with `chain_id`, `contract`, `head`, `run`.
#[wasm_bindgen]
pub fn questions(evidence: &[u8]) -> Result<String, JsError> {
    let questions = Questions::of(evidence).map_err(|error| JsError::new(&error.to_string()))?;
    Ok(serde_json::to_string(&questions)?)
}

/// Checks one step.
#[wasm_bindgen]
pub fn verify_step(
    evidence: &[u8],
    run_id: &str,
    step: u64,
    answers: Option<String>,
    on_check: &OnCheck,
) -> Result<bool, JsError> {
    run(on_check, |checks| requests::verify_step(evidence, (run_id, step), answers.as_deref(), checks))
}

/// Checks a capsule.
#[wasm_bindgen]
pub fn verify_capsule(capsule: Vec<u8>, block_hash: Option<String>, on_check: &OnCheck) -> Result<bool, JsError> {
    run(on_check, |checks| requests::verify_capsule(capsule, block_hash.as_deref(), checks))
}

/// Checks weights against the state after the step of this evidence.
#[wasm_bindgen]
pub fn check_weights(
    evidence: &[u8],
    run_id: &str,
    answers: Option<String>,
    weights: &[u8],
    opening: &[u8],
    on_check: &OnCheck,
) -> Result<bool, JsError> {
    run(on_check, |checks| requests::check_weights(evidence, run_id, answers.as_deref(), (weights, opening), checks))
}

/// Checks weights against a state of a capsule's run.
#[wasm_bindgen]
pub fn check_capsule_weights(
    capsule: Vec<u8>,
    weights: &[u8],
    opening: &[u8],
    on_check: &OnCheck,
) -> Result<bool, JsError> {
    run(on_check, |checks| requests::check_capsule_weights(capsule, (weights, opening), checks))
}
