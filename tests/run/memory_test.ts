/** Runs whose rows do not all lie in memory: the same checkpoints, whatever the budget, after an interrupt too. */
import assert from "node:assert/strict";
import { checkConfig, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError, Interrupted, UsageError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { modeThatFits } from "../../src/run/expectations.ts";
import { planFor, resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { CONFIG, dataOf } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

async function train(out: string, dataset: Dataset, config: TrainConfig, memory: MemoryBudget | null = null) {
  const notes: string[] = [];
  const report = (event: RunEvent) => event.event === "note" && notes.push(event.text);
  const result = await startRun({ ...config, memory }, dataset, { out, report });
  return { notes, result };
}

for (
  const [optimizer, bags, clipNorm] of [
    ["sgd", true, null],
    ["adagrad", false, null],
    ["adam", false, null],
    ["sgd", true, 0.05],
  ] as const
) {
  const clipped = clipNorm === null ? "" : ", gradients clipped";
  Deno.test(`a run within any memory leaves the checkpoints of one in memory: ${optimizer}${clipped}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, { bags });
    const config = resolveConfig("kaggle", { ...CONFIG, optimizer, clipNorm, testFreq: 17, checkpointSteps: 10 });
    const plain = await train(directory.join("plain"), dataset, config);
    const expected = checkpointsOf(directory.join("plain"));
    for (const share of optimizer === "adagrad" ? [0.02, 0.1, 0.5, 0.99] : [0.05]) {
      const out = directory.join(`share-${share}`);
      const { notes, result } = await train(out, dataset, config, { share });
      assert.deepEqual(checkpointsOf(out), expected, `${share}`);
      assert.equal(result.auc, plain.result.auc);
      assert.match(notes.join("\n"), /of 10,053 rows \(.*\) in memory, all others on the disk of /);
      assert.match(notes.join("\n"), /Rows of batches: .* were in memory; .* were computed/);
      // Whatever a run leaves, it is in the run.
      assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).filter((name) => name.startsWith(".")), []);
    }
  });
}

Deno.test("an interrupted run goes on within other memory with the same bits", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  await train(directory.join("plain"), dataset, CONFIG);
  const out = directory.join("run");
  const stops = [3, 17, 30];
  for (const [i, memory] of [{ share: 0.1 }, null, { share: 0.02 }, { share: 0.3 }].entries()) {
    const controller = new AbortController();
    const report = (event: RunEvent) => {
      if (event.event === "progress" && event.step === stops[i]) controller.abort();
    };
    const options = { out, report, signal: () => controller.signal };
    const run = i === 0 ? startRun({ ...CONFIG, memory }, dataset, options) : resumeRun(options, { memory });
    if (stops[i] === undefined) await run;
    else await assert.rejects(run, Interrupted);
  }
  assert.deepEqual(checkpointsOf(out), checkpointsOf(directory.join("plain")));
  assert.equal((await evaluateRun(out, [], () => {})).length, 2);
});

Deno.test("a run begins with another run's model within any memory", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const [first, plain, cached] = ["first", "plain", "cached"].map((name) => directory.join(name));
  await train(first, dataset, { ...CONFIG, epochs: 1 });
  const config = { ...CONFIG, epochs: 1, seed: 9 };
  await startRun(config, dataset, { out: plain, from: first, report: () => {} });
  await startRun({ ...config, memory: { share: 0.1 } }, dataset, { out: cached, from: first, report: () => {} });
  assert.deepEqual(checkpointsOf(cached), checkpointsOf(plain));
});

Deno.test("a budget that cannot be kept is refused with the least that can", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const start = (config: TrainConfig, memory: MemoryBudget) =>
    startRun({ ...config, memory }, dataset, { out: directory.join("run"), report: () => {} });
  await assert.rejects(start(CONFIG, { bytes: 1 << 20 }), (error) => {
    return error instanceof UsageError &&
      /Cannot work within 1\.0 MiB of memory: .* need \d+MiB, .*; choose --memory \d+MiB or/.test(error.message);
  });
  for (
    const memory of [{ share: 25 }, { share: NaN }, { bytes: -1 }, { bytes: Infinity }, {}, { bytes: 1, share: 1 }]
  ) {
    assert.throws(
      () => checkConfig({ ...CONFIG, memory: memory as MemoryBudget }),
      /Cannot use the configuration: memory must be \{ bytes \}.*from 0 to 1 of the tables/,
    );
  }
  for (const config of [{ ...CONFIG, ranks: 2 }, { ...CONFIG, mode: "fae" } as const]) {
    await assert.rejects(start(config, { share: 0.5 }), /choose --mode cpu --ranks 1/);
  }
});

Deno.test("a model that diverges names the row", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = resolveConfig("kaggle", { ...CONFIG, optimizer: "sgd", learningRate: 1e20, interaction: "cat" });
  await assert.rejects(
    train(directory.join("run"), dataset, config, { share: 0.05 }),
    (error) =>
      error instanceof HotsetError && error.code === "diverged" && /row \d+ of table|layer/.test(error.message),
  );
});

Deno.test("a mode that was not asked for gives way to mode cpu where the tables do not fit", () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = { ...CONFIG, mode: "fae", ranks: null, hotMemory: 1000 } as const;
  const plan = planFor(config, dataset);
  const notes: string[] = [];
  const modeIn = (room: number, changes: Partial<TrainConfig> = {}) => {
    const report = (event: RunEvent) => event.event === "note" && notes.push(event.text);
    return modeThatFits({ ...config, ...changes }, plan, report, room).mode;
  };
  const bytes = 10_053 * 64;
  assert.equal(modeIn(bytes + 1000), "fae");
  assert.equal(modeIn(bytes - 1, { mode: "gpu" }), "gpu");
  assert.deepEqual(notes, []);
  assert.equal(modeIn(bytes + 999), "cpu");
  assert.match(
    notes.join(),
    /^The tables take 628 KiB, but 629 KiB of memory is available: training in mode cpu, which/,
  );
});
