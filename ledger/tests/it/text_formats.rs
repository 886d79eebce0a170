//! The checkpoint's text and the paths of a manifest: strict, whatever comes in.

use ledger::*;
use proptest::prelude::*;

use crate::support::{self, digest, element};

fn checkpoint() -> Checkpoint {
    Checkpoint {
        run: support::description().run,
        size: TreeSize(12),
        root: digest("root").into(),
        last_record: digest("record"),
        state: element("state"),
    }
}

#[test]
fn a_checkpoint_reads_back() {
    let text = checkpoint().to_string();
    assert_eq!(text.lines().count(), 5);
    assert_eq!(Checkpoint::parse(text.as_bytes()), Ok(checkpoint()));
}

#[test]
fn each_malformed_checkpoint_is_refused_for_its_reason() {
    let text = checkpoint().to_string();
    let parse = |text: &str| Checkpoint::parse(text.as_bytes()).unwrap_err();
    let replaced = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        parse(&changed)
    };
    assert_eq!(parse(text.trim_end()), CheckpointError::Lines { got: 4 });
    assert_eq!(parse(&format!("{text}\n")), CheckpointError::Lines { got: 6 });
    assert_eq!(parse(""), CheckpointError::Lines { got: 0 });
    assert_eq!(parse(&"a".repeat(513)), CheckpointError::NotText { got: 513 });
    assert_eq!(parse("ä"), CheckpointError::NotText { got: 2 });
    assert!(matches!(replaced("/v1", "/v2"), CheckpointError::Origin { .. }));
    assert!(matches!(replaced("cairn/run/", "cairn/runs/"), CheckpointError::Origin { .. }));
    for size in ["+12", "-1", " 12", "1e3", "", "18446744073709551616"] {
        let refused = replaced("\n12\n", &format!("\n{size}\n"));
        assert!(matches!(refused, CheckpointError::Value { line: 2, source: IdError::Number { .. } }), "{refused:?}");
    }
    assert!(matches!(replaced("\n12\n", "\n012\n"), CheckpointError::Spelling { .. }));
    let hex = &digest("root").to_string()[2..];
    assert!(matches!(replaced(hex, &hex.to_uppercase()), CheckpointError::Spelling { .. }));
    assert_eq!(
        replaced(hex, &hex[2..]),
        CheckpointError::Value { line: 3, source: IdError::Length { kind: "Root", expected: 32, got: 62 } }
    );
    assert_eq!(
        replaced(hex, &format!("g{}", &hex[1..])),
        CheckpointError::Value { line: 3, source: IdError::HexDigit { kind: "Root", position: 0 } }
    );
    assert_eq!(
        replaced(&format!("0x{hex}"), hex),
        CheckpointError::Value { line: 3, source: IdError::Prefix { kind: "Root" } }
    );
    let state = &element("state").to_string()[2..];
    let refused = replaced(state, &"f".repeat(64));
    assert!(matches!(refused, CheckpointError::Value { line: 5, source: IdError::NotCanonical { .. } }), "{refused:?}");
}

fn path(text: &str) -> Result<ArtifactPath, PathError> {
    text.parse()
}

#[test]
fn the_paths_of_a_run_are_accepted() {
    for text in [
        "run.json",
        "steps.jsonl",
        "proofs/step_000000.proof",
        "proofs/step_000000.chunk_000.proof",
        "epochs/epoch_0000.json",
        "checkpoint",
        "merkle_root.txt",
        "run_manifest.json",
        "anchors.json",
    ] {
        assert_eq!(path(text).map(|path| path.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn each_unsafe_path_is_refused_for_its_reason() {
    macro_rules! refused {
        ($text:expr, $variant:ident) => {
            let got = path($text);
            assert!(matches!(got, Err(PathError::$variant { .. })), "{:?}: {got:?}", $text);
        };
    }
    refused!("", Empty);
    refused!("a//b", Empty);
    refused!("a/", Empty);
    refused!("/etc/passwd", Absolute);
    refused!("C:/x", Absolute);
    refused!("c:x", Absolute);
    refused!("../x", Traversal);
    refused!("a/../../x", Traversal);
    refused!("a/./b", Traversal);
    refused!("..", Traversal);
    refused!("a\\b", Backslash);
    refused!("..\\x", Backslash);
    refused!("a\nb", Control);
    refused!("a\0b", Control);
    refused!("a\u{85}b", Control);
    refused!("caf\u{e9}", Character);
    refused!("a b", Character);
    refused!("a:b/stream", Absolute);
    refused!("ab:stream", Character);
    refused!("~/x", Character);
    refused!(".lock", Dot);
    refused!("a/.b", Dot);
    refused!("a.", Dot);
    refused!("...", Dot);
    refused!("con", Device);
    refused!("proofs/NUL.proof", Device);
    refused!("secret", Secret);
    refused!("a/SECRET/b", Secret);
    refused!("state_000001.bin", Secret);
    refused!("run.secret", Secret);
    refused!("weights.safetensors", Secret);
    refused!("owner.key", Secret);
    refused!(".env", Secret);
    refused!("private/x", Secret);
    refused!(&"a".repeat(129), TooLong);
    refused!(&"a/".repeat(300), TooLong);
}

fn entries(paths: &[&str]) -> Vec<ManifestEntry> {
    let entry = |text: &&str| ManifestEntry { len: 1, path: path(text).unwrap(), sha256: digest(text) };
    paths.iter().map(entry).collect()
}

fn manifest(paths: &[&str]) -> Result<Manifest, ManifestError> {
    Manifest::new(support::description().run, TreeSize(0), tree::empty_root(), entries(paths))
}

#[test]
fn a_manifest_is_sorted_and_finds_its_entries() {
    let manifest = manifest(&["b", "a/c", "a-b", "a/B"]).unwrap();
    let paths: Vec<&str> = manifest.files().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a-b", "a/B", "a/c", "b"]);
    assert_eq!(manifest.find(&path("a/c").unwrap()).map(|entry| entry.sha256), Some(digest("a/c")));
    assert_eq!(manifest.find(&path("a/d").unwrap()), None);
}

#[test]
fn colliding_paths_are_refused() {
    let twice = manifest(&["a", "b", "b"]);
    assert!(matches!(&twice, Err(ManifestError::Order { path, .. }) if path.as_str() == "b"), "{twice:?}");
    for paths in [&["a/x", "a/X"][..], &["A/x", "a/y"], &["A", "a/y"], &["a-b", "a", "A"]] {
        let case = manifest(paths);
        assert!(matches!(case, Err(ManifestError::CaseCollision { .. })), "{paths:?}: {case:?}");
    }
    let inside = manifest(&["a", "a-b", "a/b"]);
    let expected = ManifestError::FileAsDirectory { file: path("a").unwrap(), inside: path("a/b").unwrap() };
    assert_eq!(inside, Err(expected));
    assert_eq!(manifest(&["a", "run_manifest.json"]), Err(ManifestError::ListsItself));
}

#[test]
fn the_rules_hold_for_a_file_too() {
    let text = String::from_utf8(support::manifest().encode().unwrap()).unwrap();
    let unsorted = text.replacen("steps.jsonl", "astep.jsonl", 1);
    assert!(matches!(Manifest::parse(unsorted.as_bytes()), Err(ManifestError::Order { .. })));
    for unsafe_path in ["../ps.jsonl", "/teps.jsonl", "secret.json"] {
        let changed = text.replacen("steps.jsonl", unsafe_path, 1);
        let refused = Manifest::parse(changed.as_bytes());
        let Err(ManifestError::Canonical(CanonicalError::Shape { reason, .. })) = refused else {
            panic!("{refused:?}")
        };
        assert!(reason.contains("path"), "{reason}");
    }
}

proptest! {
    #[test]
    fn an_accepted_path_stays_below_its_directory(text in "[a-c./\\\\ :]{0,12}") {
        if let Ok(path) = path(&text) {
            let joined = std::path::Path::new("/base").join(path.as_str());
            let plain = joined.components().all(|part| !matches!(part, std::path::Component::ParentDir));
            prop_assert!(plain && joined.starts_with("/base") && joined != std::path::Path::new("/base"));
        }
    }
}
