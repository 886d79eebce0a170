//! Bundles that strangers send: taken if the chain carries what they have, refused with a reason if not, and never in place of
//! what is here.

use std::{fs, path::Path};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, header},
};
use futures_util::stream;
use portal::{
    bundles::{Intake, Options},
    index::{ArrivalState, Index, Status},
    server::{self, AppState, router},
};
use store::ArchiveWriter;

use crate::{
    serving::{Answer, app, send},
    support::{
        bundle::{KEPT, KeptKeys, add, entry, manifest_of, write_manifest},
        database::on_each,
    },
};

/// An archive of a run's directory, as capsules have it.
pub fn archive(run: &Path) -> Vec<u8> {
    let mut files = Vec::new();
    for part in ["", "epochs", "proofs"] {
        for found in fs::read_dir(run.join(part)).unwrap() {
            let found = found.unwrap();
            let name = found.file_name().into_string().unwrap();
            if found.file_type().unwrap().is_file() && !name.starts_with('.') {
                let name = if part.is_empty() { format!("run/{name}") } else { format!("run/{part}/{name}") };
                files.push((name, fs::read(found.path()).unwrap()));
            }
        }
    }
    files.sort();
    let mut writer = ArchiveWriter::new(Vec::new());
    for (name, bytes) in &files {
        writer.add(&name.parse().unwrap(), bytes.len() as u64, &mut &bytes[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// A portal that takes uploads of at most this many bytes.
fn intake(index: &Index, folder: &Path, max_upload: u64) -> Intake {
    let options = Options { max_upload: Some(max_upload), ..Options::new(folder.to_owned()) };
    Intake::new(index.clone(), std::sync::Arc::new(KeptKeys::default()), options)
}

fn taking(index: &Index, intake: &Intake) -> Router {
    router(AppState::with_bundles(index.clone(), &[], server::Options::default(), Some(intake.shelf())))
}

async fn put(app: &Router, body: Body) -> Answer {
    send(app, Request::put("/api/v1/bundles").body(body).unwrap()).await
}

pub async fn anchored(index: &Index) {
    let logs = vec![KEPT.registered(1, KEPT.registration()), KEPT.anchored(2, 0), KEPT.anchored(3, 1)];
    add(index, None, 9, logs, 2).await;
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|found| found.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_upload_of_what_is_anchored_is_taken_and_verified() {
    on_each(async |index| {
        let (made, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = KEPT.put(made.path());
        let sent = archive(&run);
        let mut intake = intake(index, folder.path(), 1 << 20);
        let app = taking(index, &intake);
        assert_eq!(put(&app, sent.clone().into()).await.refusal(), (404, "no_run".into()));
        anchored(index).await;
        let answer = put(&app, sent.clone().into()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let said: serde_json::Value = serde_json::from_slice(answer.bytes()).unwrap();
        assert_eq!((&said["steps"], &said["manifest_digest"]), (&8.into(), &manifest_of(&run).to_string().into()));
        assert_eq!(names(folder.path()), [KEPT.name()], "nothing else stays");
        for file in ["run.json", "run_manifest.json", "steps.jsonl", "proofs/step_000007.proof"] {
            assert_eq!(
                fs::read(folder.path().join(KEPT.name()).join(file)).unwrap(),
                fs::read(run.join(file)).unwrap()
            );
        }
        assert_eq!(entry(index).await.status, Status::BundleNotSeen, "its proofs were not verified yet");
        intake.round().await.unwrap();
        let here = index.arrivals(entry(index).await.key, 1).await.unwrap().remove(0);
        assert_eq!((here.state, entry(index).await.status), (ArrivalState::Passed, Status::Verified), "{here:?}");
        assert_eq!(put(&app, sent.into()).await.refusal(), (409, "upload_here".into()), "as many steps are here");
    })
    .await;
}

#[tokio::test]
async fn what_did_not_come_by_upload_is_never_replaced() {
    on_each(async |index| {
        let (made, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sent = archive(&KEPT.put(made.path()));
        let own = folder.path().join(KEPT.name());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("steps.jsonl"), "being written").unwrap();
        anchored(index).await;
        let app = taking(index, &intake(index, folder.path(), 1 << 20));
        assert_eq!(put(&app, sent.into()).await.refusal(), (409, "upload_here".into()));
        assert_eq!(fs::read_to_string(own.join("steps.jsonl")).unwrap(), "being written");
    })
    .await;
}

#[tokio::test]
async fn uploads_that_do_not_hold_are_put_aside_with_a_reason() {
    on_each(async |index| {
        let (made, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = KEPT.put(made.path());
        let whole = archive(&run);
        let app = taking(index, &intake(index, folder.path(), 1 << 20));
        // One epoch only is on chain.
        add(index, None, 5, vec![KEPT.registered(1, KEPT.registration()), KEPT.anchored(2, 0)], 1).await;
        let early = put(&app, whole.clone().into()).await;
        assert_eq!(early.refusal(), (422, "upload_refused".into()));
        assert!(
            early.text().contains("\"state\":\"waiting\"") && early.text().contains("the chain 1"),
            "{}",
            early.text()
        );
        add(index, Some(5), 9, vec![KEPT.anchored(7, 1)], 2).await;

        let mut bytes = fs::read(run.join("proofs/step_000003.proof")).unwrap();
        bytes[100] ^= 1;
        fs::write(run.join("proofs/step_000003.proof"), bytes).unwrap();
        let damaged = archive(&run);
        write_manifest(&run);
        let lying = archive(&run);
        let mut link = whole.clone();
        link[156] = b'2';
        let cases: [(&str, Vec<u8>, &str, &str); 6] = [
            ("a proof is another", damaged, "damaged", "step_000003.proof: SHA-256"),
            ("and the manifest says so", lying, "failed", "step 3, chunk 0"),
            ("a symbolic link", link, "malformed", "has another spelling"),
            ("half of it", whole[..whole.len() / 2].to_vec(), "malformed", "archive"),
            ("nothing", Vec::new(), "malformed", "archive"),
            ("noise", vec![7; 2_048], "malformed", "archive"),
        ];
        for (what, sent, state, reason) in cases {
            let answer = put(&app, sent.clone().into()).await;
            assert_eq!(answer.refusal(), (422, "upload_refused".into()), "{what}");
            let said: serde_json::Value = serde_json::from_slice(answer.bytes()).unwrap();
            assert_eq!(said["error"]["details"]["state"], state, "{what}: {said}");
            assert!(said["error"]["message"].as_str().unwrap().contains(reason), "{what}: {said}");
            assert!(!answer.text().contains(folder.path().to_str().unwrap()), "{what}");
            assert_eq!(
                fs::read(folder.path().join(".quarantine.tar")).unwrap(),
                sent,
                "{what}: it is kept, in place of the last"
            );
            assert_eq!(names(folder.path()), [".quarantine.tar"], "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn uploads_end_at_their_limit_whatever_they_say_of_themselves() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        anchored(index).await;
        let app = taking(index, &intake(index, folder.path(), 10_000));
        assert_eq!(put(&app, vec![0; 10_001].into()).await.refusal(), (413, "upload_too_large".into()));
        let endless = || stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 4_096])));
        assert_eq!(put(&app, Body::from_stream(endless())).await.refusal(), (413, "upload_too_large".into()));
        let request = Request::put("/api/v1/bundles").header(header::CONTENT_LENGTH, "5000000000");
        let answer = send(&app, request.body(Body::from_stream(endless())).unwrap()).await;
        assert_eq!(answer.refusal(), (413, "upload_too_large".into()));
        let broken = stream::iter([Ok(Bytes::from("half")), Err(std::io::Error::other("gone"))]);
        assert_eq!(put(&app, Body::from_stream(broken)).await.refusal(), (400, "upload_broke_off".into()));
        assert_eq!(names(folder.path()), [""; 0], "nothing stays of them");
    })
    .await;
}

#[tokio::test]
async fn uploads_come_one_at_a_time_and_only_where_they_are_wanted() {
    on_each(async |index| {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(put(&app(index), Body::from("x")).await.refusal(), (403, "upload_off".into()));
        let app = taking(index, &intake(index, folder.path(), 10_000));
        let (arrives, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
        let body =
            stream::unfold(pieces, async |mut pieces| Some((Ok::<_, std::io::Error>(pieces.recv().await?), pieces)));
        let body = Body::from_stream(body);
        let slow = app.clone();
        let first = tokio::spawn(async move { put(&slow, body).await });
        // Once a second piece finds room, the first was taken.
        arrives.send(Bytes::from("a")).await.unwrap();
        arrives.send(Bytes::from("b")).await.unwrap();
        arrives.send(Bytes::from("c")).await.unwrap();
        let second = put(&app, Body::from("x")).await;
        assert_eq!(second.refusal(), (503, "upload_busy".into()));
        assert_eq!(second.headers[header::RETRY_AFTER], "30");
        drop(arrives);
        assert_eq!(first.await.unwrap().refusal(), (422, "upload_refused".into()));
        assert_eq!(
            put(&app, Body::from("x")).await.refusal(),
            (422, "upload_refused".into()),
            "the place is free again"
        );
    })
    .await;
}
