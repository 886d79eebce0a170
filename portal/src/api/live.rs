//! What happens to a run, as server-sent events.
//!
//! The index is looked at in turn rather than told: several portals may share one, and each sees what the others read.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, Query, State},
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    model::RunView,
    query::{Pairs, only, resolve},
};
use crate::{
    index::{RunEntry, RunKey},
    server::{AppState, Refusal},
};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A run whenever it changes: first as it is, then each change, as event `run`; `gone` if a reorganisation took it.
#[utoipa::path(get, path = "/api/v1/runs/{run}/events",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it"),
        (status = 503, description = "too many listen: Retry-After")))]
pub(crate) async fn run(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    only(&pairs, &[])?;
    let place = state.listen()?;
    let key = resolve(state.index(), &run, &pairs).await?.key;
    let draining = state.draining();
    let watch = Watch { state, key, draining, told: None, ended: false, _place: place };
    Ok(Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default()))
}

/// A connection that listens.
struct Watch {
    state: AppState,
    key: RunKey,
    draining: watch::Receiver<bool>,
    /// The run as it was told last.
    told: Option<RunEntry>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            match self.state.index().run(self.key).await {
                Ok(None) => {
                    self.ended = true;
                    return Some((Ok(Event::default().event("gone").data("the chain took it back")), self));
                }
                Ok(Some(entry)) if self.told.as_ref() != Some(&entry) => {
                    let event = Event::default().event("run").json_data(RunView::from(&entry)).unwrap_or_default();
                    self.told = Some(entry);
                    return Some((Ok(event), self));
                }
                Ok(Some(_)) => {}
                // Not a change of the run; the next look may succeed.
                Err(error) => tracing::warn!(%error, "live updates: {error}"),
            }
            tokio::select! {
                _ = self.draining.wait_for(|draining| *draining) => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
