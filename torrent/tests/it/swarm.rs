//! Seeding and fetching with the engine: what arrives is what was promised, or nothing does; what is there is kept.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use torrent::swarm::{Activity, Discovery, Fetch, Progress, RateLimit, Swarm, SwarmError, SwarmOptions};
use torrent::{Magnet, Metadata, Metainfo, Options};

use crate::support::{Memory, bytes, everything, options, path, piece};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn listening() -> SwarmOptions {
    SwarmOptions { listen: Some(LOOPBACK), ..SwarmOptions::default() }
}

async fn start(options: SwarmOptions) -> Swarm {
    Swarm::start(options).await.expect("a swarm on the loopback interface")
}

fn address(swarm: &Swarm) -> SocketAddr {
    swarm.listen_addr().expect("it listens")
}

fn of<'a>(metadata: &'a Metadata, dir: &'a Path, peers: &'a [SocketAddr]) -> Fetch<'a> {
    Fetch { metadata, dir, peers, trackers: &[], web_seeds: &[], only: None, stall: PATIENCE }
}

/// Content on the disk, its torrent, and a swarm that seeds it.
struct Seeded {
    dir: tempfile::TempDir,
    torrent: Metainfo,
    swarm: Swarm,
}

async fn seeded(content: &Memory, options: SwarmOptions) -> Seeded {
    let dir = tempfile::tempdir().expect("scratch space");
    content.write_to(dir.path());
    let torrent = content.torrent("run", piece(14), Options::default());
    let swarm = start(options).await;
    swarm.seed(&torrent, dir.path(), &[]).await.expect("everything is there");
    Seeded { dir, torrent, swarm }
}

/// That `dir` has the content and nothing else.
fn assert_same(dir: &Path, content: &Memory) {
    let mut found = BTreeSet::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    let expected: BTreeSet<_> = content.0.keys().map(|path| path.below(dir)).collect();
    assert_eq!(found, expected);
    for (path, bytes) in &content.0 {
        assert!(std::fs::read(path.below(dir)).expect("it is there") == *bytes, "{path} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seeded_is_fetched() {
    let content = everything();
    let seed = seeded(&content, listening()).await;
    let fetcher = start(SwarmOptions::default()).await;
    let to = tempfile::tempdir().expect("scratch space");
    let last = Mutex::new(Progress::default());
    let seen = |progress| *last.lock().expect("one thread") = progress;
    let peers = [address(&seed.swarm)];
    let done = fetcher.fetch(&of(seed.torrent.metadata(), to.path(), &peers), &seen).await.expect("it arrives");
    assert_eq!(done, *last.lock().expect("one thread"));
    assert_eq!((done.have, done.received), (done.total, done.accepted));
    assert_same(to.path(), &content);
    // No padding, no engine's files in the seed's directory either.
    assert_same(seed.dir.path(), &content);
    assert_eq!(fetcher.status(), [], "what was fetched is no longer in the swarm");
    let [status] = &seed.swarm.status()[..] else { panic!("one torrent") };
    assert_eq!((status.activity, status.name.as_str()), (Activity::Seeding, "run"));
    assert!(status.uploaded >= seed.torrent.files().bytes(), "{status:?}");
}

/// Enough to be interrupted: pieces of 16 KiB, a hundred of them.
fn much(seed: u64) -> Memory {
    Memory::new([
        ("log", bytes(seed, 1 << 20)),
        ("proofs/a", bytes(seed + 1, 300_000)),
        ("proofs/b", bytes(seed + 2, 1)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_fetch_goes_on_where_it_was() {
    let content = much(10);
    let slow = RateLimit::new(200_000).expect("more than a block");
    let seed = seeded(&content, SwarmOptions { upload: Some(slow), ..listening() }).await;
    let (to, peers) = (tempfile::tempdir().expect("scratch space"), [address(&seed.swarm)]);
    let fetch = of(seed.torrent.metadata(), to.path(), &peers);

    let first = start(SwarmOptions::default()).await;
    let (told, mut some) = tokio::sync::watch::channel(0);
    let seen = |progress: Progress| {
        told.send_replace(progress.accepted);
    };
    tokio::select! {
        done = first.fetch(&fetch, &seen) => panic!("it was to be interrupted: {done:?}"),
        some = some.wait_for(|accepted| *accepted > 100_000) => drop(some.expect("a transfer")),
    }
    first.stop().await;

    // Another process would do the same: nothing is remembered but the files.
    let second = start(SwarmOptions::default()).await;
    let done = second.fetch(&fetch, &|_| ()).await.expect("it arrives");
    assert!(done.received + 100_000 <= done.total, "{done:?}");
    assert_same(to.path(), &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_torrents_come_and_go_while_others_are_fetched() {
    let contents: Vec<Memory> = (0..5).map(|at| much(100 * at)).collect();
    let dir = tempfile::tempdir().expect("scratch space");
    let (seeder, fetcher) = (start(listening()).await, start(SwarmOptions::default()).await);
    let mut torrents = Vec::new();
    for (at, content) in contents.iter().enumerate() {
        let from = dir.path().join(format!("seed/{at}"));
        content.write_to(&from);
        let torrent = content.torrent(&format!("run {at}"), piece(14), Options::default());
        seeder.seed(&torrent, &from, &[]).await.expect("everything is there");
        torrents.push(torrent);
    }
    let twice = seeder.seed(&torrents[0], &dir.path().join("seed/0"), &[]).await;
    assert!(matches!(twice, Err(SwarmError::Twice { infohash }) if infohash == torrents[0].infohash_v1()));
    seeder.remove(torrents[4].infohash_v1()).await.expect("it is there");
    let unknown = seeder.remove(torrents[4].infohash_v1()).await;
    assert!(matches!(unknown, Err(SwarmError::Unknown { .. })), "{unknown:?}");
    assert_eq!(seeder.status().len(), 4);

    let peers = [address(&seeder)];
    let to = |at: usize| dir.path().join(format!("fetched/{at}"));
    let fetch = async |at: usize| {
        let dir = to(at);
        fetcher.fetch(&of(torrents[at].metadata(), &dir, &peers), &|_| ()).await.expect("it arrives");
    };
    tokio::join!(fetch(0), fetch(1), fetch(2), fetch(3));
    (0..4).for_each(|at| assert_same(&to(at), &contents[at]));
    // The one that is not seeded any more does not come.
    let dir = to(4);
    let short = Fetch { stall: Duration::from_secs(1), ..of(torrents[4].metadata(), &dir, &peers) };
    let stalled = fetcher.fetch(&short, &|_| ()).await;
    assert!(matches!(stalled, Err(SwarmError::Stalled { have: 0, refused: 0, .. })), "{stalled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_gives_the_metadata_that_it_names() {
    let content = everything();
    let seed = seeded(&content, listening()).await;
    let asking = start(SwarmOptions::default()).await;
    let link = Magnet { peers: vec![address(&seed.swarm)], ..seed.torrent.magnet() };
    let metadata = asking.resolve(&link, PATIENCE).await.expect("the seed answers");
    assert_eq!(metadata.as_bytes(), seed.torrent.metadata().as_bytes());
    assert_eq!(metadata.infohash_v2(), seed.torrent.infohash_v2());
    let to = tempfile::tempdir().expect("scratch space");
    asking.fetch(&of(&metadata, to.path(), &link.peers), &|_| ()).await.expect("it arrives");
    assert_same(to.path(), &content);

    let other = much(1).torrent("run", piece(14), Options::default());
    let mixed = Magnet { v2: Some(other.infohash_v2()), ..link.clone() };
    let refused = asking.resolve(&mixed, PATIENCE).await;
    assert!(
        matches!(&refused, Err(SwarmError::OtherV2 { expected, .. }) if *expected == other.infohash_v2()),
        "{refused:?}"
    );
    let unknown = Magnet { peers: link.peers.clone(), ..other.magnet() };
    let refused = asking.resolve(&unknown, Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(SwarmError::NoMetadata { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_without_peers_and_discovery_asks_nobody() {
    let torrent = everything().torrent("run", piece(14), options());
    let alone = start(SwarmOptions::default()).await;
    // Not even the link's trackers.
    let refused = alone.resolve(&torrent.magnet(), PATIENCE).await;
    assert!(matches!(refused, Err(SwarmError::NobodyToAsk)), "{refused:?}");
    let to = tempfile::tempdir().expect("scratch space");
    let (trackers, web_seeds) = (torrent.trackers(), torrent.web_seeds());
    let fetch = Fetch { trackers, web_seeds, ..of(torrent.metadata(), to.path(), &[]) };
    let refused = alone.fetch(&fetch, &|_| ()).await;
    assert!(matches!(refused, Err(SwarmError::NobodyToAsk)), "{refused:?}");
    assert_same(to.path(), &Memory::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_arrives() {
    let content = everything();
    let seed = seeded(&content, listening()).await;
    let fetcher = start(SwarmOptions::default()).await;
    let (to, peers) = (tempfile::tempdir().expect("scratch space"), [address(&seed.swarm)]);
    let wanted = ["a/b.txt", "empty", "twin two", "näm e/файл"];
    let only: BTreeSet<_> = wanted.map(path).into();
    let fetch = Fetch { only: Some(&only), ..of(seed.torrent.metadata(), to.path(), &peers) };
    fetcher.fetch(&fetch, &|_| ()).await.expect("it arrives");
    assert_same(to.path(), &Memory(content.0.into_iter().filter(|(path, _)| only.contains(path)).collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_fetched_again() {
    let (mut content, dir) = (much(20), tempfile::tempdir().expect("scratch space"));
    content.write_to(dir.path());
    // The log grew, a proof came, one file differs.
    content.0.get_mut(&path("log")).expect("the log").extend(bytes(1, 20_000));
    content.0.insert(path("proofs/c"), bytes(2, 40_000));
    content.0.insert(path("proofs/b"), bytes(3, 1));
    let seed = seeded(&content, listening()).await;
    let fetcher = start(SwarmOptions::default()).await;
    let peers = [address(&seed.swarm)];
    let fetch = of(seed.torrent.metadata(), dir.path(), &peers);
    let done = fetcher.fetch(&fetch, &|_| ()).await.expect("it arrives");
    assert_same(dir.path(), &content);
    // The last piece of the log and two behind it, three of a proof, one.
    assert!(done.received <= 8 << 14, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_changes_nothing_in_the_directory() {
    let (content, dir) = (much(30), tempfile::tempdir().expect("scratch space"));
    let torrent = content.torrent("run", piece(14), Options::default());
    // The run went on since the torrent was made; another file is missing.
    let mut later = content.clone();
    later.0.get_mut(&path("log")).expect("the log").extend(bytes(1, 20_000));
    later.0.remove(&path("proofs/a"));
    later.write_to(dir.path());
    let swarm = start(listening()).await;
    let refused = swarm.seed(&torrent, dir.path(), &[]).await;
    let Err(SwarmError::NotWhole { have, total, .. }) = refused else { panic!("{refused:?}") };
    assert!((1 << 20..total).contains(&have), "{have} of {total}");
    assert_same(dir.path(), &later);
    assert_eq!(swarm.status(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupted_pieces_are_not_taken() {
    let content = much(40);
    let seed = seeded(&content, listening()).await;
    // Behind the seeder's back: it goes on serving what is there.
    let mut corrupted = content.clone();
    corrupted.0.get_mut(&path("proofs/a")).expect("a proof")[70_000] ^= 1;
    corrupted.write_to(seed.dir.path());
    let fetcher = start(SwarmOptions::default()).await;
    let (to, peers) = (tempfile::tempdir().expect("scratch space"), [address(&seed.swarm)]);
    let fetch = Fetch { stall: Duration::from_secs(2), ..of(seed.torrent.metadata(), to.path(), &peers) };
    let stalled = fetcher.fetch(&fetch, &|_| ()).await;
    let Err(SwarmError::Stalled { have, total, refused, .. }) = stalled else { panic!("{stalled:?}") };
    assert!(refused >= 1 << 14 && have < total, "{have} of {total}, {refused} refused");
    // An honest seeder mends it, and what was right is kept.
    content.write_to(seed.dir.path());
    let again = start(SwarmOptions::default()).await;
    let done = again.fetch(&of(seed.torrent.metadata(), to.path(), &peers), &|_| ()).await.expect("it arrives");
    assert!(done.received <= total - have, "{done:?}");
    assert_same(to.path(), &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_given_up() {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let peers = [listener.local_addr().expect("bound above")];
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let torrent = much(50).torrent("run", piece(14), Options::default());
    let fetcher = start(SwarmOptions { patience: Duration::from_secs(1), ..SwarmOptions::default() }).await;
    let to = tempfile::tempdir().expect("scratch space");
    let fetch = Fetch { stall: Duration::from_secs(2), ..of(torrent.metadata(), to.path(), &peers) };
    let stalled = fetcher.fetch(&fetch, &|_| ()).await;
    assert!(matches!(stalled, Err(SwarmError::Stalled { have: 0, refused: 0, .. })), "{stalled:?}");
    let asked = fetcher.resolve(&Magnet { peers: peers.into(), ..torrent.magnet() }, Duration::from_secs(2)).await;
    assert!(matches!(asked, Err(SwarmError::NoMetadata { .. })), "{asked:?}");
    silent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_through_links_or_over_other_things() {
    let content = much(60);
    let seed = seeded(&content, listening()).await;
    let peers = [address(&seed.swarm)];
    let (outside, to) = (tempfile::tempdir().expect("scratch space"), tempfile::tempdir().expect("scratch space"));
    let fetcher = start(SwarmOptions::default()).await;
    let fetch = of(seed.torrent.metadata(), to.path(), &peers);
    std::os::unix::fs::symlink(outside.path(), to.path().join("proofs")).expect("scratch space");
    let refused = fetcher.fetch(&fetch, &|_| ()).await;
    assert!(matches!(&refused, Err(SwarmError::Symlink { path }) if *path == to.path().join("proofs")), "{refused:?}");
    assert_same(outside.path(), &Memory::default());

    std::fs::remove_file(to.path().join("proofs")).expect("scratch space");
    std::fs::write(to.path().join("proofs"), b"a file where a directory must be").expect("scratch space");
    let refused = fetcher.fetch(&fetch, &|_| ()).await;
    assert!(matches!(&refused, Err(SwarmError::Disk { path, .. }) if path.starts_with(to.path())), "{refused:?}");
}

/// What a peer says of itself to one that knows peer exchange.
async fn extended_handshake(peer: SocketAddr, torrent: &Metainfo) -> String {
    let mut stream = TcpStream::connect(peer).await.expect("it listens");
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    hello.extend(torrent.infohash_v1().as_bytes());
    hello.extend(b"-XX0000-abcdefghijkl");
    let body = b"\x14\0d1:md6:ut_pexi1eee";
    hello.extend((body.len() as u32).to_be_bytes());
    hello.extend(body);
    stream.write_all(&hello).await.expect("it reads");
    let mut answer = [0; 68];
    stream.read_exact(&mut answer).await.expect("a handshake");
    loop {
        let mut message = vec![0; stream.read_u32().await.expect("a message") as usize];
        stream.read_exact(&mut message).await.expect("a message");
        if message.starts_with(&[20, 0]) {
            return String::from_utf8_lossy(&message).into_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_exchange_is_not_offered_unless_switched_on() {
    let content = much(70);
    let closed = seeded(&content, listening()).await;
    let said = extended_handshake(address(&closed.swarm), &closed.torrent).await;
    assert!(said.contains("11:ut_metadata") && !said.contains("ut_pex"), "{said}");
    let open = seeded(&content, SwarmOptions { discovery: [Discovery::PeerExchange].into(), ..listening() }).await;
    let said = extended_handshake(address(&open.swarm), &open.torrent).await;
    assert!(said.contains("11:ut_metadata") && said.contains("6:ut_pexi"), "{said}");
}

#[test]
fn limits_are_read_and_are_at_least_a_block() {
    for (text, bytes) in
        [("16384", 16_384), ("500kB", 500_000), ("2MB", 2_000_000), ("99999999999", u64::from(u32::MAX))]
    {
        assert_eq!(text.parse::<RateLimit>().map(|limit| limit.to_string()), Ok(bytes.to_string()));
    }
    for text in ["16383", "0", "1kB", "-1", "2 GB", "", "MB"] {
        assert!(text.parse::<RateLimit>().is_err(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_keep_to_their_limits() {
    let content = Memory::new([("log", bytes(90, 384 << 10))]);
    let limit = RateLimit::new(64 << 10).ok();
    let (up, down) = (SwarmOptions { upload: limit, ..listening() }, SwarmOptions { download: limit, ..listening() });
    let fetched = async |seeds: SwarmOptions, fetches: SwarmOptions| {
        let seed = seeded(&content, seeds).await;
        let (to, peers) = (tempfile::tempdir().expect("scratch space"), [address(&seed.swarm)]);
        let fetcher = start(fetches).await;
        let started = std::time::Instant::now();
        let done = fetcher.fetch(&of(seed.torrent.metadata(), to.path(), &peers), &|_| ()).await;
        let took = started.elapsed();
        assert_eq!(done.expect("it arrives").received, 384 << 10);
        assert_same(to.path(), &content);
        took
    };
    // A second's worth may go out at once, the other five take a second each. A busy machine only takes longer.
    let (sent, received) = tokio::join!(fetched(up, listening()), fetched(listening(), down));
    for (what, took) in [("upload", sent), ("download", received)] {
        assert!(took >= Duration::from_secs(4), "{what}: 384 KiB at 64 KiB a second took {took:?}");
    }
}

/// A web server on a directory, by Python's own with ranges added; ends with the test.
struct Web(std::process::Child, String);

impl Web {
    /// `ranges`: whether it knows ranges.
    fn serve(dir: &Path, ranges: &str) -> Self {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", include_str!("web_server.py"), ranges]).arg(dir);
        command.stderr(std::process::Stdio::null());
        let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
        let stdout = child.as_mut().expect("Python runs").stdout.take().expect("a pipe");
        let mut port = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut port).expect("a port");
        Self(child.expect("Python runs"), format!("http://127.0.0.1:{}/files", port.trim()))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_seeds_are_asked_instead_of_peers_and_beside_them() {
    let content = everything();
    let served = tempfile::tempdir().expect("scratch space");
    content.write_to(&served.path().join("files/run"));
    let web = Web::serve(served.path(), "ranges");
    let options = Options { web_seeds: vec![web.1.parse().expect("an address")], ..Options::default() };
    let torrent = content.torrent("run", piece(14), options);
    let on = || SwarmOptions { discovery: [Discovery::WebSeeds].into(), ..SwarmOptions::default() };

    let to = tempfile::tempdir().expect("scratch space");
    let fetcher = start(on()).await;
    let fetch = Fetch { web_seeds: torrent.web_seeds(), ..of(torrent.metadata(), to.path(), &[]) };
    let done = fetcher.fetch(&fetch, &|_| ()).await.expect("it arrives");
    assert_eq!(done.received, done.accepted);
    assert_same(to.path(), &content);

    // A peer that has what the server lost.
    let lost = path("twin one").below(&served.path().join("files/run"));
    std::fs::remove_file(lost).expect("it was there");
    let seed = seeded(&content, listening()).await;
    let (to, peers) = (tempfile::tempdir().expect("scratch space"), [address(&seed.swarm)]);
    let fetch = Fetch { web_seeds: torrent.web_seeds(), ..of(torrent.metadata(), to.path(), &peers) };
    start(on()).await.fetch(&fetch, &|_| ()).await.expect("it arrives");
    assert_same(to.path(), &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_seeds_that_lie_or_know_no_ranges_do_no_harm() {
    let content = much(80);
    let served = tempfile::tempdir().expect("scratch space");
    let mut corrupted = content.clone();
    corrupted.0.get_mut(&path("proofs/a")).expect("a proof")[1] ^= 1;
    corrupted.write_to(&served.path().join("files/run"));
    let (lying, whole) = (Web::serve(served.path(), "ranges"), Web::serve(served.path(), "none"));
    for (web, some) in [(lying, true), (whole, false)] {
        let torrent = content.torrent("run", piece(14), Options::default());
        let to = tempfile::tempdir().expect("scratch space");
        let options = SwarmOptions { discovery: [Discovery::WebSeeds].into(), ..SwarmOptions::default() };
        let web_seeds = [web.1.parse().expect("an address")];
        let stall = Duration::from_secs(2);
        let fetch = Fetch { web_seeds: &web_seeds, stall, ..of(torrent.metadata(), to.path(), &[]) };
        let stalled = start(options).await.fetch(&fetch, &|_| ()).await;
        let Err(SwarmError::Stalled { have, total, refused, .. }) = stalled else { panic!("{stalled:?}") };
        assert!(have < total && (refused > 0) == some, "{have} of {total}, {refused} refused");
    }
}
