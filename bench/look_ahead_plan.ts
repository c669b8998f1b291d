/**
 * Times the look-ahead plan, which limits mode `cached`, without a device: microseconds a step for announcing batches,
 * choosing rows and ending steps, over batches of generated kaggle clicks. The checksum is that of all decisions: equal
 * decisions of two versions have equal checksums.
 *
 *     deno run -A bench/look_ahead_plan.ts [--batch-sizes 2048,65536] [--share 0.1] [--samples N] [--folder DIR]
 *
 * `share` is the share of the rows that the cache has. Other work on the machine only adds to a time, so of each step the
 * minimum of several passes over the batches counts, after one that fills the cache.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { resolveConfig } from "../src/config/config.ts";
import { LookAheadPlan } from "../src/embedding/look_ahead_plan.ts";
import type { Dataset } from "../src/dataset/dataset.ts";
import { Batch } from "../src/layout/batch.ts";
import { crc32Of } from "../src/storage/crc32.ts";
import { KAGGLE_STEPS, stepDataset, stepLayout } from "./cuda_steps.ts";

/** Passes over the batches. */
const PASSES = 10;
/** Maximum number of batches of a pass. */
const BATCHES = 512;

/** The distinct rows of each batch. */
async function rowsOf(dataset: Dataset, batchSize: number, folder: string): Promise<Uint32Array[]> {
  using layout = await stepLayout(resolveConfig("kaggle", { mode: "cpu", batchSize }), dataset, folder);
  const batch = new Batch(layout.shape);
  return Array.from({ length: Math.min(BATCHES, layout.batches("cold")) }, (_, step) => {
    layout.readBatch("cold", step, batch);
    return Uint32Array.from({ length: batch.distinct }, (_, s) => batch.row(s));
  });
}

/** Runs the plan as mode `cached` does, one batch ahead; returns milliseconds of each part of each step. */
function pass(plan: LookAheadPlan, batches: readonly Uint32Array[], decide: (moved: Uint32Array) => void) {
  const steps = batches.map(() => ({ announce: 0, next: 0, finish: 0 }));
  let parts = steps[0];
  const time = <T>(part: keyof typeof parts, work: () => T): T => {
    const begin = performance.now();
    const result = work();
    parts[part] += performance.now() - begin;
    return result;
  };
  const advance = () => {
    for (let moves = time("next", () => plan.next()); moves !== undefined; moves = time("next", () => plan.next())) {
      decide(moves.writtenRows.subarray(0, moves.written));
      decide(moves.fetchedRows.subarray(0, moves.fetched));
    }
  };
  const finish = () => {
    time("finish", () => plan.finish());
    advance();
  };
  for (const [step, rows] of batches.entries()) {
    parts = steps[step];
    time("announce", () => plan.announce(rows, 0, 1, rows.length));
    advance();
    if (!plan.canAnnounce) finish();
  }
  while (plan.planned > 0) finish();
  return steps;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      "batch-sizes": { type: "string", default: "2048,65536" },
      share: { type: "string", default: "0.1" },
      samples: { type: "string" },
      folder: { type: "string", default: join("hotset", "bench") },
    },
  });
  const dataset = await stepDataset(values.folder, {
    ...KAGGLE_STEPS,
    samples: Number(values.samples ?? KAGGLE_STEPS.samples),
  });
  const allRows = dataset.body.tables.reduce((sum, { rows }) => sum + rows, 0);
  for (const batchSize of values["batch-sizes"].split(",").map(Number)) {
    const batches = await rowsOf(dataset, batchSize, values.folder);
    const batchRows = Math.max(...batches.map(({ length }) => length));
    const slots = Math.max(2 * batchRows, Math.floor(Number(values.share) * allRows));
    const plan = new LookAheadPlan({ slots, batchRows, lookAhead: 1 });
    let checksum = 0, fetched = 0;
    pass(plan, batches, () => {});
    const passes = Array.from({ length: PASSES }, () =>
      pass(plan, batches, (moved) => {
        checksum = crc32Of(new Uint8Array(moved.buffer, moved.byteOffset, moved.byteLength), checksum);
        fetched += moved.length;
      }));
    const best = (part: "announce" | "next" | "finish") =>
      (1000 * batches.reduce((sum, _, step) => sum + Math.min(...passes.map((steps) => steps[step][part])), 0) /
        batches.length).toFixed(0);
    const distinct = batches.reduce((sum, { length }) => sum + length, 0) / batches.length;
    console.log(
      `${batchSize} samples, ${distinct.toFixed(0)} rows, ${(fetched / PASSES / batches.length).toFixed(0)} moved: ` +
        `announce ${best("announce")}, next ${best("next")}, finish ${best("finish")} us; decisions ${
          checksum.toString(16)
        }`,
    );
  }
}

// The plan has a clock of its own, so `deno bench` does not run it.
if (Deno.mainModule === import.meta.url) await main();
