/** Runs of a small model with hot rows. */
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import type { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

/** Two tables are too large to be hot as a whole. */
export const TABLE_ROWS = [20_000, 50, 17_000, 3];
const ROW_BYTES = 4 * (16 + 1);
/** Holds the small tables and about 300 rows of the large ones. */
const SOME_HOT = 53 * ROW_BYTES + 300 * ROW_BYTES;
export const EVERYTHING_HOT = 64 * 2 ** 20;

/** A small model that is trained on one core. */
export const CONFIG: TrainConfig = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 50,
  optimizer: "rwsadagrad",
  learningRate: 0.05,
  hotMemory: SOME_HOT,
  ranks: 1,
  printFreq: 1,
});

/** Data of the model. */
export function dataOf(directory: TemporaryDirectory, train = 1990): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train, validation: 300, test: 310 },
    tableRows: TABLE_ROWS,
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
}

/** A run and all events that it reported. */
export async function run(directory: TemporaryDirectory, name: string, dataset: Dataset, config: TrainConfig) {
  const events: RunEvent[] = [];
  const out = directory.join(name);
  const result = await startRun(config, dataset, { out, report: (event) => events.push(event) });
  return { result, events, out };
}
