//! What the files of a bundle say of a step: record, statement, raw bytes, proofs.

use std::sync::Arc;

use ledger::{SealedRecord, StepIndex};
use leptos::prelude::*;
use serde_json::Value;
use store::layout::RunFile;
use tokio::task;

use super::part::{api_below, fact, hash, link, shortest, text};
use crate::{
    api::files::bundle_of,
    bundles::shelf::{OpenBundle, ShelfError},
    index::RunEntry,
    server::{AppState, Refusal},
};

/// Bytes of a proof on the page.
const MAX_SHOWN: usize = 256;

/// Bytes of a line of the page.
const BYTES_A_LINE: usize = 32;

/// Proofs on the page; a step of many chunks has a link for each in its manifest.
const MAX_PROOFS: usize = 16;

/// A step as the files have it.
pub(super) struct StepFiles {
    record: SealedRecord,
    proofs: Vec<ProofFile>,
    n_chunks: u32,
}

struct ProofFile {
    name: String,
    len: u64,
    sha256: String,
    /// The first bytes.
    head: Vec<u8>,
}

impl StepFiles {
    /// The bundle of a run that passed, if there is one.
    ///
    /// # Errors
    /// If the index fails.
    pub(super) async fn bundle(state: &AppState, run: &RunEntry) -> Result<Option<Arc<OpenBundle>>, Refusal> {
        match bundle_of(state, run).await {
            Ok(bundle) => Ok(Some(bundle)),
            Err(Refusal::NoBundle { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads them; none if the bundle does not have the step.
    ///
    /// # Errors
    /// If reading breaks off.
    pub(super) async fn of(
        bundle: Option<Arc<OpenBundle>>,
        run: &RunEntry,
        step: StepIndex,
    ) -> Result<Option<Self>, Refusal> {
        let has_step = |bundle: &Arc<OpenBundle>| step.0 < bundle.log().checkpoint.size.0;
        let Some(bundle) = bundle.filter(has_step) else { return Ok(None) };
        let read = task::spawn_blocking(move || {
            let record = bundle.record(step)?;
            let n_chunks = bundle.run().policy.n_chunks;
            let names = record.record().proofs().map(|(chunk, _)| RunFile::proof(step, chunk, n_chunks).relative());
            let files = names.filter_map(|name| bundle.file(&name)).take(MAX_PROOFS);
            let proofs = files.map(|file| {
                let mut head = file.read()?;
                head.truncate(MAX_SHOWN);
                Ok::<_, ShelfError>(ProofFile {
                    name: file.name(),
                    len: file.len,
                    sha256: file.sha256.to_string(),
                    head,
                })
            });
            let proofs = proofs.collect::<Result<_, _>>()?;
            Ok::<_, ShelfError>(Self { record, proofs, n_chunks })
        });
        match read.await.map_err(|error| Refusal::internal(&error))? {
            Ok(files) => Ok(Some(files)),
            Err(error) => {
                // The page of the chain's word is whole without them.
                tracing::warn!(run = %run.run, %step, %error, "files of step {step}: {error}");
                Ok(None)
            }
        }
    }

    /// As a part of the step's page.
    pub(super) fn show(&self, run: &RunEntry) -> AnyView {
        let record = self.record.record();
        let line = String::from_utf8_lossy(self.record.bytes()).into_owned();
        let whole: Value = serde_json::from_str(&line).unwrap_or_default();
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
        let learning_rate = shortest(record.statement.hyper.lr);
        let word = |value: Option<String>| value.unwrap_or_else(|| "not said".to_owned());
        let meta = &record.meta;
        let evidence = api_below(run, &format!("/steps/{}/evidence", record.statement.step));
        let more = usize::try_from(self.n_chunks).ok().and_then(|n| n.checked_sub(self.proofs.len())).unwrap_or(0);
        let more =
            (more > 0).then(|| view! { <p class="help">{format!("{more} more are listed in run_manifest.json.")}</p> });
        let proofs: Vec<_> = self.proofs.iter().map(|proof| proof.show(run)).collect();
        view! {
            <section aria-labelledby="files">
                <h2 id="files">"What the files say"</h2>
                <p>"From the bundle that passed every check here. Its record hash is the A above; its statement gives the D above."</p>
                <dl class="facts">
                    {fact("Learning rate (proved within the policy)", text(learning_rate))}
                    {fact("Loss (the submitter's word)", text(word(meta.loss.as_ref().map(ToString::to_string))))}
                    {fact("Accuracy (the submitter's word)", text(word(meta.accuracy.as_ref().map(ToString::to_string))))}
                    {fact("Proving time (the submitter's word)", text(word(meta.prove_ms.map(|ms| format!("{ms} ms")))))}
                    {fact("State after", hash(record.state_out))}
                </dl>
                <h3>"Statement"</h3>
                <p>"What the proof is of: commitments before and after, gradient commitment, hyper-parameters, schedule."</p>
                <pre class="bytes" tabindex="0"><code>{pretty(&whole["statement"])}</code></pre>
                <h3>"Record"</h3>
                <p>{format!("The line of steps.jsonl, {} bytes; A is SHA-256 of exactly these.", self.record.bytes().len())}</p>
                <pre class="bytes" tabindex="0"><code>{line}</code></pre>
                <h3>"Proof"</h3>
                {proofs}
                {more}
                <p><a href=evidence>"Evidence of this step (JSON): all that a check in a browser needs"</a></p>
            </section>
        }
        .into_any()
    }
}

impl ProofFile {
    fn show(&self, run: &RunEntry) -> AnyView {
        let dump: Vec<String> = self.head.chunks(BYTES_A_LINE).map(hex::encode).collect();
        let shown = self.head.len();
        let words = format!("{} ({} bytes)", self.name, self.len);
        view! {
            <dl class="facts">
                {fact("File", link(api_below(run, &format!("/files/{}", self.name)), words))}
                {fact("SHA-256", hash(&self.sha256))}
            </dl>
            <p class="help">{format!("Its first {shown} bytes:")}</p>
            <pre class="bytes" tabindex="0"><code>{dump.join("\n")}</code></pre>
        }
        .into_any()
    }
}
