/** Runs with rows on disk write the same checkpoints for any budget, also after an interruption. */
import assert from "node:assert/strict";
import { checkConfig, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError, UsageError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { startRun } from "../../src/run/run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { CONFIG, dataOf, interruptAgainAndAgain } from "../support/row_runs.ts";
import { someOf } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

async function train(out: string, dataset: Dataset, config: TrainConfig, memory: MemoryBudget | null = null) {
  const notes: string[] = [];
  const report = (event: RunEvent) => event.event === "note" && notes.push(event.text);
  const result = await startRun({ ...config, memory }, dataset, { out, report });
  return { notes, result };
}

for (
  const [optimizer, ranks, bags, clipNorm] of someOf(
    [
      ["sgd", 1, true, null],
      ["adagrad", 1, false, null],
      ["adam", 2, false, null],
      ["sgd", 2, true, 0.05],
    ] as const,
    2,
  )
) {
  const clipped = clipNorm === null ? "" : ", gradients clipped";
  const what = `${optimizer}, ranks ${ranks}${clipped}`;
  Deno.test(`a run within any memory leaves the checkpoints of one in memory: ${what}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, { bags });
    const rowL2 = optimizer === "adam" ? 0 : 0.01;
    const changes = { optimizer, ranks, clipNorm, rowL2, testFreq: 17, checkpointSteps: 10 };
    const config = resolveConfig("kaggle", { ...CONFIG, ...changes });
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

Deno.test("an interrupted run goes on within other memory with the same bits", () => interruptAgainAndAgain(CONFIG));

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
  await assert.rejects(start({ ...CONFIG, mode: "fae" }, { share: 0.5 }), /in mode fae: .*; choose --mode cpu, or/);
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
