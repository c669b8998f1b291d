/** Diverging training and data with undefined metrics are reported. */
import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { LossWatch } from "../../src/loop/loss_watch.ts";
import { lossWeight } from "../../src/model/loss.ts";
import { labelNotes } from "../../src/run/label_notes.ts";
import { findBadTensor } from "../../src/loop/divergence.ts";
import { firstWordOf, localModel } from "../support/local_model.ts";
import { tinyDataset, writeDataset } from "../support/tiny_dataset.ts";

const TABLE_ROWS = [2000, 50];
const CONFIG: TrainConfig = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 50,
  hotMemory: 64 * 3000,
  printFreq: 10,
  epochs: 2,
});

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 1990, validation: 200, test: 0 },
    tableRows: TABLE_ROWS,
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
}

/** Trains in steps of a rate that is harmless at first and rises beyond all bounds; returns the error. */
async function diverge(directory: TemporaryDirectory, config: Partial<TrainConfig>): Promise<string> {
  const out = directory.join("run");
  let message = "";
  await assert.rejects(
    startRun({ ...CONFIG, ...config }, dataOf(directory), { out, report: () => {} }),
    (error) => {
      message = error instanceof HotsetError ? error.message : `no HotsetError: ${error}`;
      return error instanceof HotsetError;
    },
  );
  assert.match(message, /^Cannot continue training: /);
  return message.replaceAll(`${directory.path}/`, "");
}

for (const [mode, ranks] of [["cpu", 1], ["cpu", 2], ["fae", 2]] as const) {
  Deno.test(`a loss that is not a number stops training with the step, the batch and the tensor: mode ${mode}, ${ranks} ranks`, async () => {
    using directory = new TemporaryDirectory();
    // The rate rises by a tenth of 1e38 a step.
    const message = await diverge(directory, { mode, ranks, learningRate: 1e38, warmupSteps: 10, printFreq: 1000 });
    assert.match(
      message,
      /^Cannot continue training: the loss of step \d \((cold|hot) batch \d+\) is not a number; (first of all .* holds (NaN|infinity)|all parameters are finite, the largest is \d\.\d\de\+3\d, in a \w+ of layer \d of the \w+ MLP); no checkpoint was saved; start again in another --out with a --learning-rate below 1e\+38/,
    );
  });
}

Deno.test("a loss that explodes stops training, and what was saved before stays", async () => {
  using directory = new TemporaryDirectory();
  const message = await diverge(directory, {
    mode: "cpu",
    ranks: 1,
    learningRate: 3000,
    warmupSteps: 15_000, // rises by 0.2 a step
    epochs: 300,
    printFreq: 10,
    checkpointSteps: 20,
    keep: 0,
  });
  assert.match(
    message,
    /the (mean )?loss of step.* (is \d[\d.e+]*|is not a number); .*; the last good checkpoint is run\/last; start again/,
  );
  const { step } = Checkpoint.open(directory.join("run/last")).body.state;
  assert.ok(step > 0);
});

Deno.test("the tensor that is bad is named, the first in the order of the forward pass", async () => {
  const host = await openHost(await cpuOptions("wasm"));
  const shape = {
    dim: 2,
    tableRows: [5, 7],
    bottom: [2, 2],
    top: [3, 1],
    interaction: "dot" as const,
    optimizer: "sgd" as const,
  };
  const batch = { batchSize: 2, denseFeatures: 2, tables: 2, bags: false, lookupCapacity: 4 };
  const { memory } = localModel(host, shape, batch, { hotRows: Uint32Array.of(0, 1, 2) });
  const [parameters, rows, hot] = [memory.parameters, memory.full.weights, memory.hot!.weights].map((buffer) =>
    host.floats(buffer)
  );
  const find = () => findBadTensor(memory, ["C1", "C2"]);
  rows[2 * 6] = -7;
  assert.equal(find(), "all parameters are finite, the largest is 7.00, in row 1 of table C2");
  parameters[firstWordOf(memory.plan, "top_l.2.bias")] = NaN;
  assert.equal(find(), "first of all a bias of layer 2 of the top MLP holds NaN");
  hot[5] = -Infinity;
  assert.equal(find(), "first of all hot row 2 of the replica holds infinity");
  rows[2 * 11 + 1] = NaN;
  assert.equal(find(), "first of all row 6 of table C2 holds NaN");
  parameters[firstWordOf(memory.plan, "bot_l.0.weight")] = Infinity;
  assert.equal(find(), "first of all a weight of layer 1 of the bottom MLP holds infinity");
});

Deno.test("labels that are all the same, and splits that are missing, are said", async () => {
  using directory = new TemporaryDirectory();
  const split = (labels: number[]) => ({
    labels: Uint8Array.from(labels),
    dense: new Float32Array(labels.length).fill(0.5),
    ids: Uint32Array.from(labels, (_, i) => i % 10),
  });
  const datasetOf = (name: string, splits: Parameters<typeof writeDataset>[1]["splits"]) =>
    writeDataset(directory.join(name), { tableRows: [10], denseFeatures: 1, splits });
  const notesOf = async (...given: Parameters<typeof datasetOf>) =>
    (await labelNotes(datasetOf(...given), "auc")).join("\n");
  const mixed = Array.from({ length: 200 }, (_, i) => i % 3 === 0 ? 1 : 0);
  const ones = mixed.map(() => 1);
  const zeros = mixed.map(() => 0);
  assert.equal(await notesOf("good", { train: split(mixed), validation: split(mixed) }), "");
  assert.match(
    await notesOf("ones", { train: split(ones), validation: split(mixed) }),
    /^All 200 .* train split .* 1: /,
  );
  assert.match(
    await notesOf("zeros", { train: split(mixed), validation: split(zeros), test: split(mixed) }),
    /^All 200 samples of the validation split have the label 0, so AUC is undefined/,
  );
  assert.match(await notesOf("test", { train: split(mixed), test: split(mixed) }), /^There is no validation split/);
  assert.match(await notesOf("none", { train: split(mixed) }), /^There is neither/);

  const dataset = datasetOf("told", { train: split(mixed) });
  const told: string[] = [];
  const report = (event: RunEvent) => void (event.event === "note" && told.push(event.text));
  await startRun({ ...CONFIG, mode: "cpu", ranks: 1 }, dataset, { out: directory.join("told-run"), report });
  // Training adds notes of its own, some of which depend on the last bits of sums.
  for (const note of await labelNotes(dataset, "auc")) assert.ok(told.includes(note), note);
});

Deno.test("large weights of samples and positives are no explosion, and an explosion is one with any weights", () => {
  const batch = Float32Array.of(300, -500, 400, -600);
  const weight = lossWeight(batch, 2);
  assert.equal(weight, 2 * 300 + 500 + 2 * 400 + 600);
  assert.equal(lossWeight(Float32Array.of(1, 0, 1, 0), 1), 4);
  for (const [nats, exploded] of [[0.7, false], [25, true]] as const) {
    for (const each of [weight, 4, 0.01]) {
      const watch = new LossWatch();
      watch.count(4, each);
      assert.equal(watch.add(nats * each, 10), undefined, "the first steps may recover");
      watch.restart(10);
      watch.count(4, each);
      assert.equal(watch.add(nats * each, 200) !== undefined, exploded);
    }
  }
});
