/** Padded inputs of layers on a device change no bit of a run. */
import assert from "node:assert/strict";
import { openCuda } from "../../src/backend/cuda/open.ts";
import type { TrainConfig } from "../../src/config/config.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";
import { OPTIMIZER_NAMES } from "../../src/optimizer/optimizers.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { configOf, datasetOf, train } from "./support.ts";

/** Optimizers, Adam first. */
const RUNS = { test: 2, all: OPTIMIZER_NAMES.length, evidence: OPTIMIZER_NAMES.length };

// The emulated device only: a GPU multiplies padded inputs by another algorithm.
for (const [i, optimizer] of OPTIMIZER_NAMES.toReversed().slice(0, seriesLength(RUNS)).entries()) {
  const clipNorm = i % 2 === 0 ? 0.5 : null, activations = i % 3 === 2 ? "ptx" : "auto";
  const what = `${optimizer}, ${activations}${clipNorm === null ? "" : ", clipped"}`;
  Deno.test(`a run with padded inputs has the bits of one without, and its checkpoint the same size: ${what}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = datasetOf(directory, i);
    const config: TrainConfig = {
      ...configOf(i),
      ...{ optimizer, clipNorm, precision: "tf32", dim: 5, bottom: [5, 5], epochs: 1 },
    };
    using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
    const plan = planFor(config, dataset);
    const trained = async (padded: boolean) => {
      const device = openCuda({ device: "emulated", precision: "tf32", activations });
      const strides: number[] = [];
      const { strideOf } = device;
      device.strideOf = (width) => {
        const stride = padded ? strideOf.call(device, width) : width;
        strides.push(stride - width);
        return stride;
      };
      const host = await openHost(await cpuOptions("wasm"));
      const options = { plan, batchShape: layout.shape, ranks: 1, device, host, tablesOnDevice: true, clipNorm };
      await using group = new LocalRank(allocateTrainState(options));
      const result = await train(group, config, dataset, layout, directory.join(padded ? "padded" : "plain"));
      return { result, strides };
    };
    const plain = await trained(false), padded = await trained(true);
    assert.deepEqual([plain.strides, padded.strides], [[0], [1]]);
    assert.deepEqual(padded.result, plain.result);
    assert.ok(plain.result.events.length > 2);
    assert.equal(Deno.statSync(directory.join("padded/last/dense.f32")).size, 4 * plan.denseWords);
  });
}
