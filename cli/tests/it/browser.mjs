// A real Chromium on the files that the Rust test made: `node browser.mjs SCENARIO.json`.
//
// The scenario: { modules, island, files, chromium, offline, cases: [{ name, island, data, inputs, offline, holds, failed,
// reason, uncovered }] }. Prints one JSON line for each case and exits with 1 at the first that is otherwise than expected.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

import { launch, pressed, problemsOf } from "../../../xtask/tools/chromium.mjs";

const scenario = JSON.parse(await readFile(process.argv[2], "utf8"));

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html; charset=utf-8" };
// As strict as a portal can be whose visitors choose their node: the worker asks it.
const PAGE_CSP = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'";
const WORKER_CSP = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' http: https:";

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function page({ island, data, inputs }) {
  const attributes = Object.entries(data ?? {}).map(([name, value]) => `data-${name}="${escaped(value)}"`);
  const fields = Object.entries(inputs ?? {}).map(
    ([name, { file, text }]) =>
      `<label>${name} <input name="${name}" ${file ? 'type="file"' : `type="text" value="${escaped(text)}"`}></label>`,
  );
  return `<!doctype html><html lang="en"><title>island</title>
    <section data-island="${island}" ${attributes.join(" ")}>
      <form>${fields.join("")}<button disabled>Verify</button></form>
      <ol data-island-checks aria-live="polite"></ol><p data-island-verdict role="status"></p>
    </section><script type="module" src="/island/verify.js"></script></html>`;
}

const server = createServer(async ({ url }, answer) => {
  const path = normalize(decodeURIComponent(new URL(url, "http://site").pathname));
  try {
    const [, folder, ...rest] = path.split("/");
    const body =
      folder === "case" ? page(scenario.cases[Number(rest[0])])
      : folder === "island" ? await readFile(join(scenario.island, ...rest))
      : await readFile(join(scenario.files, ...rest));
    const type = folder === "case" ? TYPES[".html"] : (TYPES[extname(path)] ?? "application/octet-stream");
    const csp = path.endsWith("/worker.js") ? WORKER_CSP : PAGE_CSP;
    answer.writeHead(200, { "content-type": type, "content-security-policy": csp }).end(body);
  } catch {
    answer.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const site = `http://127.0.0.1:${server.address().port}`;

const browser = await launch(scenario);
const context = await browser.newContext();

async function run(index) {
  const { inputs, offline } = scenario.cases[index];
  const tab = await context.newPage();
  const problems = problemsOf(tab);
  await tab.goto(`${site}/case/${index}`);
  for (const [name, { file }] of Object.entries(inputs ?? {})) {
    if (file) await tab.setInputFiles(`input[name=${name}]`, join(scenario.files, file));
  }
  if (offline) {
    // The page is there, with its module; then the network is gone.
    await tab.evaluate(() => import("/island/verify.js").then(({ load }) => load()));
    await context.setOffline(true);
  }
  const got = await pressed(tab.locator("section"));
  if (offline) await context.setOffline(false);
  await tab.close();
  return { ...got, problems };
}

function wrong(expected, { state, lines, problems, verdict }) {
  if (state !== expected.state) return `state: expected ${expected.state}, got ${state}: ${verdict}`;
  const failed = lines.filter((line) => line.state === "failed");
  if (failed.length !== (expected.failed ? 1 : 0)) return `${failed.length} checks failed`;
  if (expected.failed && failed[0].check !== expected.failed) return `failed check: ${failed[0].check}`;
  if (expected.reason && !`${failed[0]?.detail ?? verdict}`.includes(expected.reason)) {
    return `reason: ${failed[0]?.detail ?? verdict}`;
  }
  for (const check of expected.passed ?? []) {
    if (!lines.some((line) => line.check === check && line.state === "passed")) return `${check}: not passed`;
  }
  const uncovered = lines.filter((line) => line.state === "not_covered").map((line) => line.check);
  if (expected.uncovered && uncovered.join() !== expected.uncovered.join()) return `not covered: ${uncovered}`;
  // A node that is not there is said by the browser too.
  return problems.length && state !== "unknown" ? problems.join("; ") : undefined;
}

let code = 0;
try {
  for (const [index, expected] of scenario.cases.entries()) {
    const got = await run(index);
    const problem = wrong(expected, got);
    console.log(JSON.stringify({ case: expected.name, problem, verdict: got.verdict, lines: got.lines }));
    if (problem) code = 1;
  }
} finally {
  await browser.close();
  server.close();
}
process.exit(code);
