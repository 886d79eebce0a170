//! The daily dump: whole, described, served, and gone after a week.

use std::{fs, io::Read};

use axum::http::StatusCode;
use flate2::read::GzDecoder;
use ledger::Digest;
use portal::{
    dump::{Dumps, KEPT},
    server::{AppState, Options, router},
};
use serde_json::Value;

use crate::{
    serving::{app, filled, get},
    support::database::on_each,
};

fn lines(bytes: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_dump_holds_everything_and_says_what_it_holds() {
    on_each(async |index| {
        let history = filled(index).await;
        let dir = tempfile::tempdir().unwrap();
        let dumps = Dumps::new(dir.path().join("dumps"));
        assert!(dumps.days().unwrap().is_empty());
        dumps.write(index, "2026-11-22").await.unwrap();
        let app = router(AppState::new(index.clone(), &[], Options { dumps: Some(dumps), ..Options::default() }));
        assert_eq!(get(&app, "/dumps").await.json(), serde_json::json!({ "days": ["2026-11-22"] }));
        let described = get(&app, "/dumps/2026-11-22/dump.json").await.json();
        for (file, n) in described["files"].as_array().unwrap().iter().zip([3, 3, 6]) {
            let name = file["name"].as_str().unwrap();
            let answer = get(&app, &format!("/dumps/2026-11-22/{name}")).await;
            assert_eq!(answer.headers["content-type"], "application/gzip");
            assert_eq!(file["bytes"], answer.bytes().len());
            assert_eq!(file["sha256"], Digest::of(answer.bytes()).to_string());
            let lines = lines(answer.bytes());
            assert_eq!((file["lines"].as_u64().unwrap(), lines.len()), (n, n as usize), "{name}");
            assert_eq!(lines[0]["run"], history.log.run.to_string(), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_files_of_dumps_are_served() {
    on_each(async |index| {
        filled(index).await;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "hidden").unwrap();
        let dumps = Dumps::new(dir.path().join("dumps"));
        dumps.write(index, "2026-11-22").await.unwrap();
        let with = router(AppState::new(index.clone(), &[], Options { dumps: Some(dumps), ..Options::default() }));
        for address in [
            "/dumps/2026-11-23/dump.json",
            "/dumps/2026-11-22/secret",
            "/dumps/2026-11-22/..%2F..%2Fsecret",
            "/dumps/..%2F../secret",
            "/dumps/%2E%2E/dump.json",
        ] {
            assert_eq!(get(&with, address).await.status, StatusCode::NOT_FOUND, "{address}");
        }
        assert_eq!(get(&app(index), "/dumps").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn dumps_of_a_week_stay_and_a_broken_one_is_made_anew() {
    on_each(async |index| {
        filled(index).await;
        let dir = tempfile::tempdir().unwrap();
        let dumps = Dumps::new(dir.path().to_owned());
        // As a killed process leaves it.
        fs::create_dir(dir.path().join(".2026-11-01.part")).unwrap();
        fs::write(dir.path().join(".2026-11-01.part/runs.jsonl.gz"), "half").unwrap();
        for day in 1..=KEPT + 2 {
            dumps.write(index, &format!("2026-11-{day:02}")).await.unwrap();
        }
        let days = dumps.days().unwrap();
        assert_eq!((days.len(), days[0].as_str()), (KEPT, "2026-11-09"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), KEPT, "nothing else is left");
    })
    .await;
}
