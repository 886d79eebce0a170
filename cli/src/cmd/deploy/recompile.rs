//! `cairn deploy --check --recompile DIR`: do the sources give the code that this program carries?
//!
//! The other comparisons are with that code, so this one leads from the chain back to sources that anybody can read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chain::{CommittedCode, committed_code};
use serde::Serialize;
use serde_json::{Map, Value, json};
use verifier_gen::compile::{code, standard_json};

use crate::output::failed;

/// Where forge finds the sources: their names are part of what the compiler is told.
const ROOT: &str = "contracts/src";
/// Has settings of its own, and is compared with its key.
const GENERATED: &str = "generated";

/// One contract whose sources were compiled.
#[derive(Serialize)]
pub struct Recompiled {
    pub contract: &'static str,
    /// Bytes of creation code, the same from the sources and in this program.
    pub creation_bytes: usize,
    /// Bytes of runtime code, likewise.
    pub runtime_bytes: usize,
}

/// Compiles the sources in `dir` as `foundry.toml` says, and compares with what this program carries.
///
/// Errors: a failed check `sources`, naming contract and byte; the sources can't be read or compiled.
pub fn recompile(solc: &Path, dir: &Path) -> anyhow::Result<Vec<Recompiled>> {
    let mut sources = Map::new();
    collect(dir, Path::new(ROOT), &mut sources)?;
    ensure!(!sources.is_empty(), "{} holds no Solidity sources", dir.display());
    let input = json!({
        "language": "Solidity",
        "sources": sources,
        "settings": {
            "optimizer": { "enabled": true, "runs": 10_000 },
            "viaIR": true,
            "evmVersion": "cancun",
            "metadata": { "bytecodeHash": "none", "appendCBOR": false },
            "outputSelection": { "*": { "*": ["evm.bytecode.object", "evm.deployedBytecode.object"] } },
        },
    });
    let answer = standard_json(solc, &input).with_context(|| format!("compile {}", dir.display()))?;
    committed_code()?.into_iter().map(|committed| compare(&answer, committed)).collect()
}

fn compare(answer: &Value, committed: CommittedCode) -> anyhow::Result<Recompiled> {
    let CommittedCode { what, creation, runtime } = committed;
    let fresh = code(answer, &format!("{ROOT}/{what}.sol"), what)?;
    for (kind, expected, got) in [("creation", &creation, &fresh.creation), ("runtime", &runtime, &fresh.runtime)] {
        if expected != got {
            let byte = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
            let (expected, got) = (expected.len(), got.len());
            let detail = format!(
                "{what}, {kind} code: byte {byte} differs; this program carries {expected} bytes, the sources give {got}"
            );
            return Err(failed("sources", detail));
        }
    }
    Ok(Recompiled { contract: what, creation_bytes: creation.len(), runtime_bytes: runtime.len() })
}

/// Adds the sources under `dir`, by the names that they have under [`ROOT`].
fn collect(dir: &Path, name: &Path, sources: &mut Map<String, Value>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("sources {}", dir.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    for path in paths {
        let Some(last) = path.file_name() else { continue };
        let name = name.join(last);
        if path.is_dir() {
            if last != GENERATED {
                collect(&path, &name, sources)?;
            }
        } else if path.extension().is_some_and(|kind| kind == "sol") {
            let content = fs::read_to_string(&path).with_context(|| format!("source {}", path.display()))?;
            let name = name.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            sources.insert(name.to_owned(), json!({ "content": content }));
        }
    }
    Ok(())
}
