//! The `.torrent` as other clients read it: the same names, files, lengths, roots and hashes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use torrent::{Metainfo, Options, Visibility};

use crate::support::{Memory, bytes, everything, options, piece};

/// Prints what libtorrent found.
const LIBTORRENT: &str = include_str!("libtorrent_read.py");

/// A client that `cargo xtask setup` installed.
pub fn client(name: &str) -> Command {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| manifest.join("../.cache"), PathBuf::from);
    let path = cache.join("clients/bin").join(name);
    assert!(path.is_file(), "{} is not there: run cargo xtask setup", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What is compared of a file: path with the torrent's name, length, root of its tree.
type Seen = (String, u64, Option<String>);

fn files(torrent: &Metainfo) -> Vec<Seen> {
    let hashes = torrent.hashes().files().iter();
    let hex = |digest: ledger::Digest| digest.to_string().trim_start_matches("0x").to_owned();
    let seen = torrent
        .files()
        .files()
        .iter()
        .zip(hashes)
        .map(|(file, hashes)| (format!("{}/{}", torrent.name(), file.path), file.len, hashes.root.map(hex)));
    seen.collect()
}

/// Torrents with every kind of file, under several options, and one with many small files, as runs have.
fn torrents() -> Vec<(tempfile::TempDir, PathBuf, Metainfo)> {
    let small = (0..300_usize).map(|at| (format!("proofs/step_{at:06}.proof"), bytes(at as u64, 2_624)));
    let mut run: Vec<(String, Vec<u8>)> = small.collect();
    run.push(("steps.jsonl".to_owned(), bytes(1, 300_000)));
    run.push(("run.json".to_owned(), bytes(2, 2_000)));
    let run = Memory::new(run.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    let torrent = |content: &Memory, name, log, options| {
        let dir = tempfile::tempdir().expect("scratch space");
        let torrent = content.torrent(name, piece(log), options);
        let path = dir.path().join("it.torrent");
        std::fs::write(&path, torrent.as_bytes()).expect("scratch space");
        (dir, path, torrent)
    };
    vec![
        torrent(&everything(), "run", 14, Options::default()),
        torrent(&everything(), "rün 0x12", 16, options()),
        torrent(&everything(), "run", 20, Options::default()),
        torrent(&run, "run-0x12", 14, Options::default()),
    ]
}

#[test]
fn libtorrent_reads_the_same() {
    for (_dir, path, torrent) in torrents() {
        let read = output(client("libtorrent-python").args(["-c", LIBTORRENT]).arg(&path));
        let read: Value = serde_json::from_str(&read).expect("JSON");
        assert_eq!(read["v1"], torrent.infohash_v1().to_string());
        assert_eq!(read["v2"], torrent.infohash_v2().to_string());
        assert_eq!(read["name"], torrent.name());
        assert_eq!(read["piece_length"], torrent.piece_length().bytes());
        assert_eq!(read["private"], torrent.visibility() == Visibility::Private);
        let pieces: Vec<String> =
            torrent.hashes().pieces().map(|hash| torrent::InfohashV1(*hash).to_string()).collect();
        assert_eq!(read["pieces"], Value::from(pieces));
        let urls = |key: &str| read[key].as_array().expect("a list").clone();
        assert_eq!(
            urls("trackers"),
            torrent.trackers().iter().map(|url| Value::from(url.as_str())).collect::<Vec<_>>()
        );
        assert_eq!(
            urls("web_seeds"),
            torrent.web_seeds().iter().map(|url| Value::from(url.as_str())).collect::<Vec<_>>()
        );
        let seen = |file: &Value| {
            let root = file["root"].as_str().filter(|root| !root.bytes().all(|digit| digit == b'0'));
            (
                file["path"].as_str().expect("a path").to_owned(),
                file["len"].as_u64().expect("a length"),
                root.map(str::to_owned),
            )
        };
        let got: Vec<Seen> =
            read["files"].as_array().expect("files").iter().filter(|file| file["pad"] == false).map(seen).collect();
        assert_eq!(got, files(&torrent));
        let magnet = torrent.magnet().to_string();
        let read = output(client("libtorrent-python").args(["-c", LIBTORRENT]).arg(&magnet));
        let read: Value = serde_json::from_str(&read).expect("JSON");
        assert_eq!(read["v1"], torrent.infohash_v1().to_string());
        assert_eq!(read["v2"], torrent.infohash_v2().to_string());
        assert_eq!(read["name"], torrent.name());
    }
}

#[test]
fn transmission_reads_the_same() {
    for (_dir, path, torrent) in torrents() {
        let read = output(client("transmission-show").arg(&path));
        let field = |name: &str| {
            let line = read.lines().map(str::trim).find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {read}")).trim().to_owned()
        };
        assert_eq!(field("Name:"), torrent.name());
        assert_eq!(field("Hash v1:"), torrent.infohash_v1().to_string());
        assert_eq!(field("Hash v2:"), torrent.infohash_v2().to_string());
        assert_eq!(field("Piece Count:"), torrent.hashes().pieces().len().to_string());
        assert_eq!(field("Privacy:").contains("Private"), torrent.visibility() == Visibility::Private);
        let (_, listed) = read.split_once("\nFILES\n").expect("a list of files");
        let mut got: Vec<&str> = listed.lines().filter_map(|line| Some(line.trim().rsplit_once(" (")?.0)).collect();
        got.retain(|path| !path.contains("/.pad/"));
        got.sort_unstable();
        let expected = files(&torrent);
        let mut expected: Vec<&str> = expected.iter().map(|(path, ..)| path.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}

#[test]
fn aria2_reads_the_same() {
    for (_dir, path, torrent) in torrents() {
        let read = output(client("aria2c").arg("--show-files").arg(&path));
        let field = |name: &str| {
            let line = read.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {read}")).trim().to_owned()
        };
        assert_eq!(field("Info Hash:"), torrent.infohash_v1().to_string());
        assert_eq!(field("Name:"), torrent.name());
        assert_eq!(field("The Number of Pieces:"), torrent.hashes().pieces().len().to_string());
        // `  1|./run/a` and, in the next line, `   |16KiB (16,385)`.
        let lines: Vec<(&str, &str)> = read.lines().filter_map(|line| line.split_once('|')).collect();
        let seen = |pair: &[(&str, &str)]| {
            let [(_, path), (_, len)] = pair else { return None };
            let path = path.strip_prefix("./")?.to_owned();
            let len = len.split_once('(')?.1.trim_end_matches(')').replace(',', "");
            Some((path, len.parse().ok()?))
        };
        let mut got: Vec<(String, u64)> = lines.windows(2).filter_map(seen).collect();
        got.retain(|(path, _)| !path.contains("/.pad/"));
        let expected: Vec<(String, u64)> = files(&torrent).into_iter().map(|(path, len, _)| (path, len)).collect();
        assert_eq!(got, expected);
    }
}
