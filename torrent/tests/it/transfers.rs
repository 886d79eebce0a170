//! Content that moves between clients of others by our `.torrent`, over loopback: the bytes that arrive are the same.
//!
//! libtorrent seeds the directory as it is, without padding files, and aria2 fetches it by v1.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use torrent::{Metainfo, Options, Tracker};

use crate::clients::client;
use crate::support::{Memory, everything, piece};

/// A tracker, and libtorrent behind it.
const SWARM: &str = include_str!("libtorrent_swarm.py");

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
struct Swarm {
    scratch: tempfile::TempDir,
    content: Memory,
    _seed: Running,
}

impl Swarm {
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
        let mut line = String::new();
        BufReader::new(seed.stdout.take().expect("a pipe")).read_line(&mut line).expect("an answer");
        let seed = Running(seed);
        let ports: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let tracker: Tracker = format!("http://127.0.0.1:{}/announce", ports["tracker"]).parse().expect("a tracker");
        let announced = torrent(Options { trackers: vec![tracker], ..Options::default() });
        let same = |bytes: &[u8]| Metainfo::parse(bytes).expect("what we wrote").infohash_v1();
        assert_eq!(same(&announced), same(&torrent(Options::default())), "one swarm");
        std::fs::write(path("it.torrent"), announced).expect("scratch space");
        Self { scratch, content, _seed: seed }
    }

    /// Runs a client until every file is in `fetched/run` as it should be.
    fn fetch(&self, command: &mut Command) {
        let started = Instant::now();
        let _client = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client runs"));
        let missing = || {
            let is_there = |path: &Path, bytes: &Vec<u8>| std::fs::read(path).is_ok_and(|found| found == *bytes);
            let fetched = self.scratch.path().join("fetched/run");
            self.content.0.iter().find(|(path, bytes)| !is_there(&path.below(&fetched), bytes)).map(|(path, _)| path)
        };
        while let Some(path) = missing() {
            assert!(started.elapsed() < PATIENCE, "{path} did not arrive");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn aria2_fetches_what_libtorrent_seeds() {
    let swarm = Swarm::new();
    let path = |name: &str| swarm.scratch.path().join(name);
    let mut aria2 = client("aria2c");
    aria2.args(["--no-conf", "--interface=127.0.0.1", "--disable-ipv6", "--enable-dht=false", "--enable-dht6=false"]);
    aria2.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--listen-port=20000-30000", "--seed-time=0"]);
    aria2.args(["--bt-tracker-interval=1", "--file-allocation=none"]);
    swarm.fetch(aria2.arg("--dir").args([path("fetched"), path("it.torrent")]));
}
