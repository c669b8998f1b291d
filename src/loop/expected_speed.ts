/** Trains a model on random batches for a moment and measures the samples/s of this machine's cores. */
import { breaks, inParts } from "../breaks.ts";
import { rowWords, writeStep } from "../optimizer/optimizers.ts";
import type { Batch, BatchShape } from "../layout/batch.ts";
import { BatchFiller } from "../layout/batch_filler.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import { initialiseDenseInParts } from "../model/initialise.ts";
import { type ModelPlan, type ModelSizes, planModel, shapeOf } from "../model/shape.ts";
import { Random } from "../random.ts";
import { resolveConfig, type TrainConfig } from "../config/config.ts";
import { openRanks } from "../ranks/placement.ts";

/** Columns of Criteo Kaggle. */
const DENSE_FEATURES = 13;
const TABLES = 26;
/** Words of all tables: enough that most lookups miss the processor's caches, like cold rows. */
const TABLE_WORDS = 26 * 200_000 * 16;
const BATCH_SIZE = 2048;
const WARM_UP_STEPS = 4;
const MEASURED_MS = 700;

/** The shape of the kaggle model with tables of equal size. */
export function kagglePlan(): ModelPlan {
  return smallPlan(resolveConfig("kaggle"), { denseFeatures: DENSE_FEATURES, tables: TABLES });
}

/** Properties of a model that its speed depends on, besides its configuration. */
export interface DataShape {
  readonly denseFeatures: number;
  readonly tables: number;
  /** Steps of a sample; default 1. */
  readonly steps?: number | undefined;
}

/** The part of a configuration that determines the work of a step. */
export type StepConfig = ModelSizes & Pick<TrainConfig, "batchSize">;

/** A model with tables of equal size. */
function smallPlan(config: StepConfig, { denseFeatures, tables, steps }: DataShape) {
  const rows = Math.ceil(TABLE_WORDS / tables / rowWords(config));
  return planModel(shapeOf(config, { denseFeatures, tableRows: new Array<number>(tables).fill(rows), steps }));
}

/** Samples/s of the kaggle model at batch 2,048 on all cores of the CPU; takes about two seconds. */
export async function expectedSpeed(): Promise<number> {
  const config = { ...resolveConfig("kaggle"), batchSize: BATCH_SIZE };
  return await measureSpeed(config, { denseFeatures: DENSE_FEATURES, tables: TABLES }, null);
}

/** Samples/s of a model on this number of CPU ranks, null for one per core, with one lookup per table and sample. */
export async function measureSpeed(config: StepConfig, data: DataShape, ranks: number | null): Promise<number> {
  const plan = smallPlan(config, data);
  const { batchSize } = config;
  const { denseFeatures, tables, steps = 1 } = data;
  const bags = steps * tables;
  const sizes = { batchSize, denseFeatures: steps * denseFeatures, tables: bags, bags: false };
  const batchShape: BatchShape = { ...sizes, lookupCapacity: batchSize * bags };
  await using group = await openRanks(resolveConfig("kaggle", { mode: "cpu", ranks }), plan, { batchShape });
  const parameters = new Float32Array(plan.denseWords);
  await inParts(initialiseDenseInParts(plan, 1, parameters));
  await group.initialise(parameters, 1);
  for (const [seed, batch] of group.batches.entries()) {
    fillAtRandom(batch, plan.shape.tableRows, seed);
    writeStep(config.optimizer, batch.floats, 0.01, 1);
    if (breaks.due) await breaks.take();
  }
  const step = async () => {
    if (!group.isReady) await group.ready();
    group.train(group.acquire());
    if (breaks.due) await breaks.take();
  };
  for (let i = 0; i < WARM_UP_STEPS; i++) await step();
  await group.drained();
  let samples = 0;
  const begin = performance.now();
  for (; performance.now() - begin < MEASURED_MS; samples += batchSize) await step();
  await group.drained();
  return samples / (performance.now() - begin) * 1000;
}

/** Fills a batch with random samples; few rows of each table get most of its lookups. */
function fillAtRandom(batch: Batch, rowsOfTables: readonly number[], seed: number): void {
  const [tableRows] = rowsOfTables;
  const { batchSize, denseFeatures, tables } = batch.shape;
  const random = new Random(seed);
  const filler = new BatchFiller(batch);
  const popular = (_: unknown, k: number) =>
    k % rowsOfTables.length * tableRows + Math.floor(tableRows * random.uniform() ** 4);
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
}
