//! Solidity source → bytecode, through any `solc` that accepts `--standard-json`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Largest runtime code a chain accepts (EIP-170), in bytes.
pub const CODE_LIMIT: usize = 24_576;

/// Why there is no bytecode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler can't be run.
    #[error("can't run {path}: {source}")]
    Spawn {
        /// Path tried.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler refused the source.
    #[error("solc: {0}")]
    Solc(String),
    /// The compiler's answer has another form than standard JSON.
    #[error("solc answered something else than standard JSON: {0}")]
    Answer(String),
    /// The contract is too large to be deployed.
    #[error("runtime code has {got} bytes, the limit is {CODE_LIMIT} (EIP-170)")]
    TooLarge {
        /// Size found.
        got: usize,
    },
}

/// Compiled contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Creation code.
    pub creation: Vec<u8>,
    /// Runtime code.
    pub runtime: Vec<u8>,
}

/// How the compiler optimizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// Everything: for verifiers of [`crate::generate`].
    Full,
    /// Without the Yul optimizer, which runs out of memory on assembly blocks as large as the baseline's.
    WithoutYul,
}

impl Optimizer {
    fn settings(self) -> Value {
        match self {
            Self::Full => json!({ "enabled": true, "runs": 200 }),
            Self::WithoutYul => json!({ "enabled": true, "runs": 1, "details": {
                "yul": false, "peephole": true, "jumpdestRemover": true, "deduplicate": true,
                "cse": true, "constantOptimizer": true, "orderLiterals": true, "inliner": false } }),
        }
    }
}

/// Compiles the verifier in `source` for deployment.
///
/// Errors: [`CompileError`].
pub fn compile(solc: &Path, source: &str) -> Result<Compiled, CompileError> {
    let compiled = compile_with(solc, source, Optimizer::Full)?;
    if compiled.runtime.len() > CODE_LIMIT {
        return Err(CompileError::TooLarge { got: compiled.runtime.len() });
    }
    Ok(compiled)
}

/// Compiles the only contract of `source` that has code, whatever its size.
///
/// Errors: [`CompileError`].
pub fn compile_with(solc: &Path, source: &str, optimizer: Optimizer) -> Result<Compiled, CompileError> {
    let input = json!({
        "language": "Solidity",
        "sources": { "Verifier.sol": { "content": source } },
        "settings": {
            "optimizer": optimizer.settings(),
            "metadata": { "appendCBOR": false },
            "evmVersion": "cancun",
            "outputSelection": { "*": { "*": ["evm.bytecode.object", "evm.deployedBytecode.object"] } }
        }
    });
    let answer = standard_json(solc, &input)?;
    for name in answer["contracts"]["Verifier.sol"].as_object().into_iter().flat_map(|all| all.keys()) {
        let compiled = code(&answer, "Verifier.sol", name)?;
        if !compiled.creation.is_empty() {
            return Ok(compiled);
        }
    }
    Err(CompileError::Answer("no contract with code in the answer".to_owned()))
}

/// Gives the compiler `input` in its standard JSON form, and takes its answer if it found no error.
///
/// Errors: [`CompileError`].
pub fn standard_json(solc: &Path, input: &Value) -> Result<Value, CompileError> {
    let spawn = |source| CompileError::Spawn { path: solc.to_owned(), source };
    let mut child = Command::new(solc)
        .arg("--standard-json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawn)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.to_string().as_bytes()).map_err(spawn)?;
    }
    let output = child.wait_with_output().map_err(spawn)?;
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        CompileError::Answer(format!("{e}; {}", stderr.chars().take(500).collect::<String>()))
    })?;
    let errors: Vec<&str> = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["severity"] == "error")
        .filter_map(|e| e["formattedMessage"].as_str())
        .collect();
    if !errors.is_empty() {
        return Err(CompileError::Solc(errors.join("\n")));
    }
    Ok(answer)
}

/// Code of one contract in an answer that was asked for bytecode; empty for an interface.
///
/// Errors: [`CompileError::Answer`].
pub fn code(answer: &Value, source: &str, contract: &str) -> Result<Compiled, CompileError> {
    let code = |key: &str| {
        let text = answer["contracts"][source][contract]["evm"][key]["object"].as_str();
        let text = text.ok_or_else(|| CompileError::Answer(format!("no {key} of {contract} in {source}")))?;
        hex::decode(text).map_err(|e| CompileError::Answer(format!("{key} of {contract}: {e}")))
    };
    Ok(Compiled { creation: code("bytecode")?, runtime: code("deployedBytecode")? })
}
