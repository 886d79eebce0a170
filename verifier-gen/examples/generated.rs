//! The committed verifier of `contracts/src/generated`: its source and creation code as JSON, from the verifying key that
//! `testdata/verifier` keeps. `cargo xtask generate` writes or compares them.

use serde_json::json;
use verifier_gen::compile::compile;

#[path = "../tests/it/circuits.rs"]
#[expect(dead_code, reason = "of the tests' circuits only the form of a case is used")]
mod circuits;
#[path = "../tests/it/evm.rs"]
#[expect(dead_code, reason = "only the compiler is needed")]
mod evm;
#[path = "../tests/it/vector.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod vector;

fn main() -> anyhow::Result<()> {
    let source = vector::committed();
    let compiled = compile(&evm::solc(), &source.solidity)?;
    let answer = json!({
        "solidity": source.solidity,
        "key_digest": source.key_digest,
        "creation_code": format!("0x{}", hex::encode(compiled.creation)),
    });
    println!("{answer:#}");
    Ok(())
}
