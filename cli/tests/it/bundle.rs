//! `cairn bundle`: the same run is the same torrent; a later bundle keeps what the earlier one had.

use std::fs;
use std::path::Path;

use torrent::{ContentPath, Metainfo, Visibility};

use crate::support::{Scratch, cairn, copy};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn torrent(answer: &serde_json::Value) -> Metainfo {
    let path = answer["torrent"].as_str().expect("a path");
    Metainfo::parse(&fs::read(path).expect("the torrent")).expect("what cairn wrote")
}

#[test]
fn the_same_run_gives_the_same_torrent_wherever_it_is() {
    let scratch = Scratch::new();
    let run = scratch.trained(60, &[]);
    let first = cairn(&["bundle", "--run", text(&run)]).must();
    let ours = torrent(&first);
    assert_eq!(first["torrent"], format!("{}.torrent", run.canonicalize().expect("a directory").display()));
    assert_eq!(first["infohash_v1"], format!("0x{}", ours.infohash_v1()));
    assert_eq!(first["infohash_v2"], format!("0x{}", ours.infohash_v2()));
    assert_eq!(first["steps"], 4);
    let link = first["magnet"].as_str().expect("a link");
    assert!(link.starts_with(&format!("magnet:?xt=urn:btih:{}&xt=urn:btmh:1220", ours.infohash_v1())), "{link}");
    let manifest = fs::read(run.join("run_manifest.json")).expect("a manifest");
    assert_eq!(first["manifest_digest"], ledger::Digest::of(&manifest).to_string());
    // All files of the run, and nothing else.
    let listed = ledger::Manifest::parse(&manifest).expect("a manifest");
    let mut expected: Vec<String> = listed.files().iter().map(|file| file.path.to_string()).collect();
    expected.push("run_manifest.json".to_owned());
    expected.sort();
    let mut got: Vec<String> = ours.files().files().iter().map(|file| file.path.to_string()).collect();
    got.sort();
    assert_eq!(got, expected);

    // Another directory, another name for it, files with other times and in another order.
    let (parent, elsewhere) = copy(&run);
    let renamed = parent.path().join("renamed");
    fs::rename(&elsewhere, &renamed).expect("scratch space");
    let out = parent.path().join("x.torrent");
    let again = cairn(&["bundle", "--run", text(&renamed), "--out", text(&out)]).must();
    assert_eq!(fs::read(&out).expect("the torrent"), ours.as_bytes());
    assert_eq!(first["magnet"], again["magnet"]);
    // The run is as it was: the torrent did not get into it.
    cairn(&["verify", "--run", text(&run)]).must();
}

#[test]
fn options_get_into_the_torrent() {
    let scratch = Scratch::new();
    let run = scratch.trained(61, &[]);
    let plain = torrent(&cairn(&["bundle", "--run", text(&run)]).must());
    let more = ["--web-seed", "http://127.0.0.1:1/runs", "--tracker", "udp://127.0.0.1:2"];
    let announced = torrent(&cairn(&[&["bundle", "--run", text(&run)], &more[..]].concat()).must());
    assert_eq!(announced.infohash_v1(), plain.infohash_v1());
    assert_eq!(announced.web_seeds()[0].as_str(), "http://127.0.0.1:1/runs/");
    assert_eq!(announced.trackers()[0].as_str(), "udp://127.0.0.1:2");
    let closed = torrent(&cairn(&["bundle", "--run", text(&run), "--private", "--source", "us"]).must());
    assert_eq!((closed.visibility(), closed.source()), (Visibility::Private, Some("us")));
    assert_ne!(closed.infohash_v1(), plain.infohash_v1());
    for (wrong, word) in [("--web-seed=ftp://x/", "http or https"), ("--tracker=http://u:p@x/", "password")] {
        let answer = cairn(&["bundle", "--run", text(&run), wrong]);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stderr.contains(word), "{answer:#?}");
    }
    let inside = run.join("x.torrent");
    let answer = cairn(&["bundle", "--run", text(&run), "--out", text(&inside)]);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    assert!(answer.stderr.contains("inside of the run's directory") && !inside.exists(), "{answer:#?}");
}

#[test]
fn a_later_bundle_keeps_the_files_of_the_earlier_one() {
    let scratch = Scratch::new();
    let run = scratch.trained(62, &[]);
    let earlier = torrent(&cairn(&["bundle", "--run", text(&run)]).must());
    let proof = |step: u64| run.join(format!("proofs/step_{step:06}.proof"));
    let before: Vec<Vec<u8>> = (0..4).map(|step| fs::read(proof(step)).expect("a proof")).collect();
    let log = fs::read(run.join("steps.jsonl")).expect("a log");

    let mut more = scratch.train(62, &[]);
    let steps = more.iter().position(|arg| arg == "--steps").expect("an option") + 1;
    more[steps] = "6".to_owned();
    cairn(&more.iter().map(String::as_str).collect::<Vec<_>>()).must();
    let answer = cairn(&["bundle", "--run", text(&run)]).must();
    assert_eq!(answer["steps"], 6);
    let later = torrent(&answer);

    assert_eq!(later.name(), earlier.name(), "clients put it in the same directory");
    assert_ne!(later.infohash_v2(), earlier.infohash_v2());
    for (step, before) in (0..).zip(before) {
        assert_eq!(fs::read(proof(step)).expect("a proof"), before);
    }
    let log_after = fs::read(run.join("steps.jsonl")).expect("a log");
    assert!(log_after.starts_with(&log), "the log only grows");
    // By the torrents alone: roots of v2, and the pieces of v1 that they cover.
    let root = |torrent: &Metainfo, name: &str| {
        let path = ContentPath::new(&name.split('/').collect::<Vec<_>>()).expect("a path");
        let at = torrent.files().files().iter().position(|file| file.path == path).expect("a file");
        torrent.hashes().files()[at].root
    };
    for name in (0..4).map(|step| format!("proofs/step_{step:06}.proof")).chain(["run.json".to_owned()]) {
        assert_eq!(root(&earlier, &name), root(&later, &name), "{name}");
    }
    assert_ne!(root(&earlier, "steps.jsonl"), root(&later, "steps.jsonl"));
}

#[test]
fn a_run_that_does_not_hold_is_not_bundled() {
    let scratch = Scratch::new();
    let run = scratch.trained(63, &[]);
    for (file, check) in [("proofs/step_000001.proof", "log"), ("run_manifest.json", "manifest")] {
        let (_parent, copy) = copy(&run);
        let path = copy.join(file);
        let mut bytes = fs::read(&path).expect("a file of the run");
        let at = bytes.iter().rposition(|byte| byte.is_ascii_digit()).expect("a digit");
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("scratch space");
        let answer = cairn(&["bundle", "--run", text(&copy)]);
        assert_eq!(answer.code, Some(1), "{answer:#?}");
        assert!(answer.stderr.contains(&format!("check failed: {check}: ")), "{answer:#?}");
        assert!(!copy.with_extension("torrent").exists());
    }
    let (_parent, copy) = copy(&run);
    fs::write(copy.join("weights.bin"), b"secret").expect("scratch space");
    let answer = cairn(&["bundle", "--run", text(&copy)]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stderr.contains("weights.bin: not a file of a run"), "{answer:#?}");
}
