//! What is served from bundles that passed: evidence of steps, and files.

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::stream;
use ledger::{Digest, StepIndex, TreeSize};
use sha2::{Digest as _, Sha256};
use store::layout::{RunFile, run_dir_name};
use tokio::{sync::mpsc, task};

use super::evidence::StepEvidence;
use super::handlers::MAX_LINES;
use super::query::{Pairs, number, only, resolve};
use crate::{
    bundles::shelf::{BundleFile, OpenBundle, ShelfError},
    index::{BundleEntry, Index, RunEntry},
    server::{AppState, Refusal},
};

/// Longest file that is compared with the manifest before its first byte is sent; longer ones are compared meanwhile.
const MAX_AT_ONCE: u64 = 4 << 20;

/// Bytes of a piece of a longer file.
const PIECE: usize = 256 << 10;

/// Earlier roots in the evidence of a step.
const MAX_EARLIER: u64 = 8;

impl From<ShelfError> for Refusal {
    fn from(error: ShelfError) -> Self {
        Self::internal(&error)
    }
}

/// The bundle of a run that passed every check, if the chain carries what it has.
///
/// # Errors
/// [`Refusal::NoBundle`], or the index fails.
pub(crate) async fn bundle_of(state: &AppState, run: &RunEntry) -> Result<Arc<OpenBundle>, Refusal> {
    let none = || Refusal::NoBundle { run: run.run };
    let shelf = state.shelf().ok_or_else(none)?;
    let bundle = match shelf.of(run.key).await {
        Ok(found) => found.ok_or_else(none)?,
        Err(error) => {
            // The queue finds out what became of it.
            tracing::warn!(run = %run.run, %error, "bundle of {}: {error}", run.run);
            return Err(none());
        }
    };
    let checkpoint = &bundle.log().checkpoint;
    let is_carried = is_anchored(state.index(), run, (checkpoint.size, checkpoint.root)).await?;
    if is_carried { Ok(bundle) } else { Err(none()) }
}

/// Whether an epoch that follows left this size and root.
async fn is_anchored(index: &Index, run: &RunEntry, (size, root): (TreeSize, ledger::Root)) -> Result<bool, Refusal> {
    if (size, root) == (run.size, run.root) {
        return Ok(size.0 > 0);
    }
    let Some(last) = size.0.checked_sub(1) else { return Ok(false) };
    let epoch = index.epoch_of(run.key, StepIndex(last)).await?;
    Ok(epoch.is_some_and(|epoch| epoch.counter <= run.counter && (epoch.size, epoch.root) == (size, root)))
}

/// Evidence of a step: what a browser needs to check it itself (`docs/spec/evidence.md`).
#[utoipa::path(get, path = "/api/v1/runs/{run}/steps/{step}/evidence",
    params(("run" = String, Path), ("step" = u64, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "application/json", body = StepEvidence,
            description = "`epoch_proof` and `epoch_key` are `null` if the step is in no epoch that is here"),
        (status = 400, description = "malformed"),
        (status = 404, description = "no such run or step, or no bundle with it is here"),
        (status = 409, description = "several contracts have it")))]
pub(crate) async fn evidence(
    State(state): State<AppState>,
    Path((run, step)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let got = number("step", &step)?;
    if got >= entry.size.0 {
        return Err(Refusal::NoStep { run: entry.run, expected: entry.size.0, got });
    }
    let bundle = bundle_of(&state, &entry).await?;
    let here = bundle.log().checkpoint.size.0;
    if got >= here {
        return Err(Refusal::StepNotHere { run: entry.run, expected: here, got });
    }
    let tree = state.tree(&entry).await?;
    let earlier = earlier(state.index(), &entry).await?;
    let made = task::spawn_blocking(move || {
        let evidence = bundle.evidence(StepIndex(got), &tree, &earlier)?;
        Ok::<_, ShelfError>(evidence.to_json()?)
    });
    let json = made.await.map_err(|error| Refusal::internal(&error))??;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Sizes of the run after its last epochs but one.
async fn earlier(index: &Index, run: &RunEntry) -> Result<Vec<TreeSize>, Refusal> {
    let after = run.counter.saturating_sub(MAX_EARLIER + 1);
    let epochs = index.epochs(run.key, after, MAX_EARLIER as u32).await?;
    Ok(epochs.iter().filter(|epoch| epoch.counter < run.counter).map(|epoch| epoch.size).collect())
}

/// The `.torrent` of the bundle that passed: the announced one, if it was announced.
#[utoipa::path(get, path = "/api/v1/runs/{run}/bundle.torrent",
    params(("run" = String, Path), ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "application/x-bittorrent", body = Vec<u8>), (status = 400, description = "malformed"),
        (status = 404, description = "no such run, or no bundle of it is here"),
        (status = 409, description = "several contracts have it, or another torrent of the same files was announced")))]
pub(crate) async fn torrent(
    State(state): State<AppState>,
    Path(run): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let bundle = bundle_of(&state, &entry).await?;
    let manifest = bundle.manifest();
    let made = task::spawn_blocking(move || bundle.torrent()).await.map_err(|error| Refusal::internal(&error))??;
    let mut announced = state.index().bundles(entry.key, MAX_LINES).await?;
    announced.retain(|bundle| bundle.announcement.manifest_digest == manifest);
    let is_made = |bundle: &BundleEntry| {
        let announced = &bundle.announcement;
        (announced.infohash_v1, announced.infohash_v2) == (made.infohash_v1, made.infohash_v2)
    };
    if let Some(first) = announced.first()
        && !announced.iter().any(is_made)
    {
        let [expected, got] = [first.announcement.infohash_v1, made.infohash_v1].map(hex::encode);
        return Err(Refusal::OtherTorrent { run: entry.run, expected, got });
    }
    let head = [
        (header::CONTENT_TYPE, "application/x-bittorrent".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.torrent\"", run_dir_name(entry.run))),
    ];
    Ok((head, made.bytes.clone()).into_response())
}

/// A file of a bundle that passed, by its name in `run_manifest.json`, or that itself.
///
/// Its SHA-256 by the manifest is in `Repr-Digest` (RFC 9530). A file that is another by now is never sent whole.
#[utoipa::path(get, path = "/api/v1/runs/{run}/files/{name}",
    params(("run" = String, Path), ("name" = String, Path, description = "may have a slash, as proofs/step_000000.proof"),
        ("contract" = Option<String>, Query)),
    responses((status = 200, content_type = "application/octet-stream", body = String),
        (status = 400, description = "malformed"), (status = 404, description = "no such run or file, or no bundle is here"),
        (status = 409, description = "several contracts have it"), (status = 503, description = "the file was changed")))]
pub(crate) async fn file(
    State(state): State<AppState>,
    Path((run, name)): Path<(String, String)>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Refusal> {
    only(&pairs, &[])?;
    let entry = resolve(state.index(), &run, &pairs).await?;
    let bundle = bundle_of(&state, &entry).await?;
    let none = || Refusal::NoFile { run: entry.run, got: name.chars().take(100).collect() };
    let file = bundle.file(&name).ok_or_else(none)?;
    let head = [
        (header::CONTENT_TYPE, content_type(file.file).to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", last(&name))),
        (REPR_DIGEST, format!("sha-256=:{}:", STANDARD.encode(file.sha256.0))),
    ];
    let body = if file.len > MAX_AT_ONCE {
        whole(file)
    } else {
        let read = task::spawn_blocking(move || file.read());
        let bytes = read.await.map_err(|error| Refusal::internal(&error))?.map_err(|error| changed(&error, &name))?;
        Body::from(bytes)
    };
    Ok((head, body).into_response())
}

const REPR_DIGEST: header::HeaderName = header::HeaderName::from_static("repr-digest");

fn changed(error: &ShelfError, name: &str) -> Refusal {
    tracing::warn!(%error, name, "file of a bundle: {error}");
    Refusal::FileChanged { got: name.chars().take(100).collect() }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Bytes of a file's kind.
fn content_type(file: RunFile) -> &'static str {
    match file {
        RunFile::Run | RunFile::EpochRecord(_) | RunFile::Anchors | RunFile::Manifest => "application/json",
        RunFile::Steps => "application/jsonl",
        RunFile::Checkpoint | RunFile::Root => "text/plain; charset=utf-8",
        RunFile::Proof(_) | RunFile::ChunkProof(..) | RunFile::EpochProof(_) => "application/octet-stream",
    }
}

/// A long file, piece by piece. The last piece is sent only if all of them were the manifest's: else the connection is cut.
fn whole(file: BundleFile) -> Body {
    let (send, pieces) = mpsc::channel::<io::Result<Bytes>>(2);
    task::spawn_blocking(move || {
        if let Err(error) = pump(&file, &send) {
            tracing::warn!(%error, "file of a bundle: {error}");
            // The visitor may have gone.
            drop(send.blocking_send(Err(error)));
        }
    });
    Body::from_stream(stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces))))
}

fn pump(file: &BundleFile, send: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut source = file.open().map_err(io::Error::other)?;
    let (mut hasher, mut left, mut kept) = (Sha256::new(), file.len, None);
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        source.read_exact(&mut piece)?;
        hasher.update(&piece);
        left -= piece.len() as u64;
        if let Some(before) = kept.replace(Bytes::from(piece))
            && send.blocking_send(Ok(before)).is_err()
        {
            return Ok(());
        }
    }
    let (expected, got) = (file.sha256, Digest(hasher.finalize().into()));
    if got != expected {
        return Err(io::Error::other(format!("{}: SHA-256: expected {expected}, got {got}", file.name())));
    }
    if let Some(last) = kept {
        // The visitor may have gone.
        drop(send.blocking_send(Ok(last)));
    }
    Ok(())
}
