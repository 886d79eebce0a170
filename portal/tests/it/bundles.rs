//! Bundles in a folder: what is verified, what is served of it, and what hostile ones come to.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use audit::{
    Checks, State,
    evidence::{OnChain, StepEvidence, VerifierOnChain},
};
use axum::{
    Router,
    http::{StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chain::{AnchorEvent, RunOnChain};
use ledger::{Address, Digest, FieldElement, StepIndex};
use portal::{
    bundles::{Intake, Limits, Options, Shelf},
    index::{Arrival, ArrivalState, Batch, Index, Status},
    server::{self, AppState, router},
};
use serde_json::{Value, json};
use store::layout::RunFile;
use tokio::sync::oneshot;

use crate::{
    serving::get,
    support::{
        bundle::{KEPT, KeptKeys, add, entry, manifest_of, write_manifest},
        database::on_each,
        description::conforms,
        history::block,
    },
};

/// A folder of bundles with the kept run, and the portal's intake.
struct Folder {
    scratch: tempfile::TempDir,
    run: PathBuf,
    keys: Arc<KeptKeys>,
}

impl Folder {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let run = KEPT.put(scratch.path());
        Self { scratch, run, keys: Arc::default() }
    }

    fn intake(&self, index: &Index) -> Intake {
        self.with(index, Limits::default())
    }

    fn with(&self, index: &Index, limits: Limits) -> Intake {
        let again = Duration::ZERO;
        let options = Options { limits, again, ..Options::new(self.scratch.path().to_owned()) };
        Intake::new(index.clone(), self.keys.clone(), options)
    }
}

fn app(index: &Index, shelf: Arc<Shelf>) -> Router {
    router(AppState::with_bundles(index.clone(), &[], server::Options::default(), Some(shelf)))
}

/// The run with both epochs, and its bundle announced.
async fn anchored(index: &Index, manifest: Digest) {
    let mut logs = vec![KEPT.registered(1, KEPT.registration())];
    logs.extend([KEPT.anchored(2, 0), KEPT.anchored(3, 1), KEPT.announced(4, manifest)]);
    add(index, None, 9, logs, 2).await;
}

/// The only bundle of the run.
async fn arrival(index: &Index) -> Arrival {
    let mut found = index.arrivals(entry(index).await.key, 10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test]
async fn a_bundle_of_what_is_anchored_is_verified_and_served() {
    on_each(async |index| {
        let folder = Folder::new();
        anchored(index, manifest_of(&folder.run)).await;
        assert_eq!(entry(index).await.status, Status::BundleNotSeen);
        let mut intake = folder.intake(index);
        let app = app(index, intake.shelf());
        let id = KEPT.run().run;
        let path = |rest: &str| format!("/api/v1/runs/{id}{rest}");
        assert_eq!(get(&app, &path("/steps/5/evidence")).await.refusal(), (404, "no_bundle".into()));

        let round = intake.round().await.unwrap();
        assert_eq!((round.n_bundles, round.n_checked), (1, 1));
        let here = arrival(index).await;
        assert_eq!((here.state, here.done, here.total), (ArrivalState::Passed, 8, 8), "{here:?}");
        assert_eq!(entry(index).await.status, Status::Verified);
        let made: Vec<&str> = here.report.iter().map(|line| line.check.as_str()).collect();
        for expected in
            ["files are the manifest's", "epochs on chain", "registration on chain", "step proofs", "epoch proofs"]
        {
            assert!(made.contains(&expected), "{expected}: {made:?}");
        }
        let bundles = get(&app, &path("/bundles")).await.json();
        assert_eq!(bundles["arrived"][0]["state"], "passed");
        assert_eq!(bundles["checked"][0]["failure"], Value::Null);
        assert!(
            !bundles.to_string().contains(folder.scratch.path().to_str().unwrap()),
            "the folder is nobody's business"
        );

        the_records_are_told(&app).await;
        the_evidence_holds(&app).await;
        the_files_are_the_bundles(&app, &folder.run).await;
        let page = get(&app, &format!("/runs/{id}/steps/5")).await;
        let record = fs::read_to_string(folder.run.join("steps.jsonl")).unwrap();
        let record = record.lines().nth(5).unwrap().replace('"', "&quot;");
        assert!(
            page.text().contains(&record) || page.text().contains(&record.replace("&quot;", "\"")),
            "the record is shown"
        );
        assert!(page.text().contains("/files/proofs/step_000005.proof?"), "and its proof can be fetched");

        assert_eq!(intake.round().await.unwrap().n_checked, 0, "once is enough");
        // After a restart the files are compared with their manifest only.
        let asked = folder.keys.n_asked.load(Ordering::SeqCst);
        let mut again = folder.intake(index);
        assert_eq!(again.round().await.unwrap().n_checked, 1);
        let here = arrival(index).await;
        assert_eq!((here.state, here.report.len()), (ArrivalState::Passed, 2), "{here:?}");
        assert_eq!(folder.keys.n_asked.load(Ordering::SeqCst), asked);
        the_evidence_holds(&self::app(index, again.shelf())).await;

        fs::remove_dir_all(&folder.run).unwrap();
        again.round().await.unwrap();
        assert_eq!(index.arrivals(entry(index).await.key, 10).await.unwrap(), []);
        assert_eq!(entry(index).await.status, Status::Verified, "it was verified all the same");
    })
    .await;
}

/// What a browser does with it.
async fn the_evidence_holds(app: &Router) {
    let run = KEPT.run();
    let answer = get(app, &format!("/api/v1/runs/{}/steps/5/evidence", run.run)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let evidence = StepEvidence::parse(answer.text().as_bytes()).unwrap();
    assert_eq!(evidence.earlier.len(), 1);
    let description = serde_json::from_str(&portal::description().unwrap()).unwrap();
    let schema = json!({ "$ref": "#/components/schemas/StepEvidence" });
    conforms(&description, &schema, &answer.json(), "evidence");
    let registration = KEPT.registration();
    let on_chain = OnChain {
        head: KEPT.head(9, 2),
        run: RunOnChain {
            owner: run.identity.owner,
            selector: registration.selector,
            genesis_state: registration.genesis_state,
            policy_digest: registration.policy_digest,
            parent: None,
        },
        verifier: VerifierOnChain::Placed {
            registry: Address([1; 20]),
            address: Address([2; 20]),
            code: verifier_code(),
        },
    };
    let mut checks = Checks::default();
    evidence.check((run.run, StepIndex(5)), Some(&on_chain), &mut checks).unwrap();
    assert!(checks.made().iter().all(|line| line.state == State::Passed), "{checks:?}");
    assert_eq!(checks.made().last().map(|line| line.check.as_str()), Some("epoch proof"));
    let beyond = get(app, &format!("/api/v1/runs/{}/steps/8/evidence", run.run)).await;
    assert_eq!(beyond.refusal(), (404, "no_step".into()));
}

/// Of the verifier that the demo registered.
fn verifier_code() -> Vec<u8> {
    let demo: Value = serde_json::from_str(include_str!("../../../testdata/anchor/demo.json")).unwrap();
    hex::decode(&demo["verifier_code"].as_str().unwrap()[2..]).unwrap()
}

/// What the records say, and that a proof leads to its step.
async fn the_records_are_told(app: &Router) {
    let id = KEPT.run().run;
    let series = get(app, &format!("/api/v1/runs/{id}/series?limit=5")).await.json();
    assert_eq!((series["points"].as_array().unwrap().len(), &series["next_from"]), (5, &5.into()));
    let first = &series["points"][0];
    assert_eq!((&first["loss"], &first["prove_ms"]), (&"2.5010029159666316".into(), &946.into()));
    assert!(first["learning_rate"].as_str().unwrap().starts_with("0.00300000"), "{first}");
    let rest = get(app, &format!("/api/v1/runs/{id}/series?from=5")).await.json();
    assert_eq!((rest["points"].as_array().unwrap().len(), rest["next_from"].is_null()), (3, true));
    let proof = Digest::of(&fs::read(KEPT.dir.path().join("proofs/step_000005.proof")).unwrap());
    let found = get(app, &format!("/api/v1/runs?q={proof}")).await.json();
    assert_eq!((&found["steps"][0]["run"], &found["steps"][0]["step"]), (&id.to_string().into(), &5.into()));
    let page = get(app, &format!("/runs/{id}")).await;
    for part in ["Course of the run", "<figcaption>Loss</figcaption>", "<figcaption>Proving time (ms)</figcaption>"] {
        assert!(page.text().contains(part), "{part}");
    }
    assert!(!page.text().contains("<figcaption>Gradient norm"), "nothing was said of it");
    the_torrent_is_the_announced_one(app).await;
    // The policy's words came with the bundle.
    for part in ["<dt>β1</dt><dd>0.9</dd>", "<dt>Optimizer</dt><dd>AdamW</dd>"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    assert_eq!(get(app, &format!("/api/v1/runs/{id}")).await.json()["optimizer"], "adamw");
    assert_eq!(get(app, "/api/v1/runs?optimizer=sgd").await.json()["facets"]["total"], 0);
}

/// The announced infohashes are none of these files': the torrent that would be made is another, which is said.
async fn the_torrent_is_the_announced_one(app: &Router) {
    let id = KEPT.run().run;
    let refused = get(app, &format!("/api/v1/runs/{id}/bundle.torrent")).await;
    assert_eq!(refused.refusal(), (409, "other_torrent".into()));
    let body: serde_json::Value = serde_json::from_slice(refused.bytes()).unwrap();
    let expected = &body["error"]["details"]["expected"];
    assert_eq!(*expected, "02".repeat(20));
}

#[tokio::test]
async fn the_torrent_of_a_bundle_is_the_one_that_is_announced() {
    on_each(async |index| {
        let folder = Folder::new();
        // Nothing was announced: it is made all the same.
        add(index, None, 9, vec![KEPT.registered(1, KEPT.registration()), KEPT.anchored(2, 0), KEPT.anchored(3, 1)], 2)
            .await;
        let mut intake = folder.intake(index);
        intake.round().await.unwrap();
        let app = app(index, intake.shelf());
        let address = format!("/api/v1/runs/{}/bundle.torrent", KEPT.run().run);
        let made = get(&app, &address).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        assert_eq!(made.headers[header::CONTENT_TYPE], "application/x-bittorrent");
        let read = torrent::Metainfo::parse(made.bytes()).unwrap();
        assert_eq!(read.name(), KEPT.name());
        // Announced as it is, it is served; a link to it is on the page.
        let mut log = KEPT.announced(10, manifest_of(&folder.run));
        if let AnchorEvent::Announced(bundle) = &mut log.event {
            bundle.announcement.infohash_v1 = read.infohash_v1().0;
            bundle.announcement.infohash_v2 = read.infohash_v2().0;
        }
        let source = index.source(&KEPT.source()).await.unwrap();
        let after = Some(block(0, 9).at);
        index.apply(source, &Batch { after, to: block(0, 10), logs: vec![log] }).await.unwrap();
        let again = get(&app, &address).await;
        assert_eq!((again.status, again.bytes()), (StatusCode::OK, made.bytes()));
    })
    .await;
}

async fn the_files_are_the_bundles(app: &Router, run: &Path) {
    let id = KEPT.run().run;
    let kinds = [
        ("run.json", "application/json"),
        ("steps.jsonl", "application/jsonl"),
        ("checkpoint", "text/plain; charset=utf-8"),
        ("run_manifest.json", "application/json"),
        ("proofs/step_000005.proof", "application/octet-stream"),
        ("epochs/epoch_0001.proof", "application/octet-stream"),
    ];
    for (name, kind) in kinds {
        let answer = get(app, &format!("/api/v1/runs/{id}/files/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.bytes(), fs::read(run.join(name)).unwrap(), "{name}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], kind);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        let last = name.rsplit('/').next().unwrap();
        assert_eq!(answer.headers[header::CONTENT_DISPOSITION], format!("attachment; filename=\"{last}\""));
        let digest = STANDARD.encode(Digest::of(answer.bytes()).0);
        assert_eq!(answer.headers["repr-digest"], format!("sha-256=:{digest}:"));
    }
    fs::write(run.join("secret"), "x").unwrap();
    for name in [
        "secret",
        "anchors.json",
        "proofs",
        "proofs/",
        ".lock",
        "proofs/step_000008.proof",
        "proofs/step_5.proof",
        "../run.json",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "proofs/..%2frun.json",
        "proofs%2f..%2f..%2fsecret",
        "run.json%00",
    ] {
        let answer = get(app, &format!("/api/v1/runs/{id}/files/{name}")).await;
        assert_eq!(answer.refusal(), (404, "no_file".into()), "{name}");
    }
    fs::remove_file(run.join("secret")).unwrap();
}

#[tokio::test]
async fn nothing_is_verified_that_the_chain_does_not_carry() {
    on_each(async |index| {
        let folder = Folder::new();
        let mut intake = folder.intake(index);
        assert_eq!(intake.round().await.unwrap().n_checked, 0, "the chain knows no such run");
        add(index, None, 5, vec![KEPT.registered(1, KEPT.registration()), KEPT.anchored(2, 0)], 1).await;
        intake.round().await.unwrap();
        let here = arrival(index).await;
        assert_eq!(here.state, ArrivalState::Waiting, "{here:?}");
        assert_eq!(here.detail.as_deref(), Some("check failed: epochs on chain: the log has 2 epochs, the chain 1"));
        assert_eq!(index.verifications(entry(index).await.key, 10).await.unwrap(), []);
        assert_eq!(intake.round().await.unwrap().n_checked, 0, "it waits for the chain");
        assert_eq!(folder.keys.n_asked.load(Ordering::SeqCst), 0, "and no key was made");

        let source = add(index, Some(5), 9, vec![KEPT.anchored(7, 1)], 2).await;
        intake.round().await.unwrap();
        assert_eq!((arrival(index).await.state, entry(index).await.status), (ArrivalState::Passed, Status::Verified));
        let app = app(index, intake.shelf());
        the_evidence_holds(&app).await;

        // The chain takes the second epoch back, and the word with it.
        index.roll_back(source, block(0, 9).at, Some(block(0, 5).at)).await.unwrap();
        index.confirm(entry(index).await.key, block(0, 5).at, Some(&KEPT.head(5, 1)), false).await.unwrap();
        assert_eq!(entry(index).await.status, Status::BundleNotSeen);
        let id = KEPT.run().run;
        let series = get(&app, &format!("/api/v1/runs/{id}/series")).await.json();
        assert_eq!(series["points"].as_array().unwrap().len(), 4, "nor are records of steps that went shown");
        let answer = get(&app, &format!("/api/v1/runs/{id}/steps/3/evidence")).await;
        assert_eq!(answer.refusal(), (404, "no_bundle".into()));
        assert_eq!(get(&app, &format!("/api/v1/runs/{id}/files/run.json")).await.refusal().1, "no_bundle");
    })
    .await;
}

/// A way to spoil a bundle, and what comes of it: state, reason, and whether the run is called invalid.
struct Hostile {
    spoil: fn(&Path),
    limits: Limits,
    state: ArrivalState,
    reason: &'static str,
    is_invalid: bool,
}

fn flip(path: PathBuf) {
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last / 2] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn hostile() -> Vec<Hostile> {
    let limits = Limits::default();
    let refused = |spoil, reason| Hostile { spoil, limits, state: ArrivalState::Refused, reason, is_invalid: false };
    let damaged = |spoil, reason| Hostile { state: ArrivalState::Damaged, ..refused(spoil, reason) };
    vec![
        refused(|run| std::os::unix::fs::symlink("/etc/passwd", run.join("anchors.json")).unwrap(), "neither a file"),
        refused(|run| fs::create_dir_all(run.join("proofs/a/b/c")).unwrap(), "not a file of a run"),
        refused(|run| fs::write(run.join("run.json"), "{}").unwrap(), "run.json: missing, or not of a run"),
        Hostile { limits: Limits { max_bytes: 1_000, ..limits }, ..refused(|_| (), "more than 1000 bytes") },
        Hostile { limits: Limits { max_files: 9, ..limits }, ..refused(|_| (), "more than 9 files") },
        // Larger than the disk, without taking any of it.
        refused(
            |run| fs::File::create(run.join("anchors.json")).unwrap().set_len(1 << 40).unwrap(),
            "more than 100000000000 bytes",
        ),
        refused(
            |run| fs::write(run.join("run_manifest.json"), vec![b'['; 1 << 20]).unwrap(),
            "the manifest has 1048576",
        ),
        damaged(|run| flip(run.join("proofs/step_000003.proof")), "proofs/step_000003.proof: SHA-256: expected"),
        damaged(
            |run| fs::remove_file(run.join("epochs/epoch_0001.proof")).unwrap(),
            "epochs/epoch_0001.proof: missing",
        ),
        damaged(|run| fs::write(run.join("run_manifest.json"), "[[[[").unwrap(), "run_manifest.json: "),
        Hostile {
            state: ArrivalState::Waiting,
            ..refused(|run| fs::remove_file(run.join("run_manifest.json")).unwrap(), "run_manifest.json: missing")
        },
        // A manifest that lies along: these very bytes are announced.
        Hostile {
            state: ArrivalState::Failed,
            is_invalid: true,
            ..refused(
                |run| {
                    flip(run.join("proofs/step_000003.proof"));
                    write_manifest(run);
                },
                "proofs/step_000003.proof: step 3, chunk 0: SHA-256",
            )
        },
    ]
}

#[tokio::test]
async fn hostile_bundles_come_to_their_own_reason_and_stop_nothing() {
    on_each(async |index| {
        for hostile in hostile() {
            let folder = Folder::new();
            (hostile.spoil)(&folder.run);
            let manifest = fs::read(RunFile::Manifest.path(&folder.run)).unwrap_or_default();
            index.forget(KEPT.source().chain, KEPT.source().contract).await.unwrap();
            anchored(index, Digest::of(&manifest)).await;
            let mut intake = folder.with(index, hostile.limits);
            assert_eq!(intake.round().await.unwrap().n_checked, 1);
            let here = arrival(index).await;
            let detail = here.detail.clone().unwrap_or_default();
            assert!(here.state == hostile.state && detail.contains(hostile.reason), "{}: {here:?}", hostile.reason);
            assert!(!detail.contains(folder.scratch.path().to_str().unwrap()), "{detail}");
            let expected = if hostile.is_invalid { Status::Invalid } else { Status::BundleNotSeen };
            assert_eq!(entry(index).await.status, expected, "{}", hostile.reason);
            let file = format!("/api/v1/runs/{}/files/run.json", KEPT.run().run);
            let app = app(index, intake.shelf());
            assert_eq!(get(&app, &file).await.refusal(), (404, "no_bundle".into()));
            assert_eq!(folder.keys.n_asked.load(Ordering::SeqCst), 0, "no key is made for it");

            // The right files at the same place are taken.
            fs::remove_dir_all(&folder.run).unwrap();
            KEPT.put(folder.scratch.path());
            if hostile.limits.max_bytes > 1_000 && hostile.limits.max_files > 9 && hostile.is_invalid {
                intake.round().await.unwrap();
                assert_eq!(
                    (arrival(index).await.state, entry(index).await.status),
                    (ArrivalState::Passed, Status::Verified)
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_registered_otherwise_gets_no_key() {
    on_each(async |index| {
        let folder = Folder::new();
        let mut registration = KEPT.registration();
        registration.policy_digest = FieldElement::from(7);
        let logs = vec![KEPT.registered(1, registration), KEPT.anchored(2, 0), KEPT.anchored(3, 1)];
        add(index, None, 9, logs, 2).await;
        folder.intake(index).round().await.unwrap();
        let here = arrival(index).await;
        assert_eq!(here.state, ArrivalState::Failed, "{here:?}");
        assert!(here.detail.unwrap().starts_with("check failed: registration on chain: selector, genesis, policy"));
        assert_eq!(folder.keys.n_asked.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn files_that_changed_since_are_not_served() {
    on_each(async |index| {
        let folder = Folder::new();
        anchored(index, manifest_of(&folder.run)).await;
        let mut intake = folder.intake(index);
        intake.round().await.unwrap();
        let app = app(index, intake.shelf());
        let file = |name: &str| format!("/api/v1/runs/{}/files/{name}", KEPT.run().run);
        flip(folder.run.join("proofs/step_000002.proof"));
        let proof = get(&app, &file("proofs/step_000002.proof")).await;
        assert_eq!(proof.refusal(), (503, "file_changed".into()));
        let aside = folder.scratch.path().join("aside");
        fs::rename(folder.run.join("epochs"), &aside).unwrap();
        std::os::unix::fs::symlink(&aside, folder.run.join("epochs")).unwrap();
        let proof = get(&app, &file("epochs/epoch_0000.proof")).await;
        assert_eq!(proof.refusal(), (503, "file_changed".into()), "a folder is not left by a link");
        assert_eq!(get(&app, &file("run.json")).await.status, StatusCode::OK);
        intake.round().await.unwrap();
        assert_eq!(arrival(index).await.state, ArrivalState::Refused, "and the queue sees it");
        assert_eq!(get(&app, &file("run.json")).await.refusal().1, "no_bundle");
    })
    .await;
}

#[tokio::test]
async fn the_queue_ends_when_it_is_told_and_goes_on_with_the_next_start() {
    on_each(async |index| {
        let folder = Folder::new();
        anchored(index, manifest_of(&folder.run)).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(folder.intake(index).run(async { drop(stopped.await) }));
        while index.arrivals(entry(index).await.key, 1).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        running.await.unwrap();
        let mut next = folder.intake(index);
        next.round().await.unwrap();
        assert_eq!(arrival(index).await.state, ArrivalState::Passed);
    })
    .await;
}
