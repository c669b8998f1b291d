import { OPTIMIZER_NAMES } from "../../src/optimizer/optimizers.ts";
import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { planModel } from "../../src/model/shape.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { measurePhases } from "../../src/loop/phases.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

for (const optimizer of OPTIMIZER_NAMES) {
  Deno.test(`measurePhases() times every phase and changes nothing (${optimizer})`, async () => {
    using folder = new TemporaryDirectory();
    const dataset = tinyDataset(folder.join("data"), {
      samples: { train: 800, validation: 0, test: 0 },
      tableRows: [20_000, 30],
      denseFeatures: 3,
      bags: true,
      seed: 1,
      skew: 3,
    });
    const profile = await profileDataset(dataset, {
      out: folder.join("p"),
      dim: 16,
      optimizer,
      hotMemory: 16_384,
      seed: 1,
    });
    using layout = await buildLayout(dataset, profile, { out: folder.join("l"), batchSize: 32 });
    const plan = planModel({
      dim: 16,
      tableRows: [20_000, 30],
      bottom: [3, 8, 16],
      top: [8, 1],
      interaction: "dot",
      optimizer,
    });
    using host = await openHost(await cpuOptions("auto"));
    const { hotRows } = layout;
    const memory = allocateTrainState({
      plan,
      batchShape: layout.shape,
      hotRows,
      ranks: 1,
      device: host,
      host,
    });
    const { full, hot, parameters, denseState, gradients } = memory;
    const state = [full.weights, full.state, hot!.weights, hot!.state, parameters, denseState, gradients[0]]
      .flatMap((buffer) => buffer === undefined ? [] : [host.floats(buffer)]);
    state.forEach((words, i) => words.forEach((_, w) => words[w] = ((w * 7 + i) % 13 + 1) / 16));
    const before = state.map((words) => words.slice());

    const events = measurePhases(layout, memory);

    assert.deepEqual(events.map(({ kind }) => kind), ["hot", "cold"]);
    for (const { phases, samples } of events) {
      assert.deepEqual(phases.map(({ name }) => name), [
        "pooling",
        "bottom MLP",
        "interaction",
        "top MLP",
        "loss",
        "row update",
        "dense update",
      ]);
      assert(phases.every(({ seconds }) => seconds > 0), JSON.stringify(phases));
      assert(samples > 0 && samples <= 32);
    }
    state.forEach((words, i) => assert.deepEqual(words, before[i]));
  });
}
