/** Lists and comparisons of runs. */
import assert from "node:assert/strict";
import { writeComparison } from "../../src/report/html/comparison_report.ts";
import { comparisonNotes, comparisonText, runList } from "../../src/report/run_tables.ts";
import { differingOptions, findRuns, type RunSummary, summarizeRuns } from "../../src/run/run_list.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { readRun, RUN_FILE } from "../../src/run/run_record.ts";
import { OutputLock } from "../../src/storage/output_lock.ts";
import { withChecksum } from "../../src/storage/artifact.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const SMALL = { ...CONFIG, mode: "cpu", epochs: 1 } as const;

/** Lines of an ended run's metrics until its result. */
function withoutResult(directory: string): void {
  const path = `${directory}/${METRICS_FILE}`;
  const lines = Deno.readTextFileSync(path).trimEnd().split("\n").filter((line) => !line.includes('"event":"result"'));
  Deno.writeTextFileSync(path, lines.map((line) => `${line}\n`).join(""));
}

Deno.test("runs are listed with state, differing options, metrics of the best checkpoint, time and size; and compared", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 500);
  const before = Date.now();
  const first = await run(directory, "hotset/a", dataset, SMALL);
  await run(directory, "hotset/deep/er/b", dataset, { ...SMALL, seed: 2, top: [8, 1] });
  await run(directory, "hotset/deep/er/too/c", dataset, SMALL);
  await run(directory, "hotset/killed", dataset, SMALL);
  withoutResult(directory.join("hotset/killed"));
  Deno.mkdirSync(directory.join("hotset/broken"));
  Deno.writeTextFileSync(directory.join("hotset/broken", RUN_FILE), "{}");

  const found = findRuns([directory.join("hotset"), directory.join("hotset/a")]);
  const name = (path: string) => path.slice(directory.join("hotset/").length);
  assert.deepEqual(found.map(name), ["a", "broken", "deep/er/b", "killed"], "none twice, three levels deep");
  const listed = summarizeRuns(found);
  assert.deepEqual(listed.map((each) => name(each.run)), ["a", "deep/er/b", "killed", "broken"], "by their beginning");
  const broken = listed.pop()!;
  assert.ok("error" in broken && /^Cannot open run .*broken: run.json has /.test(broken.error));

  const [a, b, killed] = listed as RunSummary[];
  assert.deepEqual([a.state, b.state, killed.state], ["ended", "ended", "stopped"]);
  const { best, seconds, steps } = first.result;
  assert.deepEqual([a.test, a.seconds, a.steps, a.data], [best, seconds, steps, "data"]);
  assert.equal(killed.test, null);
  assert.equal(killed.steps, steps);
  const aucs = first.events.flatMap((event) =>
    event.event === "evaluation" && event.split === "validation" ? [event.auc] : []
  );
  assert.equal(a.validation?.auc, Math.max(...aucs));
  assert.ok(Date.parse(a.started!) >= before && Date.parse(a.started!) <= Date.parse(b.started!));
  const last = Deno.statSync(directory.join("hotset/a/last/rows.f32")).size;
  assert.ok(a.bytes > last && a.bytes < 2 * last, "checkpoints share files, which count once");
  assert.deepEqual(differingOptions([a.config, b.config]), ["top", "seed"]);

  const held = await OutputLock.take(killed.run, "train", "busy");
  assert.deepEqual(summarizeRuns([killed.run]).map((each) => "state" in each && each.state), ["training"]);
  held[Symbol.dispose]();
  assert.deepEqual(summarizeRuns([killed.run]).map((each) => "state" in each && each.state), ["stopped"]);

  const text = runList([...listed, broken], 80);
  assert.deepEqual(text.split("\n").filter((line) => !line.startsWith("Cannot") && line.length > 80), []);
  assert.match(text, /^ {2}[-\d]{10} \d\d:\d\d, data, top 12-1, seed 123\n.*\n {2}.*, data, top 8-1, seed 2$/m);
  assert.match(text, /\nCannot open run .*broken/);
  const compared = comparisonText([a, b], 80);
  assert.ok(compared.split("\n").every((line) => line.length <= 80), compared);
  assert.match(compared, /^top +12-1 +8-1$/m);
  assert.match(compared, new RegExp(`^test AUC +${best.auc.toFixed(4)} +${b.test!.auc.toFixed(4)}$`, "m"));
  assert.match(comparisonText([a, a]), /^The runs have equal options\.$/m);
  assert.deepEqual(comparisonNotes([a, b]), []);
  assert.match(comparisonNotes([a, { ...b, datasetId: "x" }])[0], /b: on other data than .*a, so/);

  await writeComparison([a, b], directory.join("compared.html"));
  const html = Deno.readTextFileSync(directory.join("compared.html"));
  for (const title of ["Options", "Metrics", "Training loss", "AUC"]) assert.ok(html.includes(`<h2>${title}</h2>`));
  assert.ok(!/NaN|undefined|Infinity/.test(html));
  assert.ok(!html.includes("Speed by memory"));
});

Deno.test("runs with rows on disk are compared by speed and memory", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 500);
  const runs: string[] = [];
  for (const memory of [null, { share: 0.02 }, { share: 0.2 }]) {
    const { out, result } = await run(directory, `hotset/${runs.length}`, dataset, { ...SMALL, memory });
    assert.equal(result.moved === undefined, memory === null);
    runs.push(out);
  }
  const summaries = summarizeRuns(runs) as RunSummary[];
  assert.match(comparisonText(summaries), /^memory +none +2\.0 % +20\.0 %$/m);
  await writeComparison(summaries, directory.join("compared.html"));
  const html = Deno.readTextFileSync(directory.join("compared.html"));
  const section = html.slice(html.indexOf("<h2>Speed by memory</h2>"));
  assert.ok(section.includes("rows in memory →"), "no chart");
  assert.ok(!/NaN|undefined|Infinity/.test(section));
  const circles = section.match(/<circle /g)!.length, rules = section.match(/stroke-dasharray="5 3"/g)!.length;
  assert.equal(circles, 2 * rules, "two runs with rows on disk to each one without, in charts of all widths");
});

Deno.test("a run of version 0.1, which has no clock, is listed first", async () => {
  using directory = new TemporaryDirectory();
  const { out } = await run(directory, "old", dataOf(directory, 200), SMALL);
  const path = `${out}/${RUN_FILE}`;
  const { started: _, data: __, crc32: ___, ...rest } = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify(withChecksum(rest)));
  assert.equal(readRun(out).started, null);
  const [summary] = summarizeRuns([out]) as RunSummary[];
  assert.deepEqual([summary.started, summary.data], [null, directory.join("data")]);
  assert.match(runList([summary]), /ended/);
});
