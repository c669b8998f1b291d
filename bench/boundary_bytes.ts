/**
 * Bytes that a mean step copies between the memory that computes and the memory that holds all rows: pooled rows and
 * their gradients in `fae` and `hybrid`, nothing if all rows are on the device, and missing rows where rows are cached.
 * Batches, dense gradients and the syncs of `fae` are not included. The counts come from the batches of generated
 * clicks and from the look-ahead plan, so no device is needed. Prints the table of docs/tiers.md.
 *
 *     deno run -A bench/boundary_bytes.ts [preset...]
 */
import { LookAheadPlan } from "../src/embedding/look_ahead_plan.ts";
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS, type Layout } from "../src/layout/layout.ts";
import { bytes } from "../src/format.ts";
import type { Preset } from "../src/config/config.ts";
import { Random } from "../src/random.ts";
import { writeDataset } from "../tests/support/tiny_dataset.ts";
import { modelOver, type Shrunk, type ShrunkModel, shrunkModel } from "./shrunk_model.ts";

const SAMPLES = 400_000;
const BATCH_SIZE = 2048;
const LOOK_AHEAD = 2;
/** A model over samples in a folder; `hotMemory` is the budget of hot rows, and of as many cached rows. */
interface Model {
  readonly preset: Preset;
  readonly hotMemory: number;
  readonly open: (folder: string) => ShrunkModel | Promise<ShrunkModel>;
}

const shrunk = (shrunk: Shrunk): Model => ({ ...shrunk, open: (folder) => shrunkModel(folder, shrunk, SAMPLES) });

/**
 * Users, items and categories of Taobao's UserBehavior, divided by 10. Their popularities are not published: they are
 * drawn so that a tenth of the items has 56 % of the lookups, and a tenth of the users 22 %.
 */
const TAOBAO = [[98_799, 1.5], [416_202, 4], [944, 4]] as const;

function taobao(folder: string): ShrunkModel {
  const random = new Random(1);
  const ids = new Uint32Array(TAOBAO.length * SAMPLES);
  for (let i = 0; i < ids.length; i++) {
    const [rows, skew] = TAOBAO[i % TAOBAO.length];
    ids[i] = Math.floor(rows * random.uniform() ** skew);
  }
  const train = { labels: new Uint8Array(SAMPLES), dense: new Float32Array(SAMPLES), ids };
  const tableRows = TAOBAO.map(([rows]) => rows);
  return modelOver(
    folder,
    writeDataset(`${folder}/data`, { tableRows, denseFeatures: 1, splits: { train } }),
    "taobao",
  );
}

const MODELS: readonly Model[] = [
  shrunk({ preset: "kaggle", scale: 10, hotMemory: 16 * 2 ** 20 }),
  shrunk({ preset: "terabyte", scale: 25, hotMemory: 32 * 2 ** 20 }),
  shrunk({ preset: "avazu", scale: 10, hotMemory: 4 * 2 ** 20 }),
  { preset: "taobao", hotMemory: 2.5 * 2 ** 20, open: taobao },
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
  const plan = new LookAheadPlan({ slots, batchRows, lookAhead: LOOK_AHEAD });
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
for (const model of MODELS.filter(({ preset }) => Deno.args.length === 0 || Deno.args.includes(preset))) {
  const folder = Deno.makeTempDirSync();
  const { plan: { shape: { dim } }, tableRows, layoutOf } = await model.open(folder);
  const rows = Math.floor(model.hotMemory / (4 * dim));
  using hot = await layoutOf(BATCH_SIZE, model.hotMemory);
  using mixed = await layoutOf(BATCH_SIZE, undefined);
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
