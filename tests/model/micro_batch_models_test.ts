/**
 * A training step of any model in micro-batches has the results of one in which all samples are computed together, and
 * a model without gradients, whose layers share memory, has the same scores.
 */
import assert from "node:assert/strict";
import type { HostBackend } from "../../src/backend/backend.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Batch } from "../../src/layout/batch.ts";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import type { ModelShape } from "../../src/model/shape.ts";
import { Random } from "../../src/random.ts";
import type { LocalRank } from "../../src/ranks/rank_group.ts";
import { assertClose } from "../support/close.ts";
import { localModel, trainOn } from "../support/local_model.ts";

const BATCH = 520;
const TABLE_ROWS = [40, 20];
const DLRM: ModelShape = {
  ...{ dim: 4, tableRows: TABLE_ROWS, bottom: [2, 8, 4], top: [5, 1], interaction: "dot", optimizer: "adagrad" },
};
const CAT = { ...DLRM, interaction: "cat" } as const;
const DROPOUT = { rate: 0.3, seed: 5 };
const MODELS: Record<string, ModelShape> = {
  "DLRM with dropout": { ...DLRM, dropout: DROPOUT },
  "DLRM without dense features": { ...DLRM, bottom: [] },
  "DLRM without tables": { ...DLRM, tableRows: [] },
  "DLRM that reads means of bags": { ...DLRM, pooling: "mean" },
  "DCNv2": { ...CAT, cross: { layers: 2, rank: 4 } },
  "matrix factorisation": { ...CAT, bottom: [], top: [], model: "mf" },
  "DeepFM that reads means of bags": { ...CAT, model: "deepfm", pooling: "mean" },
  "Wide & Deep": { ...CAT, model: "wide-deep" },
  "TBSM with dropout": { ...DLRM, model: "tbsm", steps: 3, dropout: DROPOUT },
};
const BACKENDS = {
  reference: () => Promise.resolve<HostBackend>(new ReferenceBackend()),
  wasm: async () => await openHost(await cpuOptions("wasm")),
};

/** A batch of `count` samples with empty bags and rows that repeat. */
function batchOf({ tableRows, bottom, steps = 1 }: ModelShape, count: number): Batch {
  const [tables, bags] = [steps * tableRows.length, tableRows.length > 0];
  const denseFeatures = steps * (bottom[0] ?? 0);
  const shape = { batchSize: BATCH, denseFeatures, tables, bags, lookupCapacity: 3 * BATCH * tables };
  const batch = new Batch(shape);
  const random = new Random(3);
  const [indices, offsets]: number[][] = [[], [0]];
  for (let bag = 0; bag < count * tables; bag++) {
    const table = bag % TABLE_ROWS.length;
    for (let k = random.below(4); k > 0; k--) indices.push(table * TABLE_ROWS[0] + random.below(TABLE_ROWS[table]));
    offsets.push(indices.length);
  }
  const filler = new BatchFiller(batch);
  const samples = {
    count,
    labels: Uint8Array.from({ length: count }, () => random.below(2)),
    dense: Float32Array.from({ length: count * denseFeatures }, () => random.normal()),
    indices: Uint32Array.from(indices),
    offsets: bags ? Uint32Array.from(offsets) : undefined,
  };
  for (let i = 0; i < count; i++) filler.add(samples, i);
  filler.close();
  new SegmentSorter(shape).write(batch);
  return batch;
}

/** The model after three steps over a batch, and its scores; `cachedWords` as of a backend. */
async function train(
  open: () => Promise<HostBackend>,
  shape: ModelShape,
  count: number,
  clipNorm: number | undefined,
  cachedWords: number | undefined,
) {
  using host = await open();
  Object.defineProperty(host, "cachedWords", { value: cachedWords });
  const batch = batchOf(shape, count);
  await using group = localModel(host, shape, batch.shape, clipNorm === undefined ? {} : { clipNorm });
  const { plan, parameters, full } = group.memory;
  const [dense, rows] = [host.floats(parameters), host.floats(full.weights)];
  initialiseDense(plan, 2, dense);
  const random = new Random(4);
  for (let i = 0; i < rows.length; i++) rows[i] = 0.4 * random.normal();
  const before = dense.slice();
  batch.step = 1; // a batch of step 0 is only scored
  const losses = [1, 2, 3].map((step) => trainOn(group, batch, 0.1, step));
  batch.step = 0;
  assert.notDeepEqual(dense, before);
  const scored = score(group, batch);
  await using scoring = localModel(host, shape, batch.shape, { scoring: true });
  const { memory } = scoring;
  assert.deepEqual([memory.gradients, memory.denseState, memory.full.state], [[], undefined, undefined]);
  host.floats(memory.parameters).set(dense);
  host.floats(memory.full.weights).set(rows);
  assert.deepEqual(score(scoring, batch), scored);
  return { numbers: [losses, dense, rows, scored.logits], units: scored.units };
}

function score(group: LocalRank, batch: Batch) {
  const slot = group.acquire();
  group.batches[slot].bytes.set(batch.bytes.subarray(0, 4 * batch.usedWords));
  group.score(slot);
  group.drain();
  return { logits: group.scores(slot).slice(0, batch.samples), units: group.takeActiveUnits() };
}

for (const [backend, open] of Object.entries(BACKENDS)) {
  for (const [name, shape] of Object.entries(MODELS)) {
    Deno.test(`a step in micro-batches is one over all samples: ${name}, ${backend}`, async () => {
      for (const [count, clipNorm] of [[BATCH, undefined], [BATCH, 0.05], [257, undefined], [1, 0.05]] as const) {
        const expected = await train(open, shape, count, clipNorm, undefined);
        const found = await train(open, shape, count, clipNorm, 1);
        for (const [i, numbers] of expected.numbers.entries()) {
          const what = ["losses", "dense parameters", "rows", "scores"][i];
          assertClose(found.numbers[i], numbers, 1e-4, `${count} samples, clipped to ${clipNorm}: ${what}`);
        }
        assert.deepEqual(found.units, expected.units);
      }
    });
  }
}
