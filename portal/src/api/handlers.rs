//! The JSON under `/api/v1`.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use ledger::StepIndex;

use super::{
    model::{
        AttestationsView, BundlesView, EpochView, EpochsView, HealthView, HistoryView, RunView, RunsView, SeriesView,
        SourcesView, StepDetail, StepHit, StepView, StepsView, VerifiersView,
    },
    query::{Pairs, RunQuery, limit, number, only, parameter, resolve},
};
use crate::{
    index::{EpochEntry, Index, RunEntry, StepEntry},
    server::{AppState, Refusal},
    time::now,
};

/// Lines of lists that are not paged.
pub(crate) const MAX_LINES: u32 = 1_000;

/// Rounds that a follower may fail in a row before the portal says that it is behind.
const MAX_FAILURES: u32 = 5;

/// Runs: search, filter, sort, page.
#[utoipa::path(get, path = "/api/v1/runs",
    params(("q" = Option<String>, Query, description = "a run, root, state, transaction, account, infohash or record hash"),
        ("status" = Option<String>, Query, description = "may be repeated"), ("chain" = Option<u64>, Query),
        ("contract" = Option<String>, Query), ("owner" = Option<String>, Query), ("policy" = Option<String>, Query),
        ("optimizer" = Option<String>, Query, description = "adamw, sgd, or unknown while no bundle was seen"),
        ("parent" = Option<String>, Query, description = "runs that started from the end of this one"),
        ("min_steps" = Option<u64>, Query), ("max_steps" = Option<u64>, Query),
        ("from" = Option<String>, Query, description = "registered on this day or later, YYYY-MM-DD"),
        ("before" = Option<String>, Query, description = "registered before this day, YYYY-MM-DD"),
        ("sort" = Option<String>, Query, description = "newest, oldest, steps or anchored"),
        ("cursor" = Option<String>, Query), ("limit" = Option<u32>, Query, description = "1 to 200")),
    responses((status = 200, body = RunsView), (status = 400, description = "malformed")))]
pub(crate) async fn runs(State(state): State<AppState>, Query(pairs): Query<Pairs>) -> Result<Json<RunsView>, Refusal> {
    let query = RunQuery::parse(&pairs)?;
    let found = query.run(state.index()).await?;
    let facets = state.index().facets(&found.filter, now()).await?;
    let hit = |(run, step): &(RunEntry, StepIndex)| StepHit { run: run.run, contract: run.contract, step: *step };
    Ok(Json(RunsView {
        runs: found.page.runs.iter().map(RunView::from).collect(),
        next_cursor: found.page.next.map(|cursor| cursor.to_string()),
        facets: (&facets).into(),
        steps: found.steps.iter().map(hit).collect(),
    }))
}

/// A run.
#[utoipa::path(get, path = "/api/v1/runs/{run}",
    params(("run" = String, Path), ("contract" = Option<String>, Query, description = "if several have the run")),
    responses((status = 200, body = RunView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn run(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<RunView>, Refusal> {
    only(&pairs, &[])?;
    Ok(Json(RunView::from(&resolve(state.index(), &run, &pairs).await?)))
}

/// Epochs of a run that follow one another from the first step on.
#[utoipa::path(get, path = "/api/v1/runs/{run}/epochs",
    params(("run" = String, Path), ("contract" = Option<String>, Query),
        ("after" = Option<u64>, Query, description = "epoch that the page before ended with"),
        ("limit" = Option<u32>, Query, description = "1 to 200")),
    responses((status = 200, body = EpochsView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn epochs(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<EpochsView>, Refusal> {
    only(&pairs, &["after", "limit"])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let after = parameter(&pairs, "after").map(|text| number("after", text)).transpose()?.unwrap_or(0);
    let epochs = following(state.index(), &entry, after, limit(&pairs)?).await?;
    let next_after = epochs.last().map(|last| last.counter).filter(|last| *last < entry.counter);
    Ok(Json(EpochsView { epochs: epochs.iter().map(EpochView::from).collect(), next_after }))
}

/// Steps of a run that are anchored.
#[utoipa::path(get, path = "/api/v1/runs/{run}/steps",
    params(("run" = String, Path), ("contract" = Option<String>, Query),
        ("from" = Option<u64>, Query, description = "first step of the page"),
        ("limit" = Option<u32>, Query, description = "1 to 200")),
    responses((status = 200, body = StepsView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn steps(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<StepsView>, Refusal> {
    only(&pairs, &["from", "limit"])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let from = parameter(&pairs, "from").map(|text| number("from", text)).transpose()?.unwrap_or(0);
    let steps = anchored_steps(state.index(), &entry, StepIndex(from), limit(&pairs)?).await?;
    let next_from = steps.last().map(|last| last.step.0 + 1).filter(|next| *next < entry.size.0);
    Ok(Json(StepsView { steps: steps.iter().map(StepView::from).collect(), next_from }))
}

/// A step, its epoch, and the path from its leaf to the anchored root.
#[utoipa::path(get, path = "/api/v1/runs/{run}/steps/{step}",
    params(("run" = String, Path), ("step" = u64, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, body = StepDetail), (status = 400, description = "malformed"),
        (status = 404, description = "no such run or step"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn step(
    State(state): State<AppState>,
    Path((run, step)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<StepDetail>, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let evidence = evidence(&state, &entry, number("step", &step)?).await?;
    Ok(Json(StepDetail {
        step: (&evidence.step).into(),
        epoch: (&evidence.epoch).into(),
        path: evidence.path,
        size: entry.size,
        root: entry.root,
    }))
}

/// Learning rate, loss, gradient norm and proving time of steps, from records whose hashes are on chain.
#[utoipa::path(get, path = "/api/v1/runs/{run}/series",
    params(("run" = String, Path), ("contract" = Option<String>, Query),
        ("from" = Option<u64>, Query, description = "first step of the page"),
        ("limit" = Option<u32>, Query, description = "1 to 200")),
    responses((status = 200, body = SeriesView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn series(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<SeriesView>, Refusal> {
    only(&pairs, &["from", "limit"])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let from = parameter(&pairs, "from").map(|text| number("from", text)).transpose()?.unwrap_or(0);
    let limit = limit(&pairs)?;
    let words = state.index().step_words(entry.key, entry.size, (StepIndex(from), 1), limit).await?;
    let is_full = words.len() == limit as usize;
    let next_from = words.last().map(|last| last.step.0 + 1).filter(|next| is_full && *next < entry.size.0);
    Ok(Json(SeriesView { points: words.iter().map(Into::into).collect(), next_from }))
}

/// What happened to a run on chain, at most 1,000 events.
#[utoipa::path(get, path = "/api/v1/runs/{run}/history",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, body = HistoryView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn history(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<HistoryView>, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let events = state.index().run_events(entry.key, MAX_LINES).await?;
    Ok(Json(HistoryView { events: events.iter().map(Into::into).collect() }))
}

/// Bundles of a run: announced on chain, checked, and here.
#[utoipa::path(get, path = "/api/v1/runs/{run}/bundles",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, body = BundlesView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn bundles(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<BundlesView>, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let announced = state.index().bundles(entry.key, MAX_LINES).await?;
    let checked = state.index().verifications(entry.key, MAX_LINES).await?;
    let arrived = state.index().arrivals(entry.key, MAX_LINES).await?;
    Ok(Json(BundlesView {
        announced: announced.iter().map(Into::into).collect(),
        checked: checked.iter().map(Into::into).collect(),
        arrived: arrived.iter().map(Into::into).collect(),
    }))
}

/// What auditors said of a run, with what they took back.
#[utoipa::path(get, path = "/api/v1/runs/{run}/attestations",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, body = AttestationsView), (status = 400, description = "malformed"),
        (status = 404, description = "no such run"), (status = 409, description = "several contracts have it")))]
pub(crate) async fn attestations(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<AttestationsView>, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let attestations = state.index().attestations(entry.key, MAX_LINES).await?;
    Ok(Json(AttestationsView { attestations: attestations.iter().map(Into::into).collect() }))
}

/// Verifiers that accepted epochs.
#[utoipa::path(get, path = "/api/v1/verifiers", responses((status = 200, body = VerifiersView)))]
pub(crate) async fn verifiers(State(state): State<AppState>) -> Result<Json<VerifiersView>, Refusal> {
    let verifiers = state.index().verifiers(MAX_LINES).await?;
    Ok(Json(VerifiersView { verifiers: verifiers.iter().map(Into::into).collect() }))
}

/// Contracts that are followed, and how far.
#[utoipa::path(get, path = "/api/v1/sources", responses((status = 200, body = SourcesView)))]
pub(crate) async fn sources(State(state): State<AppState>) -> Result<Json<SourcesView>, Refusal> {
    let sources = state.index().sources().await?;
    Ok(Json(SourcesView { sources: sources.iter().map(Into::into).collect() }))
}

/// Whether the portal is up. `behind` says that a node fails; what was indexed is still served.
#[utoipa::path(get, path = "/health", responses((status = 200, body = HealthView)))]
pub(crate) async fn health(State(state): State<AppState>) -> Result<Json<HealthView>, Refusal> {
    state.index().sources().await?;
    let behind = state.followers().iter().any(|(_, health)| health.n_failures > MAX_FAILURES);
    Ok(Json(HealthView { status: if behind { "behind" } else { "ok" } }))
}

/// Counters in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(state): State<AppState>) -> Result<Response, Refusal> {
    let page = state.metrics().render(&state.gauges().await?);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response())
}

/// Epochs of a run that follow one another, after a counter.
///
/// # Errors
/// If the index fails.
pub(crate) async fn following(
    index: &Index,
    run: &RunEntry,
    after: u64,
    limit: u32,
) -> Result<Vec<EpochEntry>, Refusal> {
    let mut epochs = index.epochs(run.key, after, limit).await?;
    epochs.retain(|epoch| epoch.counter <= run.counter);
    Ok(epochs)
}

/// Steps of the epochs that follow one another, from one on.
///
/// # Errors
/// If the index fails.
pub(crate) async fn anchored_steps(
    index: &Index,
    run: &RunEntry,
    from: StepIndex,
    limit: u32,
) -> Result<Vec<StepEntry>, Refusal> {
    let mut steps = index.steps(run.key, from, limit).await?;
    steps.retain(|step| step.step.0 < run.size.0);
    Ok(steps)
}

/// A step with what shows that it is in the anchored root.
pub(crate) struct Evidence {
    /// The step.
    pub(crate) step: StepEntry,
    /// The epoch that carries it.
    pub(crate) epoch: EpochEntry,
    /// Siblings from the leaf to the root.
    pub(crate) path: Vec<ledger::Digest>,
}

/// Looks a step up and draws its path.
///
/// # Errors
/// [`Refusal::NoStep`], or the index fails.
pub(crate) async fn evidence(state: &AppState, run: &RunEntry, step: u64) -> Result<Evidence, Refusal> {
    let index = state.index();
    let none = || Refusal::NoStep { run: run.run, expected: run.size.0, got: step };
    let at = StepIndex(step);
    let found = anchored_steps(index, run, at, 1).await?.pop().filter(|found| found.step == at).ok_or_else(none)?;
    let epoch = index.epoch_of(run.key, at).await?.ok_or_else(none)?;
    let tree = state.tree(run).await?;
    let proof = tree.prove_inclusion(at, run.size).map_err(|error| Refusal::internal(&error))?;
    Ok(Evidence { step: found, epoch, path: proof.path })
}
