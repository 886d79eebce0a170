//! The portal as a program: follows its contracts and serves its pages until it is told to stop.
//!
//! | module | purpose |
//! |---|---|
//! | `cache` | validators, so that nothing is sent twice |
//! | `closed` | pages of closed epochs, kept as they are sent |
//! | `guard` | what every request passes |
//! | `island` | what visitors' browsers verify with |
//! | `limit` | how often one address may ask |
//! | `metrics` | counters |
//! | `refusal` | why a request is refused |
//! | `routes` | the table of addresses |
//! | `state` | what handlers share |
//! | `trees` | trees of runs that were asked for lately |

use std::{future::Future, io, net::SocketAddr, pin::Pin, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{bundles::Intake, follow::Follower, hooks::Teller, index::Index, seeders::Scraper};

pub(crate) mod cache;
pub(crate) mod closed;
pub(crate) mod guard;
pub(crate) mod island;
mod limit;
mod metrics;
pub(crate) mod refusal;
mod routes;
pub(crate) mod state;
mod trees;

pub use island::{Island, IslandError};
pub use limit::Rate;
pub use refusal::Refusal;
pub use routes::router;
pub use state::{AppState, Options};

/// Time that open connections get after the word to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a portal does beside serving.
#[derive(Default)]
pub struct Work {
    /// Follows contracts.
    pub followers: Vec<Follower>,
    /// Tells receivers of webhooks.
    pub tellers: Vec<Teller>,
    /// Asks trackers.
    pub scrapers: Vec<Scraper>,
    /// Takes in bundles.
    pub intake: Option<Intake>,
}

/// Follows, takes in bundles and serves until `stop` is ready, then finishes what it is answering and returns. The index is
/// closed. A check that is being made ends with the process, and begins anew with the next one.
///
/// # Errors
/// If the listener fails. Nodes that fail end nothing: they are asked again.
pub fn serve(
    index: Index,
    work: Work,
    options: Options,
    listener: TcpListener,
    stop: Pending<()>,
) -> Pending<io::Result<()>> {
    Box::pin(serving(index, work, options, listener, stop))
}

/// What will be. Boxed, so that all that the portal does is compiled here and not in every program that awaits it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn serving(
    index: Index,
    work: Work,
    options: Options,
    listener: TcpListener,
    stop: Pending<()>,
) -> io::Result<()> {
    let Work { followers, tellers, scrapers, intake } = work;
    let shelf = intake.as_ref().map(Intake::shelf);
    let state = AppState::with_bundles(index.clone(), &followers, options, shelf);
    let stopping = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    for follower in followers {
        let mut stopping = stopping.subscribe();
        tasks.spawn(async move {
            // The sender is gone only once this function has returned.
            follower.run(async { drop(stopping.wait_for(|stop| *stop).await) }).await;
        });
    }
    if let Some(intake) = intake {
        let mut stopping = stopping.subscribe();
        tasks.spawn(intake.run(async move { drop(stopping.wait_for(|stop| *stop).await) }));
    }
    for teller in tellers {
        let mut stopping = stopping.subscribe();
        tasks.spawn(async move {
            teller.run(async { drop(stopping.wait_for(|stop| *stop).await) }).await;
        });
    }
    for scraper in scrapers {
        let mut stopping = stopping.subscribe();
        tasks.spawn(async move {
            scraper.run(async { drop(stopping.wait_for(|stop| *stop).await) }).await;
        });
    }
    if let Some(dumps) = state.dumps().cloned() {
        let (index, mut stopping) = (index.clone(), stopping.subscribe());
        tasks.spawn(async move {
            dumps.run(&index, async { drop(stopping.wait_for(|stop| *stop).await) }).await;
        });
    }
    let app = router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let mut asked = stopping.subscribe();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        drop(asked.wait_for(|stop| *stop).await);
    });
    let mut server = tokio::spawn(async move { server.await });
    let early = tokio::select! {
        () = stop => None,
        ended = &mut server => Some(ended),
    };
    stopping.send_replace(true);
    state.drain();
    let served = match early {
        Some(ended) => ended.map_err(io::Error::other)?,
        // Connections that stay open do not keep the process.
        None => match tokio::time::timeout(GRACE, &mut server).await {
            Ok(ended) => ended.map_err(io::Error::other)?,
            Err(_) => {
                server.abort();
                Ok(())
            }
        },
    };
    while tasks.join_next().await.is_some() {}
    index.close().await;
    served
}
