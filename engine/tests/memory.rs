//! Memory that proofs take, by an allocator that counts: it belongs to the whole process, which is why this is a program of its own
//! and has one test that makes proofs.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use engine::{
    CircuitBytes, CosetCache, EngineError, Key, KeyPlace, MemoryLimit, PreparedKey, check_memory, generate_key,
    write_key,
};
use halo2_proofs::{halo2curves::bn256::Bn256, poly::kzg::commitment::ParamsKZG};
use rand::{SeedableRng, rngs::StdRng};

#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use support::{Features, Keyed, Mixed, PLAIN};

/// The system's allocator, counting bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: everything is left to the system's allocator; counting touches no memory that it gave.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and the most bytes that were allocated meanwhile, those from before included.
fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    MOST.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
    let result = work();
    (result, MOST.load(Ordering::Relaxed) as u64)
}

/// Large enough for columns to outweigh what does not depend on the rows.
const K: u32 = 13;

/// Circuits whose phases differ in which takes the most.
fn circuits() -> [Features; 3] {
    let features = Features { k: K, ..PLAIN };
    [
        Features { widths: 4, permutation: true, instances: 1, ..features },
        Features { widths: 2, permutation: true, lookups: 3, ..features },
        Features { widths: 3, permutation: true, lookups: 1, rotations: 2, high_degree: true, ..features },
    ]
}

/// Bytes of the circuit while it is synthesized: it keeps no values.
const CIRCUIT: CircuitBytes = CircuitBytes { witness: 1 << 20, hints: 0 };

#[test]
fn what_a_proof_takes_is_estimated_and_limited() {
    for features in circuits() {
        let circuit = Mixed::new(features);
        let params = ParamsKZG::<Bn256>::setup(K, StdRng::seed_from_u64(3));
        let pk = generate_key(&params, &circuit).expect("a key");
        let mut file = Vec::new();
        write_key(&pk, &mut file).expect("memory is enough");
        // As if it were mapped: not among what this process allocated.
        let file = bytes::Bytes::from_static(Box::leak(file.into_boxed_slice()));
        NOW.fetch_sub(file.len(), Ordering::Relaxed);
        let stored = Key::open::<Mixed>(&file, K, features).expect("a key");
        let in_memory = Key::from(pk.clone());
        let keyed = Keyed { params, pk, common_points: 0 };
        // The key that the helper holds is not part of what is measured.
        let beside = keyed_bytes(&in_memory);
        for (key, place) in [(&in_memory, KeyPlace::InMemory), (&stored, KeyPlace::Stored)] {
            // In the other case both copies stand beside the proof.
            let beside = if place == KeyPlace::InMemory { beside } else { 2 * beside };
            limits(features, &keyed, key, place, beside);
        }
    }
}

fn keyed_bytes(key: &Key) -> u64 {
    key.view().held_bytes()
}

/// Proofs of one circuit by one key under limits from the most to the least that makes sense.
fn limits(features: Features, keyed: &Keyed, key: &Key, place: KeyPlace, beside: u64) {
    let circuit = Mixed::new(features);
    let prepare = |limit| PreparedKey::within(key, CosetCache::UpTo(usize::MAX), CIRCUIT, MemoryLimit(limit));
    let (expected, _) = measured(|| keyed.by_engine_with(key, &circuit, 5, CosetCache::Off).expect("proves"));
    let mut limit = u64::MAX;
    let mut before: Option<(u64, usize, u64)> = None;
    let mut ways = 0;
    let least = loop {
        let ((proof, need, cached), most) = match prepare(limit) {
            Err(EngineError::Memory { limit: refused, need }) => {
                assert_eq!(refused.0, limit);
                assert!(need > limit, "{need} is needed, {limit} was allowed");
                break need;
            }
            prepared => {
                drop(prepared);
                measured(|| {
                    let prepared = prepare(limit).expect("a key");
                    let proof = keyed.by_engine_prepared(key, &prepared, &circuit, 5).expect("proves");
                    (proof, prepared.need(), prepared.cached_bytes())
                })
            }
        };
        let held = most - beside;
        println!("{features:?}, {place:?}: need {need}, held {held}, {cached} cached");
        assert!(proof == expected, "the proof does not depend on the limit ({limit})");
        assert!(need <= limit, "{need} is within the limit");
        assert!(held <= need, "{features:?}, {place:?}: {held} bytes were held, {need} were estimated");
        assert!(need < 2 * held + (8 << 20), "{features:?}, {place:?}: {held} bytes were held, {need} were estimated");
        if let Some((last, last_cached, last_held)) = before {
            assert!(need < last, "a lower limit, a lower need");
            assert!(cached <= last_cached, "and less is kept");
            // By more than what depends on which thread comes first.
            if last_cached > cached + (2 << 20) {
                assert!(held < last_held, "{held} bytes were held, {last_held} with {last_cached} bytes kept");
            }
        }
        before = Some((need, cached, held));
        ways += 1;
        // Most of what is kept has to go.
        limit = need - 1 - 3 * (cached as u64 / 4);
    };
    // Columns on cosets, some, none, and one thing after the other.
    assert!(ways >= 4, "{ways} ways");
    // Where nothing is done side by side, the estimate has no excuse.
    let (need, _, held) = before.expect("a way");
    assert!(2 * need < 3 * held + (2 << 20), "{features:?}, {place:?}: {held} bytes were held, {need} were estimated");
    let check = |limit| check_memory::<Mixed>(K, features, place, CIRCUIT, MemoryLimit(limit));
    assert_eq!(check(least).expect("enough"), least, "known before there is a key");
    let refused = check(least - 1).expect_err("too little");
    assert!(
        matches!(refused, EngineError::Memory { limit, need } if (limit.0, need) == (least - 1, least)),
        "{refused}"
    );
    let text = refused.to_string();
    assert!(text.contains(&least.to_string()) && text.contains(&(least - 1).to_string()), "{text}");
}
