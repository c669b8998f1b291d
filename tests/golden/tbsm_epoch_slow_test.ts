/**
 * TBSM has the accuracy and the loss of PyTorch after one epoch of sessions in the same order. The first steps of Adagrad
 * depend on the signs of gradients that are almost 0, so that rounding changes both a little: PyTorch in double precision
 * differs from PyTorch in single precision by 0.0008 in the loss.
 */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { generateSessions } from "../../src/dataset/generate_sessions.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { slowTest } from "../support/series.ts";
import { missingModule, runPython } from "../support/python.ts";
import { run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const MISSING = missingModule("torch");
const BATCH = 256;
const RATE = 0.05;
/** A rate at which no parameter changes, so that the run keeps the initial ones. */
const NO_RATE = 1e-30;

slowTest(
  `an epoch of TBSM has PyTorch's loss and accuracy${MISSING === undefined ? "" : `: skipped, ${MISSING}`}`,
  async () => {
    if (MISSING !== undefined) return;
    using directory = new TemporaryDirectory();
    const dataset = await generateSessions(directory.join("sessions"), {
      ...{ seed: 1, scale: 200 },
      samples: { train: 30_000, validation: 500, test: 1500 },
      validationUsers: "train",
    });
    const config = resolveConfig("taobao", {
      model: "tbsm",
      mode: "cpu",
      ranks: 1,
      blas: "wasm",
      seed: 1,
      shuffle: "none",
    });
    const initial = await run(directory, "initial", dataset, { ...config, learningRate: NO_RATE });
    const trained = await run(directory, "trained", dataset, config);
    const weights = directory.join("initial.safetensors");
    await exportRun(initial.out, "safetensors", weights, () => {});
    const expected = await runPython(new URL("tbsm_epoch.py", import.meta.url), {
      ...{ dataset: dataset.directory, weights, batch: BATCH, rate: RATE },
    }) as { logloss: number; accuracy: number };
    const { logloss, accuracy } = trained.result;
    assert.ok(expected.logloss < 0.65, `PyTorch learns: ${expected.logloss}`);
    assert.ok(Math.abs(logloss - expected.logloss) < 2e-3, `logloss ${logloss}, not ${expected.logloss}`);
    assert.ok(Math.abs(accuracy - expected.accuracy) < 1e-2, `accuracy ${accuracy}, not ${expected.accuracy}`);
  },
);
