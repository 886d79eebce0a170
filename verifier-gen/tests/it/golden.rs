//! Committed verifiers are what the generator makes.

use std::{fs, path::PathBuf};

use crate::circuits;

/// `CAIRN_BLESS=1` writes the files instead.
#[test]
fn committed_verifiers_are_generated_again() {
    for case in [circuits::plonk(), circuits::accumulator()] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.sol", case.contract()));
        let generated = case.source().solidity;
        if std::env::var_os("CAIRN_BLESS").is_some() {
            fs::write(&path, &generated).expect("write the golden file");
        }
        let committed = fs::read_to_string(&path).expect("read the golden file");
        assert!(committed == generated, "{} is stale: run with CAIRN_BLESS=1 and read the difference", path.display());
        assert_eq!(case.source(), case.source());
    }
}
