//! A portal over an index of many runs, for `cargo xtask bench portal`: fills the index as a follower does, says how long
//! that took as one line of JSON, and serves until its standard input ends.
//!
//! Arguments: path of the SQLite file, number of runs, epochs a run, steps an epoch.

#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../chain/tests/it/support/anvil.rs"]
mod anvil;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../chain/tests/it/support/epochs.rs"]
mod epochs;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/it/support/history.rs"]
mod history;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../chain/tests/it/support/world.rs"]
mod world;

use std::{
    error::Error,
    io::{Read, Write},
    time::Instant,
};

use chain::AnchorLog;
use history::{History, SOURCE, batch, block};
use portal::{
    index::{Index, SourceKey, Verification},
    server::{Options, Rate, Work, serve},
};
use serde_json::json;
use tokio::net::TcpListener;

/// Events that a follower would read in one round.
const PER_BATCH: usize = 1_000;

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, n_runs, n_epochs, n_steps] = args.as_slice() else { return Err("four arguments are needed".into()) };
    let (n_runs, n_epochs, n_steps) = (n_runs.parse()?, n_epochs.parse()?, n_steps.parse()?);
    let index = Index::open(&format!("sqlite:{path}")).await?;
    let start = Instant::now();
    let (histories, n_events) = fill(&index, n_runs, n_epochs, n_steps).await?;
    let index_s = start.elapsed().as_secs_f64();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let run = histories.get(histories.len() / 2).ok_or("no run was asked for")?.log.run;
    let said = json!({
        "listen": format!("http://{}", listener.local_addr()?),
        "run": run,
        "step": n_epochs * n_steps / 2,
        "n_events": n_events,
        "index_s": index_s,
        "database_bytes": std::fs::metadata(path)?.len(),
    });
    println!("{said}");
    std::io::stdout().flush()?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error ends it as the end does.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let rate = Rate { per_second: 1e9, burst: 1e9 };
    let options = Options { rate, ..Options::default() };
    serve(index, Work::default(), options, listener, Box::pin(async { drop(end.await) })).await?;
    Ok(())
}

/// Registrations, then epoch after epoch of all runs, an event a block; then the contract's word on every head, and a
/// verification of every second run.
async fn fill(index: &Index, n_runs: u64, n_epochs: u64, n_steps: u64) -> Result<(Vec<History>, usize), Failure> {
    let source = index.source(&SOURCE).await?;
    let mut histories: Vec<_> = (1..=n_runs).map(History::new).collect();
    let mut feed = Feed { index, source, after: None, next: 1, logs: Vec::new(), n_events: 0 };
    for history in &histories {
        let log = history.registered(feed.next);
        feed.push(log).await?;
    }
    for _ in 0..n_epochs {
        for history in &mut histories {
            let log = history.anchored(feed.next, n_steps);
            feed.push(log).await?;
        }
    }
    feed.flush().await?;
    let last = feed.next - 1;
    for (at, history) in histories.iter().enumerate() {
        let run = index.runs_by_id(history.log.run).await?.first().ok_or("a run is not in the index")?.key;
        let head = history.head(last, false);
        index.confirm(run, block(0, last).at, Some(&head), false).await?;
        if at % 2 == 0 {
            let checked = Verification {
                manifest: ledger::Digest::of(history.log.run.to_field().as_bytes()),
                size: head.size,
                root: head.root,
                failure: None,
                version: "bench".to_owned(),
                checked_at: block(0, last).time,
            };
            index.note_verification(run, &checked).await?;
        }
    }
    Ok((histories, feed.n_events))
}

/// Events on their way into the index.
struct Feed<'i> {
    index: &'i Index,
    source: SourceKey,
    after: Option<u64>,
    /// The block of the next event.
    next: u64,
    logs: Vec<AnchorLog>,
    n_events: usize,
}

impl Feed<'_> {
    async fn push(&mut self, log: AnchorLog) -> Result<(), Failure> {
        self.logs.push(log);
        self.next += 1;
        if self.logs.len() == PER_BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let last = self.next - 1;
        let logs = std::mem::take(&mut self.logs);
        let batch = batch(self.after, last, logs);
        self.n_events += self.index.apply(self.source, &batch).await?.n_events;
        self.after = Some(last);
        Ok(())
    }
}
