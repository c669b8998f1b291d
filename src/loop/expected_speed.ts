/** Trains the kaggle model on random batches for a moment: the samples/s to expect from this machine's cores. */
import { writeStep } from "../optimizer/optimizers.ts";
import type { Batch, BatchShape } from "../layout/batch.ts";
import { BatchFiller } from "../layout/batch_filler.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import { initialiseDense } from "../model/initialise.ts";
import { type ModelPlan, planModel } from "../model/shape.ts";
import { Random } from "../random.ts";
import { resolveConfig } from "../config/config.ts";
import { openRanks } from "../ranks/placement.ts";

/** Columns of Criteo Kaggle. */
const DENSE_FEATURES = 13;
const TABLES = 26;
/** Rows of each table: enough that most lookups miss the caches, as cold rows do. */
const TABLE_ROWS = 200_000;
const BATCH_SIZE = 2048;
const WARM_UP_STEPS = 4;
const MEASURED_MS = 700;

/** The kaggle model over tables of equal size. */
export function kagglePlan(): ModelPlan {
  const { bottom, ...config } = resolveConfig("kaggle");
  return planModel({
    ...config,
    tableRows: new Array<number>(TABLES).fill(TABLE_ROWS),
    bottom: [DENSE_FEATURES, ...bottom],
  });
}

/** Samples/s of the kaggle model at batch 2,048 on all cores of the CPU; takes about two seconds. */
export async function expectedSpeed(): Promise<number> {
  const config = resolveConfig("kaggle", { mode: "cpu", device: "cpu" });
  const plan = kagglePlan();
  const batchShape: BatchShape = {
    batchSize: BATCH_SIZE,
    denseFeatures: DENSE_FEATURES,
    tables: TABLES,
    bags: false,
    lookupCapacity: BATCH_SIZE * TABLES,
  };
  await using group = await openRanks(config, plan, { batchShape });
  const parameters = new Float32Array(plan.denseWords);
  initialiseDense(plan, 1, parameters);
  group.initialise(parameters, 1);
  for (const [seed, batch] of group.batches.entries()) fillAtRandom(batch, seed);
  const step = () => group.train(group.acquire());
  for (let i = 0; i < WARM_UP_STEPS; i++) step();
  group.drain();
  let samples = 0;
  const begin = performance.now();
  for (; performance.now() - begin < MEASURED_MS; samples += BATCH_SIZE) step();
  group.drain();
  return samples / (performance.now() - begin) * 1000;
}

/** Fills a batch with random samples; a few rows of each table get most of its lookups. */
function fillAtRandom(batch: Batch, seed: number): void {
  const { batchSize, denseFeatures, tables } = batch.shape;
  const random = new Random(seed);
  const filler = new BatchFiller(batch);
  const popular = (_: unknown, k: number) => k % tables * TABLE_ROWS + Math.floor(TABLE_ROWS * random.uniform() ** 4);
  const samples = {
    count: batchSize,
    labels: Uint8Array.from({ length: batchSize }, () => random.below(2)),
    dense: Float32Array.from({ length: batchSize * denseFeatures }, () => random.uniform()),
    indices: Uint32Array.from({ length: batchSize * tables }, popular),
    offsets: undefined,
  };
  while (!filler.full) filler.add(samples, filler.samples);
  filler.close();
  new SegmentSorter(batch.shape).write(batch);
  writeStep("sgd", batch.floats, 0.01);
}
