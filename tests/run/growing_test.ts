/**
 * Growing models: a new log is encoded with the model's dictionary, and new values get rows after the existing ones.
 */
import assert from "node:assert/strict";
import { growingDays } from "../support/growing_days.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { InitialRows } from "../../src/embedding/initialise.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { planModel } from "../../src/model/shape.ts";
import { percent } from "../../src/format.ts";
import { escape } from "../../src/report/html/page.ts";
import { writeRunReport } from "../../src/report/html/run_report.ts";
import { packRun } from "../../src/run/packed_run.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { startRun, trainOn } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CONFIG: TrainConfig = resolveConfig("kaggle", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 4, bottom: [4], top: [4, 1], batchSize: 32, epochs: 1 },
  ...{ optimizer: "rwsadagrad", learningRate: 0.1, blas: "wasm", printFreq: 1 },
});
const silent = () => {};

Deno.test("ids keep their meaning from day to day, and new values follow: text, numbers and bags", () =>
  growingDays("csv", 3));

slowTest("ids keep their meaning from day to day, and new values follow: 32-bit keys", () => growingDays("criteo", 4));

/** Writes a log of (label, price, item, tags). */
function writeLog(directory: TemporaryDirectory, name: string, items: readonly string[]): string {
  const rows = Array.from({ length: 240 }, (_, i) => {
    const item = items[Math.floor(i * i / 7) % items.length];
    return [i % 3 === 0 ? 1 : 0, i % 11, item, i % 2 === 0 ? `${item}|t${i % 3}` : ""].join(",");
  });
  const file = directory.join(name);
  Deno.writeTextFileSync(file, ["y,price,item,tags", ...rows].join("\n") + "\n");
  return file;
}

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "price", kind: "dense", missing: "mean" },
  { name: "item", kind: "sparse" },
  { name: "tags", kind: "bag" },
];

/** Options for reading such a log. */
function rawOf(directory: TemporaryDirectory) {
  const schema = directory.join("schema.json");
  Deno.writeTextFileSync(schema, JSON.stringify({ columns: COLUMNS }));
  return { format: "csv", schema, testFraction: 0.2, threads: 1 } as const;
}

/** All rows of a checkpoint, and their optimizer state. */
function rowsOf(checkpoint: Checkpoint): { weights: Float32Array; state: Float32Array } {
  const { rows, shape: { dim } } = planModel(checkpoint.body.model);
  const read = (file: "rows.f32" | "row_state.f32", width: number) => {
    using reader = checkpoint.reader(file);
    const words = new Float32Array(rows * width);
    reader.read(0, words);
    return words;
  };
  return { weights: read("rows.f32", dim), state: read("row_state.f32", 1) };
}

const DAY_1 = ["a", "b", "c", "d", "e"];
const DAY_2 = ["c", "x", "a", "y", "e", "z"];

Deno.test("a model grows: rows and optimizer state of known values come along, new ones begin with initial values", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const [first, second] = ["first", "second"].map((name) => directory.join(name));
  await trainOn([writeLog(directory, "day1.csv", DAY_1)], raw, CONFIG, { out: first, report: silent });
  const events: RunEvent[] = [];
  const day2 = writeLog(directory, "day2.csv", DAY_2);
  // The schema need not be given again.
  const again = { format: "csv", testFraction: 0.2, threads: 1 } as const;
  await trainOn([day2], again, CONFIG, { out: second, from: first, report: (event) => events.push(event) });
  const notes = events.flatMap((event) => event.event === "note" ? [event.text] : []);
  assert.ok(notes.includes("New values got 5 new rows: 3 of item, 2 of tags"), notes.join("\n"));
  const [item] = events.flatMap((event) => event.event === "dataset" ? [event.growth![0]] : []);
  assert.deepEqual({ ...item, newShare: 0 }, { table: "item", knownRows: 5, unseenRows: 2, newRows: 3, newShare: 0 });
  writeRunReport(second, directory.join("second.html"));
  const html = Deno.readTextFileSync(directory.join("second.html"));
  assert.ok(html.includes(`<td>item</td><td>5</td><td>2</td><td>3</td><td>${escape(percent(item.newShare))}</td>`));

  const begun = Checkpoint.open(`${first}/best`);
  const dataset = Dataset.open(readRun(second).dataset);
  const plan = planModel({ ...begun.body.model, tableRows: dataset.body.tables.map(({ rows }) => rows) });
  const grown = rowsOf(begun.grownTo(plan.shape));
  const [before, dim] = [rowsOf(begun), CONFIG.dim];
  const initial = new Float32Array(plan.rows * dim);
  new InitialRows(plan.shape, begun.body.seed).write(0, plan.rows, initial, 0);
  let [old, row] = [0, 0];
  for (const [t, { rows }] of dataset.body.tables.entries()) {
    for (let id = 0; id < rows; id++, row++) {
      const isOld = id < begun.body.model.tableRows[t];
      const [from, at] = isOld ? [before.weights, old] : [initial, row];
      assert.deepEqual(grown.weights.subarray(row * dim, (row + 1) * dim), from.subarray(at * dim, (at + 1) * dim));
      assert.equal(grown.state[row], isOld ? before.state[old] : 0);
      if (isOld) old++;
    }
  }
  assert.ok(before.state.some((value) => value > 0));

  // Only the grown model knows the new values; its own data and tomorrow's are evaluated by it alone.
  const shareOf = async (run: string) => (await evaluateRun(run, [day2], silent))[0].unknownShare;
  assert.ok((await shareOf(first))!.item > 0.3);
  assert.deepEqual(await shareOf(second), { item: 0, tags: 0 });
  await assert.rejects(evaluateRun(first, [dataset.directory], silent), /has another dictionary/);
});

slowTest("a model grows to the same bits with rows in memory and on the disk", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const logs = [DAY_1, DAY_2, [...DAY_2, "new", "b"]].map((items, day) => writeLog(directory, `day${day}.csv`, items));
  const results = [];
  for (const [name, memory] of [["memory", null], ["disk", { share: 0.25 }]] as const) {
    const config = { ...CONFIG, memory };
    let from: string | undefined;
    for (const [day, log] of logs.entries()) {
      const out = directory.join(`${name}-${day}`);
      await trainOn([log], raw, config, { out, report: silent, ...(from === undefined ? {} : { from }) });
      from = out;
    }
    results.push(Checkpoint.open(`${from}/last`));
  }
  assert.deepEqual(results.map(({ body }) => body.rowLog !== undefined), [false, true], "else this proves nothing");
  assert.deepEqual(rowsOf(results[1]), rowsOf(results[0]));
});

slowTest("a log without new values trains to the bits of a dataset with the same dictionary", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const log = writeLog(directory, "day.csv", DAY_1);
  const first = directory.join("first");
  await trainOn([log], raw, CONFIG, { out: first, report: silent });
  const ends: Checkpoint[] = [];
  for (const [name, known] of [["plain", undefined], ["known", Dataset.open(readRun(first).dataset)]] as const) {
    const options: PrepareOptions = {
      ...raw,
      inputs: [log],
      out: directory.join(`${name}-data`),
      ...(known && { known }),
    };
    const dataset = await prepareDataset(options);
    await startRun(CONFIG, dataset, { out: directory.join(name), from: first, report: silent });
    ends.push(Checkpoint.open(directory.join(`${name}/last`)));
  }
  assert.deepEqual(rowsOf(ends[0]), rowsOf(ends[1]));
  // The model's own data is not encoded a second time.
  await trainOn([log], raw, CONFIG, { out: directory.join("same"), from: first, report: silent });
  assert.equal(readRun(directory.join("same")).dataset, readRun(first).dataset);
});

slowTest("a model grows from a packed run to the same bits, and that run is reproduced", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const first = directory.join("first");
  await trainOn([writeLog(directory, "day1.csv", DAY_1)], raw, CONFIG, { out: first, report: silent });
  packRun(first, directory.join("day1.hotset"), silent);
  const day2 = writeLog(directory, "day2.csv", DAY_2);
  const ends: Checkpoint[] = [];
  for (const from of ["first", "day1.hotset"]) {
    const out = directory.join(`from-${from}`);
    await trainOn([day2], raw, CONFIG, { out, from: directory.join(from), report: silent });
    ends.push(Checkpoint.open(`${out}/last`));
  }
  assert.deepEqual(rowsOf(ends[1]), rowsOf(ends[0]));
  Deno.removeSync(first, { recursive: true });
  assert.equal((await reproduceRun(directory.join("from-day1.hotset"), silent)).equal, true);
});

Deno.test("a log that the model's dictionary cannot encode is refused with the way out", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const first = directory.join("first");
  const log = writeLog(directory, "day.csv", DAY_1);
  await trainOn([log], raw, CONFIG, { out: first, report: silent });
  const other = directory.join("other.json");
  Deno.writeTextFileSync(
    other,
    JSON.stringify({ columns: COLUMNS.map((c) => c.name === "item" ? { ...c, kind: "bag" } : c) }),
  );
  const cases: [Partial<PrepareOptions>, RegExp][] = [
    [{ format: "avazu" }, /it is of format csv, not avazu; leave --format out$/],
    [{ schema: other }, /it is of other columns; leave --schema out$/],
    [{ maxIndRange: 7 }, /it is of range of all values, not 7; leave --max-ind-range out$/],
  ];
  for (const [options, reason] of cases) {
    const { schema, ...rest } = { ...raw, ...options };
    const given = options.format === "avazu" ? rest : { ...rest, schema };
    await assert.rejects(
      trainOn([log], given, CONFIG, { out: directory.join("next"), from: first, report: silent }),
      reason,
    );
  }
});
