//! A report says what was told while it was made.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use audit::{AuditError, Checks, Progress, Reason, State};

#[test]
fn lines_are_told_when_they_are_made_with_the_time_each_took() {
    let (clock, told) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let now = || clock.load(Ordering::Relaxed) as f64;
    let watch = |progress: Progress<'_>| {
        if let Progress::Made(check) = progress {
            told.lock().expect("one thread").push((check.check.clone(), check.state, check.ms));
        }
    };
    let mut checks = Checks::new(now, watch);
    clock.store(5, Ordering::Relaxed);
    checks.note("first", Ok::<_, Reason>(2), |n| format!("{n} steps")).expect("holds");
    clock.store(7, Ordering::Relaxed);
    checks.not_covered("second", "no node was asked");
    assert!(checks.all_hold(), "what is not covered says nothing");
    let failed = checks.note("third", Err::<(), _>("expected 1, got 2".to_owned()), |()| unreachable!());
    let Err(AuditError::Failed(failure)) = failed else { panic!("a failed check") };
    assert_eq!(failure.to_string(), "check failed: third: expected 1, got 2");
    assert!(!checks.all_hold());
    let made: Vec<_> = checks.made().iter().map(|check| serde_json::to_value(check).expect("JSON")).collect();
    assert_eq!(
        made,
        [
            serde_json::json!({ "check": "first", "ok": true, "state": "passed", "detail": "2 steps", "ms": 5.0 }),
            serde_json::json!({
                "check": "second", "ok": false, "state": "not_covered", "detail": "no node was asked", "ms": 2.0
            }),
            serde_json::json!({
                "check": "third", "ok": false, "state": "failed", "detail": "expected 1, got 2", "ms": 0.0
            }),
        ]
    );
    drop(checks);
    let told = told.into_inner().expect("one thread");
    let expected = [("first", State::Passed, 5.0), ("second", State::NotCovered, 2.0), ("third", State::Failed, 0.0)];
    assert_eq!(told, expected.map(|(check, state, ms)| (check.to_owned(), state, ms)));
}
