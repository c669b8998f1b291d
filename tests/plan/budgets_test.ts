import assert from "node:assert/strict";
import { countedPopularity, planBudgets } from "../../src/plan/budgets.ts";
import { atOnce } from "../../src/breaks.ts";
import { LookAheadPlan } from "../../src/embedding/look_ahead_plan.ts";
import { planModel } from "../../src/model/shape.ts";
import { Random } from "../../src/random.ts";

const ROWS = 40_000;
const BATCH = 64;
const LOOKUPS = 4;
const STEPS = 400;
const MODEL = planModel({
  dim: 64,
  tableRows: [ROWS],
  bottom: [2, 64],
  top: [4, 1],
  interaction: "dot",
  optimizer: "adagrad",
});
const SHAPE = { batchSize: BATCH, denseFeatures: 2, tables: 1, bags: true, lookupCapacity: BATCH * LOOKUPS };

Deno.test("budgets expect what the look-ahead plan then does over an epoch", async () => {
  const random = new Random(1);
  const draw = () => Math.floor(ROWS * random.uniform() ** 6);
  const batches = Array.from({ length: STEPS }, () => Array.from({ length: BATCH * LOOKUPS }, draw));
  const counts = new Uint32Array(ROWS);
  for (const row of batches.flat()) counts[row]++;
  const samples = STEPS * BATCH;
  const host = 1e9;
  const budgets = atOnce(planBudgets({
    ...{ model: MODEL, batchShape: SHAPE, popularity: await countedPopularity(counts, samples), samples, host },
    speed: 1000,
  }));
  assert.deepEqual(budgets.map(({ share }) => share), [1, 0.5, 0.25, 0.1, 0.05]);
  for (const { share, fetchShare, readShare, host: bytes, disk, samplesPerSecond } of budgets) {
    assert.equal(bytes, host - (1 - share) * 512 * ROWS);
    if (share === 1) {
      assert.deepEqual([fetchShare, disk, samplesPerSecond], [0, 0, 1000]);
      continue;
    }
    const slots = Math.floor((share * 512 * ROWS - 4 * ROWS) / 572);
    const plan = new LookAheadPlan({ slots, batchRows: BATCH * LOOKUPS, lookAhead: 2 });
    const touched = new Set<number>();
    let distinct = 0, fetched = 0, read = 0;
    for (const batch of batches) {
      const rows = Uint32Array.from(new Set(batch)).sort();
      distinct += rows.length;
      plan.announce(rows, 0, 1, rows.length);
      const moves = plan.next()!;
      fetched += moves.fetched;
      read += moves.fetchedRows.subarray(0, moves.fetched).filter((row) => touched.has(row)).length;
      rows.forEach((row) => touched.add(row));
      plan.finish();
    }
    assert.ok(Math.abs(fetchShare - fetched / distinct) < 0.02, `${share}: ${fetchShare}, ${fetched / distinct}`);
    assert.ok(Math.abs(readShare! - read / distinct) < 0.02, `${share}: ${readShare}, ${read / distinct}`);
    assert.ok(samplesPerSecond! < 1000 && samplesPerSecond! > 500);
    assert.equal(disk, slots >= touched.size ? 0 : 1.5 * 512 * touched.size);
  }
});

Deno.test("a budget that holds all rows in use fetches each once, and rows never looked up do not count", async () => {
  const counts = new Uint32Array(ROWS);
  counts.fill(STEPS, 0, 100);
  const samples = STEPS * BATCH;
  const options = {
    model: MODEL,
    batchShape: SHAPE,
    popularity: await countedPopularity(counts, samples),
    samples,
    host: 1e9,
  };
  const [, half] = atOnce(planBudgets({ ...options, speed: 1000 }));
  assert.equal(half.readShare, 0);
  assert.ok(half.fetchShare > 0 && half.fetchShare < 0.01 && half.samplesPerSecond! < 1000);
});
