//! The bodies of the fuzz targets on stable: committed files of each format, and a fixed number of seeded mutations.
//!
//! `CAIRN_MUTATIONS` sets the number for each format, for longer runs; `CAIRN_SEEDS`, set to anything, writes the seeds that libFuzzer
//! begins with. See `docs/fuzzing.md`.

#[path = "../../../fuzz/src/formats.rs"]
pub mod bodies;

use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Bytes that parsers stumble over.
const HARD: [&[u8]; 16] = [
    b"0",
    b"-1",
    b"1e9",
    b"\"",
    b"\\u0000",
    b"null",
    b"{",
    b"[",
    b"..",
    b"/",
    b"\n",
    b"\0",
    b"\xff\xff\xff\xff",
    b"18446744073709551616",
    b"0x",
    b",",
];

/// Changes a few places: bits, hard bytes, removals, repetitions, another seed's bytes.
fn mutate(rng: &mut ChaCha20Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut ChaCha20Rng, n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
    let mut bytes = seeds[pick(rng, seeds.len())].clone();
    for _ in 0..=pick(rng, 4) {
        let at = pick(rng, bytes.len());
        let end = (at + pick(rng, 32)).min(bytes.len());
        match pick(rng, 6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << pick(rng, 8),
            1 => bytes.splice(at..at, HARD[pick(rng, HARD.len())].iter().copied()).for_each(drop),
            2 => bytes.splice(at..end, HARD[pick(rng, HARD.len())].iter().copied()).for_each(drop),
            3 => bytes.drain(at..end).for_each(drop),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(end..end, again).for_each(drop);
            }
            _ => {
                let other = &seeds[pick(rng, seeds.len())];
                let from = pick(rng, other.len());
                let piece = other[from..(from + pick(rng, 64)).min(other.len())].to_vec();
                bytes.splice(at..end, piece).for_each(drop);
            }
        }
    }
    bytes
}

fn read(paths: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    paths.iter().map(|path| std::fs::read(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))).collect()
}

/// Runs `body` on the seeds, then on `count` mutations of them.
pub fn exercise(body: fn(&[u8]), seeds: &[Vec<u8>], count: u64) {
    let count = std::env::var("CAIRN_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(count);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    seeds.iter().for_each(|seed| body(seed));
    (0..count).for_each(|_| body(&mutate(&mut rng, seeds)));
}

/// [`exercise`] of seeds that are made here: `cargo xtask fuzz` begins with those in `fuzz/seeds`, which must be the same.
fn exercise_made(name: &str, body: fn(&[u8]), seeds: &[Vec<u8>], count: u64) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    for (at, seed) in seeds.iter().enumerate() {
        let file = dir.join(at.to_string());
        if std::env::var_os("CAIRN_SEEDS").is_some() {
            std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, seed)).expect("a seed is written");
        }
        let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(kept == *seed, "{}: another seed; CAIRN_SEEDS=1 writes it anew", file.display());
    }
    exercise(body, seeds, count);
}

#[test]
fn files_of_a_run_are_parsed_or_refused() {
    let epochs = ["anchor/run/epochs/epoch_0000.json", "anchor/run/epochs/epoch_0001.json"];
    exercise(bodies::run_json, &read(&["anchor/run/run.json"]), 2_000);
    exercise(bodies::checkpoint, &read(&["anchor/run/checkpoint"]), 5_000);
    exercise(bodies::epoch_json, &read(&epochs), 2_000);
    let log = read(&["anchor/run/steps.jsonl"]).remove(0);
    let line = log.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
    exercise(bodies::steps_jsonl, &[line, log], 2_000);
    let zeros = "0".repeat(64);
    let manifest = format!(
        "{{\"files\":[{{\"len\":1,\"path\":\"checkpoint\",\"sha256\":\"0x{zeros}\"}},{{\"len\":2,\"path\":\
         \"proofs/step_000000.proof\",\"sha256\":\"0x{zeros}\"}}],\"root\":\"0x{zeros}\",\"run\":\"0x{zeros}\",\
         \"size\":4,\"v\":1}}"
    );
    exercise_made("manifest", bodies::manifest, &[manifest.into_bytes()], 5_000);
    let anchors = format!("{{\"anchors\":[],\"run\":\"0x{zeros}\",\"v\":1}}");
    exercise_made("anchors_json", bodies::anchors_json, &[anchors.into_bytes()], 5_000);
}

#[test]
fn files_beside_a_run_are_parsed_or_refused() {
    let gates: serde_json::Value = serde_json::from_slice(&read(&["gate/cases.json"])[0]).expect("JSON");
    let gates: Vec<Vec<u8>> =
        gates["cases"].as_array().expect("cases").iter().map(|case| case["gate"].to_string().into_bytes()).collect();
    exercise_made("gate_json", bodies::gate_json, &gates, 5_000);
    let zeros = "0".repeat(64);
    let opening = format!(
        "{{\"v\":1,\"run\":\"0x{zeros}\",\"state\":4,\"digest\":\"0x{zeros}\",\"seed\":\"{zeros}\",\"optimizer\":\"{zeros}\"}}"
    );
    exercise_made("opening_json", bodies::opening_json, &[opening.into_bytes()], 2_000);
}

#[test]
fn torrents_and_links_are_parsed_or_refused() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/anchor/run");
    let file = |name: &str| {
        let path = torrent::ContentPath::new(&name.split('/').collect::<Vec<_>>()).expect("a path");
        torrent::FileEntry { len: std::fs::metadata(path.below(&run)).expect("a file").len(), path }
    };
    let names = ["run.json", "steps.jsonl", "checkpoint", "epochs/epoch_0000.json", "proofs/step_000000.proof"];
    let list = torrent::FileList::new(names.map(file).into()).expect("files");
    let made = [torrent::Visibility::Public, torrent::Visibility::Private].map(|visibility| {
        let piece = torrent::PieceLength::for_total(1);
        let hashes = torrent::hash(&list, piece, &torrent::Directory(run.clone()), &|_| ()).expect("files");
        let tracker = "http://127.0.0.1:1/announce".parse().expect("a tracker");
        let seed = "http://127.0.0.1:2/".parse().expect("a web seed");
        let source = Some("a closed network".to_owned());
        let options = torrent::Options { visibility, source, trackers: vec![tracker], web_seeds: vec![seed] };
        torrent::Metainfo::new("run", list.clone(), piece, hashes, options).expect("a torrent")
    });
    let torrents = made.each_ref().map(|torrent| torrent.as_bytes().to_vec());
    exercise_made("torrent", bodies::torrent, &torrents, 5_000);
    exercise_made("bencode", bodies::bencode, &torrents, 5_000);
    exercise_made("info", bodies::info, &made.each_ref().map(|torrent| torrent.metadata().as_bytes().to_vec()), 5_000);
    exercise_made(
        "magnet",
        bodies::magnet,
        &made.each_ref().map(|torrent| torrent.magnet().to_string().into_bytes()),
        5_000,
    );
}

#[test]
fn parts_of_a_capsule_are_parsed_or_refused() {
    let mut archive = store::ArchiveWriter::new(Vec::new());
    for (name, bytes) in [("a", &b""[..]), ("b/c", b"some bytes"), ("b/d", &[7; 600])] {
        archive.add(&name.parse().expect("a path"), bytes.len() as u64, &mut &bytes[..]).expect("written");
    }
    exercise_made("archive", bodies::archive, &[archive.finish().expect("written")], 2_000);
    let seeds = [vec![0, 0], vec![0, 1, 9], vec![0, 6, 255, 255, 255, 255], vec![0, 40, 1], vec![255; 8], vec![0; 70]];
    exercise_made("step_key", bodies::step_key, &seeds, 300);
}

#[test]
fn ceremony_files_are_imported_or_refused() {
    exercise(bodies::ptau, &read(&["srs/powers7.ptau", "srs/powers7_no_contribution.ptau"]), 60);
}

#[test]
fn step_proofs_are_accepted_only_as_they_were_made() {
    let seeds = [vec![0, 0], vec![0, 0, 0], vec![4, 0, 255, 255], vec![255; 8], vec![0; 70]];
    exercise(bodies::step_proof, &seeds, 150);
}
