/**
 * Bytes that a mean step copies between the memory that computes and the memory that holds all rows: pooled rows and
 * their gradients in `fae` and `hybrid`, nothing if all rows are on the device, and missing rows where rows are cached.
 * Batches, dense gradients and the syncs of `fae` are not included. The counts come from the batches of generated
 * clicks and from the look-ahead plan, so no device is needed. Prints the table of docs/tiers.md.
 *
 *     deno run -A bench/boundary_bytes.ts
 */
import { LookAheadPlan } from "../src/embedding/plan.ts";
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS, type Layout } from "../src/layout/layout.ts";
import { bytes } from "../src/format.ts";
import { type Shrunk, shrunkModel } from "./shrunk_model.ts";

const SAMPLES = 400_000;
const BATCH_SIZE = 2048;
const LOOK_AHEAD = 2;
/** `hotMemory` is the budget of hot rows, and of as many cached rows. */
const MODELS: readonly Shrunk[] = [
  { preset: "kaggle", scale: 10, hotMemory: 16 * 2 ** 20 },
  { preset: "terabyte", scale: 25, hotMemory: 32 * 2 ** 20 },
  { preset: "avazu", scale: 10, hotMemory: 4 * 2 ** 20 },
];

/** Calls `call` with each batch of a layout. Returns the number of batches. */
function eachBatch(layout: Layout, call: (batch: Batch) => void): number {
  const batch = new Batch(layout.shape);
  for (const kind of BATCH_KINDS) {
    for (let i = 0; i < layout.batches(kind); i++) {
      layout.readBatch(kind, i, batch);
      call(batch);
    }
  }
  return layout.batches("hot") + layout.batches("cold");
}

/** Bytes of pooled rows to the device and of their gradients back, for batches that `crosses` selects. */
function pooledBytes(layout: Layout, dim: number, crosses: (batch: Batch) => boolean): number {
  let total = 0;
  const steps = eachBatch(layout, (batch) => {
    if (crosses(batch)) total += 8 * batch.samples * batch.shape.tables * dim;
  });
  return total / steps;
}

/** Bytes of rows, `words` each, that are fetched and written back if `rows` of them fit. */
function cachedBytes(layout: Layout, rows: number, words: number): number {
  let total = 0;
  const batchRows = layout.body.mostDistinct.cold;
  const slots = Math.max(rows, (LOOK_AHEAD + 1) * batchRows);
  const plan = new LookAheadPlan({ resident: new Uint32Array(), slots, batchRows, lookAhead: LOOK_AHEAD });
  const advance = () => {
    for (let moves = plan.next(); moves !== undefined; moves = plan.next()) {
      total += 4 * words * (moves.fetched + moves.written);
    }
  };
  const steps = eachBatch(layout, ({ words: block, sections: { segments }, distinct }) => {
    plan.announce(block, segments, 2, distinct);
    advance();
    if (plan.canAnnounce) return;
    plan.finish();
    advance();
  });
  return total / steps;
}

console.log("| shape | rows at hand | hot samples | fae | hybrid | all rows at hand | cached |\n|-|-:|-:|-:|-:|-:|-:|");
for (const model of MODELS) {
  const folder = Deno.makeTempDirSync();
  const { plan: { shape: { dim } }, tableRows, layoutOf } = shrunkModel(folder, model, SAMPLES);
  const rows = Math.floor(model.hotMemory / (4 * dim));
  using hot = layoutOf(BATCH_SIZE, model.hotMemory);
  using mixed = layoutOf(BATCH_SIZE, undefined);
  const all = tableRows.reduce((sum, count) => sum + count, 0);
  const cells = [
    ...[`${model.preset}, dim ${dim}`, `${(100 * rows / all).toFixed(0)} %`],
    `${(100 * hot.body.hotSampleShare).toFixed(0)} %`,
    bytes(pooledBytes(hot, dim, ({ hot }) => !hot)),
    bytes(pooledBytes(mixed, dim, () => true)),
    "0 B",
    bytes(cachedBytes(mixed, rows, dim)),
  ];
  console.log(`| ${cells.join(" | ")} |`);
  Deno.removeSync(folder, { recursive: true });
}
