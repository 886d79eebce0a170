//! The figures of a swarm in Prometheus' text format.

use std::fmt::{self, Write};

use super::Status;

type Figure = fn(&Status) -> u64;

const FIGURES: [(&str, &str, &str, Figure); 7] = [
    ("cairn_torrent_have_bytes", "gauge", "Bytes here with the right hash.", |s| s.progress.have),
    ("cairn_torrent_total_bytes", "gauge", "Bytes of the torrent.", |s| s.progress.total),
    ("cairn_torrent_uploaded_bytes_total", "counter", "Bytes sent to peers.", |s| s.uploaded),
    ("cairn_torrent_received_bytes_total", "counter", "Bytes that came from peers.", |s| s.progress.received),
    ("cairn_torrent_refused_bytes_total", "counter", "Bytes that came and had another hash.", |s| {
        s.progress.received.saturating_sub(s.progress.accepted)
    }),
    ("cairn_torrent_peers", "gauge", "Peers connected.", |s| u64::from(s.progress.peers)),
    ("cairn_torrent_known_peers", "gauge", "Peers ever heard of.", |s| u64::from(s.known_peers)),
];

/// All figures of all torrents, labelled with infohash, name and activity.
pub fn metrics(torrents: &[Status]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    write(&mut text, torrents).ok();
    text
}

fn write(text: &mut String, torrents: &[Status]) -> fmt::Result {
    writeln!(text, "# HELP cairn_torrents Torrents in the swarm.\n# TYPE cairn_torrents gauge")?;
    writeln!(text, "cairn_torrents {}", torrents.len())?;
    for (name, kind, help, figure) in FIGURES {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        for torrent in torrents {
            let label: String = torrent.name.chars().flat_map(escaped).collect();
            let (infohash, activity) = (torrent.infohash, torrent.activity.as_str());
            writeln!(
                text,
                "{name}{{infohash=\"{infohash}\",name=\"{label}\",activity=\"{activity}\"}} {}",
                figure(torrent)
            )?;
        }
    }
    Ok(())
}

fn escaped(character: char) -> impl Iterator<Item = char> {
    let escape = matches!(character, '\\' | '"').then_some('\\');
    escape.into_iter().chain([character])
}
