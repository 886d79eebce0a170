//! Sources of the contracts that a run is anchored with, as this version was built with them.

/// Names below a capsule's `contracts/`, and text; `foundry.toml` says how they are compiled.
pub const SOURCES: [(&str, &str); 9] = [
    ("foundry.toml", include_str!("../../../foundry.toml")),
    ("src/RunAnchor.sol", include_str!("../../../contracts/src/RunAnchor.sol")),
    ("src/VerifierRegistry.sol", include_str!("../../../contracts/src/VerifierRegistry.sol")),
    ("src/interfaces/IERC165.sol", include_str!("../../../contracts/src/interfaces/IERC165.sol")),
    ("src/interfaces/IEpochVerifier.sol", include_str!("../../../contracts/src/interfaces/IEpochVerifier.sol")),
    ("src/interfaces/IRunAnchor.sol", include_str!("../../../contracts/src/interfaces/IRunAnchor.sol")),
    ("src/interfaces/IVerifierRegistry.sol", include_str!("../../../contracts/src/interfaces/IVerifierRegistry.sol")),
    ("src/libraries/EpochStatement.sol", include_str!("../../../contracts/src/libraries/EpochStatement.sol")),
    ("src/libraries/StepTree.sol", include_str!("../../../contracts/src/libraries/StepTree.sol")),
];

#[cfg(test)]
mod tests {
    use std::path::{Component, Path, PathBuf};

    use super::SOURCES;

    #[test]
    fn everything_that_a_source_imports_is_there() {
        let mut n_imports = 0;
        for (name, text) in SOURCES.iter().filter(|(name, _)| name.ends_with(".sol")) {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let path = line.split('"').nth(1).expect("a path");
                let mut at = Path::new(name).parent().expect("a folder").to_owned();
                for part in Path::new(path).components() {
                    at = match part {
                        Component::ParentDir => at.parent().map(PathBuf::from).expect("a folder"),
                        Component::CurDir => at,
                        part => at.join(part),
                    };
                }
                assert!(SOURCES.iter().any(|(known, _)| Path::new(known) == at), "{name} imports {path}");
                n_imports += 1;
            }
        }
        assert!(n_imports >= 10, "{n_imports}");
    }
}
