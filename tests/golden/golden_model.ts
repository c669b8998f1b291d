/** The model and the batches of make_losses.py, whose head explains how they are generated. */
import type { OptimizerName } from "../../src/optimizer/optimizers.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import type { ModelName, ModelPlan, ModelShape } from "../../src/model/shape.ts";
import { mix } from "../../src/random.ts";

const DENSE = 4, DIM = 8, BATCH = 16;
const TABLE_ROWS = [3, 40, 7, 100, 1];
const TABLES = TABLE_ROWS.length;

/** Steps in losses.json. */
export const STEPS = 100;
/** Learning rate of each optimizer. */
export const LEARNING_RATES: Readonly<Record<OptimizerName, number>> = {
  sgd: 0.1,
  adagrad: 0.05,
  rwsadagrad: 0.05,
  adam: 0.01,
  adamw: 0.01,
};
/** Weight decay of each optimizer. */
export const WEIGHT_DECAY: Readonly<Record<OptimizerName, number>> = {
  sgd: 0,
  adagrad: 0,
  rwsadagrad: 0,
  adam: 0.02,
  adamw: 0.05,
};

/** The largest norm of gradients that are clipped. */
export const LARGEST_NORM = 0.5;

/** The L2 factor of rows that are decayed. */
export const ROW_L2 = 0.03;

/** The dropout of a model that has one. */
export const DROPOUT = { rate: 0.3, seed: 5 };

/** The settings of a loss that is not the plain one. */
export const WEIGHTED_LOSS = { positiveWeight: 3, labelSmoothing: 0.1 };

/** Features that the golden data are left without. */
export type Without = "dense" | "tables" | undefined;

/** Steps of a sample of the golden TBSM. */
const STEPS_OF_SAMPLE = 4;
/** The cross network of the golden DCNv2. */
const CROSS = { layers: 2, rank: 5 };

/** The golden model with an optimizer: without a bottom MLP or an interaction where there are no features for it. */
export function goldenModel(optimizer: OptimizerName, without?: Without): ModelShape {
  const bottom = without === "dense" ? [] : [DENSE, 16, DIM];
  const tableRows = without === "tables" ? [] : TABLE_ROWS;
  return { dim: DIM, tableRows, bottom, top: [16, 1], interaction: "dot", optimizer };
}

/** A golden model other than the DLRM. */
export function goldenOther(name: Exclude<ModelName, "dlrm">, optimizer: OptimizerName, without?: Without): ModelShape {
  const shape = { ...goldenModel(optimizer, without), interaction: "cat" } as const;
  if (name === "tbsm") return { ...shape, interaction: "dot", model: name, steps: STEPS_OF_SAMPLE };
  if (name === "dcnv2") return { ...shape, cross: CROSS };
  return name === "mf"
    ? { ...shape, bottom: shape.bottom.slice(0, 1), top: [], model: name }
    : { ...shape, model: name };
}

/** Its dense parameters and its embedding rows before the first step. */
export function goldenParameters(plan: ModelPlan): { dense: Float32Array; rows: Float32Array } {
  const dense = new Float32Array(plan.denseWords);
  const all = plan.layers.flatMap(({ parameters }) => parameters);
  // The bias of a factorisation machine is initially zero; that of a product W belongs to the layer behind it.
  all.filter(({ name }) => name === "weight").forEach((weight, layer) => {
    const bias = all.find(({ tensor }) => tensor === weight.tensor.replace(/weight$/, "bias"));
    const [outputs, inputs] = weight.shape;
    const bound = Math.sqrt(6 / (inputs + outputs));
    for (let i = 0; i < inputs * outputs; i++) dense[weight.first + i] = 2 * bound * number(1 + layer, i) - bound;
    if (bias === undefined) return;
    for (let i = 0; i < outputs; i++) dense[bias.first + i] = number(11 + layer, i) - 0.5;
  });
  const rows = new Float32Array(plan.rows * DIM);
  let at = 0;
  plan.shape.tableRows.forEach((count, table) => {
    for (let i = 0; i < count * DIM; i++) rows[at++] = number(21 + table, i) - 0.5;
  });
  return { dense, rows };
}

/** A golden model that reads the means of bags. */
export function goldenMeans(optimizer: OptimizerName): ModelShape {
  return { ...goldenModel(optimizer), pooling: "mean" };
}

/** The data of a golden model. */
export interface GoldenData {
  readonly without?: Without;
  readonly weighted?: boolean | undefined;
  readonly weightedLookups?: boolean | undefined;
  readonly model?: ModelName | undefined;
}

/** Packs the golden batches one after the other into one block. */
export class GoldenBatches {
  readonly shape: BatchShape;
  readonly #batch: Batch;
  readonly #sorter: SegmentSorter;

  readonly #weighted: boolean;
  readonly #steps: number;

  constructor({ without, weighted = false, weightedLookups = false, model }: GoldenData = {}) {
    this.#weighted = weighted;
    this.#steps = model === "tbsm" ? STEPS_OF_SAMPLE : 1;
    const tables = without === "tables" ? 0 : this.#steps * TABLES;
    this.shape = {
      batchSize: BATCH,
      denseFeatures: without === "dense" ? 0 : this.#steps * DENSE,
      tables,
      bags: tables > 0,
      weightedLookups,
      lookupCapacity: BATCH * tables * 4,
    };
    this.#batch = new Batch(this.shape);
    this.#sorter = new SegmentSorter(this.shape);
  }

  /** The batch of a step, counted from 0; valid until the next call. */
  at(step: number): Batch {
    const stream = 100 + 10 * step;
    const labels = new Float32Array(BATCH);
    const dense = Float32Array.from({ length: BATCH * this.shape.denseFeatures }, (_, i) => 2 * number(stream, i));
    const indices: number[] = [];
    const offsets = [0];
    for (let sample = 0; sample < BATCH; sample++) {
      let total = 0;
      const bags = this.#steps * TABLES;
      for (let bag = sample * bags; bag < (sample + 1) * bags; bag++) {
        const table = bag % TABLES;
        const firstRow = TABLE_ROWS.slice(0, table).reduce((sum, rows) => sum + rows, 0);
        for (let left = bagLength(number(stream + 1, bag)); left > 0; left--) {
          const id = Math.floor(TABLE_ROWS[table] * number(stream + 2, indices.length) ** 2);
          total += id;
          indices.push(firstRow + id);
        }
        offsets.push(indices.length);
      }
      labels[sample] = number(stream + 3, sample) < (total % 3 === 0 ? 0.8 : 0.2) ? 1 : 0;
    }
    const filler = new BatchFiller(this.#batch);
    const { tables, bags } = this.shape;
    const samples = {
      count: BATCH,
      labels: Uint8Array.from(labels),
      weights: this.#weighted
        ? Float32Array.from({ length: BATCH }, (_, i) => 0.25 + 2.75 * number(stream + 4, i))
        : undefined,
      dense,
      indices: Uint32Array.from(tables > 0 ? indices : []),
      lookupWeights: this.shape.weightedLookups
        ? Float32Array.from(indices, (_, k) => 4 * number(stream + 5, k) - 1)
        : undefined,
      offsets: bags ? Uint32Array.from(offsets) : undefined,
    };
    for (let sample = 0; sample < BATCH; sample++) filler.add(samples, sample);
    filler.close();
    this.#sorter.write(this.#batch);
    return this.#batch;
  }
}

function number(stream: number, i: number): number {
  return (mix(stream * 1_000_003 + i) >>> 0) / 2 ** 32;
}

function bagLength(u: number): number {
  return u < 1 / 8 ? 0 : u < 5 / 8 ? 1 : 2 + Math.floor(8 * u - 5);
}
