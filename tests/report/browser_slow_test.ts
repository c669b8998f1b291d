/** Both reports in a browser: at desktop and phone width, in light and dark mode, and printed. */
import assert from "node:assert/strict";
import { generateDataset } from "../../src/dataset/generate.ts";
import { Profile } from "../../src/profile/profile.ts";
import { writeProfileReport } from "../../src/report/html/profile_report.ts";
import { writeRunReport } from "../../src/report/html/run_report.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { Browser, findBrowser, type View } from "../support/browser.ts";
import { decodePng } from "../support/png.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const browserPath = findBrowser();
const VIEWS: Readonly<Record<string, View>> = {
  desk: { width: 1200, dark: false },
  "dark desk": { width: 1200, dark: true },
  phone: { width: 390, dark: false },
  "dark phone": { width: 390, dark: true },
  paper: { width: 800, dark: false, print: true },
};

Deno.test({
  name: `reports are readable on every kind of screen${
    browserPath === undefined ? " (skipped: no chromium here)" : ""
  }`,
  ignore: browserPath === undefined,
  // The browser's own threads and the closing socket are not ours to count.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using folder = new TemporaryDirectory();
    const reports = await writeReports(folder);
    await using browser = await Browser.start(browserPath!);
    for (const file of reports) {
      await browser.open(file);
      for (const [name, view] of Object.entries(VIEWS)) {
        await browser.look(view);
        const { width, colours } = decodePng(await browser.screenshot());
        const where = `${file} on ${name}`;
        assert.equal(width, view.width, `${where}: nothing makes the page wider than the screen`);
        const background = colours[0];
        const drawn = colours.reduce((sum, colour) => sum + (colour === background ? 0 : 1), 0) / colours.length;
        assert(drawn > 0.02, `${where}: only ${(100 * drawn).toFixed(1)} % of the page are not background`);
        assert.equal((background >> 16) < 128, view.dark, `${where}: the background fits the colour scheme`);
        const shown = await browser.evaluate(
          "[...document.querySelectorAll('svg')].filter((svg) => svg.checkVisibility()).length",
        );
        assert(Number(shown) >= 5, `${where}: ${shown} charts are shown`);
        const twice = await browser.evaluate(
          "[...document.querySelectorAll('.wide, .narrow')].filter((chart) => chart.checkVisibility()).length * 2 - " +
            "document.querySelectorAll('.wide, .narrow').length",
        );
        assert.equal(twice, 0, `${where}: exactly one of the two drawings of a chart is shown`);
      }
      assert.deepEqual(browser.complaints, [], `${file}: the console is quiet and nothing is loaded`);
    }
  },
});

Deno.test({
  name: `the browser's complaints are heard${browserPath === undefined ? " (skipped: no chromium here)" : ""}`,
  ignore: browserPath === undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using folder = new TemporaryDirectory();
    const file = folder.join("bad.html");
    Deno.writeTextFileSync(file, "<script>console.error('one'); nothing.there; </script><img src='missing.png'>");
    await using browser = await Browser.start(browserPath!);
    await browser.open(file);
    assert.equal(browser.complaints.length, 3, browser.complaints.join("\n"));
  },
});

/** A run on generated data and its profile, reported. */
async function writeReports(folder: TemporaryDirectory): Promise<string[]> {
  const dataset = await generateDataset(folder.join("clicks"), {
    samples: 6000,
    seed: 1,
    scale: 100,
    fractions: { validation: 0.1, test: 0.1 },
  });
  const config = resolveConfig("kaggle", {
    bottom: [32, 16],
    top: [32, 1],
    hotMemory: 8 * 2 ** 20,
    printFreq: 2,
    testFreq: 10,
    ranks: 1,
  });
  const run = folder.join("run");
  await startRun(config, dataset, { out: run, report: () => {}, phases: true });
  const profiles = folder.join("profiles");
  const [profile] = [...Deno.readDirSync(profiles)];
  const files = [folder.join("profile.html"), folder.join("run.html")];
  await writeProfileReport(Profile.open(`${profiles}/${profile.name}`), dataset, files[0]);
  await writeRunReport(run, files[1]);
  return files;
}
