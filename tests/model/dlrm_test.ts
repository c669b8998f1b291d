/** The gradients of a whole training step equal numerical gradients of the loss. */
import assert from "node:assert/strict";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Batch } from "../../src/layout/batch.ts";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import { elementsOf } from "../../src/model/layers/layer.ts";
import type { ModelShape } from "../../src/model/shape.ts";
import { Random } from "../../src/random.ts";
import type { LocalRank } from "../../src/ranks/rank_group.ts";
import { localModel, trainOn } from "../support/local_model.ts";

const SAMPLES = 6;
const MODEL: ModelShape = {
  dim: 3,
  tableRows: [4, 2],
  bottom: [2, 4, 3],
  top: [5, 1],
  interaction: "dot",
  optimizer: "sgd",
};
const STEP = 2 ** -8;

/** A batch with empty bags, rows that repeat in it and, if partial, room for two more samples. */
function batchOf(partial: boolean, denseFeatures: number): Batch {
  const shape = {
    batchSize: partial ? SAMPLES + 2 : SAMPLES,
    denseFeatures,
    tables: 2,
    bags: true,
    lookupCapacity: 40,
  };
  const batch = new Batch(shape);
  const random = new Random(3);
  const offsets = [0];
  const indices: number[] = [];
  for (let bag = 0; bag < 2 * SAMPLES; bag++) {
    for (let k = random.below(4); k > 0; k--) indices.push(bag % 2 === 0 ? random.below(4) : 4 + random.below(2));
    offsets.push(indices.length);
  }
  const samples = {
    count: SAMPLES,
    labels: Uint8Array.of(0, 1, 1, 0, 1, 0),
    dense: Float32Array.from({ length: denseFeatures * SAMPLES }, () => random.normal()),
    indices: Uint32Array.from(indices),
    offsets: Uint32Array.from(offsets),
  };
  const filler = new BatchFiller(batch);
  for (let i = 0; i < SAMPLES; i++) filler.add(samples, i);
  filler.close();
  new SegmentSorter(shape).write(batch);
  return batch;
}

/** Mean loss of a batch, in double precision from the logits. */
function lossOf(group: LocalRank, batch: Batch): number {
  const slot = group.acquire();
  group.batches[slot].bytes.set(batch.bytes.subarray(0, 4 * batch.usedWords));
  group.score(slot);
  group.drain();
  let sum = 0;
  for (let i = 0; i < batch.samples; i++) {
    const z = group.scores(slot)[i];
    const label = batch.floats[batch.sections.labels + i];
    sum += Math.max(z, 0) - z * label + Math.log1p(Math.exp(-Math.abs(z)));
  }
  return sum / batch.samples;
}

const MODELS: Record<string, ModelShape> = {
  dot: MODEL,
  cat: { ...MODEL, interaction: "cat" },
  dropout: { ...MODEL, dropout: { rate: 0.3, seed: 5 } },
  "dropout, cross network": {
    ...{ ...MODEL, interaction: "cat", cross: { layers: 2, rank: 4 }, dropout: { rate: 0.2, seed: 6 } },
  },
  "means of bags": { ...MODEL, pooling: "mean" },
  "means of bags, DeepFM": { ...MODEL, interaction: "cat", model: "deepfm", pooling: "mean" },
  "dot without dense features": { ...MODEL, bottom: [] },
  "cat without dense features": { ...MODEL, interaction: "cat", bottom: [] },
  "cross network": { ...MODEL, interaction: "cat", cross: { layers: 2, rank: 4 } },
  "matrix factorisation": { ...MODEL, interaction: "cat", bottom: [], top: [], model: "mf" },
  "matrix factorisation with dense features": { ...MODEL, interaction: "cat", bottom: [2], top: [], model: "mf" },
  DeepFM: { ...MODEL, interaction: "cat", model: "deepfm" },
  "Wide & Deep": { ...MODEL, interaction: "cat", model: "wide-deep" },
  "DeepFM without dense features": { ...MODEL, interaction: "cat", bottom: [], model: "deepfm" },
  "cross network without dense features": { ...MODEL, interaction: "cat", bottom: [], cross: { layers: 1, rank: 2 } },
};

for (const [kind, model] of Object.entries(MODELS)) {
  for (const partial of [false, true]) {
    const name = `${kind}${partial ? ", partial batch" : ""}`;
    Deno.test(`the gradient of every parameter by finite differences: ${name}`, async () => {
      const host = new ReferenceBackend();
      const batch = batchOf(partial, model.bottom[0] ?? 0);
      if (model.dropout !== undefined) batch.step = 1; // a batch of step 0 is only scored
      await using group = localModel(host, model, batch.shape);
      const { plan, parameters, full } = group.memory;
      const dense = host.floats(parameters);
      const rows = host.floats(full.weights);
      initialiseDense(plan, 2, dense); // a seed with which no unit is within a step of the kink of relu
      const random = new Random(4);
      // Products grow with the rows, and large logits have no gradient.
      rows.forEach((_, i) => rows[i] = 0.4 * random.normal());
      const before = { dense: dense.slice(), rows: rows.slice() };
      const loss = trainOn(group, batch, 1);
      // Plain descent at rate 1: what a parameter lost is its gradient.
      const gradients = {
        dense: dense.map((after, i) => before.dense[i] - after),
        rows: rows.map((after, i) => before.rows[i] - after),
      };
      dense.set(before.dense);
      rows.set(before.rows);
      assert.ok(Math.abs(loss - lossOf(group, batch)) < 1e-6);

      const groups: [string, Float32Array, Float32Array, number, number][] = [
        ...plan.layers.flatMap(({ layer, parameters }) =>
          parameters.map((
            { name, first, shape },
          ): [string, Float32Array, Float32Array, number, number] => [
            `${name} of ${layer.title}`,
            dense,
            gradients.dense,
            first,
            elementsOf(shape),
          ])
        ),
        ["embedding rows", rows, gradients.rows, 0, rows.length],
      ];
      for (const [what, values, gradient, first, count] of groups) {
        let size = 0;
        for (let i = first; i < first + count; i++) {
          const x = values[i];
          values[i] = x + STEP;
          const above = lossOf(group, batch);
          values[i] = x - STEP;
          const below = lossOf(group, batch);
          values[i] = x;
          const difference = (above - below) / (2 * STEP);
          size = Math.max(size, Math.abs(difference));
          const error = Math.abs(gradient[i] - difference);
          assert.ok(error < 1e-3, `${what}, element ${i - first}: ${gradient[i]}, by differences ${difference}`);
        }
        assert.ok(size > 0.01, `${what} has a gradient`);
      }
    });
  }
}
