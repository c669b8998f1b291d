/**
 * A program that trains `steps` steps on small hot and cold batches and prints the bytes of JavaScript objects
 * allocated in each. Run it with `--v8-flags=--min-semi-space-size=64`, so that nothing is collected meanwhile.
 */
import { atOnce } from "../../src/breaks.ts";
import { type OptimizerName, rowStateWords, writeStep } from "../../src/optimizer/optimizers.ts";
import { type Blas, cpuOptions, openHost } from "../../src/backend/open.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { BATCH_KINDS, type BatchKind } from "../../src/layout/layout.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import { planModel } from "../../src/model/shape.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { Command } from "../../src/ranks/rank.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { TemporaryDirectory } from "./temporary.ts";
import { tinyDataset } from "./tiny_dataset.ts";

const [blas, optimizer, steps, norm] = Deno.args as [Blas, OptimizerName, string, string?];
/** Maximum norm of gradients; no clipping without it. */
const clipNorm = norm === undefined ? null : Number(norm);
/** Steps before the measurement, in which V8 compiles and optimises. */
const WARM_UP = 3000;
const ROUNDS = 8;
const BATCH_SIZE = 16;
const HOT_ROWS = 650; // the small tables, and some of the large one

using directory = new TemporaryDirectory();
const dataset = tinyDataset(directory.join("data"), {
  samples: { train: 1000, validation: 0, test: 0 },
  tableRows: [200_000, 500, 3],
  denseFeatures: 4,
  bags: false,
  seed: 1,
  skew: 3,
});
const profile = await profileDataset(dataset, {
  out: directory.join("profile"),
  dim: 4,
  optimizer,
  hotMemory: 4 * (4 + rowStateWords(optimizer, 4)) * HOT_ROWS,
  sampleRate: undefined,
  seed: 1,
});
using layout = await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize: BATCH_SIZE });
const tableRows = dataset.body.tables.map(({ rows }) => rows);
const plan = planModel({ dim: 4, tableRows, bottom: [4, 8, 4], top: [8, 1], interaction: "dot", optimizer });
const host = await openHost(await cpuOptions(blas));
const { hotRows } = layout;
const batchShape = layout.shape;
await using group = new LocalRank(
  allocateTrainState({ plan, batchShape, hotRows, clipNorm, ranks: 1, device: host, host }),
);
const parameters = new Float32Array(plan.denseWords);
initialiseDense(plan, 1, parameters);
host.upload(parameters, group.memory.parameters);
group.post(Command.initialise, 1, 0);
atOnce(group.tables.refresh());
for (const kind of BATCH_KINDS) {
  if (layout.batches(kind) < 2) throw new Error(`too few ${kind} batches: nothing would be measured`);
}

function train(kind: BatchKind, count: number): void {
  const complete = layout.batches(kind) - 1;
  for (let step = 0; step < count; step++) {
    const slot = group.acquire();
    const batch = group.batches[slot];
    layout.readBatch(kind, step % complete, batch);
    writeStep(optimizer, batch.floats, 0.01, step + 1);
    group.train(slot);
  }
}

for (const kind of BATCH_KINDS) train(kind, WARM_UP);
// V8 compiles on other threads and allocates more until it has finished, so the minimum of a few rounds counts.
let least = Infinity;
for (let round = 0; round < ROUNDS; round++) {
  const before = Deno.memoryUsage().heapUsed;
  for (const kind of BATCH_KINDS) train(kind, Number(steps) / 2);
  const bytes = Deno.memoryUsage().heapUsed - before;
  if (bytes > 0) least = Math.min(least, bytes); // negative if garbage was collected meanwhile
}
console.log(least / Number(steps));
