/** A run starts from another model only if its ids stand for the same values, whatever the sizes of the tables. */
import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { generateDataset } from "../../src/dataset/generate.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { ENCODING } from "../../src/run/run_record.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CONFIG = resolveConfig("kaggle", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 2, bottom: [2], top: [1], batchSize: 16 },
  ...{ optimizer: "adagrad", learningRate: 0.1 },
});
const silent = () => {};

/** Prepares rows of (label, price, item). */
async function prepare(
  directory: TemporaryDirectory,
  rows: readonly (readonly [number, number, string])[],
  { transform = "log", maxIndRange }: { transform?: string; maxIndRange?: number } = {},
): Promise<Dataset> {
  const columns = [{ name: "y", kind: "label" }, { name: "price", kind: "dense", transform }, {
    name: "item",
    kind: "sparse",
  }];
  const [input, schema] = [directory.join("log.csv"), directory.join("schema.json")];
  Deno.writeTextFileSync(input, ["y,price,item", ...rows.map((row) => row.join(","))].join("\n") + "\n");
  Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
  const options = { format: "csv", schema, ...(maxIndRange === undefined ? {} : { maxIndRange }) } as const;
  const cache = Deno.makeTempDirSync({ dir: directory.path });
  return await ensureDataset([input], { ...options, testFraction: 0.25 }, cache, silent);
}

const log = (items: readonly string[]) =>
  Array.from({ length: 40 }, (_, i) => [i % 2, i, items[Math.floor(i * i / 7) % items.length]] as const);

Deno.test("--from takes the model of equal values alone, as evaluate does, and names what differs", async () => {
  using directory = new TemporaryDirectory();
  const items = ["a", "b", "c", "d"];
  const trained = await prepare(directory, log(items));
  const run = directory.join("run");
  await startRun(CONFIG, trained, { out: run, report: silent });
  const begin = (dataset: Dataset, from: string) =>
    startRun(CONFIG, dataset, { out: Deno.makeTempDirSync({ dir: directory.path }), from, report: silent });

  const same = await prepare(directory, log(items).map(([y, price, item]) => [1 - y, price + 1, item] as const));
  assert.notEqual(same.id, trained.id);
  for (const from of [run, `${run}/last`]) await begin(same, from);
  await evaluateRun(run, [same.directory], silent);

  const cases: [Dataset, RegExp][] = [
    [await prepare(directory, log(["d", "c", "b", "a"])), /has another dictionary, so its ids stand for other values/],
    [await prepare(directory, log(items), { transform: "none" }), /has other dense features, or transforms them diff/],
    [await prepare(directory, log(["w", "x", "y", "z"])), /has another dictionary, so its ids stand for other values/],
    [await prepare(directory, log(items), { maxIndRange: 4 }), /has another dictionary, so its ids stand for other/],
  ];
  for (const [dataset, reason] of cases) {
    for (const join of [() => begin(dataset, run), () => evaluateRun(run, [dataset.directory], silent)]) {
      await assert.rejects(join(), (error) => error instanceof HotsetError && reason.test(error.message));
    }
  }
});

Deno.test("--from: one value at a range of 1 is not the text 0; a dataset that has changed is not compared", async () => {
  using directory = new TemporaryDirectory();
  const zeros = await prepare(directory, log(["0"]));
  const run = directory.join("run");
  await startRun(CONFIG, zeros, { out: run, report: silent });
  const begin = (dataset: Dataset) =>
    startRun(CONFIG, dataset, { out: directory.join("next"), from: run, report: silent });
  const hashed = await prepare(directory, log(["0", "1"]), { maxIndRange: 1 });
  assert.equal(hashed.valuesId, zeros.valuesId, "else this proves nothing");
  await assert.rejects(begin(hashed), /has other tables, or compares their values differently/);

  Deno.renameSync(zeros.directory, directory.join("moved"));
  Deno.renameSync(hashed.directory, zeros.directory);
  await assert.rejects(begin(Dataset.open(zeros.directory)), /has other tables, or compares their values differently/);
  Deno.removeSync(directory.join("run", ENCODING), { recursive: true }); // as in version 0.1
  await assert.rejects(
    begin(Dataset.open(zeros.directory)),
    /cannot be compared with .*, on which it was trained and which has changed since/,
  );
});

Deno.test("--from: generated data of another seed is another world", async () => {
  using directory = new TemporaryDirectory();
  const generate = (name: string, seed: number, samples: number) =>
    generateDataset(directory.join(name), {
      ...{ seed, samples, scale: 100_000 },
      fractions: { validation: 0.1, test: 0.1 },
    });
  const first = await generate("first", 1, 500);
  const run = directory.join("run");
  const config = { ...CONFIG, batchSize: 100 };
  await startRun(config, first, { out: run, report: silent });
  const more = await generate("more", 1, 700);
  await startRun(config, more, { out: directory.join("next"), from: run, report: silent });
  await assert.rejects(
    startRun(config, await generate("other", 2, 500), { out: directory.join("no"), from: run, report: silent }),
    /has another dictionary/,
  );
});
