/** TBSM on a device: whole runs in every mode have the losses of the same runs on the CPU. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { testDevice } from "../support/cuda_device.ts";
import { smallSessions } from "../support/small_sessions.ts";
import { run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const TBSM: TrainConfig = resolveConfig("taobao", {
  // Adagrad's first steps have full length however small a gradient is, so that they enlarge rounding errors.
  ...{ model: "tbsm", optimizer: "sgd", learningRate: 0.1, batchSize: 32, ranks: 1, printFreq: 1, seed: 1 },
  ...{ dim: 8, bottom: [8], top: [12, 1] },
});

/** The losses of all steps, and the logloss of the test split. */
async function lossesOf(directory: TemporaryDirectory, name: string, dataset: Dataset, config: TrainConfig) {
  const { events, result } = await run(directory, name, dataset, config);
  const steps = events.flatMap((event) => event.event === "progress" ? [event.loss] : []);
  return { losses: [...steps, result.logloss], result };
}

const MODES: Record<string, Partial<TrainConfig>> = {
  gpu: {},
  hybrid: {},
  cached: {},
  fae: { hotMemory: 12_000 },
};

for (const [mode, more] of Object.entries(MODES)) {
  Deno.test(`TBSM in mode ${mode} on a device has the losses of the CPU`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = await smallSessions(directory.join("sessions"), {
      samples: { train: 256, validation: 20, test: 30 },
    });
    const onHost = mode === "fae" ? "fae" : "cpu";
    const cpu = { ...TBSM, ...more, mode: onHost, device: "cpu", blas: "wasm" } as TrainConfig;
    const expected = await lossesOf(directory, "cpu", dataset, cpu);
    const device = { ...TBSM, ...more, mode, device: testDevice } as TrainConfig;
    const found = await lossesOf(directory, "device", dataset, device);
    assert.equal(found.losses.length, expected.losses.length);
    assert.ok(found.losses.length >= 9);
    found.losses.forEach((loss, i) =>
      assert.ok(Math.abs(loss - expected.losses[i]) < 1e-5, `step ${i + 1}: ${loss}, not ${expected.losses[i]}`)
    );
    const { hotSampleShare } = found.result;
    assert.ok(
      mode === "fae" ? hotSampleShare > 0.2 && hotSampleShare < 0.8 : hotSampleShare === 0,
      `${hotSampleShare}`,
    );
  });
}
