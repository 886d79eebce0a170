// Debian's Chromium, driven by the `playwright-core` of this folder's pins.

import { createRequire } from "node:module";
import { join } from "node:path";

/** Something that the pins install; `modules` is the folder with `node_modules`. */
export function pinned(modules) {
  return createRequire(join(modules, "package.json"));
}

/** Starts a browser that asks nobody for anything on its own. */
export function launch({ modules, chromium }) {
  return pinned(modules)("playwright-core").chromium.launch({
    executablePath: chromium,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

/** What went wrong in a tab that no assertion would see: exceptions, refused resources, broken policies. */
export function problemsOf(tab) {
  const problems = [];
  tab.on("pageerror", (error) => problems.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  return problems;
}

/** Presses the button of a section and returns its state, verdict and lines once every check is made. */
export async function pressed(section) {
  await section.locator("button:enabled").click();
  await section.and(section.page().locator("[data-state=holds], [data-state=fails], [data-state=unknown]")).waitFor({ timeout: 300_000 });
  return outcome(section);
}

/** State, verdict and lines of a section. */
export async function outcome(section) {
  const lines = await section.locator("[data-island-checks] li").evaluateAll((items) =>
    items.map((item) => ({
      state: item.dataset.state,
      check: item.querySelector(".island-check").textContent,
      detail: item.querySelector(".island-detail").textContent,
      ms: Number.parseFloat(item.querySelector(".island-ms").textContent),
    })),
  );
  const verdict = await section.locator("[data-island-verdict]").textContent();
  return { state: await section.getAttribute("data-state"), verdict, lines };
}
