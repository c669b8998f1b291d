/** Data with no table, one table and 500 tables can be trained on, evaluated, scored and resumed. */
import assert from "node:assert/strict";
import { BEST_CHECKPOINT } from "../../src/checkpoint/checkpoint_store.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { Interrupted } from "../../src/errors.ts";
import { planDataset } from "../../src/plan/plan_training.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { Random } from "../../src/random.ts";
import { planText } from "../../src/report/tables.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const report = () => {};
const CONFIG: TrainConfig = resolveConfig("default", {
  ...{ mode: "cpu", blas: "wasm", ranks: 1, dim: 4, bottom: [16, 4], top: [16, 1] },
  ...{ batchSize: 50, learningRate: 0.05, epochs: 3, printFreq: 1 },
});

/** Clicks that depend on two numbers, and so many columns of codes, of which the first one matters, too. */
async function logOf(directory: TemporaryDirectory, tables: number, samples: number) {
  const [log, schema] = [directory.join("log.csv"), directory.join("schema.json")];
  const random = new Random(9);
  const names = Array.from({ length: tables }, (_, t) => `c${t}`);
  const rows = Array.from({ length: samples }, () => {
    const [x, y] = [random.normal(), random.normal()];
    const codes = names.map(() => random.below(5));
    const logit = 3 * x - 2 * y + (tables === 0 ? 0 : codes[0] > 2 ? 2 : -2);
    const clicked = random.uniform() < 1 / (1 + Math.exp(-logit)) ? 1 : 0;
    return [clicked, x.toFixed(3), y.toFixed(3), ...codes].join(",") + "\n";
  });
  Deno.writeTextFileSync(log, ["clicked", "x", "y", ...names].join(",") + "\n" + rows.join(""));
  const columns = [
    { name: "clicked", kind: "label" },
    ...["x", "y"].map((name) => ({ name, kind: "dense", transform: "none" })),
    ...names.map((name) => ({ name, kind: "sparse" })),
  ];
  Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
  const options = {
    inputs: [log],
    format: "csv",
    schema,
    validationFraction: 0.2,
    out: directory.join("data"),
  } as const;
  return { log, dataset: await prepareDataset(options) };
}

/** A run of six or more steps that stops after the fifth and goes on ends as `whole`, one that never stopped. */
async function expectResumed(config: TrainConfig, dataset: Dataset, whole: string, out: string): Promise<void> {
  const controller = new AbortController();
  const untilStep5 = (event: RunEvent) => void (event.event === "progress" && event.step === 5 && controller.abort());
  const options = { out, report: untilStep5, signal: () => controller.signal };
  await assert.rejects(startRun(config, dataset, options), Interrupted);
  await resumeRun({ out, report });
  const [first, second] = [whole, out].map((run) => Checkpoint.open(`${run}/${BEST_CHECKPOINT}`).id);
  assert.equal(second, first);
}

for (const tables of [0, 1]) {
  Deno.test(`a log with ${tables} table${tables === 1 ? "" : "s"} trains, is evaluated, predicts and goes on`, async () => {
    using directory = new TemporaryDirectory();
    const { log, dataset } = await logOf(directory, tables, 800);
    assert.equal(dataset.tables, tables);
    const out = directory.join("run");
    const { best, split } = await startRun(CONFIG, dataset, { out, report });
    assert.ok(best.auc! > 0.85, `AUC ${best.auc}`);
    const evaluated = await evaluateRun(out, [], report);
    assert.equal(evaluated.find((event) => event.split === split)!.auc, best.auc);
    const scores = await predictRun(out, [log], {}, report);
    assert.equal(scores.length, 800);
    assert.ok(new Set(scores).size > 400);
    await expectResumed(CONFIG, dataset, out, directory.join("parted"));
  });
}

for (const tables of [60, 500]) {
  slowTest(`a dataset with ${tables} tables trains hot and cold, is evaluated and goes on`, async () => {
    using directory = new TemporaryDirectory();
    const samples = { train: 300, validation: 50, test: 0 };
    const config: TrainConfig = { ...CONFIG, interaction: "cat", epochs: 1 };
    const tableRows = Array.from({ length: tables }, (_, t) => 1 + t % 7);
    const options = { samples, tableRows, denseFeatures: 2, bags: false, seed: 1, skew: 2 };
    const dataset = tinyDataset(directory.join("data"), options);
    const out = directory.join("run");
    const { best } = await startRun(config, dataset, { out, report });
    const [evaluated] = await evaluateRun(out, [], report);
    assert.equal(evaluated.auc, best.auc);
    await expectResumed(config, dataset, out, directory.join("parted"));
    const fae: TrainConfig = { ...config, mode: "fae", device: "cpu", hotMemory: tables * 7 * 16 };
    assert.ok((await startRun(fae, dataset, { out: directory.join("fae"), report })).hotRows > tables);
  });
}

Deno.test("without sparse features there is nothing hot to plan, to profile or to train on", async () => {
  using directory = new TemporaryDirectory();
  const { dataset } = await logOf(directory, 0, 100);
  for (const [mode, rows] of [["fae", "be hot"], ["hybrid", "keep on the host"]] as const) {
    const config: TrainConfig = { ...CONFIG, mode, device: "emulated", blas: "auto" };
    await assert.rejects(startRun(config, dataset, { out: directory.join("run"), report }), {
      name: "UsageError",
      message: `Cannot train on ${dataset.directory} in mode ${mode}: it has no sparse features, so there are no ` +
        `embedding rows to ${rows}; choose --mode cpu, or gpu`,
    });
  }
  const asDefault: TrainConfig = { ...CONFIG, mode: "auto", device: "emulated", blas: "auto" };
  assert.equal((await startRun(asDefault, dataset, { out: directory.join("default"), report })).mode, "gpu");
  const options = { out: directory.join("profile"), dim: 4, optimizer: "sgd", hotMemory: 1000, seed: 1 } as const;
  await assert.rejects(() => profileDataset(dataset, options), {
    message: /it has no sparse features, so there are no rows/,
  });
  const plan = await planDataset(dataset, CONFIG, { total: 2 ** 34, available: 2 ** 34 });
  assert.deepEqual(plan.placements.map(({ mode }) => mode), ["cpu", "gpu"]);
  assert.doesNotMatch(planText(plan), /hot rows|NaN/);
});

slowTest("a plain MLP trains by several ranks and on a device as by one", async () => {
  using directory = new TemporaryDirectory();
  const { dataset } = await logOf(directory, 0, 300);
  const train = async (name: string, changes: Partial<TrainConfig>) =>
    (await startRun({ ...CONFIG, ...changes }, dataset, { out: directory.join(name), report })).best.logloss;
  const one = await train("one", {});
  for (
    const [name, changes] of Object.entries(
      {
        two: { ranks: 2 },
        device: { mode: "gpu", device: "emulated", blas: "auto" },
        devices: { mode: "gpu", device: "emulated", blas: "auto", ranks: 2 },
      } satisfies Record<string, Partial<TrainConfig>>,
    )
  ) {
    const logloss = await train(name, changes);
    assert.ok(Math.abs(logloss - one) < 1e-4, `${name}: ${logloss}, one rank ${one}`);
  }
});
