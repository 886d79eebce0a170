// The worker that verifies. The page's thread stays free; nothing of a file leaves the browser.
//
// In:  { id, request, … } with `request` one of load, step, capsule, weights.
// Out: { id, check } for each check when it is made, then { id, done: { holds, ms, wasm } } or { id, error }.

import init, * as island from "./island.js";

/** Answers of a node are awaited for this long. */
const RPC_TIMEOUT_MS = 20_000;

let loaded;

/** Loads the wasm once; says how large it is and how long that took. */
function load() {
  loaded ??= (async () => {
    const start = performance.now();
    const response = await fetch(new URL("./island_bg.wasm", import.meta.url));
    if (!response.ok) throw new Error(`island_bg.wasm: HTTP status ${response.status}`);
    const bytes = await response.arrayBuffer();
    await init({ module_or_path: bytes });
    return { bytes: bytes.byteLength, ms: performance.now() - start, version: island.version() };
  })();
  return loaded;
}

/** An error that a node answered with, as it does where a contract reverts. */
class Answered extends Error {}

/** One call of JSON-RPC at the visitor's own node. */
async function ask(rpc, method, params) {
  const response = await fetch(rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    credentials: "omit",
    referrerPolicy: "no-referrer",
    signal: AbortSignal.timeout(RPC_TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`${method}: the node answered with HTTP status ${response.status}`);
  const answer = await response.json();
  if (answer.error) throw new Answered(`${method}: ${answer.error.message ?? "the node answered with an error"}`);
  return answer.result;
}

/** What the node says of the evidence's run, all of it at one block; undefined without a node. */
async function answers(rpc, evidence) {
  if (!rpc) return undefined;
  const { contract, head, run, registry, verifier } = JSON.parse(island.questions(evidence));
  const [chain_id, block] = await Promise.all([
    ask(rpc, "eth_chainId", []),
    ask(rpc, "eth_getBlockByNumber", ["latest", false]),
  ]);
  const at = { blockHash: block.hash, requireCanonical: true };
  const call = (data, to = contract) => ask(rpc, "eth_call", [{ to, data }, at]);
  const [head_answer, run_answer, verifier_answer] = await Promise.all([
    call(head),
    call(run),
    verifier && placed(rpc, call, { registry, verifier }, at),
  ]);
  return JSON.stringify({
    block_number: block.number,
    block_hash: block.hash,
    chain_id,
    head: head_answer,
    run: run_answer,
    verifier: verifier_answer ?? null,
  });
}

/** The verifier that the contract's registry names, and its code; or the node's words if the registry names none. */
async function placed(rpc, call, questions, at) {
  const addressIn = (word) => `0x${word.slice(-40)}`;
  const registry = await call(questions.registry);
  let verifier;
  try {
    verifier = await call(questions.verifier, addressIn(registry));
  } catch (error) {
    if (!(error instanceof Answered)) throw error;
    return { refused: error.message };
  }
  return { registry, verifier, code: await ask(rpc, "eth_getCode", [addressIn(verifier), at]) };
}

async function bytesOf(source) {
  return new Uint8Array(source instanceof Blob ? await source.arrayBuffer() : source);
}

const requests = {
  async load() {
    return true;
  },
  async step({ evidence, run, step, rpc }, onCheck) {
    const bytes = await bytesOf(evidence);
    return island.verify_step(bytes, run, BigInt(step), await answers(rpc, bytes), onCheck);
  },
  async capsule({ capsule, blockHash }, onCheck) {
    return island.verify_capsule(await bytesOf(capsule), blockHash || undefined, onCheck);
  },
  async weights({ evidence, capsule, run, rpc, weights, opening }, onCheck) {
    const files = [await bytesOf(weights), await bytesOf(opening)];
    if (capsule) return island.check_capsule_weights(await bytesOf(capsule), ...files, onCheck);
    const bytes = await bytesOf(evidence);
    return island.check_weights(bytes, run, await answers(rpc, bytes), ...files, onCheck);
  },
};

self.addEventListener("message", async ({ data: { id, request, ...details } }) => {
  try {
    const wasm = await load();
    const start = performance.now();
    const onCheck = { tell: (line) => self.postMessage({ id, check: JSON.parse(line) }) };
    const holds = await requests[request](details, onCheck);
    self.postMessage({ id, done: { holds, ms: performance.now() - start, wasm } });
  } catch (error) {
    // A trap leaves the module in no known state: the next request loads it again.
    if (error instanceof WebAssembly.RuntimeError) loaded = undefined;
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
});
