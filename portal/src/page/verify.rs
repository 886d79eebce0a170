//! Checks in the visitor's own browser: sections that the island's module brings to life (`docs/spec/evidence.md`), and the
//! page for files from disk. Without scripts, or without the island, a section says which command checks the same.

use axum::{extract::State, response::Html};
use leptos::prelude::*;

use super::{
    Place, layout,
    part::{api_below, command},
};
use crate::{
    index::RunEntry,
    server::{AppState, Island},
};

/// The page of files from disk.
pub(crate) async fn page(State(state): State<AppState>) -> Html<String> {
    layout("Verify a file", Place::Verify, None, files(state.options().island.as_ref()))
}

/// Sections of a step's page: its checks, and whether weights are the state after it.
pub(super) fn step(run: &RunEntry, step: u64, island: Option<&Island>) -> AnyView {
    let evidence = api_below(run, &format!("/steps/{step}/evidence"));
    let line = format!("cairn verify --run runs/run-{} --all --rpc URL --contract {}", run.run, run.contract);
    let Some(island) = island else {
        return view! {
            <section aria-labelledby="verify">
                <h2 id="verify">"Verify this step yourself"</h2>
                {missing()}
                {command("With the run's files and your own node:", line)}
            </section>
        }
        .into_any();
    };
    let after = step.saturating_add(1);
    let opening =
        format!("cairn check-weights --run runs/run-{} --weights model.safetensors --opening opening.json", run.run);
    view! {
        {module(island)}
        <section class="island" aria-labelledby="verify" data-island="step" data-evidence=evidence.clone()
            data-run=run.run.to_string() data-step=step.to_string()>
            <h2 id="verify">"Verify this step in your browser"</h2>
            <p>
                "One button repeats every check of the command line, by the same code: record, leaf, path, the root that your own "
                "node gives, the step's proof, the links to both neighbours, and the epoch's proof, whose key is compared with the "
                "registered verifier's code. This portal only hands over the bytes."
            </p>
            <form>
                {node("step-rpc", run, "Verify this step")}
            </form>
            {outcome("Checks of this step")}
            <noscript>{without(command("This needs scripts. The command makes the same checks:", line))}</noscript>
        </section>
        <section class="island" aria-labelledby="weights" data-island="weights" data-evidence=evidence data-run=run.run.to_string()>
            <h2 id="weights">{format!("Do you have the weights after step {step}?")}</h2>
            <p>
                "With the file of the weights and the opening that the run's owner gave you, your browser says whether they are "
                {format!("the committed state {after}. No byte of them leaves it.")}
            </p>
            <form>
                <div class="drops">
                    {drop("weights-weights", "weights", "Weights (safetensors)", ".safetensors", true)}
                    {drop("weights-opening", "opening", "Opening (JSON)", ".json", true)}
                </div>
                {node("weights-rpc", run, "Compare the weights")}
            </form>
            {outcome("Checks of the weights")}
            <noscript>{without(command("This needs scripts. The command makes the same checks:", opening))}</noscript>
        </section>
    }
    .into_any()
}

fn files(island: Option<&Island>) -> AnyView {
    let head = view! {
        <h1>"Verify a file"</h1>
        <p class="lede">
            "A capsule holds a run, its proofs and keys, and what the chain said. Your browser verifies it here, by the code of the "
            "command line. Nothing of a file leaves this page, and once it says that it is ready you can turn the network off."
        </p>
    };
    let capsule_line = "cairn verify --capsule run.capsule";
    let weights_line = "cairn check-weights --run runs/run-RUN --weights model.safetensors --opening opening.json";
    let Some(island) = island else {
        return view! {
            {head}
            {missing()}
            {command("A capsule:", capsule_line.to_owned())}
            {command("Weights, with their opening:", weights_line.to_owned())}
        }
        .into_any();
    };
    let (bytes, sent) = island.wasm_bytes();
    let size = format!("{:.1} MB of WebAssembly, {:.1} MB as sent", megabytes(bytes), megabytes(sent));
    view! {
        {module(island)}
        {head}
        <p class="ready" data-island-ready=size.clone() role="status">{size.clone()}</p>
        <section class="island" aria-labelledby="capsule" data-island="capsule">
            <h2 id="capsule">"A capsule"</h2>
            <form>
                {drop("capsule-capsule", "capsule", "Capsule", ".capsule", true)}
                <div class="fields">
                    <div>
                        <label for="capsule-hash">"Hash of its block, if you know it"</label>
                        <input id="capsule-hash" name="block_hash" autocomplete="off" spellcheck="false" placeholder="0x…"
                            aria-describedby="capsule-hash-help"/>
                        <p id="capsule-hash-help" class="help">
                            "A capsule brings its own chain state. Only a block hash from someone you trust ties it to the real chain."
                        </p>
                    </div>
                </div>
                <button disabled>"Verify the capsule"</button>
            </form>
            {outcome("Checks of the capsule")}
            <noscript>{without(command("This needs scripts. The command makes the same checks:", capsule_line.to_owned()))}</noscript>
        </section>
        <section class="island" aria-labelledby="weights" data-island="weights">
            <h2 id="weights">"Weights"</h2>
            <p>"Are these the weights at a state of a capsule's run? The opening says which state."</p>
            <form>
                <div class="drops">
                    {drop("weights-weights", "weights", "Weights (safetensors)", ".safetensors", true)}
                    {drop("weights-opening", "opening", "Opening (JSON)", ".json", true)}
                    {drop("weights-capsule", "capsule", "Capsule", ".capsule", true)}
                </div>
                <button disabled>"Compare the weights"</button>
            </form>
            {outcome("Checks of the weights")}
            <noscript>{without(command("This needs scripts. The command makes the same checks:", weights_line.to_owned()))}</noscript>
        </section>
    }
    .into_any()
}

/// Bytes as millions of them.
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn module(island: &Island) -> AnyView {
    view! { <script type="module" src=island.module()></script> }.into_any()
}

fn missing() -> AnyView {
    view! {
        <p class="note" role="note">
            "This portal was started without the files that browsers verify with (" <code>"cargo xtask island"</code>
            " makes them, " <code>"--island"</code> " names their folder). The command makes the same checks."
        </p>
    }
    .into_any()
}

fn without(command: AnyView) -> AnyView {
    view! { <div class="note">{command}</div> }.into_any()
}

/// The node that the visitor trusts, and the button.
fn node(id: &'static str, run: &RunEntry, words: &'static str) -> AnyView {
    let help = format!("{id}-help");
    view! {
        <label for=id>"Your own node"</label>
        <div class="line">
            <input id=id name="rpc" type="url" autocomplete="off" spellcheck="false" placeholder="http://127.0.0.1:8545"
                aria-describedby=help.clone()/>
            <button disabled>{words}</button>
        </div>
        <p id=help class="help">
            {format!("JSON-RPC address of a node of chain {} that answers web pages (CORS). It is asked for this run's registration \
                      and head and for the verifier of its epochs, directly from your browser. Without one these are not covered.", run.chain)}
        </p>
    }
    .into_any()
}

/// A place to drop a file at, or to choose one.
fn drop(id: &'static str, name: &'static str, words: &'static str, accept: &'static str, required: bool) -> AnyView {
    view! {
        <div class="drop" data-island-drop="">
            <label for=id>{words}</label>
            <input id=id name=name type="file" accept=accept required=required/>
            <p class="help" aria-hidden="true">"or drop it here"</p>
        </div>
    }
    .into_any()
}

/// Where lines and verdict appear.
fn outcome(label: &'static str) -> AnyView {
    view! {
        <p data-island-verdict="" role="status"></p>
        <ol class="checks" data-island-checks="" aria-label=label aria-live="polite"></ol>
    }
    .into_any()
}
