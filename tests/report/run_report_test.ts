import assert from "node:assert/strict";
import { writeRunReport } from "../../src/report/html/run_report.ts";
import { resolveConfig } from "../../src/config/config.ts";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { count } from "../../src/format.ts";
import { startRun } from "../../src/run/run.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

function smallRun(folder: TemporaryDirectory, mode: "fae" | "cpu", memory: MemoryBudget | null = null) {
  const dataset = tinyDataset(folder.join("data"), {
    samples: { train: 1000, validation: 200, test: 200 },
    tableRows: [20_000, 3],
    denseFeatures: 2,
    bags: false,
    seed: 1,
    skew: 4,
  });
  const config = resolveConfig("kaggle", {
    mode,
    memory,
    bottom: [8, 16],
    top: [8, 1],
    batchSize: 50,
    ...(mode === "fae" ? { hotMemory: 32_768 } : {}),
    printFreq: 2,
    ranks: 1,
  });
  return startRun(config, dataset, { out: folder.join("run"), report: () => {}, phases: true });
}

Deno.test("a run without hot rows and one with them are reported", async () => {
  for (const mode of ["cpu", "fae"] as const) {
    using folder = new TemporaryDirectory();
    const result = await smallRun(folder, mode);
    const file = folder.join("run.html");
    await writeRunReport(folder.join("run"), file);
    const html = Deno.readTextFileSync(file);
    const titles = [...html.matchAll(/<h2>(.*)<\/h2>/g)].map(([, title]) => title);
    assert.deepEqual(titles, [
      "Loss",
      "AUC",
      ...(mode === "fae" ? ["The scheduler&#39;s rate"] : []),
      "Calibration",
      "Hot and cold batches",
      "Phases of a step",
      ...(mode === "fae" ? ["Coverage by budget", "Hot share by table", "Popularity of each table&#39;s rows"] : []),
    ]);
    assert(html.includes(`<b>${result.auc.toFixed(4)}</b><span>AUC</span>`));
    assert(
      !/<script|https?:(?!\/\/www\.w3\.org)|NaN|undefined|Infinity/.test(html),
      "no script, address or missing number",
    );
  }
});

Deno.test("a run with rows on a disk is reported with what moved", async () => {
  using folder = new TemporaryDirectory();
  const { moved } = await smallRun(folder, "cpu", { share: 0.05 });
  await writeRunReport(folder.join("run"), folder.join("run.html"));
  const html = Deno.readTextFileSync(folder.join("run.html"));
  assert(moved !== undefined && moved.rows > 0 && moved.fetched > 0 && moved.computed > 0);
  assert(html.includes(`<b>${count(moved.read)}</b><span>rows read from disk`));
  assert(html.includes(`<b>${count(moved.written)}</b><span>rows written to disk`));
  assert(html.includes("<h2>Rows in memory</h2>"));
  const parts = readRunLog(folder.join("run")).progress.map(({ moved }) => moved!);
  const sum = (name: "rows" | "fetched") => parts.reduce((sum, part) => sum + part[name], 0);
  assert.deepEqual([sum("rows"), sum("fetched")], [moved.rows, moved.fetched], "of all steps, by progress events");
  assert(!/NaN|undefined|Infinity/.test(html));
});

Deno.test("a run that was cut off is reported as far as it is, and its repeated steps once", async () => {
  using folder = new TemporaryDirectory();
  await smallRun(folder, "cpu");
  const metrics = folder.join("run", METRICS_FILE);
  const lines = Deno.readTextFileSync(metrics).trimEnd().split("\n");
  const kept = lines.filter((line) => !/"event":"(result|phases)"/.test(line));
  const repeated = lines.filter((line) => line.includes('"step":4,')).map((line) =>
    line.replace(/"loss":[^,]*/, '"loss":9')
  );
  Deno.writeTextFileSync(metrics, [...kept, ...repeated, '{"event":"progr'].join("\n"));
  const log = readRunLog(folder.join("run"));
  assert.equal(log.result, undefined);
  assert.deepEqual(log.progress.map(({ step }) => step), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
  assert.equal(log.progress[1].loss, 9, "the later line of a step counts");
  await writeRunReport(folder.join("run"), folder.join("run.html"));
  assert.match(Deno.readTextFileSync(folder.join("run.html")), /The run has not ended/);
});

Deno.test("damaged metrics are named by file and line", async () => {
  using folder = new TemporaryDirectory();
  await smallRun(folder, "cpu");
  const metrics = folder.join("run", METRICS_FILE);
  const damage = (line: string) => {
    Deno.writeTextFileSync(metrics, `${line}\n`);
    return () => writeRunReport(folder.join("run"), folder.join("run.html"));
  };
  await assert.rejects(damage("oops"), /^HotsetError: Cannot read .*metrics\.jsonl line 1: /);
  await assert.rejects(damage('{"event":"progress","epoch":0,"step":"x"}'), /metrics\.jsonl line 1: step: /);
  Deno.removeSync(metrics);
  assert.throws(() => readRunLog(folder.join("run")), /^HotsetError: Cannot read .*metrics\.jsonl: /);
});
