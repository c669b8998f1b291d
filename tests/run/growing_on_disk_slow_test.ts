/**
 * Models that grow from day to day with rows on disk: they have the bits of models in memory, share the pages of the day
 * before, and write the rows that they train.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { Checkpoint, CHECKPOINT_FILES } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { pageShape } from "../../src/embedding/stores/row_page.ts";
import type { ResultEvent, RunEvent } from "../../src/events/events.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { planModel } from "../../src/model/shape.ts";
import { Random } from "../../src/random.ts";
import { packRun } from "../../src/run/packed_run.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { touchedRows } from "../../src/run/row_room.ts";
import { resumeRun, trainOn } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { quiet, stopAt } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CONFIG: TrainConfig = resolveConfig("kaggle", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 8, bottom: [4, 8], top: [4, 1], batchSize: 32, epochs: 1 },
  ...{ optimizer: "adagrad", learningRate: 0.1, blas: "wasm", printFreq: 1 },
});
const DAYS = 4;
const SCHEMA = {
  columns: [
    { name: "y", kind: "label" },
    { name: "price", kind: "dense", missing: "mean" },
    { name: "item", kind: "sparse" },
    { name: "user", kind: "sparse" },
  ],
};

/** Days of clicks on items and by users that come and go; the first day has many, the others few. */
class Days implements Disposable {
  readonly #directory = new TemporaryDirectory();

  constructor() {
    Deno.writeTextFileSync(this.join("schema.json"), JSON.stringify(SCHEMA));
    for (let day = 0; day < DAYS; day++) {
      const random = new Random(day, 17);
      const rows = Array.from({ length: day === 0 ? 6_000 : 600 }, () => {
        const [item, user] = [1500, 3000].map((count) => count / 10 * day + random.below(count));
        return [random.below(2), random.below(11), `i${item}`, `u${user}`].join(",");
      });
      Deno.writeTextFileSync(this.log(day), ["y,price,item,user", ...rows].join("\n") + "\n");
    }
  }

  join(name: string): string {
    return this.#directory.join(name);
  }

  log(day: number): string {
    return this.join(`day${day}.csv`);
  }

  /** Trains on a day, from the model of the day before. */
  train(
    day: number,
    out: string,
    config: TrainConfig,
    from?: string,
    expire?: number,
    stop = {},
  ): Promise<ResultEvent> {
    const reading = { format: "csv", schema: this.join("schema.json"), testFraction: 0.2, threads: 1 } as const;
    const raw = from !== undefined && expire !== undefined ? { ...reading, expire } : reading;
    return trainOn([this.log(day)], raw, config, { out, ...(from ? { from } : {}), report: quiet, ...stop });
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

/** All weights of a checkpoint, and their optimizer state. */
function wordsOf(directory: string): Record<string, Float32Array> {
  const checkpoint = Checkpoint.open(directory);
  const { rows, denseWords, shape: { dim } } = planModel(checkpoint.body.model);
  const read = (file: "rows.f32" | "row_state.f32" | "dense.f32", count: number) => {
    using reader = checkpoint.reader(file);
    const words = new Float32Array(count);
    reader.read(0, words);
    return words;
  };
  const { rows: weights, rowState, dense } = CHECKPOINT_FILES;
  return { weights: read(weights, rows * dim), state: read(rowState, rows * dim), dense: read(dense, denseWords) };
}

/** The segments of a checkpoint: which files they are, and their sizes. */
function segmentsOf(directory: string): Map<number | null, number> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).filter((name) => name.startsWith("rows-"));
  return new Map(names.map((name) => {
    const { ino, size } = Deno.statSync(`${directory}/${name}`);
    return [ino, size];
  }));
}

/** Every file of a run's checkpoints: which one it is, and its content. */
function filesOf(run: string): Record<string, [number | null, string]> {
  return Object.fromEntries(["best", "last"].flatMap((name) =>
    [...Deno.readDirSync(`${run}/${name}`)].map((file) => {
      const path = `${run}/${name}/${file.name}`;
      return [`${name}/${file.name}`, [Deno.statSync(path).ino, Deno.readFileSync(path).toBase64()]];
    })
  ));
}

for (const [ranks, expire] of [[1, undefined], [1, 2], [2, 1]]) {
  const dropping = expire === undefined ? "" : `, and rows unseen for ${expire} days are dropped`;
  Deno.test(`days grow with rows on disk to the bits of days in memory: ranks ${ranks}${dropping}`, async () => {
    using days = new Days();
    const config = { ...CONFIG, ranks: ranks! };
    let [plain, onDisk] = [undefined, undefined] as (string | undefined)[];
    for (let day = 0; day < DAYS; day++) {
      const [out, diskOut] = ["memory", "disk"].map((kind) => days.join(`${kind}${day}`));
      await days.train(day, out, config, plain, expire);
      const memory = { share: [.05, .3, .02, .1][day] };
      const before = onDisk === undefined ? {} : filesOf(onDisk);
      const train = (stop = {}) => days.train(day, diskOut, { ...config, memory }, onDisk, expire, stop);
      if (day === 0) await train();
      else {
        // Killed before its first checkpoint, or after it.
        await stopAt(7, train);
        if (day === 2) { for (const name of ["last", "best"]) removeIfThere(`${diskOut}/${name}`); }
        await resumeRun({ out: diskOut, report: quiet }, day === 3 ? { memory: { share: .4 } } : {});
      }
      for (const name of ["best", "last"]) assert.deepEqual(wordsOf(`${diskOut}/${name}`), wordsOf(`${out}/${name}`));
      assert.deepEqual(
        await evaluateRun(diskOut, [days.log(day)], quiet),
        await evaluateRun(out, [days.log(day)], quiet),
      );
      assert.deepEqual(onDisk === undefined ? {} : filesOf(onDisk), before);
      // Without growth the manifest is that of versions that could not share pages of smaller tables.
      const { rowLog } = Checkpoint.open(`${diskOut}/last`).body;
      assert.deepEqual(Object.keys(rowLog!), day === 0 ? ["seed", "segments"] : ["segments"]);
      [plain, onDisk] = [out, diskOut];
    }
  });
}

Deno.test("a day shares all pages of the day before, and writes the rows that it trains, each once", async () => {
  using days = new Days();
  const config = { ...CONFIG, memory: { share: .5 } };
  const { bytes: pageBytes, rows: pageRows } = pageShape(2 * CONFIG.dim);
  let from: string | undefined;
  for (let day = 0; day < DAYS; day++) {
    const out = days.join(`disk${day}`);
    const { moved } = await days.train(day, out, config, from);
    if (from !== undefined) {
      const touched = touchedRows(Dataset.open(readRun(out).dataset));
      assert.equal(moved!.written, touched);
      assert.equal(moved!.bytesWritten, pageBytes * Math.ceil(touched / pageRows));
      const [before, now] = [from, out].map((run) => segmentsOf(`${run}/last`));
      const own = [...now].filter(([ino]) => !before.has(ino));
      assert.equal(now.size - own.length, before.size, "a segment was copied");
      assert.equal(own.reduce((sum, [, size]) => sum + size, 0), moved!.bytesWritten);
    }
    from = out;
  }
});

Deno.test("a grown model is scored, exported, packed and reproduced without the days before, and trained on in memory", async () => {
  using days = new Days();
  const ends = [];
  for (const [kind, memory] of [["memory", null], ["disk", { share: .1 }]] as const) {
    const runs = [0, 1, 2].map((day) => days.join(`${kind}${day}`));
    for (const [day, out] of runs.entries()) {
      await days.train(day, out, { ...CONFIG, memory }, runs[day - 1], 2);
    }
    const [first, second, run] = runs;
    if (kind === "disk") {
      assert.equal((await reproduceRun(run, quiet)).difference, null);
      for (const day of [first, second]) Deno.removeSync(day, { recursive: true });
    }
    const packed = days.join(`${kind}.hotset`);
    await packRun(run, packed, quiet);
    const tomorrow = [days.log(3)];
    const next = days.join(`${kind}-next`);
    await days.train(3, next, CONFIG, kind === "disk" ? packed : run);
    ends.push({
      scores: await Promise.all([run, packed].map((model) => evaluateRun(model, tomorrow, quiet))),
      within: await evaluateRun(run, tomorrow, quiet, { memory: { share: .1 } }),
      exported: (await exportRun(run, "safetensors", days.join(`${kind}.safetensors`), quiet)).map((file) =>
        Deno.readFileSync(file)
      ),
      next: wordsOf(`${next}/last`),
    });
    assert.equal(existsSync(`${run}/last/row_numbers.u32`), kind === "disk");
  }
  assert.deepEqual(ends[1], ends[0]);
});

Deno.test("rows are copied once, with a note, if the dropped ones leave too many gaps, and are shared again after that", async () => {
  using days = new Days();
  const config = { ...CONFIG, batchSize: 4096 };
  // Of every two items of the first day the second has one; its last fifth of clicks is for tests.
  for (const [day, every] of [1, 2].entries()) {
    const lines = Array.from({ length: 180_000 / every }, (_, i) => `${i % 3 % 2},1,i${1e6 + every * i},u`);
    Deno.writeTextFileSync(days.log(day), ["y,price,item,user", ...lines].join("\n") + "\n");
  }
  const ends = [];
  for (const [kind, memory] of [["memory", null], ["disk", { share: .1 }]] as const) {
    const notes: string[] = [];
    const report = (event: RunEvent) => void (event.event === "note" && notes.push(event.text));
    const runs = [0, 1, 2].map((day) => days.join(`${kind}${day}`));
    const expire = [undefined, 1, undefined];
    for (const [day, out] of runs.entries()) {
      await days.train(day, out, { ...config, memory }, runs[day - 1], expire[day], { report });
      const copied = notes.splice(0).filter((text) => text.includes("are copied, not shared"));
      assert.equal(copied.length, kind === "disk" && day === 1 ? 1 : 0, copied.join());
    }
    ends.push(runs.map((run) => wordsOf(`${run}/last`)));
  }
  assert.deepEqual(ends[1], ends[0]);
});

function removeIfThere(directory: string): void {
  if (existsSync(directory)) Deno.removeSync(directory, { recursive: true });
}
