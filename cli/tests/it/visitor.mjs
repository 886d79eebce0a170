// A real Chromium visits a real portal: `node visitor.mjs SCENARIO.json`.
//
// The scenario: { modules, chromium, portal, rpc, run, others, step, capsule, forged, shots }: `run` is anchored, `others` are
// registered, `capsule` is of `run` and `forged` is not, `shots` the folder for pictures. Prints one JSON line for each property
// and exits with 1 if one does not hold.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { launch, outcome, pinned, pressed, problemsOf } from "../../../xtask/tools/chromium.mjs";
import { descend, search, verify } from "../../../xtask/tools/visit.mjs";

const scenario = JSON.parse(await readFile(process.argv[2], "utf8"));
const { portal, rpc, run, others, step } = scenario;
const browser = await launch(scenario);
const axe = await readFile(pinned(scenario.modules).resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = { wide: { width: 1280, height: 900 }, phone: { width: 375, height: 812 } };
const PAGES = {
  runs: "/",
  nothing_found: `/?q=0x${"ab".repeat(32)}`,
  run: `/runs/${run}`,
  registered_run: `/runs/${others[0]}`,
  epoch: `/runs/${run}/epochs/1`,
  step: `/runs/${run}/steps/${step}`,
  compare: `/compare?a=${run}&b=${others[0]}`,
  verify: "/verify",
  registry: "/registry",
  check: "/check",
  refused: "/?q=%3Cscript%3E",
};

/** Runs `body` in a tab of its own; what the browser complains of is a problem, except what `expected` matches. */
async function inTab(options, body, expected = /^$/) {
  const context = await browser.newContext(options);
  try {
    const tab = await context.newPage();
    const problems = problemsOf(tab);
    await body(tab, context);
    assert.deepEqual(problems.filter((problem) => !expected.test(problem)), []);
  } finally {
    await context.close();
  }
}

const shot = (tab, name) => tab.screenshot({ path: join(scenario.shots, `${name}.png`), fullPage: true });

/** What a lying portal sends instead of its evidence. */
async function lying(tab, change) {
  await tab.route(/\/steps\/\d+\/evidence/, async (route) => {
    const response = await route.fetch();
    const evidence = await response.json();
    change(evidence);
    await route.fulfill({ response, json: evidence });
  });
  await tab.goto(`${portal}${PAGES.step}`);
  return verify(tab, rpc);
}

function failedWith({ state, lines, verdict }, check, reason) {
  assert.equal(state, "fails", verdict);
  const failed = lines.filter((line) => line.state === "failed");
  assert.deepEqual(failed.map((line) => line.check), [check]);
  assert.match(failed[0].detail, reason);
}

const flip = (text, at) => text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);

const properties = {
  async "an auditor searches a run, descends to a step and every check holds"() {
    await inTab({}, async (tab) => {
      await search(tab, portal, run);
      await descend(tab, run, step);
      const { state, verdict, lines } = await verify(tab, rpc);
      assert.equal(state, "holds", JSON.stringify(lines.at(-1) ?? verdict));
      assert.deepEqual(lines.filter((line) => line.state !== "passed"), []);
      for (const check of ["step proof", "epoch proof"]) {
        const ms = lines.find((line) => line.check === check).ms;
        console.log(JSON.stringify({ measured: `${check} in Chromium`, ms, verdict }));
      }
      await tab.getByRole("link", { name: "Step after" }).click();
      await tab.getByRole("heading", { level: 1, name: `Step ${step + 1}` }).waitFor();
    });
  },

  async "what is shown is in the address, filters too"() {
    await inTab({}, async (tab) => {
      const rows = () => tab.getByRole("region", { name: "Table of runs" }).getByRole("row").count();
      await tab.goto(portal);
      assert.equal(await rows(), 2 + others.length);
      await tab.getByRole("navigation", { name: "Status" }).getByRole("link", { name: /^registered/ }).click();
      assert.equal(await rows(), 1 + others.length);
      await tab.getByText("Filter and sort").click();
      await tab.getByLabel("At least steps").fill("1");
      await tab.getByRole("button", { name: "Apply" }).click();
      await tab.getByText("No run matches.").waitFor();
      const address = tab.url();
      assert.match(address, /min_steps=1/);
      await tab.goto(portal);
      await tab.goto(address);
      await tab.getByText("No run matches.").waitFor();
      assert.equal(await tab.getByLabel("At least steps").inputValue(), "1");
      await tab.getByRole("navigation", { name: "Status" }).getByRole("link", { name: /^all/ }).click();
      assert.equal(await rows(), 2);
    });
  },

  async "a tampered proof is shown as bad"() {
    await inTab({}, async (tab) => {
      const got = await lying(tab, (evidence) => (evidence.proofs[0] = flip(evidence.proofs[0], 6000)));
      failedWith(got, "step proof", new RegExp(`step ${step}, chunk 0`));
      await shot(tab, "tampered");
    });
  },

  async "a tampered epoch proof, and an epoch key that is not the registered verifier's, are shown as bad"() {
    await inTab({}, async (tab) => {
      const proof = await lying(tab, (evidence) => (evidence.epoch_proof = flip(evidence.epoch_proof, 3001)));
      failedWith(proof, "epoch proof", /epoch \d+: epoch proof refused/);
      const key = await lying(tab, (evidence) => {
        const at = evidence.epoch_key.length - 128;
        const [points, one, other] = [0, at, at + 64].map((from, i) => evidence.epoch_key.slice(from, i ? from + 64 : at));
        evidence.epoch_key = points + other + one;
      });
      failedWith(key, "epoch key", /the registered verifier is of another key/);
    });
  },

  async "a root that the visitor's node does not give is shown as bad"() {
    await inTab({}, async (tab) => {
      failedWith(await lying(tab, (evidence) => (evidence.root = `0x${"11".repeat(32)}`)), "root on chain", /the chain has root/);
    });
  },

  async "texts of a hostile portal or file are text"() {
    const markup = '<img src="x" onerror="window.hacked = 1"><script>window.hacked = 1</script>';
    await inTab({}, async (tab) => {
      const got = await lying(tab, (evidence) => (evidence.proofs = [markup]));
      assert.equal(got.state, "fails", got.verdict);
      const other = await lying(tab, (evidence) => (evidence[markup] = markup));
      assert.equal(other.state, "unknown", other.verdict);
      assert.match(other.verdict, /<img/);
      assert.equal(await tab.locator("main img").count(), 0);
      await tab.goto(`${portal}/verify`);
      const section = tab.locator('section[data-island="capsule"]');
      await section.getByLabel("Capsule", { exact: true }).setInputFiles({ name: `${markup}.capsule`, mimeType: "text/html", buffer: Buffer.from(markup) });
      failedWith(await pressed(section), "capsule", /./);
      for (const path of ["/?q=", "/?sort=", "/runs/", "/nothing/"]) {
        await tab.goto(portal + path + encodeURIComponent(markup));
        assert.equal(await tab.locator("main img, main script").count(), 0, path);
      }
      assert.equal(await tab.evaluate(() => window.hacked), undefined);
    }, /Failed to load resource: .* 40[04]/);
  },

  async "a file is verified with the network off"() {
    await inTab({}, async (tab, context) => {
      await tab.goto(`${portal}/verify`);
      await tab.getByText("Ready without a network").waitFor();
      await context.setOffline(true);
      const section = tab.locator('section[data-island="capsule"]');
      await section.getByLabel("Capsule", { exact: true }).setInputFiles(scenario.capsule);
      const good = await pressed(section);
      assert.equal(good.state, "holds", JSON.stringify(good.lines.at(-1) ?? good.verdict));
      await shot(tab, "capsule");
      await section.getByLabel("Capsule", { exact: true }).setInputFiles(scenario.forged);
      failedWith(await pressed(section), "log, records, proof files, tree, epochs", /step_000003\.proof/);
    });
  },

  async "a file that is dropped is the one that is checked"() {
    await inTab({}, async (tab) => {
      await tab.goto(`${portal}/verify`);
      const section = tab.locator('section[data-island="capsule"]');
      const files = await tab.evaluateHandle(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["no capsule"], "dropped.capsule"));
        return transfer;
      });
      await section.locator("[data-island-drop]").dispatchEvent("drop", { dataTransfer: files });
      failedWith(await pressed(section), "capsule", /./);
    });
  },

  async "without scripts every page reads whole and names the command"() {
    await inTab({ javaScriptEnabled: false }, async (tab) => {
      for (const [name, path] of Object.entries(PAGES)) {
        await tab.goto(portal + path);
        assert.equal(await tab.getByRole("heading", { level: 1 }).count(), 1, name);
        assert.ok(await tab.getByRole("navigation", { name: "Main" }).isVisible(), name);
      }
      for (const path of [PAGES.step, PAGES.verify]) {
        await tab.goto(portal + path);
        for (const button of await tab.locator("section[data-island] button").all()) assert.ok(await button.isDisabled());
        for (const section of await tab.locator("section[data-island]").all()) {
          assert.ok(await section.locator("noscript").getByText(/^cairn (verify|check-weights) /).isVisible());
        }
      }
      await tab.goto(portal);
      await tab.getByRole("searchbox", { name: "Search" }).fill(run);
      await tab.getByRole("button", { name: "Search" }).click();
      await tab.getByRole("region", { name: "Table of runs" }).locator(`a[href^="/runs/${run}"]`).click();
      await tab.getByRole("heading", { name: "Coverage" }).waitFor();
    }, /Failed to load resource: .* 400/);
  },

  async "pages have no violation that axe finds, and fit phones, in both themes"() {
    for (const colorScheme of ["light", "dark"]) {
      for (const [width, viewport] of Object.entries(WIDTHS)) {
        const look = async (tab) => {
          // Before the page's own policy; it is no script of the page.
          await tab.addInitScript(axe);
          for (const [name, path] of Object.entries(PAGES)) {
            await tab.goto(portal + path);
            if (name === "step" && width === "wide") await verify(tab, rpc);
            await shot(tab, `${name}-${width}-${colorScheme}`);
            const over = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            assert.equal(over, 0, `${name} is wider than ${viewport.width} px`);
            const { violations } = await tab.evaluate(() => window.axe.run());
            const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
            assert.deepEqual(found, [], `${name}, ${width}, ${colorScheme}`);
          }
        };
        await inTab({ viewport, colorScheme }, look, /Failed to load resource: .* 400/);
      }
    }
  },

  async "the keyboard reaches everything, and what has the focus is seen"() {
    await inTab({}, async (tab) => {
      const walk = async (path) => {
        await tab.goto(portal + path);
        const seen = [];
        for (let presses = 0; presses < 200; presses++) {
          await tab.keyboard.press("Tab");
          const at = await tab.evaluate(() => {
            const { activeElement: element } = document;
            if (!element || element === document.body) return undefined;
            const { outlineStyle, outlineWidth } = getComputedStyle(element);
            const box = element.getBoundingClientRect();
            const outlined = outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2;
            const name = (element.labels?.[0] ?? element).textContent.trim() || element.getAttribute("aria-label");
            return { tag: element.localName, name, outlined, onPage: box.width > 0 && box.x + box.width > 0 };
          });
          if (!at) break;
          seen.push(at);
        }
        for (const at of seen) assert.ok(at.outlined && at.onPage, `${path}: ${JSON.stringify(at)}`);
        return (tag, name) => assert.ok(seen.some((at) => at.tag === tag && name.test(at.name)), `${path}: ${tag} ${name} is not reached`);
      };
      const runs = await walk("/");
      runs("a", /^Skip to content$/);
      runs("input", /^Search$/);
      runs("button", /^Search$/);
      runs("summary", /^Filter and sort$/);
      runs("a", /^registered/);
      runs("a", /^0x/);
      (await walk(PAGES.verify))("button", /^Verify the capsule$/);
      (await walk(PAGES.step))("button", /^Verify this step$/);
      await tab.goto(portal + PAGES.step);
      // Until the module is there, the button cannot be pressed and Tab passes it by.
      await tab.locator('section[data-island="step"] button:enabled').waitFor();
      await tab.locator('section[data-island="step"]').getByLabel("Your own node").focus();
      await tab.keyboard.press("Tab");
      await tab.keyboard.press("Enter");
      const section = tab.locator('section[data-island="step"][data-state="holds"]');
      await section.waitFor({ timeout: 60_000 });
      // No node was named.
      const uncovered = (await outcome(section)).lines.filter((line) => line.state === "not_covered");
      assert.deepEqual(uncovered.map((line) => line.check), ["registration on chain", "root on chain", "epoch key"]);
    });
  },
};

try {
  for (const [property, holds] of Object.entries(properties)) {
    const problem = await holds().then(() => undefined, (error) => String(error?.stack ?? error));
    console.log(JSON.stringify({ property, problem }));
    if (problem) process.exitCode = 1;
  }
} finally {
  await browser.close();
}
