//! The cache loads what it stored and refuses what was changed.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use srs::{Progress, Srs, SrsCache, SrsError, SrsLabel, SrsSize, SrsSource, Stage, cache, dev, ptau, silent};

use crate::support::{label, size, testdata};

fn imported(k: SrsSize) -> Srs {
    ptau::import(&testdata("powers7_prepared.ptau"), k, label(), &silent).unwrap()
}

#[test]
fn stored_strings_load_with_the_same_description() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path().join("new/sub"));
    assert_eq!(cache.list().unwrap(), vec![]);
    for srs in [imported(size(6)), dev::generate(size(6), &silent).unwrap(), dev::generate(size(4), &silent).unwrap()] {
        let path = cache.store(&srs, &silent).unwrap();
        let loaded = cache.load(&srs.info().label, srs.info().k, &silent).unwrap();
        assert_eq!(loaded.info(), srs.info());
        assert_eq!(&cache::info(&path).unwrap(), srs.info());
    }
    let listed: Vec<_> = cache.list().unwrap().into_iter().map(|i| (i.label.to_string(), i.k.k(), i.secure)).collect();
    assert_eq!(listed, [("dev".into(), 4, false), ("dev".into(), 6, false), ("test".into(), 6, true)]);
}

#[test]
fn development_strings_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    let made = AtomicU64::new(0);
    let count = |p: Progress| {
        if p.stage == Stage::Powers && p.done == p.total {
            made.fetch_add(1, Ordering::Relaxed);
        }
    };
    let first = cache.development(size(7), &count).unwrap();
    let second = cache.get(&SrsLabel::development(), size(7), &count).unwrap();
    assert_eq!(first.info(), second.info());
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn smaller_strings_are_cut_from_larger_ones_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    cache.store(&imported(size(7)), &silent).unwrap();
    let cut = cache.get(&label(), size(5), &silent).unwrap();
    assert_eq!(cut.info().digest, imported(size(5)).info().digest);
    assert!(cache.contains(&label(), size(5)));
    let got = cache.get(&label(), size(8), &silent);
    assert!(matches!(got, Err(SrsError::NotCached { k, .. }) if k == size(8)), "{got:?}");
    let got = cut.downsize(size(6), &silent);
    assert!(matches!(got, Err(SrsError::CannotGrow { .. })), "{got:?}");
}

#[test]
fn every_changed_byte_of_a_small_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    let path = cache.store(&imported(size(1)), &silent).unwrap();
    let bytes = fs::read(&path).unwrap();
    for i in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[i] ^= 1;
        fs::write(&path, &altered).unwrap();
        let got = cache.load(&label(), size(1), &silent);
        let body = bytes.len() - (4 + 4 * 64 + 2 * 128);
        let right = match got {
            Err(SrsError::Magic { .. }) => i < 8,
            Err(SrsError::Version { .. }) => (8..12).contains(&i),
            // A changed length may also make the header run over, or a text that is none.
            Err(SrsError::Digest { part: "header", .. } | SrsError::Truncated { .. } | SrsError::Header { .. }) => {
                (12..body).contains(&i)
            }
            Err(SrsError::Digest { part: "body", .. }) => i >= body,
            _ => false,
        };
        assert!(right, "byte {i} of {}: {got:?}", bytes.len());
    }
}

#[test]
fn truncated_and_prolonged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    let path = cache.store(&imported(size(3)), &silent).unwrap();
    let bytes = fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let got = cache.load(&label(), size(3), &silent);
        assert!(matches!(got, Err(SrsError::Truncated { .. })), "{cut}: {got:?}");
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    let got = cache.load(&label(), size(3), &silent);
    assert!(matches!(got, Err(SrsError::Trailing { got: 1, .. })), "{got:?}");
}

#[test]
fn a_renamed_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = SrsCache::new(dir.path());
    let path = cache.store(&imported(size(3)), &silent).unwrap();
    fs::rename(path, cache.path(&SrsLabel::development(), size(3))).unwrap();
    let got = cache.development(size(3), &silent);
    assert!(matches!(got, Err(SrsError::WrongEntry { got_label, .. }) if got_label == label()));
}

#[test]
fn labels_are_file_names_and_sources_are_bounded() {
    for bad in ["", "-a", ".x", "A", "a/b", "..", "a b", &"a".repeat(65)] {
        assert!(matches!(bad.parse::<SrsLabel>(), Err(SrsError::Label { .. })), "{bad}");
    }
    assert_eq!("hermez-28.final_1".parse::<SrsLabel>().unwrap().as_str(), "hermez-28.final_1");
    assert_eq!(SrsSource::new(&"é".repeat(600)).as_str().len(), SrsSource::MAX_LEN);
}
