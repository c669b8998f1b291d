/** An epoch of TBSM on generated sessions in Hotset and in PyTorch: the same initial parameters and the same batches. */
import { resolveConfig } from "../../src/config/config.ts";
import { generateSessions } from "../../src/dataset/generate_sessions.ts";
import type { Metrics } from "../../src/events/metrics.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { runPython } from "../support/python.ts";
import { run } from "../support/small_run.ts";
import type { TemporaryDirectory } from "../support/temporary.ts";

/** A rate at which no parameter changes, so that the run keeps the initial ones. */
const NO_RATE = 1e-30;

/** What is compared, of the test split. */
export type EpochMetrics = Pick<Metrics, "logloss" | "accuracy" | "auc">;

/** Sizes of the sessions and the seed of everything random. */
export interface TbsmEpochOptions {
  readonly seed: number;
  /** Divides the rows of the tables of Taobao. */
  readonly scale: number;
  readonly train: number;
  readonly test: number;
  /** Published is 0.05. */
  readonly learningRate: number;
}

/**
 * Trains one epoch with Hotset, and returns its metrics and a function that trains it with PyTorch, in double precision or
 * not.
 */
export async function tbsmEpoch(
  directory: TemporaryDirectory,
  { seed, scale, train, test, learningRate }: TbsmEpochOptions,
): Promise<{ hotset: EpochMetrics; pytorch: (double: boolean) => Promise<EpochMetrics> }> {
  const dataset = await generateSessions(directory.join("sessions"), {
    ...{ seed, scale },
    samples: { train, validation: 500, test },
    validationUsers: "train",
  });
  const config = resolveConfig("taobao", {
    ...{ model: "tbsm", mode: "cpu", ranks: 1, blas: "wasm", shuffle: "none" },
    ...{ seed, learningRate },
  });
  const initial = await run(directory, "initial", dataset, { ...config, learningRate: NO_RATE });
  const { result: hotset } = await run(directory, "trained", dataset, config);
  const weights = directory.join("initial.safetensors");
  await exportRun(initial.out, "safetensors", weights, () => {});
  const pytorch = async (double: boolean) =>
    await runPython(new URL("tbsm_epoch.py", import.meta.url), {
      ...{ dataset: dataset.directory, weights, batch: config.batchSize, rate: learningRate, double },
    }) as EpochMetrics;
  return { hotset, pytorch };
}
