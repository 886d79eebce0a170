//! `cairn seed` and `cairn fetch` on a real node: what is anchored arrives, anything else is put aside, and what was here
//! before stays as it was.
//!
//! The run is the demo's of `testdata/anchor`, so no key is made here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ledger::tree::root_of;
use ledger::{
    Checkpoint, Decimal, Digest, EpochIndex, EpochRecord, Manifest, ManifestEntry, Root, SealedRecord, StepIndex,
    TreeSize,
};
use serde_json::Value;
use store::RunDir;
use store::layout::RunFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use torrent::swarm::{Swarm, SwarmOptions};

use crate::anchoring::Demo;
use crate::deployment::home_with_key;
use crate::portal::Portal;
use crate::support::{Answer, Scratch, cairn, copy, piped, within};

/// `cairn seed`, which ends with the test.
struct Seeder {
    child: Child,
    address: SocketAddr,
    answer: Value,
}

impl Drop for Seeder {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Seeds directories; returns when all of them were checked.
fn seed(args: &[&str]) -> Seeder {
    seed_at("127.0.0.1:0", args)
}

/// The same, at an address.
fn seed_at(listen: &str, args: &[&str]) -> Seeder {
    let mut child = piped(&[&["seed", "--listen", listen], args].concat()).spawn().expect("cairn starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("an answer");
    let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let address = answer["listen"].as_str().and_then(|address| address.parse().ok()).expect("an address");
    Seeder { child, address, answer }
}

/// The demo with both epochs anchored, and a bundle of each size announced.
struct World {
    demo: Demo,
    scratch: tempfile::TempDir,
    /// The run as it was after its first epoch.
    early: PathBuf,
}

impl World {
    async fn new() -> Self {
        let demo = Demo::new().await;
        let scratch = tempfile::tempdir().expect("scratch space");
        let early = scratch.path().join("early");
        first_epoch(&demo.run, &early);
        let world = Self { demo, scratch, early };
        world.anchor(&world.early);
        world.announce(&world.early, 4);
        world
    }

    /// Anchors what `run` has.
    fn anchor(&self, run: &Path) {
        let (rpc, plan) = (&self.demo.anvil.url, &self.demo.plan);
        cairn(&["anchor", "--run", text(run), "--rpc", rpc, "--anvil-dev-key", "--submissions", plan]).must();
    }

    /// Announces the bundle of `run`, whatever it is.
    fn announce(&self, run: &Path, size: u64) {
        let bundle = cairn(&["bundle", "--run", text(run), "--out", &self.path("announced.torrent")]).must();
        self.announce_bundle(&bundle, size);
    }

    fn announce_bundle(&self, bundle: &Value, size: u64) {
        let of = |key: &str| bundle[key].as_str().expect(key).to_owned();
        let (digest, v1, v2) = (of("manifest_digest"), of("infohash_v1"), of("infohash_v2"));
        let (size, run) = (size.to_string(), self.demo.id.to_string());
        let hashes = ["--size", &size, "--manifest-digest", &digest, "--infohash-v1", &v1, "--infohash-v2", &v2];
        let contract = self.demo.contract.to_string();
        let place = ["--run", &run, "--contract", &contract, "--rpc", &self.demo.anvil.url, "--anvil-dev-key"];
        cairn(&[&["admin", "announce"], &hashes[..], &place[..]].concat()).must();
    }

    fn path(&self, name: &str) -> String {
        text(&self.scratch.path().join(name)).to_owned()
    }

    /// Where the run is once it was fetched.
    fn here(&self) -> PathBuf {
        self.scratch.path().join("here").join(format!("run-{}", self.demo.id))
    }

    /// `cairn fetch` by the chain's hint.
    fn fetch(&self, seeder: &Seeder, more: &[&str]) -> Answer {
        let run = self.demo.id.to_string();
        self.fetch_what(&["--run", &run], seeder, more)
    }

    fn fetch_what(&self, what: &[&str], seeder: &Seeder, more: &[&str]) -> Answer {
        let (peer, contract, out) = (seeder.address.to_string(), self.demo.contract.to_string(), self.path("here"));
        let place = ["--rpc", &self.demo.anvil.url, "--contract", &contract];
        let to = ["--peer", &peer, "--out", &out, "--stall", "20"];
        cairn(&[&["fetch"], what, &place, &to, more].concat())
    }
}

/// What `run` was after its first epoch of 4 steps: without anchors and manifest.
pub fn first_epoch(run: &Path, to: &Path) {
    let dir = RunDir::open(run).expect("a run");
    let log = dir.log().expect("a log");
    let file = |file: RunFile| (dir.file(file), file.path(to));
    for folder in ["epochs", "proofs"] {
        fs::create_dir_all(to.join(folder)).expect("scratch space");
    }
    let mut files = vec![RunFile::Run, RunFile::EpochRecord(EpochIndex(0)), RunFile::EpochProof(EpochIndex(0))];
    files.extend((0..4).map(|step| RunFile::Proof(StepIndex(step))));
    for (from, to) in files.into_iter().map(file) {
        fs::copy(from, to).expect("scratch space");
    }
    let lines = fs::read_to_string(dir.file(RunFile::Steps)).expect("a log");
    let lines: String = lines.split_inclusive('\n').take(4).collect();
    fs::write(RunFile::Steps.path(to), lines).expect("scratch space");
    let size = TreeSize(4);
    let checkpoint = Checkpoint {
        run: dir.run().run(),
        size,
        root: log.tree().root_at(size).expect("it has as many"),
        last_record: log.record_hash(StepIndex(3)).expect("a record"),
        state: log.state_before(StepIndex(4)).expect("a state"),
    };
    fs::write(RunFile::Checkpoint.path(to), checkpoint.to_string()).expect("scratch space");
    fs::write(RunFile::Root.path(to), format!("{}\n", checkpoint.root)).expect("scratch space");
}

/// Writes a manifest over whatever is in a run's directory.
pub fn write_manifest(run: &Path, size: TreeSize, root: Root) {
    let dir = RunDir::open(run).expect("a run");
    let mut entries = Vec::new();
    for folder in ["", "epochs", "proofs"] {
        for entry in fs::read_dir(run.join(folder)).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = text(path.strip_prefix(run).expect("below it")).to_owned();
            if path.is_dir() || name.starts_with('.') || name == "run_manifest.json" {
                continue;
            }
            let bytes = fs::read(&path).expect("a file");
            let path = name.parse().expect("a path");
            entries.push(ManifestEntry { len: bytes.len() as u64, path, sha256: Digest::of(&bytes) });
        }
    }
    let manifest = Manifest::new(dir.run().run(), size, root, entries).expect("a manifest");
    fs::write(RunFile::Manifest.path(run), manifest.encode().expect("a manifest")).expect("scratch space");
}

/// Every file of a directory with its bytes, lock files apart.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                found.push((path.strip_prefix(dir).expect("below it").to_owned(), fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_fetched_from_its_id_alone_and_grows() {
    let world = World::new().await;
    let early = seed(&["--run", text(&world.early)]);
    let answer = world.fetch(&early, &[]).must();
    assert_eq!((&answer["ok"], &answer["steps"]), (&Value::from(true), &Value::from(4)), "{answer:#}");
    assert_eq!(answer["dir"], text(&world.here()));
    assert_eq!(files(&world.here()), files(&world.early));
    let root = fs::read_to_string(world.early.join("merkle_root.txt")).expect("a root");
    assert_eq!(answer["chain_root"], root.trim_end());
    // The torrent that the seeder has, for whoever seeds the copy.
    let torrent = fs::read(world.here().with_extension("torrent")).expect("a torrent");
    assert_eq!(torrent, fs::read(world.path("announced.torrent")).expect("a torrent"));

    // The run goes on.
    let run = &world.demo.run;
    world.anchor(run);
    world.announce(run, 8);
    let later = seed(&["--run", text(run)]);
    let answer = world.fetch(&later, &[]).must();
    assert_eq!(answer["steps"], 8, "{answer:#}");
    assert_eq!(files(&world.here()), files(run));
    // The proofs of an epoch are the same in every later bundle.
    let proved = |dir: &Path| -> Vec<_> {
        files(dir).into_iter().filter(|(path, _)| path.starts_with("epochs") || path.starts_with("proofs")).collect()
    };
    let (earlier, later) = (proved(&world.early), proved(&world.here()));
    assert_eq!((earlier.len(), later.len()), (6, 12));
    assert!(earlier.iter().all(|file| later.contains(file)));
    // Of 19 files, each a piece of its own, the 8 that were here and did not change do not come again.
    let received = answer["received"].as_u64().expect("bytes");
    assert!(received > 0 && received <= 11 << 14, "{answer:#}");
    let left: Vec<_> =
        fs::read_dir(world.path("here")).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "the run and its torrent: {left:?}");

    // The earlier bundle does not replace it, not even by its torrent.
    let torrent = world.path("early.torrent");
    cairn(&["bundle", "--run", text(&world.early), "--out", &torrent]).must();
    let refused = world.fetch_what(&["--torrent", &torrent], &early, &[]);
    assert!(refused.refused(2).contains("an earlier one does not replace it"), "{refused:#?}");
    assert_eq!(files(&world.here()), files(run));
}

#[tokio::test(flavor = "multi_thread")]
async fn torrents_and_links_are_compared_with_the_chain_before_anyone_is_asked() {
    let world = World::new().await;
    let seeder = seed(&["--run", text(&world.early)]);
    let link = seeder.answer["runs"][0]["magnet"].as_str().expect("a link").to_owned();
    let answer = world.fetch_what(&["--magnet", &link], &seeder, &[]).must();
    assert_eq!(answer["steps"], 4, "{answer:#}");
    assert_eq!(files(&world.here()), files(&world.early));

    // A link that nobody announced, or that nobody could check: no peer hears of it.
    let calls = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    calls.set_nonblocking(true).expect("a socket");
    let peer = calls.local_addr().expect("bound above").to_string();
    let (contract, rpc) = (world.demo.contract.to_string(), &world.demo.anvil.url);
    let ask = |what: &[&str]| {
        cairn(&[&["fetch", "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--stall", "5"], what].concat())
    };
    let refused = ask(&["--magnet", &flip(&link)]);
    assert!(refused.refused(1).contains("check failed: announcement: none of the 1 bundles"), "{refused:#?}");
    let unknown = format!("0x{}", "07".repeat(32));
    let refused = ask(&["--run", &unknown]);
    assert!(refused.refused(1).contains("check failed: announcement"), "{refused:#?}");
    let refused = ask(&["--magnet", &link.replace("dn=run-", "dn=ran-")]);
    assert!(refused.refused(1).contains("check failed: bundle name"), "{refused:#?}");
    let hidden = cairn(&["fetch", "--magnet", &link, "--peer", &peer]);
    assert!(hidden.refused_usage().contains("--rpc"), "{hidden:#?}");
    assert_eq!(calls.accept().expect_err("nobody called").kind(), std::io::ErrorKind::WouldBlock);
}

/// The link of another torrent: one digit of its infohash changed.
fn flip(link: &str) -> String {
    let at = link.find("btih:").expect("an infohash") + 5;
    let digit = if link[at..].starts_with('0') { "1" } else { "0" };
    format!("{}{digit}{}", &link[..at], &link[at + 1..])
}

/// Changes what the trainer says of a step, and everything that hangs on it: a log that agrees with itself.
fn forge(run: &Path) {
    let dir = RunDir::open(run).expect("a run");
    let (text, mut log, mut leaves) = (fs::read(dir.file(RunFile::Steps)).expect("a log"), Vec::new(), Vec::new());
    let mut prev = dir.run().digest();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut record = SealedRecord::parse(line).expect("a record").into_record();
        record.prev = prev;
        if record.step() == StepIndex(2) {
            record.meta.loss = Some(Decimal::from_f64(0.0).expect("a number"));
        }
        let sealed = record.seal().expect("a record");
        prev = sealed.hash();
        leaves.push(sealed.leaf());
        log.extend([sealed.bytes(), b"\n"].concat());
    }
    fs::write(dir.file(RunFile::Steps), log).expect("scratch space");
    let root = root_of(&leaves);
    let checkpoint = Checkpoint { root, last_record: prev, ..dir.checkpoint().expect("a checkpoint") };
    fs::write(dir.file(RunFile::Checkpoint), checkpoint.to_string()).expect("scratch space");
    fs::write(dir.file(RunFile::Root), format!("{root}\n")).expect("scratch space");
    let epoch = dir.epoch(EpochIndex(0)).expect("an epoch").into_record();
    let epoch = EpochRecord { epoch_root: root, root_after: root, ..epoch }.seal().expect("an epoch");
    fs::write(dir.file(RunFile::EpochRecord(EpochIndex(0))), epoch.bytes()).expect("scratch space");
    // Its own word against the chain's.
    fs::remove_file(dir.file(RunFile::Anchors)).expect("it was anchored");
    write_manifest(run, checkpoint.size, root);
}

/// The torrent of a directory under any name, as `cairn bundle` answers.
fn bundle_as(name: &str, run: &Path, torrent: &Path) -> Value {
    let entries = files(run).into_iter().map(|(path, bytes)| {
        let path = torrent::ContentPath::new(&path.iter().map(|part| part.as_encoded_bytes()).collect::<Vec<_>>());
        torrent::FileEntry { path: path.expect("a path"), len: bytes.len() as u64 }
    });
    let list = torrent::FileList::new(entries.collect()).expect("files");
    let piece = torrent::PieceLength::for_total(list.bytes());
    let hashes = torrent::hash(&list, piece, &torrent::Directory(run.to_owned()), &|_| ()).expect("files");
    let made = torrent::Metainfo::new(name, list, piece, hashes, torrent::Options::default()).expect("a torrent");
    written(&made, run, torrent)
}

/// Writes a torrent of a directory, and answers as `cairn bundle` does.
fn written(made: &torrent::Metainfo, run: &Path, torrent: &Path) -> Value {
    fs::write(torrent, made.as_bytes()).expect("scratch space");
    let manifest = fs::read(RunFile::Manifest.path(run)).expect("a manifest");
    serde_json::json!({
        "manifest_digest": Digest::of(&manifest).to_string(),
        "infohash_v1": format!("0x{}", made.infohash_v1()),
        "infohash_v2": format!("0x{}", made.infohash_v2()),
    })
}

/// The torrent with another v2 root of a file: who has the v1 half does not see it.
fn with_another_root(torrent: &Path) -> torrent::Metainfo {
    let mut bytes = fs::read(torrent).expect("a torrent");
    let made = torrent::Metainfo::parse(&bytes).expect("a torrent");
    let in_one_piece = made.hashes().files().iter().filter(|hashes| hashes.layer.is_empty());
    let root = in_one_piece.filter_map(|hashes| hashes.root).next().expect("a small file");
    let at = bytes.windows(32).position(|window| window == root.as_bytes()).expect("it is written there");
    bytes[at] ^= 1;
    torrent::Metainfo::parse(&bytes).expect("it agrees with itself")
}

/// Seeds any directory as any torrent, as a hostile peer would: the binary does not. Ends with its swarm.
async fn seed_anything(torrent: &Path, dir: &Path) -> (Swarm, String) {
    let listen = Some(([127, 0, 0, 1], 0).into());
    let swarm = Swarm::start(SwarmOptions { listen, ..SwarmOptions::default() }).await.expect("a free port");
    let torrent = torrent::Metainfo::parse(&fs::read(torrent).expect("a torrent")).expect("a torrent");
    swarm.seed(&torrent, dir, &[]).await.expect("everything is there");
    let address = swarm.listen_addr().expect("it listens").to_string();
    (swarm, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_anchored_is_put_aside_and_the_earlier_copy_stays() {
    let world = World::new().await;
    let honest = seed(&["--run", text(&world.early)]);
    world.fetch(&honest, &[]).must();
    let before = files(&world.here());
    let contract = world.demo.contract.to_string();
    let name = format!("run-{}", world.demo.id);
    let stranger = Scratch::new();
    let foreign = stranger.trained(191, &[]);

    let (_forged, forged) = copy(&world.early);
    forge(&forged);
    // It holds as far as its own files say.
    cairn(&["bundle", "--run", text(&forged), "--out", &world.path("forged.torrent")]).must();
    let (_tampered, tampered) = copy(&world.early);
    fs::write(tampered.join("proofs/step_000001.proof"), b"not the proof").expect("scratch space");
    let (_longer, longer) = copy(&world.demo.run);
    let dir = RunDir::open(&longer).expect("a run");
    write_manifest(&longer, TreeSize(8), dir.checkpoint().expect("a checkpoint").root);
    let cases: [(&Path, &str); 4] =
        [(&forged, "epoch events"), (&tampered, "manifest"), (&foreign, "run"), (&longer, "announced steps")];
    for (n, (run, check)) in cases.into_iter().enumerate() {
        let torrent = PathBuf::from(world.path(&format!("{n}.torrent")));
        world.announce_bundle(&bundle_as(&name, run, &torrent), 4);
        let (swarm, peer) = seed_anything(&torrent, run).await;
        let (rpc, out, id) = (&world.demo.anvil.url, world.path("here"), world.demo.id.to_string());
        let place = ["--run", &id, "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--out", &out];
        let answer = cairn(&[&["fetch", "--stall", "20"], &place[..]].concat());
        let (failed, _) = answer.failed_check();
        assert_eq!(failed, check, "{answer:#?}");
        let aside = PathBuf::from(answer.json()["quarantine"].as_str().expect("a directory"));
        assert!(aside.file_name().expect("a name").to_string_lossy().starts_with(&format!("{name}.quarantine")));
        assert_eq!(files(&aside), files(run), "what was put aside is what came");
        assert_eq!(files(&world.here()), before, "{check}: the earlier copy stays");
        swarm.stop().await;
    }

    // The anchored run, under a v2 half of something else.
    let torrent = PathBuf::from(world.path("two-faced.torrent"));
    bundle_as(&name, &world.early, &torrent);
    world.announce_bundle(&written(&with_another_root(&torrent), &world.early, &torrent), 4);
    let (swarm, peer) = seed_anything(&torrent, &world.early).await;
    let (rpc, out, id) = (&world.demo.anvil.url, world.path("here"), world.demo.id.to_string());
    let place = ["--run", &id, "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--out", &out];
    let answer = cairn(&[&["fetch", "--stall", "20"], &place[..]].concat());
    let (failed, detail) = answer.failed_check();
    assert_eq!(failed, "v2 roots", "{answer:#?}");
    assert!(detail.contains("expected the v2 root 0x"), "{detail}");
    let aside = PathBuf::from(answer.json()["quarantine"].as_str().expect("a directory"));
    assert_eq!(files(&aside), files(&world.early));
    assert_eq!(files(&world.here()), before);
    swarm.stop().await;

    // Named after the run that it is: refused before a byte is fetched.
    let torrent = PathBuf::from(world.path("foreign.torrent"));
    world.announce_bundle(&cairn(&["bundle", "--run", text(&foreign), "--out", text(&torrent)]).must(), 4);
    let (swarm, peer) = seed_anything(&torrent, &foreign).await;
    let (rpc, out, id) = (&world.demo.anvil.url, world.path("here"), world.demo.id.to_string());
    let place = ["--run", &id, "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--out", &out];
    let answer = cairn(&[&["fetch", "--stall", "20"], &place[..]].concat());
    assert!(answer.refused(1).contains("check failed: bundle name"), "{answer:#?}");
    swarm.stop().await;

    // Files that no run has.
    let torrent = PathBuf::from(world.path("strange.torrent"));
    let (_strange, strange) = copy(&world.early);
    fs::write(strange.join("weights.bin"), b"a present").expect("scratch space");
    world.announce_bundle(&bundle_as(&name, &strange, &torrent), 4);
    let (swarm, peer) = seed_anything(&torrent, &strange).await;
    let place = ["--run", &id, "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--out", &out];
    let answer = cairn(&[&["fetch", "--stall", "20"], &place[..]].concat());
    assert!(answer.refused(1).contains("check failed: bundle files: weights.bin"), "{answer:#?}");
    swarm.stop().await;
    assert_eq!(files(&world.here()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_kill_are_survived() {
    let world = World::new().await;
    let seeder = seed(&["--run", text(&world.early), "--upload-limit", "65536"]);
    let (peer, contract, id) = (seeder.address.to_string(), world.demo.contract.to_string(), world.demo.id.to_string());
    let (rpc, out) = (&world.demo.anvil.url, world.path("here"));
    let args = ["fetch", "--run", &id, "--rpc", rpc, "--contract", &contract, "--peer", &peer, "--out", &out];

    // No file may be longer than 1 KiB: the system's answer is that of a full disk, for longer files.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let full = piped(&args);
    let output = within(&["bash", "-c", script, "bash"], &full).stdin(Stdio::null()).output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("File too large") && said.contains(".fetching/"), "{said}");
    assert!(!world.here().exists());

    // Killed as soon as something is there.
    let mut killed = piped(&args).spawn().expect("cairn starts");
    let staging = world.scratch.path().join(format!("here/.run-{id}.fetching"));
    let start = std::time::Instant::now();
    while !fs::read(staging.join("run.json")).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "nothing arrived");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    killed.kill().expect("it runs");
    killed.wait().expect("a process");
    assert!(!world.here().exists());
    let answer = cairn(&args).must();
    assert!(answer["received"].as_u64() < answer["padded_bytes"].as_u64(), "{answer:#}");
    assert_eq!(files(&world.here()), files(&world.early));

    // A link where the run would arrive leads nowhere.
    let elsewhere = tempfile::tempdir().expect("scratch space");
    fs::remove_dir_all(world.here()).expect("it was fetched");
    std::os::unix::fs::symlink(elsewhere.path(), &staging).expect("scratch space");
    let refused = cairn(&args);
    assert!(refused.refused(2).contains("is a symbolic link"), "{refused:#?}");
    assert!(files(elsewhere.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_has_the_log_and_the_proofs_of_some_steps() {
    let world = World::new().await;
    let seeder = seed(&["--run", text(&world.early)]);
    let answer = world.fetch(&seeder, &["--only", "sampled", "--k", "2"]).must();
    let steps: Vec<u64> = serde_json::from_value(answer["sampled"].clone()).expect("steps");
    assert_eq!((steps.len(), &answer["steps"]), (2, &Value::from(4)), "{answer:#}");
    let dir = PathBuf::from(answer["dir"].as_str().expect("a directory"));
    assert!(text(&dir).ends_with(".sampled") && !world.here().exists());
    let is_sampled = |path: &Path| {
        let step = (0..4).find(|step| path == Path::new(&format!("proofs/step_{step:06}.proof")));
        step.is_none_or(|step| steps.contains(&step))
    };
    let expected: Vec<_> = files(&world.early).into_iter().filter(|(path, _)| is_sampled(path)).collect();
    assert_eq!(files(&dir), expected);
    assert!(answer["chain_root"].is_string(), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_come_and_go_while_others_are_seeded() {
    let scratch = Scratch::new();
    let first = scratch.trained(192, &[]);
    let watched = PathBuf::from(scratch.path("watched"));
    fs::create_dir(&watched).expect("scratch space");
    let seeder = seed(&["--watch", text(&watched), "--every", "0.1", "--metrics", "127.0.0.1:0"]);
    assert_eq!(seeder.answer["runs"], serde_json::json!([]));
    let monitor = seeder.answer["metrics"].as_str().expect("an address").to_owned();
    let status = async || -> Vec<Value> { serde_json::from_str(&get(&monitor, "/status").await).expect("JSON") };
    let until = async |n: usize| {
        let start = std::time::Instant::now();
        while status().await.len() != n {
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", status().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let place = watched.join(first.file_name().expect("a name"));
    let aside = PathBuf::from(scratch.path("aside"));
    // What does not hold is not seeded.
    fs::create_dir(watched.join("nonsense")).expect("scratch space");
    fs::write(watched.join("nonsense/run_manifest.json"), b"{}").expect("scratch space");
    fs::rename(&first, &place).expect("scratch space");
    until(1).await;
    let (peer, torrent) = (seeder.address.to_string(), scratch.path("it.torrent"));
    cairn(&["bundle", "--run", text(&place), "--out", &torrent]).must();
    let out = scratch.path("fetched");
    let args = ["fetch", "--torrent", &torrent, "--without-chain", "--peer", &peer, "--out", &out, "--proofs"];
    let answer = cairn(&args).must();
    assert_eq!((&answer["ok"], &answer["chain_root"]), (&Value::from(true), &Value::Null), "{answer:#}");
    let checks = answer["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|check| check["check"] == "step proofs" && check["ok"] == true), "{answer:#}");
    let bundle = answer["bytes"].as_u64().expect("bytes");
    let [figures] = &status().await[..] else { panic!("one torrent") };
    assert_eq!(figures["activity"], "seeding");
    let [uploaded, total] = ["uploaded_bytes", "total_bytes"].map(|key| figures[key].as_u64().expect(key));
    assert!(uploaded >= bundle && figures["known_peers"].as_u64() >= Some(1), "{figures}");
    assert_eq!(figures["ratio"].as_f64(), Some(uploaded as f64 / total as f64), "{figures}");
    let metrics = get(&monitor, "/metrics").await;
    assert!(
        metrics.contains("\ncairn_torrents 1\n") && metrics.contains("cairn_torrent_uploaded_bytes_total{infohash="),
        "{metrics}"
    );
    fs::rename(&place, &aside).expect("scratch space");
    until(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_goes_to_the_run_that_fewer_peers_were_seen_with() {
    let scratch = Scratch::new();
    let runs = [194, 195].map(|salt| scratch.trained(salt, &[]));
    let size = |run: &Path| cairn(&["bundle", "--run", text(run)]).must()["bytes"].as_u64().expect("bytes");
    let sizes = runs.each_ref().map(|run| size(run));
    // Enough for either, not for both.
    let budget = (sizes[0].max(sizes[1]) + 1).to_string();
    let watched = scratch.path("artifacts");
    let args = ["--watch", &watched, "--budget", &budget, "--every", "0.1", "--metrics", "127.0.0.1:0"];
    let seeder = seed(&args);
    let monitor = seeder.answer["metrics"].as_str().expect("an address").to_owned();
    let seeded = async || -> Vec<String> {
        let status: Vec<Value> = serde_json::from_str(&get(&monitor, "/status").await).expect("JSON");
        status.iter().map(|torrent| torrent["name"].as_str().expect("a name").to_owned()).collect()
    };
    let [first] = &seeded().await[..] else { panic!("one of two") };
    // Somebody fetches it.
    let run = runs.iter().find(|run| run.ends_with(first)).expect("one of ours");
    let (peer, torrent) = (seeder.address.to_string(), format!("{}.torrent", text(run)));
    let out = scratch.path("fetched");
    let fetched = cairn(&["fetch", "--torrent", &torrent, "--without-chain", "--peer", &peer, "--out", &out]);
    fetched.must();
    let start = std::time::Instant::now();
    while seeded().await.iter().any(|name| name == first) || seeded().await.len() != 1 {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}, {fetched:#?}", seeded().await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_network_finds_itself_by_its_tracker() {
    let scratch = Scratch::new();
    let run = scratch.trained(193, &[]);
    let bundle = |options: &[&str]| cairn(&[&["bundle", "--run", text(&run)], options].concat()).must();
    let torrent = |bundle: &Value| bundle["torrent"].as_str().expect("a path").to_owned();
    let (token, source) = ("a-secret-of-ours", ["--private", "--source", "us"]);
    let made = bundle(&source);
    let args =
        ["tracker", "--listen", "127.0.0.1:0", "--token", token, "--torrent", &torrent(&made), "--interval", "1"];
    let mut tracker = piped(&args).spawn().expect("cairn starts");
    let mut line = String::new();
    BufReader::new(tracker.stdout.take().expect("a pipe")).read_line(&mut line).expect("an answer");
    let tracker = Seeder {
        child: tracker,
        address: ([127, 0, 0, 1], 9).into(),
        answer: serde_json::from_str(&line).expect("JSON"),
    };
    let announce = tracker.answer["announce"].as_str().expect("an address");
    assert!(announce.contains(token), "{announce}");
    // The same torrent, with the address: trackers are not part of the infohash.
    let announced = bundle(&[&source[..], &["--tracker", announce]].concat());
    assert_eq!(announced["infohash_v1"], made["infohash_v1"]);
    // Both listen, as each may be told of the other first.
    let _seeder = seed(&["--run", text(&run), "--trackers"]);
    let out = scratch.path("fetched");
    let place = ["--without-chain", "--trackers", "--listen", "127.0.0.1:0", "--out", &out];
    let answer = cairn(&[&["fetch", "--torrent", &torrent(&announced)], &place[..]].concat()).must();
    assert_eq!(files(Path::new(answer["dir"].as_str().expect("a directory"))), files(&run));
}

/// The body of a page.
async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

/// A portal that fetches what is announced of a [`World`].
struct Fetcher {
    portal: Portal,
    folder: PathBuf,
    /// The run's page of the API.
    path: String,
    _home: tempfile::TempDir,
    _scratch: Scratch,
}

impl Fetcher {
    fn start(world: &World, more: &[&str]) -> Self {
        let (home, scratch) = (home_with_key(), Scratch::new());
        let folder = PathBuf::from(scratch.path("bundles"));
        fs::create_dir(&folder).expect("scratch space");
        let chain = format!("{},{}", world.demo.anvil.url, world.demo.contract);
        let args = ["--chain", &chain, "--bundles", text(&folder), "--look", "0.2", "--fetch"];
        let portal = Portal::start_in(home.path(), &scratch, &[&args, more].concat());
        let path = format!("/api/v1/runs/{}", world.demo.id);
        Self { portal, folder, path, _home: home, _scratch: scratch }
    }

    fn counter(&self, name: &str) -> u64 {
        let page = self.portal.get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {page}"))
    }

    fn ended(&self, how: &str) -> u64 {
        self.counter(&format!("cairn_portal_fetches_total{{result=\"{how}\"}}"))
    }

    fn status(&self) -> String {
        let answer = self.portal.get(&self.path);
        answer.json()["status"].as_str().unwrap_or("not there yet").to_owned()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !is_so(self) {
            let said =
                || [self.portal.get(&format!("{}/bundles", self.path)).text(), self.portal.get("/metrics").text()];
            assert!(start.elapsed() < std::time::Duration::from_secs(180), "not {what}: {:#?}", said());
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Names in the folder that are not hidden.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// Processes that fetch into the folder, by `/proc`.
    fn processes(&self) -> Vec<PathBuf> {
        let folder = self.folder.as_os_str().as_encoded_bytes();
        let fetches = |process: &Path| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&&b"fetch"[..]) && words.contains(&folder)
        };
        let entries = fs::read_dir("/proc").expect("a directory").filter_map(Result::ok).map(|entry| entry.path());
        entries.filter(|process| fetches(process)).collect()
    }
}

/// An address that nobody listens at yet.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_fetches_what_is_announced_and_verifies_it() {
    let world = World::new().await;
    let (early, later) = (seed(&["--run", text(&world.early)]), free_address());
    let peers = ["--peer", &early.address.to_string(), "--peer", &later];
    let fetcher = Fetcher::start(&world, &peers);
    fetcher.until("verified", |fetcher| fetcher.status() == "verified").await;
    let here = fetcher.folder.join(format!("run-{}", world.demo.id));
    assert_eq!(files(&here), files(&world.early));
    let bundles = fetcher.portal.get(&format!("{}/bundles", fetcher.path)).ok();
    let arrived = &bundles["arrived"][0];
    assert_eq!((&arrived["state"], &arrived["steps_verified"]), (&"passed".into(), &4.into()), "{bundles:#}");
    let ended = ["fetched", "failed", "refused"].map(|how| fetcher.ended(how));
    assert_eq!((ended, fetcher.counter("cairn_portal_fetches_running")), ([1, 0, 0], 0));
    assert_eq!(fetcher.counter("cairn_portal_bundles_missing"), 0);

    // The run goes on, and its later bundle has another seeder, which comes when it is asked for already.
    let run = &world.demo.run;
    world.anchor(run);
    fetcher.until("longer", |fetcher| fetcher.portal.get(&fetcher.path).ok()["steps"] == 8).await;
    world.announce(run, 8);
    fetcher.until("fetching", |fetcher| fetcher.counter("cairn_portal_fetches_running") == 1).await;
    let _later = seed_at(&later, &["--run", text(run)]);
    fetcher.until("verified", |fetcher| fetcher.status() == "verified").await;
    assert_eq!((files(&here), fetcher.ended("fetched")), (files(run), 2));
    assert_eq!(fetcher.portal.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_portal_fetched_is_not_verified_because_somebody_announced_or_seeded_it() {
    let world = World::new().await;
    let name = format!("run-{}", world.demo.id);
    let (_forged, forged) = copy(&world.early);
    forge(&forged);
    let torrent = PathBuf::from(world.path("forged.torrent"));
    world.announce_bundle(&bundle_as(&name, &forged, &torrent), 4);
    let (swarm, peer) = seed_anything(&torrent, &forged).await;
    let honest = free_address();
    let (_lies, lies) = copy(&world.early);
    // Announced by the owner, and not what is anchored.
    let liar = free_address();
    let more = ["--peer", &peer, "--peer", &liar, "--peer", &honest, "--fetch-time", "12"];
    let fetcher = Fetcher::start(&world, &more);
    fetcher.until("refused", |fetcher| fetcher.ended("refused") == 1).await;
    assert_eq!((fetcher.status().as_str(), fetcher.names()), ("bundle_not_seen", vec![]));
    assert_eq!(fetcher.counter("cairn_portal_bundles_missing"), 1);
    swarm.stop().await;

    // What is anchored is announced, and a peer sends something else in its place.
    world.announce(&world.early, 4);
    let listen = Some(liar.parse().expect("an address"));
    let swarm = Swarm::start(SwarmOptions { listen, ..SwarmOptions::default() }).await.expect("a free port");
    let torrent = fs::read(world.path("announced.torrent")).expect("a torrent");
    swarm.seed(&torrent::Metainfo::parse(&torrent).expect("a torrent"), &lies, &[]).await.expect("not changed yet");
    let proof = lies.join("proofs/step_000002.proof");
    let mut bytes = fs::read(&proof).expect("a proof");
    bytes[7] ^= 1;
    fs::write(&proof, bytes).expect("scratch space");
    fetcher.until("failed", |fetcher| fetcher.ended("failed") >= 1).await;
    assert_eq!((fetcher.status().as_str(), fetcher.names()), ("bundle_not_seen", vec![]));
    swarm.stop().await;

    // Failures end when somebody has it.
    let _honest = seed_at(&honest, &["--run", text(&world.early)]);
    fetcher.until("verified", |fetcher| fetcher.status() == "verified").await;
    assert_eq!(files(&fetcher.folder.join(&name)), files(&world.early));
    let mut names = fetcher.names();
    names.sort();
    assert_eq!(names, [name.clone(), format!("{name}.torrent")], "what was refused is not kept");
    assert_eq!((fetcher.ended("fetched"), fetcher.ended("refused")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_takes_what_it_fetches_with_along() {
    let world = World::new().await;
    // It takes calls, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = silent.local_addr().expect("bound").to_string();
    for is_killed in [false, true] {
        let mut fetcher = Fetcher::start(&world, &["--peer", &peer]);
        fetcher.until("fetching", |fetcher| fetcher.processes().len() == 1).await;
        let environment = fs::read(fetcher.processes()[0].join("environ")).expect("it runs");
        let environment = String::from_utf8_lossy(&environment);
        // The portal itself was given it.
        assert!(environment.contains("PATH=") && !environment.contains("CAIRN_HOME"), "{environment}");
        if is_killed {
            fetcher.portal.child.kill().expect("it runs");
        } else {
            let id = fetcher.portal.child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        }
        fetcher.portal.child.wait().expect("a process");
        let start = std::time::Instant::now();
        while !fetcher.processes().is_empty() {
            assert!(start.elapsed() < std::time::Duration::from_secs(10), "killed: {is_killed}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn a_portal_that_would_ask_nobody_does_not_start() {
    let serve = ["portal", "serve", "--chain", "http://127.0.0.1:9,0x00000000000000000000000000000000000000cc"];
    let refused = |more: &[&str]| cairn(&[&serve[..], more].concat()).refused_usage().to_owned();
    assert!(refused(&["--fetch"]).contains("--bundles"));
    assert!(refused(&["--bundles", ".", "--dht"]).contains("--fetch"));
    assert!(refused(&["--bundles", ".", "--fetch", "--tracker", "http://127.0.0.1:9"]).contains("--trackers"));
    assert!(refused(&["--bundles", ".", "--fetch", "--dht", "--fetch-jobs", "0"]).contains("expected 1 to 64"));
}
