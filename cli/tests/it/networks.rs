//! Whom a swarm talks to: what is told when a way of finding peers is switched on, and two machines that find each other
//! in their local network.
//!
//! The machines are network namespaces (Linux), so that nothing leaves this one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use torrent::swarm::{Discovery, PEERS_LEARN};

use crate::fetching::files;
use crate::support::{ALONE, Scratch, cairn, talking, within};

/// Two machines and a cable between them, until its standard input ends. Prints a process of each.
const LAN: &str = "set -e
unshare --net sleep 600 & other=$!
trap 'kill $other' EXIT
until [ \"$(readlink /proc/$other/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.02; done
ip link add lan0 type veth peer name lan1 netns $other
ip addr add 10.77.0.1/24 dev lan0
ip link set lo up
ip link set lan0 up
nsenter --target $other --net sh -ec 'ip addr add 10.77.0.2/24 dev lan1; ip link set lo up; ip link set lan1 up'
echo $$ $other
read -r _ || true";

/// Ways of finding peers: how each is switched on, and how what it tells others begins.
const WAYS: [(&str, &str, Discovery); 5] = [
    ("--dht", "dht: ", Discovery::Dht),
    ("--trackers", "trackers: ", Discovery::Trackers),
    ("--pex", "peer exchange: ", Discovery::PeerExchange),
    ("--lsd", "local discovery: ", Discovery::LocalNetwork),
    ("--web-seeds", "web seeds: ", Discovery::WebSeeds),
];

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Two machines, at 10.77.0.1 and 10.77.0.2.
struct Lan {
    machines: [String; 2],
    holder: Child,
}

impl Lan {
    fn new() -> Self {
        let mut holder = Command::new(ALONE[0]);
        let mut holder = holder.args(&ALONE[1..]).args(["bash", "-c", LAN]);
        holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("namespaces can be made");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("two processes");
        let mut words = line.split_whitespace().map(str::to_owned);
        let machines = [words.next(), words.next()].map(|process| process.expect("two processes"));
        Self { machines, holder }
    }

    /// A command on one of the machines.
    fn on(&self, machine: usize, command: &Command) -> Command {
        let enter = ["nsenter", "--preserve-credentials", "--user", "--net", "--target", &self.machines[machine]];
        let mut command = within(&enter, command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // The end of its input ends it, and the other machine with it.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What was said to be switched on.
fn switched_on(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("cairn: switched on: ")).collect()
}

#[test]
fn what_is_switched_on_is_told_before_anybody_is_asked() {
    let link = format!("magnet:?xt=urn:btih:{}", "ab".repeat(20));
    // Nobody is there, and there is no network to look for somebody in.
    let fetch = ["fetch", "--magnet", &link, "--without-chain", "--peer", "127.0.0.1:9", "--stall", "1"];
    for chosen in [&[][..], &[0], &[1], &[2], &[3], &[4], &[1, 2]] {
        let expected: Vec<_> = chosen.iter().map(|at: &usize| WAYS[*at]).collect();
        let flags: Vec<_> = expected.iter().map(|(flag, ..)| *flag).collect();
        let output = within(ALONE, &talking(&[&fetch[..], &flags].concat())).stdin(Stdio::null()).output();
        let said = String::from_utf8(output.expect("it runs").stderr).expect("UTF-8");
        let leaks: Vec<&str> = expected.iter().map(|(.., discovery)| discovery.leaks()).collect();
        assert_eq!(switched_on(&said), leaks, "{flags:?}: {said}");
        assert!(expected.iter().all(|(_, name, discovery)| discovery.leaks().starts_with(name)), "each by its name");
        // The first lines: before the engine says anything, and before the error that ends it.
        let first: Vec<&str> = said.lines().take(1 + leaks.len()).collect();
        assert_eq!(first[0], format!("cairn: {PEERS_LEARN}"), "{flags:?}: {said}");
        assert_eq!(switched_on(&first.join("\n")), leaks, "{flags:?}: {said}");
    }
}

#[test]
fn machines_of_a_local_network_find_each_other() {
    let scratch = Scratch::new();
    let run = scratch.trained(196, &[]);
    let torrent = scratch.path("it.torrent");
    cairn(&["bundle", "--run", text(&run), "--out", &torrent]).must();
    let lan = Lan::new();
    let seed = talking(&["seed", "--run", text(&run), "--listen", "10.77.0.1:0", "--lsd"]);
    let mut seeder = Running(lan.on(0, &seed).spawn().expect("cairn starts"));
    let mut line = String::new();
    BufReader::new(seeder.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("an answer");
    assert!(line.contains("\"infohash_v1\""), "{line:?}");

    // No peer is named. Without discovery nobody is found.
    let out = scratch.path("fetched");
    let fetch = ["fetch", "--torrent", &torrent, "--without-chain", "--listen", "10.77.0.2:0", "--out", &out];
    let alone = lan.on(1, &talking(&[&fetch[..], &["--stall", "2"]].concat())).output().expect("it runs");
    assert_eq!(alone.status.code(), Some(2), "{alone:?}");
    let found = lan.on(1, &talking(&[&fetch[..], &["--stall", "60", "--lsd"]].concat())).output().expect("it runs");
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    let answer: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert_eq!(files(Path::new(answer["dir"].as_str().expect("a directory"))), files(&run));

    seeder.0.kill().expect("it runs");
    let mut said = String::new();
    seeder.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert_eq!(switched_on(&said), [Discovery::LocalNetwork.leaks()], "{said}");
}
