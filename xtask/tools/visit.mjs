// What an auditor does who has never seen the portal: searches a run, opens an epoch and a step of it, and has the browser
// make the checks. `node visit.mjs VISIT.json` prints one JSON line and exits with 1 if something does not hold.
//
// VISIT.json: { modules, chromium, portal, run, status, step, rpc, shot }: `modules` the folder of `node_modules`, `status` what
// the portal is to say of the run before the visit begins, `rpc` the auditor's own node, `shot` a file for a picture of the end.

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import { launch, pressed, problemsOf } from "./chromium.mjs";

/** A portal that was just started reads the chain and verifies bundles for so long at most. */
const PATIENCE_MS = 300_000;

/** Waits until the portal says `status` of the run. */
async function said({ portal, run, status }) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const response = await fetch(`${portal}/api/v1/runs/${run}`);
    const answer = await response.json();
    if (answer.status === status) return;
    if (Date.now() > end) throw new Error(`status of run ${run}: expected ${status}, got ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Searches the run by its id. */
export async function search(tab, portal, run) {
  await tab.goto(portal);
  await tab.getByRole("searchbox", { name: "Search" }).fill(run);
  await tab.keyboard.press("Enter");
  await tab.getByRole("region", { name: "Table of runs" }).locator(`a[href^="/runs/${run}"]`).click();
  await tab.getByRole("heading", { level: 1, name: /^Run 0x/ }).waitFor();
}

/** From a run to one of its steps, through the step's epoch. */
export async function descend(tab, run, step) {
  const epochs = tab.locator(`main a[href^="/runs/${run}/epochs/"]`);
  for (let index = 0; index < (await epochs.count()); index++) {
    await epochs.nth(index).click();
    await tab.getByRole("heading", { level: 1, name: /^Epoch \d+$/ }).waitFor();
    const link = tab.getByRole("region", { name: "Table of steps" }).getByRole("link", { name: String(step), exact: true });
    if (await link.count()) {
      await link.click();
      await tab.getByRole("heading", { level: 1, name: `Step ${step}` }).waitFor();
      return;
    }
    await tab.goBack();
  }
  throw new Error(`no epoch of run ${run} shows step ${step}`);
}

/** Has the browser check the step whose page is open, against the node `rpc`. */
export async function verify(tab, rpc) {
  const section = tab.locator('section[data-island="step"]');
  await section.getByLabel("Your own node").fill(rpc);
  return pressed(section);
}

async function visit(wanted) {
  await said(wanted);
  const browser = await launch(wanted);
  try {
    const tab = await browser.newPage();
    const problems = problemsOf(tab);
    await search(tab, wanted.portal, wanted.run);
    await descend(tab, wanted.run, wanted.step);
    const got = await verify(tab, wanted.rpc);
    if (wanted.shot) await tab.screenshot({ path: wanted.shot, fullPage: true });
    return { ...got, problems };
  } finally {
    await browser.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const got = await visit(JSON.parse(await readFile(process.argv[2], "utf8")));
  console.log(JSON.stringify(got));
  process.exitCode = got.state === "holds" && !got.problems.length ? 0 : 1;
}
