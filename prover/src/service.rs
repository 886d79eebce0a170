//! The prover service: trainers send steps, it proves them one after the other and keeps the log (spec `service`).
//!
//! An upload is on disk before it is accepted, so killing the process at any point loses nothing that was accepted: the next
//! one finds it in the run's inbox. Proving follows the trainer at its own pace; a bounded queue pushes back.
//!
//! | module | purpose |
//! |---|---|
//! | `api` | what requests and answers say |
//! | `frame` | tensors in requests |
//! | `hub` | all runs, their keys, the queue |
//! | `metrics` | counters |
//! | `provers` | who makes the proofs |
//! | `refusal` | why a request is refused |
//! | `routes` | the routes and their description |
//! | `run` | which steps of a run were accepted, and the state after them |
//! | `token` | who may ask |
//! | `worker` | has what was accepted proved, and puts it in the log |

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;

mod api;
mod frame;
mod hub;
mod metrics;
mod provers;
mod refusal;
mod routes;
mod run;
mod token;
mod worker;

pub use hub::{Config, Hub};
pub use provers::{Here, Provers, ProversError, Work};
pub use routes::{description, router};
pub use token::Token;

/// Time that open connections get after the last step.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop` is ready: then takes no more work, ends after the step that is being proved, and returns.
///
/// Errors: [`io::Error`] of the listener; `Other` if the worker panicked, which leaves everything on disk as a kill does.
pub fn serve(hub: Arc<Hub>, token: Token, listener: TcpListener, stop: Pending<()>) -> Pending<io::Result<()>> {
    Box::pin(serving(hub, token, listener, stop))
}

/// What will be. Boxed, so that all that the service does is compiled here and not in every program that awaits it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn serving(hub: Arc<Hub>, token: Token, listener: TcpListener, stop: Pending<()>) -> io::Result<()> {
    let working = hub.clone();
    let (done, mut worker_done) = tokio::sync::oneshot::channel();
    let worker = thread::Builder::new().name("prover".to_owned()).spawn(move || {
        worker::work(&working);
        // The receiver is gone if the server failed; nobody waits then.
        let _ = done.send(());
    })?;
    let stopping = hub.clone();
    let signal = async move {
        stop.await;
        stopping.drain();
    };
    let mut server = tokio::spawn({
        let app = router(hub.clone(), token);
        let mut draining = hub.draining();
        async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(async move {
                    // The sender lives in the hub, which the router holds.
                    let _ = draining.wait_for(|draining| *draining).await;
                })
                .await
        }
    });
    tokio::spawn(signal);
    let served = tokio::select! {
        // Either it drained, or it panicked, which joining it tells.
        _ = &mut worker_done => None,
        served = &mut server => Some(served),
    };
    hub.drain();
    match served {
        None => {
            // Connections that stay open do not keep the process: everything accepted is on disk.
            let _ = tokio::time::timeout(GRACE, &mut server).await;
        }
        Some(served) => {
            let _ = worker_done.await;
            served.map_err(io::Error::other)??;
        }
    }
    worker.join().map_err(|_| io::Error::other("the prover's thread panicked"))
}
