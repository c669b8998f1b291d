/** Training with the best of several seeds. */
import assert from "node:assert/strict";
import type { TrainConfig } from "../../src/config/config.ts";
import { UsageError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { trainBestOf } from "../../src/run/best_seed.ts";
import { inspectCaches } from "../../src/run/clean.ts";
import { startRun } from "../../src/run/run.ts";
import type { RawOptions } from "../../src/run/stages.ts";
import { isPartial } from "../../src/storage/partial.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const RAW = () => Promise.resolve({ format: "csv" } as const); // the input is a dataset
const SEEDED: TrainConfig = { ...CONFIG, mode: "cpu", blas: "wasm", seed: 7 };

Deno.test("--best-of trains the run of the seed that is the best after 5 % of an epoch", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 990);
  const aucs = new Map<number, number>();
  for (const seed of [7, 8, 9]) {
    const config = { ...SEEDED, seed, testFreq: 1, save: false };
    await startRun(config, dataset, {
      out: directory.join(`alone-${seed}`),
      report: () => {},
      onEvaluation({ step, auc }) {
        assert.equal(step, 1, "5 % of 20 batches");
        aucs.set(seed, auc);
        return "stop";
      },
    });
  }
  const [[best]] = [...aucs].sort(([, a], [, b]) => b - a);
  const events: RunEvent[] = [];
  const out = directory.join("best");
  const result = await trainBestOf(3, [dataset.directory], RAW, SEEDED, { out, report: (event) => events.push(event) });
  const notes = events.flatMap((event) => event.event === "note" && /seed/i.test(event.text) ? [event.text] : []);
  assert.deepEqual(notes, [
    ...[...aucs].map(([seed, auc]) => `Seed ${seed}: auc ${auc.toFixed(4)} after step 1`),
    `Training with seed ${best}, the best of 3 (validation auc ${aucs.get(best)!.toFixed(4)})`,
  ]);
  const plain = await run(directory, "plain", dataset, { ...SEEDED, seed: best });
  assert.equal(result.logloss, plain.result.logloss, "the run of that seed");
  assert.deepEqual(Deno.readFileSync(`${out}/last/dense.f32`), Deno.readFileSync(`${plain.out}/last/dense.f32`));
  const left = [...Deno.readDirSync(directory.path)].filter(({ name }) => name.startsWith(".seed"));
  assert.deepEqual(left, [], "the short runs are removed");
});

Deno.test("while seeds are compared clean keeps the dataset, and would know what a kill leaves", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.join("clicks.csv");
  const rows = Array.from({ length: 300 }, (_, i) => `${i % 3 === 0 ? 1 : 0},${i % 17},u${i % 23}`);
  Deno.writeTextFileSync(log, ["y,price,user", ...rows].join("\n") + "\n");
  const columns = [{ name: "y", kind: "label" }, { name: "price", kind: "dense" }, { name: "user", kind: "sparse" }];
  const raw = () => Promise.resolve({ format: "csv", schema: { columns }, threads: 1 } as unknown as RawOptions);
  const [cache, folder] = [directory.join("cache"), directory.join("new/runs")];
  const entries = () => [...Deno.readDirSync(folder)].map(({ name }) => name);
  let looks = 0;
  await trainBestOf(2, [log], raw, { ...SEEDED, epochs: 1 }, {
    out: `${folder}/run`,
    cache,
    report(event) {
      if (event.event !== "note" || !event.text.startsWith("Seed ")) return;
      looks++;
      const [short] = entries().filter(isPartial);
      assert.ok(short, "a name that clean removes after a kill");
      assert.deepEqual(inspectCaches([cache]).map(({ kind, kept }) => [kind, kept !== null]), [["dataset", true]]);
    },
  });
  assert.equal(looks, 2);
  assert.deepEqual(entries(), ["run"]);
});

Deno.test("seeds that diverge are not chosen", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 300);
  const notes: string[] = [];
  await assert.rejects(
    trainBestOf(2, [dataset.directory], RAW, { ...SEEDED, learningRate: 1e30 }, {
      out: directory.join("out"),
      report: (event) => event.event === "note" && notes.push(event.text),
    }),
    /^HotsetError: Cannot choose a seed: all 2 diverged; choose a smaller --learning-rate, or --lr-num-warmup-steps$/,
  );
  assert.deepEqual(notes.flatMap((text) => /^Seed \d: diverged: /.exec(text)?.[0] ?? []), [
    "Seed 7: diverged: ",
    "Seed 8: diverged: ",
  ]);
});

Deno.test("every seed is one that a run may have", async () => {
  using directory = new TemporaryDirectory();
  await assert.rejects(
    trainBestOf(3, ["x"], RAW, { ...SEEDED, seed: 2 ** 32 - 2 }, { out: directory.join("out"), report: () => {} }),
    /^UsageError: Cannot choose among 3 seeds from 4294967294 on: a seed is at most 4294967295$/,
  );
});

Deno.test("seeds cannot be compared without a validation split", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    ...{ samples: { train: 100, validation: 0, test: 50 }, tableRows: [20, 30], denseFeatures: 3 },
    ...{ bags: false, seed: 1, skew: 4 },
  });
  await assert.rejects(
    trainBestOf(2, [dataset.directory], RAW, SEEDED, { out: directory.join("out"), report: () => {} }),
    (error) =>
      error instanceof UsageError && /^Cannot choose a seed: dataset .* has no validation split/.test(error.message),
  );
});
