//! Data files parse or are refused with line and column; split and batches are functions of the seed.

use std::{collections::BTreeSet, io::Write, path::PathBuf};

use ledger::{Digest, StepIndex};
use prover::data::{DataError, FeatureMax, LabelledData, Seed, batch};

pub fn digits() -> LabelledData {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/digits.csv.gz");
    LabelledData::read(&path, FeatureMax(16.0)).unwrap()
}

fn parse(text: &str) -> Result<LabelledData, DataError> {
    LabelledData::parse(text.as_bytes(), FeatureMax(16.0), Digest::of(b""))
}

#[test]
fn digits_have_their_known_shape_and_first_row() {
    let data = digits();
    assert_eq!((data.n_rows(), data.n_features(), data.n_classes()), (1797, 64, 10));
    assert_eq!(data.label(0), 0);
    assert_eq!(data.features(0)[2..6], [5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]);
    assert!((0..data.n_rows()).all(|row| data.features(row).iter().all(|x| (0.0..=1.0).contains(x))));
}

#[test]
fn plain_and_gzip_files_give_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let text = "0,16,1\n8,4,0\n";
    let plain = dir.path().join("a.csv");
    std::fs::write(&plain, text).unwrap();
    let packed = dir.path().join("a.csv.gz");
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    std::fs::write(&packed, &bytes).unwrap();
    let read = |path| LabelledData::read(path, FeatureMax(16.0));
    let (a, b) = (read(&plain).unwrap(), read(&packed).unwrap());
    for row in 0..2 {
        assert_eq!((a.features(row), a.label(row)), (b.features(row), b.label(row)));
    }
    assert_eq!(a.digest(), Digest::of(text.as_bytes()));
    assert_ne!(a.digest(), b.digest());
    std::fs::write(&packed, &bytes[..bytes.len() - 6]).unwrap();
    assert!(matches!(read(&packed), Err(DataError::Io { .. })));
    assert!(matches!(read(&dir.path().join("none")), Err(DataError::Io { .. })));
}

#[test]
fn bad_cells_are_refused_with_line_and_column() {
    for (cell, what) in [("x", "text"), ("", "empty"), ("17", "above"), ("-1", "below"), ("NaN", "nan"), ("inf", "inf")]
    {
        let got = parse(&format!("1,2,3\n\n4,{cell},5\n"));
        assert!(matches!(got, Err(DataError::Feature { line: 3, column: 2, .. })), "{what}: {got:?}");
    }
    for cell in ["x", "", "-1", "1.5", "65536"] {
        let got = parse(&format!("1,2,3\n4,5,{cell}\n"));
        assert!(matches!(got, Err(DataError::Label { line: 2, column: 3, .. })), "{got:?}");
    }
}

#[test]
fn ragged_rows_empty_files_and_other_encodings_are_refused() {
    let got = parse("1,2,3\n1,2\n");
    assert!(matches!(got, Err(DataError::Columns { line: 2, expected: 3, got: 2 })), "{got:?}");
    let got = parse("7\n");
    assert!(matches!(got, Err(DataError::Columns { line: 1, expected: 2, got: 1 })), "{got:?}");
    assert!(matches!(parse("\n \n"), Err(DataError::Empty)));
    let got = LabelledData::parse(b"1,2\n\xff,1\n", FeatureMax(16.0), Digest::of(b""));
    assert!(matches!(got, Err(DataError::Encoding { line: 2 })), "{got:?}");
}

#[test]
fn split_is_a_partition_and_depends_on_the_seed_only() {
    let data = digits();
    let split = data.split(Seed(1));
    assert_eq!((split.train.len(), split.test.len()), (1438, 359));
    let all: BTreeSet<usize> = split.train.iter().chain(&split.test).copied().collect();
    assert_eq!(all, (0..1797).collect());
    assert_eq!(split, data.split(Seed(1)));
    assert_ne!(split, data.split(Seed(2)));
}

#[test]
fn a_pass_visits_every_row_at_most_once_and_passes_differ() {
    let train: Vec<usize> = (100..170).collect();
    let pass =
        |first: u64| (first..first + 4).flat_map(|t| batch(&train, 16, Seed(3), StepIndex(t))).collect::<Vec<_>>();
    let (first, second) = (pass(0), pass(4));
    assert_eq!(first.len(), 64);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 64);
    assert!(first.iter().all(|row| train.contains(row)));
    assert_ne!(first, second);
    assert_ne!(first, (0..4).flat_map(|t| batch(&train, 16, Seed(4), StepIndex(t))).collect::<Vec<_>>());
}
