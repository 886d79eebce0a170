//! The routes: what each takes, checks and answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use ledger::{ChunkIndex, RunId, StepIndex};
use store::{PrivateError, RunDir};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::api::{Event, Health, NewRun, RunStatus, Runs, StepStatus, TakeWriter};
use super::frame;
use super::hub::{Created, Hub};
use super::refusal::Refusal;
use super::run::{Run, WriterId};
use super::token::Token;
use crate::session::{SessionError, read_state, seeds};
use crate::weights::{Opening, to_safetensors};

/// Seconds in which a body has to arrive.
const BODY_SECONDS: u64 = 300;

/// What handlers share.
#[derive(Clone)]
struct Context {
    hub: Arc<Hub>,
    token: Arc<Token>,
}

/// The service as a router.
pub fn router(hub: Arc<Hub>, token: Token) -> Router {
    let context = Context { hub, token: Arc::new(token) };
    let guarded = Router::new()
        .route("/v1/runs", get(list).post(create))
        .route("/v1/runs/{run}", get(status))
        .route("/v1/runs/{run}/writer", post(writer))
        .route("/v1/runs/{run}/finish", post(finish))
        .route("/v1/runs/{run}/events", get(events))
        .route("/v1/runs/{run}/state", get(state))
        .route("/v1/runs/{run}/states/{state}/weights", get(weights))
        .route("/v1/runs/{run}/states/{state}/opening", get(opening))
        .route("/v1/runs/{run}/steps/{step}", get(step))
        .route("/v1/runs/{run}/steps/{step}/chunks/{chunk}", put(upload))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(context.clone(), authorize));
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/openapi.json", get(openapi))
        .merge(guarded)
        .method_not_allowed_fallback(async || Refusal::Method {})
        .fallback(async || Refusal::NoRoute {})
        .layer(middleware::from_fn_with_state(context.clone(), count))
        .with_state(context)
}

/// The description of the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Cairn prover service", description = "Steps in, proofs out. See docs/spec/service.md."),
    paths(health, openapi, list, create, status, writer, finish, events, state, weights, opening, step, upload, metrics),
    components(schemas(NewRun, Event)),
    modifiers(&Security)
)]
struct Description;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The OpenAPI description as JSON.
///
/// Errors: [`serde_json::Error`].
pub fn description() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json()
}

async fn authorize(State(context): State<Context>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if context.token.admits(given) { next.run(request).await } else { Refusal::Token {}.into_response() }
}

async fn count(State(context): State<Context>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    context.hub.metrics.answered(response.status().as_u16());
    response
}

/// Runs what computes or waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(Refusal::internal)?
}

/// The whole body, within the limits.
async fn body(context: &Context, body: Body) -> Result<Bytes, Refusal> {
    let limit = context.hub.config.max_body;
    let read = tokio::time::timeout(Duration::from_secs(BODY_SECONDS), to_bytes(body, limit));
    match read.await {
        Err(_) => Err(Refusal::TooSlow { seconds: BODY_SECONDS }),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(Refusal::TooLarge { limit }),
        Ok(Err(error)) => Err(Refusal::Malformed { what: "body", reason: error.to_string() }),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(what: &'static str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|e: T::Err| Refusal::Malformed { what, reason: e.to_string() })
}

fn writer_of(headers: &HeaderMap) -> Result<WriterId, Refusal> {
    let malformed = |reason: String| Refusal::Malformed { what: "header Cairn-Writer", reason };
    let value = headers.get("cairn-writer").ok_or_else(|| malformed("not given".to_owned()))?;
    let text = value.to_str().map_err(|e| malformed(e.to_string()))?;
    WriterId::try_from(text.to_owned()).map_err(malformed)
}

fn octets(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

/// Whether the service is up. Needs no token.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = Health)))]
async fn health(State(context): State<Context>) -> Json<Health> {
    Json(Health { status: if context.hub.is_draining() { "draining" } else { "ok" } })
}

/// This description. Needs no token.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, description = "OpenAPI", body = Object)))]
async fn openapi() -> Result<Response, Refusal> {
    let text = description().map_err(Refusal::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// All runs.
#[utoipa::path(get, path = "/v1/runs", security(("token" = [])),
    responses((status = 200, body = Runs), (status = 401, description = "no valid token")))]
async fn list(State(context): State<Context>) -> Json<Runs> {
    Json(Runs { runs: context.hub.runs().iter().map(|run| run.status()).collect() })
}

/// Make a run from a frame: weights as tensors, a `NewRun` as the text `run` of its metadata.
#[utoipa::path(post, path = "/v1/runs", security(("token" = [])),
    params(("cairn-writer" = String, Header, description = "who writes the run: 8 to 64 of A-Z a-z 0-9 -")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = RunStatus), (status = 200, description = "it is there already", body = RunStatus),
        (status = 400, description = "malformed"), (status = 401, description = "no valid token"),
        (status = 404, description = "no such parent"), (status = 409, description = "another run or writer"),
        (status = 413, description = "too large"), (status = 422, description = "not allowed"),
        (status = 503, description = "draining")))]
async fn create(State(context): State<Context>, headers: HeaderMap, request: Body) -> Result<Response, Refusal> {
    let writer = writer_of(&headers)?;
    let bytes = body(&context, request).await?;
    let (status, created) = blocking(move || context.hub.create(writer, &bytes)).await?;
    let code = if created == Created::Now { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, Json(status)).into_response())
}

/// Where a run stands.
#[utoipa::path(get, path = "/v1/runs/{run}", security(("token" = [])), params(("run" = String, Path)),
    responses((status = 200, body = RunStatus), (status = 400, description = "malformed"),
        (status = 401, description = "no valid token"), (status = 404, description = "no such run")))]
async fn status(State(context): State<Context>, Path(run): Path<String>) -> Result<Json<RunStatus>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    Ok(Json(blocking(move || Ok(run.status())).await?))
}

/// Become the run's writer.
#[utoipa::path(post, path = "/v1/runs/{run}/writer", security(("token" = [])), request_body = TakeWriter,
    params(("run" = String, Path), ("cairn-writer" = String, Header)),
    responses((status = 200, body = RunStatus), (status = 400, description = "malformed"),
        (status = 401, description = "no valid token"), (status = 404, description = "no such run"),
        (status = 409, description = "another writer holds it"), (status = 413, description = "too large")))]
async fn writer(
    State(context): State<Context>,
    Path(run): Path<String>,
    headers: HeaderMap,
    request: Body,
) -> Result<Json<RunStatus>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let writer = writer_of(&headers)?;
    let bytes = body(&context, request).await?;
    let TakeWriter { take_over } =
        serde_json::from_slice(&bytes).map_err(|e| Refusal::Malformed { what: "body", reason: e.to_string() })?;
    let status = blocking(move || {
        if run.take_writer(writer, take_over)? {
            context.hub.release();
        }
        Ok(run.status())
    });
    Ok(Json(status.await?))
}

/// Take no more steps; the manifest is written once all are proved.
#[utoipa::path(post, path = "/v1/runs/{run}/finish", security(("token" = [])),
    params(("run" = String, Path), ("cairn-writer" = String, Header)),
    responses((status = 200, body = RunStatus), (status = 400, description = "malformed"),
        (status = 401, description = "no valid token"), (status = 404, description = "no such run"),
        (status = 409, description = "another writer holds it"), (status = 422, description = "a step is incomplete")))]
async fn finish(
    State(context): State<Context>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Json<RunStatus>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let writer = writer_of(&headers)?;
    let status = blocking(move || {
        run.check_writer(&writer)?;
        run.finish()?;
        context.hub.notify();
        Ok(run.status())
    });
    Ok(Json(status.await?))
}

/// What happens in a run, as server-sent events: first `status`, then each `Event` under its name.
#[utoipa::path(get, path = "/v1/runs/{run}/events", security(("token" = [])), params(("run" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 400, description = "malformed"),
        (status = 401, description = "no valid token"), (status = 404, description = "no such run")))]
async fn events(
    State(context): State<Context>,
    Path(run): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    // Subscribed before the status is taken: an event may be told twice, none is lost.
    let receiver = run.events.subscribe();
    let draining = context.hub.draining();
    let status = |run: &Run| sse::Event::default().event("status").json_data(run.status()).unwrap_or_default();
    let first = status(&run);
    let follow = stream::unfold((receiver, draining, run), move |(mut receiver, mut draining, run)| async move {
        let received = tokio::select! {
            biased;
            received = receiver.recv() => received,
            // A service that stops ends its streams, else it would wait for their listeners.
            () = stopped(&mut draining) => return None,
        };
        let event = match received {
            Ok(event) => sse::Event::default().event(event.name()).json_data(&event).unwrap_or_default(),
            // The listener is behind: where things stand replaces what it missed.
            Err(RecvError::Lagged(_)) => {
                let of = run.clone();
                tokio::task::spawn_blocking(move || status(&of)).await.ok()?
            }
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (receiver, draining, run)))
    });
    let all = futures_util::StreamExt::chain(stream::once(async move { Ok(first) }), follow);
    Ok(Sse::new(all).keep_alive(KeepAlive::default()))
}

async fn stopped(draining: &mut watch::Receiver<bool>) {
    // The sender lives in the hub, which the router holds.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// The state after all accepted steps, as a frame: `w`, `m` (I32), `v` (U64), raw. To resume a trainer.
#[utoipa::path(get, path = "/v1/runs/{run}/state", security(("token" = [])), params(("run" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "malformed"), (status = 401, description = "no valid token"),
        (status = 404, description = "no such run")))]
async fn state(State(context): State<Context>, Path(run): Path<String>) -> Result<Response, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let bytes = blocking(move || {
        let (state, step) = run.head();
        frame::of_state(&state, &[("step", step.to_string())])
    });
    Ok(octets(bytes.await?))
}

/// The state before step `state` of a run, if the steps before it are proved.
fn proved_state(run: &Run, state: u64) -> Result<circuits::reference::State, Refusal> {
    let none = Refusal::NoState { run: run.description.run, state };
    if state > run.progress().proved {
        return Err(none);
    }
    match read_state(&run.private, StepIndex(state)) {
        Ok(found) => Ok(found),
        Err(SessionError::Private(PrivateError::Missing { .. })) => Err(none),
        Err(error) => Err(Refusal::internal(error)),
    }
}

/// The weights of a proved state, safetensors in F64: the weights after that many steps.
#[utoipa::path(get, path = "/v1/runs/{run}/states/{state}/weights", security(("token" = [])),
    params(("run" = String, Path), ("state" = u64, Path, description = "number of steps done")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "malformed"), (status = 401, description = "no valid token"),
        (status = 404, description = "no such run or state")))]
async fn weights(
    State(context): State<Context>,
    Path((run, state)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let state: u64 = parse("state", &state)?;
    let bytes = blocking(move || {
        let found = proved_state(&run, state)?;
        to_safetensors(&run.description.layout, &found.w).map_err(Refusal::internal)
    });
    Ok(octets(bytes.await?))
}

/// The opening of a proved state, to be given away with its weights: it opens that state and no other.
#[utoipa::path(get, path = "/v1/runs/{run}/states/{state}/opening", security(("token" = [])),
    params(("run" = String, Path), ("state" = u64, Path, description = "number of steps done")),
    responses((status = 200, description = "as `cairn open` writes it", body = Object),
        (status = 400, description = "malformed"), (status = 401, description = "no valid token"),
        (status = 404, description = "no such run or state")))]
async fn opening(
    State(context): State<Context>,
    Path((run, state)): Path<(String, String)>,
) -> Result<Json<Opening>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let state: u64 = parse("state", &state)?;
    let opening = blocking(move || {
        let found = proved_state(&run, state)?;
        let d = &run.description;
        let dir = RunDir::open(&run.dir).map_err(Refusal::internal)?;
        let digest = match state.checked_sub(1) {
            None => d.genesis_state,
            Some(last) => {
                let log = dir.log().map_err(Refusal::internal)?;
                dir.record(&log, StepIndex(last)).map_err(Refusal::internal)?.record().state_out
            }
        };
        let seeds = seeds(&run.private).map_err(Refusal::internal)?;
        let seeds = seeds.ok_or_else(|| Refusal::internal("the run's secret is not here"))?;
        Opening::new(d.run, state, digest, &seeds.state(d.run, state), &found).map_err(Refusal::internal)
    });
    Ok(Json(opening.await?))
}

/// Where a step stands.
#[utoipa::path(get, path = "/v1/runs/{run}/steps/{step}", security(("token" = [])),
    params(("run" = String, Path), ("step" = u64, Path)),
    responses((status = 200, body = StepStatus), (status = 400, description = "malformed"),
        (status = 401, description = "no valid token"), (status = 404, description = "no such run"),
        (status = 409, description = "nothing of this step is here")))]
async fn step(
    State(context): State<Context>,
    Path((run, step)): Path<(String, String)>,
) -> Result<Json<StepStatus>, Refusal> {
    let run = context.hub.run(parse("run", &run)?)?;
    let step: StepIndex = parse("step", &step)?;
    Ok(Json(blocking(move || run.step(step.0)).await?))
}

/// Send one chunk of the next step as a frame: `g`, and if wanted `w`, `m`, `v` of the state before.
#[utoipa::path(put, path = "/v1/runs/{run}/steps/{step}/chunks/{chunk}", security(("token" = [])),
    params(("run" = String, Path), ("step" = u64, Path), ("chunk" = u32, Path), ("cairn-writer" = String, Header)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 202, body = StepStatus), (status = 200, description = "it was here already", body = StepStatus),
        (status = 400, description = "malformed"), (status = 401, description = "no valid token"),
        (status = 404, description = "no such run or chunk"),
        (status = 409, description = "out of order, another upload, writer or state"),
        (status = 413, description = "too large"), (status = 422, description = "a value has no place"),
        (status = 429, description = "the queue is full: Retry-After"), (status = 503, description = "draining")))]
async fn upload(
    State(context): State<Context>,
    Path((run, step, chunk)): Path<(String, String, String)>,
    headers: HeaderMap,
    request: Body,
) -> Result<Response, Refusal> {
    let run: RunId = parse("run", &run)?;
    let place: (StepIndex, ChunkIndex) = (parse("step", &step)?, parse("chunk", &chunk)?);
    let writer = writer_of(&headers)?;
    let bytes = body(&context, request).await?;
    let status = blocking(move || context.hub.submit(run, place, &writer, &bytes)).await?;
    let code = if status.repeated { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((code, Json(status)).into_response())
}

/// Counters in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", security(("token" = [])),
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, description = "no valid token")))]
async fn metrics(State(context): State<Context>) -> Response {
    let page = context.hub.metrics.render(context.hub.gauges());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}
