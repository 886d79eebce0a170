// For pages: `verify(request, onCheck)` makes checks in a worker, and `mount(section)` gives a section of a page its button,
// its lines and its verdict. Without scripts the section is plain text with the commands that check the same.
//
// A section, as the server renders it:
//   <section data-island="step" data-evidence="URL" data-run="0x…" data-step="5">
//     <form> … <input name="rpc"> <button> … </form>
//     <ol data-island-checks></ol> <p data-island-verdict role="status"></p>
//   </section>
// `data-island` is one of step, capsule (input `capsule`, optional `block_hash`) and weights (inputs `weights`, `opening`,
// and either `data-evidence` and `data-run` or input `capsule`). What a node is asked goes to the input `rpc` only.
// `data-island-drop` is a zone around a file input; `data-island-ready` an element that says when no network is needed.

let worker;
let last = 0;
const waiting = new Map();

/** Starts the worker once. */
function start() {
  if (worker) return worker;
  worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => {
    const waits = waiting.get(data.id);
    if (!waits) return;
    if (data.check) return waits.onCheck(data.check);
    waiting.delete(data.id);
    if (data.done) waits.resolve(data.done);
    else waits.reject(new Error(data.error));
  });
  worker.addEventListener("error", (event) => {
    const error = new Error(event.message || "the worker did not start");
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    worker = undefined;
  });
  return worker;
}

/**
 * Makes the checks of one request, `{ request: "step" | "capsule" | "weights", … }` (see worker.js).
 *
 * Resolves to `{ holds, ms, wasm: { bytes, ms, version } }`; rejects if the checks could not be made, which says nothing
 * about the run.
 */
export function verify(request, onCheck) {
  const id = ++last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { onCheck, resolve, reject });
    start().postMessage({ id, ...request });
  });
}

/** Loads everything that checks need, so that they can be made without a network. */
export function load() {
  return verify({ request: "load" }, () => {});
}

const WORDS = { passed: "✓ passed", failed: "✗ failed", not_covered: "– not covered" };

function line({ check, state, detail, ms }) {
  const item = document.createElement("li");
  item.dataset.state = state;
  const part = (name, text) => {
    const element = document.createElement("span");
    element.className = `island-${name}`;
    // Text only: nothing of a file or a node becomes markup.
    element.textContent = text;
    item.append(element, " ");
  };
  part("state", WORDS[state] ?? state);
  part("check", check);
  part("detail", detail);
  part("ms", `${ms.toFixed(1)} ms`);
  return item;
}

function verdict({ holds, ms, wasm }, uncovered) {
  const rest = uncovered ? `; ${uncovered} not covered` : "";
  const word = holds ? `Every check that was made holds${rest}.` : "This does not hold: see the failed check.";
  const size = `${(wasm.bytes / 1e6).toFixed(2)} MB of wasm, loaded in ${wasm.ms.toFixed(0)} ms`;
  return `${word} ${ms.toFixed(0)} ms by cairn ${wasm.version} in your browser (${size}).`;
}

async function requestOf(section) {
  const { island, evidence, run, step } = section.dataset;
  const fields = new FormData(section.querySelector("form"));
  const file = (name) => (fields.get(name)?.size ? fields.get(name) : undefined);
  const text = (name) => fields.get(name)?.toString().trim() || undefined;
  const fetched = async () => {
    const response = await fetch(evidence);
    if (!response.ok) throw new Error(`evidence: HTTP status ${response.status}`);
    return response.arrayBuffer();
  };
  const needed = (name) => {
    const found = file(name);
    if (!found) throw new Error(`choose a file: ${name}`);
    return found;
  };
  switch (island) {
    case "step":
      return { request: "step", evidence: await fetched(), run, step, rpc: text("rpc") };
    case "capsule":
      return { request: "capsule", capsule: needed("capsule"), blockHash: text("block_hash") };
    case "weights": {
      const files = { weights: needed("weights"), opening: needed("opening") };
      const capsule = file("capsule");
      if (capsule) return { request: "weights", capsule, ...files };
      return { request: "weights", evidence: await fetched(), run, rpc: text("rpc"), ...files };
    }
    default:
      throw new Error(`no island is called ${island}`);
  }
}

/** Gives a section its life. */
export function mount(section) {
  const form = section.querySelector("form");
  const lines = section.querySelector("[data-island-checks]");
  const words = section.querySelector("[data-island-verdict]");
  const button = form.querySelector("button");
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    lines.replaceChildren();
    section.dataset.state = "running";
    words.textContent = "Checking …";
    let uncovered = 0;
    try {
      const done = await verify(await requestOf(section), (check) => {
        uncovered += check.state === "not_covered";
        lines.append(line(check));
      });
      section.dataset.state = done.holds ? "holds" : "fails";
      words.textContent = verdict(done, uncovered);
    } catch (error) {
      section.dataset.state = "unknown";
      words.textContent = `The check could not be made, which says nothing about the run: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  });
  for (const zone of form.querySelectorAll("[data-island-drop]")) droppable(zone);
}

/** Gives the file input of a zone what is dropped anywhere in the zone. */
function droppable(zone) {
  const input = zone.querySelector("input[type=file]");
  const over = (event) => {
    event.preventDefault();
    zone.dataset.over = "";
  };
  zone.addEventListener("dragenter", over);
  zone.addEventListener("dragover", over);
  zone.addEventListener("dragleave", () => delete zone.dataset.over);
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    delete zone.dataset.over;
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

/** Loads everything at once where a page says that it then needs no network, and says when that is so. */
async function ready(element) {
  try {
    const { wasm } = await load();
    element.textContent = `Ready without a network: cairn ${wasm.version}, ${element.dataset.islandReady}, loaded in ${wasm.ms.toFixed(0)} ms.`;
    element.dataset.state = "ready";
  } catch (error) {
    element.textContent = `What verifies did not load: ${error.message}`;
    element.dataset.state = "unknown";
  }
}

for (const section of document.querySelectorAll("[data-island]")) mount(section);
for (const element of document.querySelectorAll("[data-island-ready]")) ready(element);
