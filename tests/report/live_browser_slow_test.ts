/** The live report in a browser shows new events without a reload, at every screen width. */
import assert from "node:assert/strict";
import { LiveReport } from "../../src/report/html/live_report.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { Browser, findBrowser } from "../support/browser.ts";
import { decodePng } from "../support/png.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const browserPath = findBrowser();

/** Waits until an expression in the page is true. */
async function until(browser: Browser, expression: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await browser.evaluate(expression) === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`${expression} did not become true: ${await browser.evaluate("document.body.innerText")}`);
}

Deno.test({
  name: `a live page follows a run in a browser${browserPath === undefined ? " (skipped: no chromium here)" : ""}`,
  ignore: browserPath === undefined,
  // The browser's own threads and the closing socket are not ours to count.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using directory = new TemporaryDirectory();
    const { out } = await run(directory, "run", dataOf(directory, 500), { ...CONFIG, mode: "cpu", testFreq: 4 });
    const path = `${out}/${METRICS_FILE}`;
    const lines = Deno.readTextFileSync(path).trimEnd().split("\n");
    const write = (count: number) =>
      Deno.writeTextFileSync(path, lines.slice(0, count).map((line) => `${line}\n`).join(""));
    const evaluated = lines.findIndex((line) => line.includes('"event":"evaluation"')) + 1;
    write(evaluated);
    await using live = new LiveReport(out);
    await using browser = await Browser.start(browserPath!);
    await browser.open(live.url, live.url);
    await until(browser, "document.querySelector('footer').textContent.includes('Live')");
    await browser.evaluate("document.kept = true; document.querySelector('details').open = true");
    assert.equal(await browser.evaluate("document.body.innerText.includes('has not ended')"), true);
    write(lines.length);
    await until(browser, "!document.body.innerText.includes('has not ended')");
    assert.equal(await browser.evaluate("document.kept"), true, "the page was not loaded again");
    assert.equal(await browser.evaluate("document.querySelector('details').open"), true, "what was open stays open");
    for (const dark of [false, true]) {
      for (const width of [1200, 390]) {
        await browser.look({ width, dark });
        const shot = decodePng(await browser.screenshot());
        assert.equal(shot.width, width, "nothing makes the page wider than the screen");
        assert.equal((shot.colours[0] >> 16) < 128, dark);
      }
    }
    assert.deepEqual(browser.complaints, []);
  },
});
