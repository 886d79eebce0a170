//! How many peers a tracker knows of announced bundles, asked by scrape (BEP 48). That is the tracker's word: it is shown with its
//! age, and says nothing of what the peers have.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use torrent::bencode::{BencodeError, Limits, Value, decode};

use crate::{
    index::{Index, IndexError, RunFilter, RunSort},
    time::now,
};

/// Torrents of one question.
const PER_REQUEST: usize = 50;
/// Runs whose newest bundle is asked for, the last anchored first.
const MAX_RUNS: usize = 2_000;
/// Runs of one page.
const PAGE: u32 = 200;
/// What an answer may hold.
const LIMITS: Limits = Limits { bytes: 64 << 10, depth: 8, values: 4_096 };

/// How a [`Scraper`] asks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Pause between two rounds.
    pub interval: Duration,
    /// Time that an answer may take.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval: Duration::from_secs(300), timeout: Duration::from_secs(20) }
    }
}

/// Why a tracker cannot be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// The tracker's address has no scrape address beside it (BEP 48).
    #[error("expected an http address whose last part begins with announce")]
    Address,
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Nobody answered.
    #[error("{reason}")]
    Unreachable {
        /// Why, without the address: it may hold a token.
        reason: String,
    },
    /// The tracker refused.
    #[error("expected an answer of 200, got {got}")]
    Refused {
        /// What it answered.
        got: StatusCode,
    },
    /// The answer is longer than any that was asked for.
    #[error("expected an answer of at most {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The answer is no bencode.
    #[error("answer: {0}")]
    Bencode(#[from] BencodeError),
    /// The answer is none to a scrape.
    #[error("answer: {reason}")]
    Answer {
        /// What is wrong with it.
        reason: String,
    },
}

/// What a tracker said of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Peers that have everything.
    pub seeders: u64,
    /// Peers that do not.
    pub leechers: u64,
    /// When it was asked, unix seconds.
    pub asked_at: u64,
}

/// What trackers said last. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Seeders(Arc<Mutex<BTreeMap<[u8; 20], Peers>>>);

impl Seeders {
    /// What was said last of the torrent with this v1 infohash.
    pub fn of(&self, infohash: &[u8; 20]) -> Option<Peers> {
        self.lock().get(infohash).copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 20], Peers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one tracker.
pub struct Scraper {
    index: Index,
    scrape: Url,
    http: Client,
    options: Options,
    seeders: Seeders,
}

/// Not the address, which may hold a token.
impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraper").field("host", &self.scrape.host_str()).finish_non_exhaustive()
    }
}

impl Scraper {
    /// One who asks the tracker with this announce address, and notes the answers in `seeders`.
    ///
    /// # Errors
    /// [`ScrapeError::Address`]; [`ScrapeError::Unreachable`] if there is no TLS on this machine.
    pub fn new(index: Index, announce: &str, seeders: Seeders, options: Options) -> Result<Self, ScrapeError> {
        let scrape = scrape_address(announce).ok_or(ScrapeError::Address)?;
        let client = Client::builder().redirect(Policy::none()).timeout(options.timeout).build();
        Ok(Self { index, scrape, http: client.map_err(unreachable)?, options, seeders })
    }

    /// Asks until `stop` is ready. Failures are logged; the next round asks again.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                asked = self.round() => if let Err(error) = asked {
                    let host = self.scrape.host_str().unwrap_or_default();
                    tracing::warn!(host, %error, "tracker at {host}: {error}");
                },
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(self.options.interval) => {}
            }
        }
    }

    /// Asks for the newest bundle of every run once; says for how many the tracker answered.
    ///
    /// # Errors
    /// At the first question without an answer; what was said before is kept.
    pub async fn round(&self) -> Result<usize, ScrapeError> {
        let mut n_known = 0;
        for part in self.announced().await?.chunks(PER_REQUEST) {
            let asked_at = now();
            let said = read(&self.ask(part).await?, part, asked_at)?;
            n_known += said.len();
            let mut seeders = self.seeders.lock();
            for (infohash, peers) in said {
                seeders.insert(infohash, peers);
            }
        }
        Ok(n_known)
    }

    /// Infohashes of the newest bundle of each run.
    async fn announced(&self) -> Result<Vec<[u8; 20]>, ScrapeError> {
        let (mut out, mut n_runs, mut cursor) = (Vec::new(), 0, None);
        loop {
            let page = self.index.list(&RunFilter::default(), RunSort::Anchored, cursor, PAGE).await?;
            n_runs += page.runs.len();
            for run in &page.runs {
                let newest = self.index.bundles(run.key, 1).await?;
                out.extend(newest.iter().map(|bundle| bundle.announcement.infohash_v1));
            }
            cursor = page.next;
            if cursor.is_none() || n_runs >= MAX_RUNS {
                break;
            }
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    async fn ask(&self, infohashes: &[[u8; 20]]) -> Result<Vec<u8>, ScrapeError> {
        let mut address = self.scrape.clone();
        let asked: Vec<String> = self
            .scrape
            .query()
            .map(str::to_owned)
            .into_iter()
            .chain(infohashes.iter().map(|hash| format!("info_hash={}", percent_encode(hash, NON_ALPHANUMERIC))))
            .collect();
        address.set_query(Some(&asked.join("&")));
        let mut answer = self.http.get(address).send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(ScrapeError::Refused { got: answer.status() });
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > LIMITS.bytes {
                return Err(ScrapeError::TooLong { limit: LIMITS.bytes });
            }
        }
        Ok(bytes)
    }
}

fn unreachable(error: reqwest::Error) -> ScrapeError {
    ScrapeError::Unreachable { reason: error.without_url().to_string() }
}

/// The scrape address of an announce address: the last part of the path begins with `announce`, which is replaced.
fn scrape_address(announce: &str) -> Option<Url> {
    let mut address = Url::parse(announce).ok().filter(|address| matches!(address.scheme(), "http" | "https"))?;
    let path = address.path().to_owned();
    let (above, last) = path.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    address.set_path(&format!("{above}/scrape{rest}"));
    Some(address)
}

/// What an answer says of the torrents that were asked for; of others nothing is taken.
fn read(bytes: &[u8], asked: &[[u8; 20]], asked_at: u64) -> Result<Vec<([u8; 20], Peers)>, ScrapeError> {
    let answer = |reason: String| ScrapeError::Answer { reason };
    let Value::Dict(said) = decode(bytes, LIMITS)? else { return Err(answer("expected a dictionary".to_owned())) };
    if let Some(Value::Bytes(reason)) = said.get(b"failure reason") {
        return Err(answer(String::from_utf8_lossy(reason).chars().take(200).collect()));
    }
    let Some(Value::Dict(files)) = said.get(b"files") else { return Err(answer("there are no files".to_owned())) };
    let mut out = Vec::new();
    for infohash in asked {
        let Some(Value::Dict(file)) = files.get(infohash) else { continue };
        let count = |name: &str| match file.get(name.as_bytes()) {
            Some(Value::Int(n)) => u64::try_from(*n).map_err(|_| answer(format!("{name}: {n}"))),
            other => Err(answer(format!("{name}: expected a number, got {}", other.map_or("nothing", Value::kind)))),
        };
        out.push((*infohash, Peers { seeders: count("complete")?, leechers: count("incomplete")?, asked_at }));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_stands_where_announce_did() {
        let cases = [
            ("http://t:1/announce", Some("http://t:1/scrape")),
            ("https://t/secret/announce?x=1", Some("https://t/secret/scrape?x=1")),
            ("http://t/announce.php", Some("http://t/scrape.php")),
            ("http://t/a/b", None),
            ("udp://t:1/announce", None),
            ("announce", None),
        ];
        for (announce, expected) in cases {
            assert_eq!(scrape_address(announce).map(String::from).as_deref(), expected, "{announce}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_taken_from_an_answer() {
        let (ours, foreign) = ([b'a'; 20], [b'b'; 20]);
        let file = |hash: [u8; 20], n: u8| {
            [b"20:", &hash[..], format!("d8:completei{n}e10:downloadedi7e10:incompletei1ee").as_bytes()].concat()
        };
        let answer = [&b"d5:filesd"[..], &file(ours, 3), &file(foreign, 9), b"ee"].concat();
        let expected = Peers { seeders: 3, leechers: 1, asked_at: 5 };
        assert_eq!(read(&answer, &[ours], 5).unwrap(), [(ours, expected)]);
        assert_eq!(read(&answer, &[[0; 20]], 5).unwrap(), []);
    }

    #[test]
    fn hostile_answers_are_refused_for_their_reason() {
        let ask = [b'a'; 20];
        let long = [&b"d5:files"[..], &[b'l'; 100], &[b'e'; 101]].concat();
        let cases: [(&[u8], &str); 7] = [
            (b"", "byte 0: the value does not end"),
            (b"<html>", "byte 0: "),
            (b"i7e", "expected a dictionary"),
            (b"d14:failure reason7:go awaye", "go away"),
            (b"d5:filesi1ee", "there are no files"),
            (b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei-1e10:incompletei0eeee", "complete: -1"),
            (&long, "byte "),
        ];
        for (bytes, expected) in cases {
            let error = read(bytes, &[ask], 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
