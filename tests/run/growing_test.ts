/**
 * Growing models: a new log is encoded with the model's dictionary, and new values get rows after the existing ones.
 */
import assert from "node:assert/strict";
import { growingDays } from "../support/growing_days.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { rowGrowth } from "../../src/run/row_growth.ts";
import { historyOf } from "../../src/dataset/encoding.ts";
import { readHistory } from "../../src/dataset/row_history.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { InitialRows } from "../../src/embedding/initialise.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { planModel } from "../../src/model/shape.ts";
import { percent } from "../../src/format.ts";
import { escape } from "../../src/report/html/page.ts";
import { writeRunReport } from "../../src/report/html/run_report.ts";
import { packRun } from "../../src/run/packed_run.ts";
import { encodingOf } from "../../src/run/beginning.ts";
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

Deno.test("rows of values unseen for days are dropped, and no number is used for another value: text and bags", () =>
  growingDays("csv", 4, 2));

Deno.test("rows of values unseen for days are dropped, and no number is used for another value: 32-bit keys", () =>
  growingDays("criteo", 3, 1));

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
  assert.deepEqual({ ...item, newShare: 0 }, {
    ...{ table: "item", knownRows: 5, unseenRows: 2, droppedRows: 0, newRows: 3, newShare: 0 },
  });
  await writeRunReport(second, directory.join("second.html"));
  const html = Deno.readTextFileSync(directory.join("second.html"));
  assert.ok(
    html.includes(`<td>item</td><td>5</td><td>2</td><td>0</td><td>3</td><td>${escape(percent(item.newShare))}</td>`),
  );

  const begun = Checkpoint.open(`${first}/best`);
  const dataset = Dataset.open(readRun(second).dataset);
  const plan = planModel({ ...begun.body.model, tableRows: dataset.body.tables.map(({ rows }) => rows) });
  const grown = rowsOf(begun.grownTo(plan.shape, rowGrowth(await encodingOf(begun.directory), dataset)!));
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

Deno.test("expired rows go with their optimizer state; the others come along, and new ones have new initial values", async () => {
  using directory = new TemporaryDirectory();
  const raw = rawOf(directory);
  const days = [DAY_1, DAY_2, [...DAY_2, "b"]];
  const events: RunEvent[] = [];
  const runs = days.map((_, day) => directory.join(`run${day}`));
  for (const [day, items] of days.entries()) {
    const start = day === 0 ? {} : { from: runs[day - 1] };
    const expires = day === 0 ? raw : { ...raw, expire: 1 };
    const log = writeLog(directory, `day${day}.csv`, items);
    await trainOn([log], expires, CONFIG, { out: runs[day], report: (event) => events.push(event), ...start });
  }
  const notes = events.flatMap((event) => event.event === "note" ? [event.text] : []);
  const dropped = notes.filter((text) => text.includes("dropped"));
  assert.match(dropped[0], /^\d+ rows were dropped, whose values this train split does not contain: 2 of item/);
  for (const day of [1, 2]) {
    const [before, after] = [day - 1, day].map((d) => Dataset.open(readRun(runs[d]).dataset));
    const begun = Checkpoint.open(`${runs[day - 1]}/best`);
    const [old, now] = [before, after].map((of) => of.body.tables.map((_, t) => readHistory(historyOf(of, t))));
    const plan = planModel({ ...begun.body.model, tableRows: after.body.tables.map(({ rows }) => rows) });
    const [saved, grown] = [begun, begun.grownTo(plan.shape, rowGrowth(before, after)!)].map(rowsOf);
    const { dim } = CONFIG;
    for (const [t, { rows }] of after.body.tables.entries()) {
      const wide = plan.shape.tableRows.map((count, table) => table === t ? count + now[t].next : count);
      const bound = Math.sqrt(wide[t] / rows); // of initial values, which depend on the size of the table
      const initial = new InitialRows({ ...plan.shape, tableRows: wide }, begun.body.seed);
      for (let id = 0; id < rows; id++) {
        const number = id === 0 ? 0 : now[t].numbers[id - 1];
        const from = number === 0 ? 0 : old[t].numbers.indexOf(number) + 1;
        const row = after.firstRows[t] + id;
        const weights = grown.weights.subarray(row * dim, (row + 1) * dim);
        if (number === 0 || from > 0) {
          const at = before.firstRows[t] + from;
          assert.deepEqual(weights, saved.weights.subarray(at * dim, (at + 1) * dim));
          assert.equal(grown.state[row], saved.state[at]);
        } else {
          const expected = new Float32Array(dim);
          initial.write(after.firstRows[t] + number, 1, expected, 0);
          assert.ok(weights.every((value, d) => Math.abs(value - expected[d] * bound) < 1e-6));
          assert.equal(grown.state[row], 0);
        }
      }
    }
  }
  // "b" was dropped on the second day, and is a new value on the third.
  const [item] = events.flatMap((event) => event.event === "dataset" && event.growth ? [event.growth[0]] : []).slice(1);
  assert.deepEqual({ ...item, newShare: 0 }, {
    ...{ table: "item", knownRows: 6, unseenRows: 0, droppedRows: 0, newRows: 1, newShare: 0 },
  });
});

slowTest(
  "a model grows to the same bits with rows in memory and on the disk, with rows that expire and without",
  async () => {
    using directory = new TemporaryDirectory();
    const raw = rawOf(directory);
    const logs = [DAY_1, DAY_2, [...DAY_2, "new", "b"]].map((items, day) =>
      writeLog(directory, `day${day}.csv`, items)
    );
    for (const [expiring, reading] of [["kept", raw], ["dropped", { ...raw, expire: 1 }]] as const) {
      const results = [];
      for (const [name, memory] of [["memory", null], ["disk", { share: 0.25 }]] as const) {
        const config = { ...CONFIG, memory };
        let from: string | undefined;
        for (const [day, log] of logs.entries()) {
          const out = directory.join(`${expiring}-${name}-${day}`);
          if (from === undefined) await trainOn([log], raw, config, { out, report: silent });
          else await trainOn([log], reading, config, { out, from, report: silent });
          from = out;
        }
        results.push(Checkpoint.open(`${from}/last`));
      }
      assert.deepEqual(results.map(({ body }) => body.rowLog !== undefined), [false, true], "else this proves nothing");
      assert.deepEqual(rowsOf(results[1]), rowsOf(results[0]));
    }
  },
);

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
  await packRun(first, directory.join("day1.hotset"), silent);
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
    // Criteo's is the format of options that name none.
    [{ schema: other, format: "criteo" }, /it is of other columns; leave --schema out$/],
    [{ maxIndRange: 7, format: "criteo" }, /it is of range of all values, not 7; leave --max-ind-range out$/],
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
