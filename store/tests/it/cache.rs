//! What the cache hands out is what was put in.

use std::fs;
use std::io;

use store::{ArtifactCache, CacheError, CacheKey};

use crate::support::tempdir;

fn key(text: &str) -> CacheKey {
    CacheKey::new(text).unwrap()
}

#[test]
fn artifacts_are_found_and_replaced() {
    let temp = tempdir();
    let cache = ArtifactCache::open(temp.path().join("cache")).unwrap();
    let key = key("step-adam-k17.pk");
    assert_eq!(cache.get(&key).unwrap(), None);
    let payload: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    for payload in [&payload[..], b"", b"short"] {
        cache.put(&key, |sink| sink.write_all(payload)).unwrap();
        assert_eq!(cache.get(&key).unwrap().as_deref(), Some(payload));
    }
    assert!(cache.contains(&key));
    cache.remove(&key).unwrap();
    cache.remove(&key).unwrap();
    assert!(!cache.contains(&key));
}

#[test]
fn what_a_reader_leaves_unread_is_checked_too() {
    let temp = tempdir();
    let cache = ArtifactCache::open(temp.path()).unwrap();
    cache.put(&key("k"), |sink| sink.write_all(&[1; 100_000])).unwrap();
    let first = cache.read(&key("k"), |source| {
        let mut first = [0; 4];
        source.read_exact(&mut first).map(|()| first)
    });
    assert_eq!(first.unwrap(), Some([1; 4]));
    let mut bytes = fs::read(cache.path(&key("k"))).unwrap();
    bytes[90_000] ^= 1;
    fs::write(cache.path(&key("k")), bytes).unwrap();
    let damaged = cache.read(&key("k"), |_| Ok(()));
    assert!(matches!(damaged, Err(CacheError::Damaged { .. })), "{damaged:?}");
}

#[test]
fn a_mapped_artifact_is_what_was_put_in_and_outlives_its_file() {
    let temp = tempdir();
    let cache = ArtifactCache::open(temp.path()).unwrap();
    let key = key("epoch.pk");
    assert!(cache.map(&key).unwrap().is_none());
    let payload: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 3) as u8).collect();
    for payload in [&payload[..], b"short", b""] {
        cache.put(&key, |sink| sink.write_all(payload)).unwrap();
        let mapped = cache.map(&key).unwrap().expect("it is there");
        assert_eq!(mapped, payload);
        assert!(mapped.is_empty() || (mapped.as_ptr() as usize).is_multiple_of(8));
    }
    cache.put(&key, |sink| sink.write_all(&payload)).unwrap();
    let part = cache.map(&key).unwrap().expect("it is there").slice(1_000_000..);
    cache.put(&key, |sink| sink.write_all(&[7; 5_000_000])).unwrap();
    assert_eq!(part, payload[1_000_000..], "replaced");
    cache.remove(&key).unwrap();
    assert_eq!(part, payload[1_000_000..], "removed");
}

#[test]
fn any_changed_or_missing_byte_is_noticed() {
    let temp = tempdir();
    let cache = ArtifactCache::open(temp.path()).unwrap();
    cache.put(&key("k"), |sink| sink.write_all(b"payload")).unwrap();
    let good = fs::read(cache.path(&key("k"))).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        for damaged in [&bytes[..], &good[..at]] {
            fs::write(cache.path(&key("k")), damaged).unwrap();
            let refused = cache.get(&key("k"));
            assert!(matches!(refused, Err(CacheError::Damaged { .. })), "byte {at}: {refused:?}");
            let refused = cache.map(&key("k"));
            assert!(matches!(refused, Err(CacheError::Damaged { .. })), "byte {at}, mapped: {refused:?}");
        }
    }
}

#[test]
fn a_failed_write_replaces_nothing_and_leaves_nothing() {
    let temp = tempdir();
    let cache = ArtifactCache::open(temp.path()).unwrap();
    cache.put(&key("k"), |sink| sink.write_all(b"good")).unwrap();
    let failed = cache.put(&key("k"), |sink| {
        sink.write_all(&[9; 5_000_000])?;
        Err(io::Error::other("interrupted"))
    });
    assert!(matches!(failed, Err(CacheError::Io { operation: "write", .. })), "{failed:?}");
    assert_eq!(cache.get(&key("k")).unwrap().as_deref(), Some(&b"good"[..]));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn keys_are_plain_names() {
    for bad in ["", "a/b", "..", ".hidden", "A", "a b", &"a".repeat(201)] {
        assert!(matches!(CacheKey::new(bad), Err(CacheError::Key { .. })), "{bad:?}");
    }
}
