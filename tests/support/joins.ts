/**
 * Combines a model with data of another dictionary in every possible way. Each way must map rows by value, which is
 * checked with an independent scorer of the exported model and its value file, or refuse.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError } from "../../src/errors.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { importRun } from "../../src/interop/import_run.ts";
import { SafetensorsReader } from "../../src/interop/safetensors.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { resumeRun, startRun, trainOn } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { TemporaryDirectory } from "./temporary.ts";

/** A model with a score that needs no library: one pair of hidden units for the price, and a weighted sum of rows. */
const CONFIG = resolveConfig("kaggle", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 2, bottom: [2], top: [1], interaction: "cat", batchSize: 8 },
  ...{ optimizer: "adagrad", learningRate: 0.3, epochs: 1 },
});
const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "price", kind: "dense", transform: "none" },
  { name: "user", kind: "sparse" },
  { name: "item", kind: "sparse" },
];
const VALUES = ["a", "b", "c", "d", "0", "1"];
const silent = () => {};

interface Row {
  readonly y: number;
  readonly price: number;
  readonly user: string;
  readonly item: string;
}
interface Log {
  readonly rows: readonly Row[];
  readonly maxIndRange: number | undefined;
}

/** Few values, so that tables of two logs often have equal sizes. */
const log: fc.Arbitrary<Log> = fc.record({
  rows: fc.tuple(
    fc.shuffledSubarray(VALUES, { minLength: 2, maxLength: 3 }),
    fc.shuffledSubarray(VALUES, { minLength: 2 }),
  )
    .chain(([users, items]) =>
      fc.array(
        fc.record({
          y: fc.integer({ min: 0, max: 1 }),
          price: fc.integer({ min: 0, max: 3 }),
          user: fc.constantFrom(...users),
          item: fc.constantFrom(...items),
        }),
        { minLength: 24, maxLength: 32 },
      )
    ),
  maxIndRange: fc.constantFrom(undefined, undefined, 1, 3),
});

/** Two logs; the second one is the first with other labels, so both have the same dictionary. */
export const sameDictionary: fc.Arbitrary<readonly [Log, Log]> = fc.tuple(log, log).map(([first, { rows }]) => [
  first,
  { ...first, rows: first.rows.map((row, i) => ({ ...row, y: rows[i % rows.length].y })) },
]);

/** Two logs with different dictionaries, some of which are equal by chance. */
export const ownDictionaries: fc.Arbitrary<readonly [Log, Log]> = fc.tuple(log, log, fc.boolean()).map(
  ([first, second, sameRange]) => [first, sameRange ? { ...second, maxIndRange: first.maxIndRange } : second],
);

async function prepare(folder: string, { rows, maxIndRange }: Log): Promise<{ file: string; dataset: Dataset }> {
  Deno.mkdirSync(folder);
  const [file, schema] = [join(folder, "log.csv"), join(folder, "schema.json")];
  const lines = rows.map(({ y, price, user, item }) => `${y},${price},${user},${item}`);
  Deno.writeTextFileSync(file, ["y,price,user,item", ...lines].join("\n") + "\n");
  Deno.writeTextFileSync(schema, JSON.stringify({ columns: COLUMNS }));
  const raw = { format: "csv", schema, ...(maxIndRange === undefined ? {} : { maxIndRange }) } as const;
  const fractions = { validationFraction: 0, testFraction: 0.25 };
  return { file, dataset: await ensureDataset([file], { ...raw, ...fractions }, folder, silent) };
}

/** Click probabilities, computed independently. */
interface Scorer {
  of(row: Row): number;
  /** True if the model has rows for all values. */
  knows(row: Row): boolean;
}

/** Scores raw rows with the exported files: the tensors, and the file with the value of each row. */
async function scorer(run: string, folder: string, maxIndRange: number | undefined): Promise<Scorer> {
  const out = join(folder, "model.safetensors");
  await exportRun(run, "safetensors", out, silent);
  using file = new SafetensorsReader(out);
  const tensor = (name: string) => {
    const found = file.tensors.get(name)!;
    const words = new Float32Array(found.shape.reduce((product, size) => product * size, 1));
    file.read(found, 0, words);
    return words;
  };
  const [weight, bias, top, [topBias]] = ["bot_l.0.weight", "bot_l.0.bias", "top_l.0.weight", "top_l.0.bias"].map(
    tensor,
  );
  const tables = { user: tensor("emb_l.0.weight"), item: tensor("emb_l.1.weight") };
  const connection = await (await DuckDBInstance.create()).connect();
  const read = async (query: string) => (await connection.runAndReadAll(query)).getRows();
  const ids = new Map(
    (await read(`FROM read_parquet('${join(folder, "model.ids.parquet")}')`))
      .map(([feature, value, id]) => [`${feature} ${value}`, Number(id)]),
  );
  const keys = new Map(
    (await read(
      `SELECT v, ${maxIndRange === undefined ? "v" : `md5_number_lower(v) % ${maxIndRange}`} ` +
        `FROM (VALUES ${VALUES.map((v) => `('${v}')`).join(", ")}) AS t(v)`,
    )).map(([value, key]) => [String(value), String(key)]),
  );
  connection.closeSync();
  const idOf = (row: Omit<Row, "price">, name: "user" | "item") => ids.get(`${name} ${keys.get(row[name])}`) ?? 0;
  const of = ({ price, ...row }: Row) => {
    const features = [0, 1].map((i) => Math.max(0, weight[i] * price + bias[i]));
    for (const name of ["user", "item"] as const) {
      const id = idOf(row, name);
      features.push(...tables[name].subarray(2 * id, 2 * id + 2));
    }
    return 1 / (1 + Math.exp(-features.reduce((sum, x, i) => sum + x * top[i], topBias)));
  };
  return { of, knows: (row) => idOf(row, "user") > 0 && idOf(row, "item") > 0 };
}

function loglossOf(rows: readonly Row[], score: (row: Row) => number): number {
  return -rows.reduce((sum, row) => sum + Math.log(row.y === 1 ? score(row) : 1 - score(row)), 0) / rows.length;
}

function assertClose(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) < 1e-4, `${what}: ${actual}, by value ${expected}`);
}

/** Result of a join; undefined if it is refused. */
async function unlessRefused<T>(work: () => Promise<T> | T): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    assert.ok(error instanceof HotsetError, `${error}`);
    assert.match(error.message, /other tables|stand for other values|has changed since/);
    return undefined;
  }
}

/** Joins a model of the first log with the second in every way. Returns the ways that may refuse and did not. */
export async function joinInEveryWay([first, second]: readonly [Log, Log]): Promise<string[]> {
  using directory = new TemporaryDirectory();
  const a = await prepare(directory.join("a"), first);
  const b = await prepare(directory.join("b"), second);
  const run = directory.join("run");
  await startRun(CONFIG, a.dataset, { out: run, report: silent });
  const score = await scorer(run, directory.path, first.maxIndRange);
  const expectScores = async (run: string, file: string, rows: readonly Row[], way: string) => {
    const scores = await predictRun(run, [file], {}, silent);
    assert.equal(scores.length, rows.length);
    rows.forEach((row, i) => assertClose(scores[i], score.of(row), `${way}, row ${i}`));
  };
  const taken: string[] = [];

  await expectScores(run, b.file, second.rows, "predict");
  const [raw] = await evaluateRun(run, [b.file], silent);
  assertClose(raw.logloss, loglossOf(second.rows, score.of), "evaluate raw rows");

  const evaluated = await unlessRefused(() => evaluateRun(run, [b.dataset.directory], silent));
  if (evaluated !== undefined) {
    taken.push("evaluate");
    const tested = second.rows.slice(second.rows.length - b.dataset.samples("test"));
    assertClose(evaluated[0].logloss, loglossOf(tested, score.of), "evaluate a dataset");
  }

  // The learning rate is so small that the new run has the model of the old one, with the new data.
  const next = directory.join("next");
  const still = { ...CONFIG, learningRate: 1e-30 };
  if (await unlessRefused(() => startRun(still, b.dataset, { out: next, from: run, report: silent })) !== undefined) {
    taken.push("from");
    await expectScores(next, a.file, first.rows, "--from");
  }

  // Raw rows always join: they are encoded with the model's dictionary, and its values keep their rows.
  const grown = directory.join("grown");
  const reading = { format: "csv", validationFraction: 0, testFraction: 0.25 } as const;
  await trainOn([b.file], reading, still, { out: grown, from: run, report: silent });
  const scores = await predictRun(grown, [a.file], {}, silent);
  for (const [i, row] of first.rows.entries()) {
    if (score.knows(row)) assertClose(scores[i], score.of(row), `a model that grew, row ${i}`);
  }

  for (const ids of ["rows", undefined] as const) {
    const out = directory.join(`imported-${ids}`);
    const options = { data: b.dataset.directory, out, ids, config: CONFIG };
    const imported = await unlessRefused(async () => {
      await importRun(directory.join("model.safetensors"), options, silent);
      return true;
    });
    if (imported === undefined) continue;
    taken.push("import");
    await expectScores(out, a.file, first.rows, "import");
  }

  // Replaces the run's dataset with another one.
  if (a.dataset.id !== b.dataset.id) {
    Deno.renameSync(a.dataset.directory, directory.join("moved"));
    Deno.renameSync(b.dataset.directory, a.dataset.directory);
    const uses: (() => unknown)[] = [
      () => resumeRun({ out: run, report: silent }),
      () => evaluateRun(run, [], silent),
    ];
    for (const use of uses) {
      assert.equal(await unlessRefused(async () => (await use(), true)), undefined, `${use}`);
    }
    await expectScores(run, a.file, first.rows, "predict without the run's dataset");
  }
  return taken;
}
