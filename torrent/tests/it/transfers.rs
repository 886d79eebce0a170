//! Real transfers with other clients over the loopback interface: they fetch what we seed, we fetch what they seed, and
//! aria2 fetches what libtorrent seeds.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use torrent::swarm::{Discovery, Fetch, Swarm, SwarmError, SwarmOptions, TrackerOptions, TrackerServer};
use torrent::{Metainfo, Options, Tracker};

use crate::clients::client;
use crate::support::{Memory, bytes, everything, piece, two_faced};

/// A tracker, and libtorrent behind it.
const SWARM: &str = include_str!("libtorrent_swarm.py");

/// libtorrent alone.
const PEER: &str = include_str!("libtorrent_peer.py");

/// Any free port of the loopback interface.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long a transfer of a megabyte may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The torrent's directory, filled, and libtorrent seeding it; the torrent's file names the swarm's tracker.
struct Theirs {
    scratch: tempfile::TempDir,
    content: Memory,
    _seed: Running,
}

impl Theirs {
    fn new() -> Self {
        let (scratch, content) = (tempfile::tempdir().expect("scratch space"), everything());
        let torrent = |options| content.torrent("run", piece(14), options).as_bytes().to_vec();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("seed.torrent"), torrent(Options::default())).expect("scratch space");
        content.write_to(&path("seed/run"));
        let mut seed = client("libtorrent-python")
            .args(["-c", SWARM])
            .args([path("seed.torrent"), path("seed")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("libtorrent runs");
        let ports = answer(&mut BufReader::new(seed.stdout.take().expect("a pipe")));
        let seed = Running(seed);
        let tracker: Tracker = format!("http://127.0.0.1:{}/announce", ports["tracker"]).parse().expect("a tracker");
        let announced = torrent(Options { trackers: vec![tracker], ..Options::default() });
        let same = |bytes: &[u8]| Metainfo::parse(bytes).expect("what we wrote").infohash_v1();
        assert_eq!(same(&announced), same(&torrent(Options::default())), "one swarm");
        std::fs::write(path("it.torrent"), announced).expect("scratch space");
        Self { scratch, content, _seed: seed }
    }

    /// Runs a client until every file is in `fetched/run` as it should be.
    fn fetch(&self, command: &mut Command) {
        let _client = run(command);
        wait_for(&self.content, &self.scratch.path().join("fetched/run"));
    }
}

/// Starts a client whose output does not matter.
fn run(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client runs"))
}

/// Waits until every file is in `dir` as it should be.
fn wait_for(content: &Memory, dir: &Path) {
    let started = Instant::now();
    let is_there = |path: &Path, bytes: &Vec<u8>| std::fs::read(path).is_ok_and(|found| found == *bytes);
    let missing = || content.0.iter().find(|(path, bytes)| !is_there(&path.below(dir), bytes)).map(|(path, _)| path);
    while let Some(path) = missing() {
        assert!(started.elapsed() < PATIENCE, "{path} did not arrive");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn aria2_fetches_what_libtorrent_seeds() {
    let swarm = Theirs::new();
    let path = |name: &str| swarm.scratch.path().join(name);
    let mut aria2 = client("aria2c");
    aria2.args(["--no-conf", "--interface=127.0.0.1", "--disable-ipv6", "--enable-dht=false", "--enable-dht6=false"]);
    aria2.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--listen-port=20000-30000", "--seed-time=0"]);
    aria2.args(["--bt-tracker-interval=1", "--file-allocation=none"]);
    swarm.fetch(aria2.arg("--dir").args([path("fetched"), path("it.torrent")]));
}

/// aria2 on the loopback interface, with nothing but the torrent's tracker.
fn aria2(port: u16, dir: &Path) -> Command {
    let mut aria2 = client("aria2c");
    aria2.args(["--no-conf", "--interface=127.0.0.1", "--disable-ipv6", "--enable-dht=false", "--enable-dht6=false"]);
    aria2.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none"]);
    aria2.arg(format!("--listen-port={port}")).arg("--dir").arg(dir);
    aria2
}

/// Transmission likewise. `config` is a directory of its own.
fn transmission(port: u16, dir: &Path, config: &Path) -> Command {
    std::fs::create_dir_all(config).expect("scratch space");
    let settings = serde_json::json!({
        "bind-address-ipv4": "127.0.0.1", "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false,
        "utp-enabled": false, "port-forwarding-enabled": false, "rpc-enabled": false,
    });
    std::fs::write(config.join("settings.json"), settings.to_string()).expect("scratch space");
    let mut transmission = client("transmission-cli");
    transmission.args(["-et", "-M", "-p", &port.to_string(), "-g"]).arg(config).arg("-w").arg(dir);
    transmission
}

/// libtorrent with one torrent.
struct Libtorrent {
    /// Where it listens.
    address: SocketAddr,
    answers: BufReader<ChildStdout>,
    _process: Running,
}

impl Libtorrent {
    /// Waits until it has everything or gave up, and gives what it says then.
    fn outcome(mut self) -> serde_json::Value {
        answer(&mut self.answers)
    }
}

/// The next line.
fn answer(answers: &mut BufReader<ChildStdout>) -> serde_json::Value {
    let mut line = String::new();
    answers.read_line(&mut line).expect("an answer");
    serde_json::from_str(&line).expect("JSON")
}

/// libtorrent likewise, told of `peers`.
fn libtorrent(torrent: &Path, dir: &Path, peers: &[SocketAddr]) -> Libtorrent {
    let mut command = client("libtorrent-python");
    command.args(["-c", PEER]).args([torrent, dir]).args(peers.iter().map(|peer| peer.port().to_string()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("libtorrent runs");
    let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
    let process = Running(child);
    let port = answer(&mut answers)["listen"].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
    Libtorrent { address: (Ipv4Addr::LOCALHOST, port).into(), answers, _process: process }
}

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind(LOOPBACK).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A torrent that names our tracker, which knows it; its files are nowhere yet.
struct Ours {
    scratch: tempfile::TempDir,
    content: Memory,
    torrent: Metainfo,
    file: PathBuf,
    _tracker: TrackerServer,
}

impl Ours {
    async fn new() -> Self {
        Self::with(|honest| honest).await
    }

    /// With another torrent that has the v1 half of the honest one.
    async fn with(change: impl FnOnce(Metainfo) -> Metainfo) -> Self {
        let (scratch, content) = (tempfile::tempdir().expect("scratch space"), everything());
        let interval = Duration::from_secs(1);
        let token = Some("a-secret-of-ours".parse().expect("a token"));
        let tracker = TrackerServer::start(TrackerOptions { listen: LOOPBACK, token, interval }).await;
        let tracker = tracker.expect("a free port");
        let trackers = vec![tracker.url().parse::<Tracker>().expect("an address")];
        let torrent = change(content.torrent("run", piece(14), Options { trackers, ..Options::default() }));
        tracker.add(torrent.infohash_v1());
        let file = scratch.path().join("it.torrent");
        std::fs::write(&file, torrent.as_bytes()).expect("scratch space");
        Self { scratch, content, torrent, file, _tracker: tracker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The directory of a client that knows no padding: it takes it for files.
    fn fill_padded(&self) -> PathBuf {
        let dir = self.path("theirs");
        self.content.write_to(&dir.join("run"));
        let pads = dir.join("run/.pad");
        std::fs::create_dir_all(&pads).expect("scratch space");
        for bytes in self.content.0.values() {
            let pad = bytes.len().next_multiple_of(1 << 14) - bytes.len();
            std::fs::write(pads.join(pad.to_string()), vec![0; pad]).expect("scratch space");
        }
        dir
    }

    /// Our engine seeding it, and where.
    async fn seeded(&self) -> (Swarm, SocketAddr) {
        let dir = self.path("ours");
        self.content.write_to(&dir);
        let discovery = [Discovery::Trackers].into();
        let swarm = Swarm::start(SwarmOptions { listen: Some(LOOPBACK), discovery, ..SwarmOptions::default() });
        let swarm = swarm.await.expect("a free port");
        swarm.seed(&self.torrent, &dir, &[]).await.expect("everything is there");
        let address = swarm.listen_addr().expect("it listens");
        (swarm, address)
    }

    /// Seeds with our engine until the client has everything.
    async fn fetched_by(self, client: impl FnOnce(&Self, SocketAddr) -> Running) {
        let (_swarm, seed) = self.seeded().await;
        let client = client(&self, seed);
        let waited = tokio::task::spawn_blocking(move || wait_for(&self.content, &self.path("theirs/run")));
        waited.await.expect("it arrived");
        drop(client);
    }

    /// Fetches with our engine from a client that will listen at `peer`.
    async fn fetch_from(&self, peer: SocketAddr) {
        let (started, dir) = (Instant::now(), self.path("ours"));
        // It may be at work on its files yet; the engine calls again after ten seconds, another one at once.
        let stall = Duration::from_secs(2);
        let (metadata, peers) = (self.torrent.metadata(), [peer]);
        let fetch = Fetch { metadata, dir: &dir, peers: &peers, trackers: &[], web_seeds: &[], only: None, stall };
        loop {
            let swarm = Swarm::start(SwarmOptions::default()).await.expect("an engine");
            match swarm.fetch(&fetch, &|_| ()).await {
                Ok(_) => break,
                Err(SwarmError::Stalled { refused: 0, .. }) if started.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}"),
            }
        }
        wait_for(&self.content, &dir);
        assert!(!dir.join(".pad").exists(), "padding is not written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_fetches_what_we_seed() {
    let client = |ours: &Ours, _| run(aria2(free_port(), &ours.path("theirs")).arg("--seed-time=0").arg(&ours.file));
    Ours::new().await.fetched_by(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transmission_fetches_what_we_seed() {
    let client = |ours: &Ours, _| {
        std::fs::create_dir(ours.path("theirs")).expect("scratch space");
        run(transmission(free_port(), &ours.path("theirs"), &ours.path("config")).arg(&ours.file))
    };
    Ours::new().await.fetched_by(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_fetches_what_we_seed() {
    let ours = Ours::new().await;
    let (_swarm, seed) = ours.seeded().await;
    let said = outcome(libtorrent(&ours.file, &ours.path("theirs"), &[seed])).await;
    // It knows the torrent by both hashes, and counts a piece as here only if SHA-1 and the leaves' SHA-256 hold: the next test.
    let (v1, v2) = (ours.torrent.infohash_v1().to_string(), ours.torrent.infohash_v2().to_string());
    assert_eq!(said, serde_json::json!({ "is_seeding": true, "error": null, "v1": v1, "v2": v2 }));
    wait_for(&ours.content, &ours.path("theirs/run"));
}

/// The v2 half of a torrent whose files have the same lengths, but other bytes.
fn with_other_leaves(honest: Metainfo) -> Metainfo {
    let other = Memory(everything().0.into_iter().map(|(path, held)| (path, bytes(99, held.len()))).collect());
    let forged = two_faced(&honest, &other.torrent("run", piece(14), Options::default()));
    assert!(forged.hashes().pieces().eq(honest.hashes().pieces()));
    assert_ne!(forged.hashes().files(), honest.hashes().files());
    forged
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_refuses_what_has_the_v1_hashes_only() {
    let ours = Ours::with(with_other_leaves).await;
    let (_swarm, seed) = ours.seeded().await;
    let said = outcome(libtorrent(&ours.file, &ours.path("theirs"), &[seed])).await;
    assert_eq!(said["is_seeding"], false, "{said}");
    assert_eq!(said["error"], "v1 and v2 hashes do not describe the same data", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_refuse_what_has_the_v1_hashes_only() {
    let ours = Ours::with(with_other_leaves).await;
    let (_seeder, peer) = ours.seeded().await;
    let dir = ours.path("fetched");
    let (metadata, peers, stall) = (ours.torrent.metadata(), [peer], PATIENCE);
    let fetch = Fetch { metadata, dir: &dir, peers: &peers, trackers: &[], web_seeds: &[], only: None, stall };
    let swarm = Swarm::start(SwarmOptions::default()).await.expect("an engine");
    let refused = swarm.fetch(&fetch, &|_| ()).await.expect_err("no file has its root");
    // All of v1's pieces arrived.
    wait_for(&ours.content, &dir);
    let SwarmError::OtherRoot { path, expected, got } = refused else { panic!("{refused}") };
    let honest = ours.content.torrent("run", piece(14), Options::default());
    assert_eq!((expected, got), (metadata.root(&path), honest.metadata().root(&path)));
    assert_ne!(expected, got, "{path}");
}

/// What libtorrent says in the end.
async fn outcome(client: Libtorrent) -> serde_json::Value {
    tokio::task::spawn_blocking(move || client.outcome()).await.expect("an outcome")
}

#[tokio::test(flavor = "multi_thread")]
async fn we_fetch_what_aria2_seeds() {
    let ours = Ours::new().await;
    let port = free_port();
    let mut seed = aria2(port, &ours.fill_padded());
    let _seed = run(seed.args(["--check-integrity=true", "--seed-ratio=0.0"]).arg(&ours.file));
    ours.fetch_from((Ipv4Addr::LOCALHOST, port).into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_fetch_what_transmission_seeds() {
    let ours = Ours::new().await;
    let port = free_port();
    let mut seed = transmission(port, &ours.fill_padded(), &ours.path("config"));
    let _seed = run(seed.arg("-v").arg(&ours.file));
    ours.fetch_from((Ipv4Addr::LOCALHOST, port).into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_fetch_what_libtorrent_seeds() {
    let ours = Ours::new().await;
    // It knows padding, so it seeds a directory as it is.
    ours.content.write_to(&ours.path("theirs/run"));
    let seed = libtorrent(&ours.file, &ours.path("theirs"), &[]);
    ours.fetch_from(seed.address).await;
}
