/** Conformance tests of the `EmbeddingTables` contract, for every class of tables. */
import assert from "node:assert/strict";
import type { Backend, HostBackend } from "../../src/backend/backend.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { ONE_RANK } from "../../src/parallel/host_group.ts";
import { openTables, type TableMemory } from "../../src/embedding/open.ts";
import { pooledGradientWords } from "../../src/embedding/replica_exchange.ts";
import { ReplicatedTables } from "../../src/embedding/replicated.ts";
import { allocateRowBlock, type RowMatrix, ROWS_AT_ONCE, type TableContext } from "../../src/embedding/tables.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { HotMap } from "../../src/layout/hot_map.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { OPTIMIZER_NAMES, type OptimizerName, rowStateWords, writeStep } from "../../src/optimizer/optimizers.ts";
import { atOnce } from "../../src/breaks.ts";
import { Random } from "../../src/random.ts";

const DIM = 3;
const TABLE_ROWS = [ROWS_AT_ONCE, 500];
const ROWS = TABLE_ROWS[0] + TABLE_ROWS[1];
const HOT_ROWS = Uint32Array.from({ length: 60 }, (_, i) => i % 2 === 0 ? 7 * i : ROWS_AT_ONCE + i).sort();
const SHAPE: BatchShape = { batchSize: 8, denseFeatures: 1, tables: 2, bags: false, lookupCapacity: 16 };
const WEIGHTED: BatchShape = { ...SHAPE, bags: true, weightedLookups: true, lookupCapacity: 32 };

/** Where rows and the dense part of the model lie. */
const PLACES = {
  "host memory": { device: false, full: "host", hot: false },
  "host memory, a device computes": { device: true, full: "host", hot: false },
  "a device": { device: true, full: "device", hot: false },
  "replicated in host memory": { device: false, full: "host", hot: true },
  "replicated on a device": { device: true, full: "host", hot: true },
} as const;

function open(place: keyof typeof PLACES, optimizer: OptimizerName, batchShape = SHAPE) {
  const { device: onDevice, full, hot } = PLACES[place];
  const host: HostBackend = new ReferenceBackend();
  const device: Backend = onDevice ? new ReferenceBackend() : host; // memory of its own stands for a device's
  const words = pooledGradientWords(batchShape, DIM, 1);
  const matrix = (backend: Backend, rows: number): RowMatrix => {
    const stateWords = rowStateWords(optimizer, DIM);
    const table = (width: number) => backend.allocateTable(rows * width, "rows");
    return { backend, rows, weights: table(DIM), state: stateWords === 0 ? undefined : table(stateWords) };
  };
  const context: TableContext = {
    shape: { dim: DIM, tableRows: TABLE_ROWS, optimizer },
    batchShape,
    ...{ host, device, groups: ONE_RANK },
    pooledGradients: device.allocate(words, "gradients"),
  };
  const memory: TableMemory = {
    full: matrix(full === "device" ? device : host, ROWS),
    hot: hot ? matrix(device, HOT_ROWS.length) : undefined,
    hostGradients: onDevice ? host.allocate(words, "gradients") : undefined,
    mostDistinct: { cold: batchShape.lookupCapacity, hot: batchShape.lookupCapacity },
  };
  const tables = openTables(context, memory);
  const batch = new Batch(batchShape);
  const hostBlock = host.wrap(batch.words);
  const deviceBlock = onDevice ? device.allocate(batch.words.length, "batch") : hostBlock;
  const bound = tables.bind({ batch, hostBlock, deviceBlock });
  const block = allocateRowBlock(context.shape, host);
  const pooled = device.allocate(words, "pooled rows");
  return { host, device, context, tables, batch, deviceBlock, bound, block, pooled };
}

/** Fills a batch with rows of both tables, perhaps hot ones alone; named by their hot-row ids if it is to be a hot batch. */
function fill(batch: Batch, random: Random, hot: boolean, asHot: boolean): void {
  const filler = new BatchFiller(batch, asHot ? new HotMap(Float64Array.of(0, ROWS), HOT_ROWS) : undefined);
  const [first, second] = [HOT_ROWS.filter((row) => row < ROWS_AT_ONCE), HOT_ROWS.filter((row) => row >= ROWS_AT_ONCE)];
  const rowOf = (i: number) => {
    if (hot) return i % 2 === 0 ? first[random.below(first.length)] : second[random.below(second.length)];
    return i % 2 === 0 ? random.below(400) : ROWS_AT_ONCE + random.below(100);
  };
  const tables = Array.from({ length: 16 }, (_, bag) => bag % 2);
  const lengths = tables.map(() => batch.shape.bags ? random.below(3) : 1);
  const indices = Uint32Array.from(tables.flatMap((t, bag) => Array.from({ length: lengths[bag] }, () => rowOf(t))));
  const samples = {
    count: 8,
    labels: new Uint8Array(8),
    dense: new Float32Array(8),
    indices,
    lookupWeights: batch.shape.weightedLookups ? Float32Array.from(indices, () => random.normal()) : undefined,
    offsets: batch.shape.bags
      ? Uint32Array.from([0, ...tables], (_, bag) => lengths.slice(0, bag).reduce((sum, length) => sum + length, 0))
      : undefined,
  };
  for (let i = 0; i < 8; i++) filler.add(samples, i);
  filler.close();
  new SegmentSorter(batch.shape).write(batch);
}

/** A step as a rank does it, with made-up gradients; returns the pooled rows. */
function step(run: ReturnType<typeof open>, gradients: Float32Array): Float32Array {
  const { device, host, batch, bound, deviceBlock, context, pooled } = run;
  const lookups = bound.prepare(true);
  if (device !== host) device.upload(batch.words.subarray(0, lookups.deviceWords), deviceBlock);
  lookups.pool(8, pooled);
  device.upload(gradients, context.pooledGradients);
  lookups.update(8);
  const found = new Float32Array(gradients.length);
  device.download(pooled, found);
  return found;
}

/** All rows with their state. */
function rowsOf({ tables, host, block }: ReturnType<typeof open>, optimizer: OptimizerName) {
  const stateWords = rowStateWords(optimizer, DIM);
  const weights = new Float32Array(ROWS * DIM);
  const state = new Float32Array(ROWS * stateWords);
  for (let first = 0; first < ROWS; first += ROWS_AT_ONCE) {
    const rows = Uint32Array.from({ length: Math.min(ROWS_AT_ONCE, ROWS - first) }, (_, i) => first + i);
    tables.rows.read(rows, block);
    weights.set(host.floats(block.weights).subarray(0, rows.length * DIM), first * DIM);
    if (block.state) state.set(host.floats(block.state).subarray(0, rows.length * stateWords), first * stateWords);
  }
  return { weights, state };
}

for (
  const [optimizer, shape] of [...OPTIMIZER_NAMES.map((name) => [name, SHAPE] as const), ["adam", WEIGHTED] as const]
) {
  Deno.test(`steps give the same rows wherever they lie: ${optimizer}${shape.bags ? ", weighted bags" : ""}`, () => {
    const [expected, ...others] = (Object.keys(PLACES) as (keyof typeof PLACES)[]).map((place) => {
      const run = open(place, optimizer, shape);
      atOnce(run.tables.rows.initialise(1));
      const random = new Random(2);
      const hotIds = Uint32Array.from(HOT_ROWS.keys());
      const replicated = run.tables instanceof ReplicatedTables ? run.tables : undefined;
      const pooled = [false, true, true, false, true].map((hot, i) => {
        // What a listener would find out: here every hot row moves at every switch.
        if (hot) replicated?.pull(HOT_ROWS, hotIds);
        fill(run.batch, random, hot, hot && replicated !== undefined);
        writeStep(optimizer, run.batch.floats, 0.1, i + 1);
        const found = step(run, Float32Array.from({ length: 48 }, () => random.normal()));
        if (hot) replicated?.push(HOT_ROWS, hotIds);
        return found;
      });
      return { place, pooled, ...rowsOf(run, optimizer) };
    });
    for (const { place, pooled, weights, state } of others) {
      assert.deepEqual(pooled, expected.pooled, place);
      assert.deepEqual(weights, expected.weights, place);
      assert.deepEqual(state, expected.state, place);
    }
    assert.ok(expected.state.length === 0 || expected.state.some((x) => x !== 0));
  });
}

for (const optimizer of OPTIMIZER_NAMES) {
  for (const place of Object.keys(PLACES) as (keyof typeof PLACES)[]) {
    Deno.test(`listed rows are written and read with their state, all others stay: ${place}, ${optimizer}`, () => {
      const run = open(place, optimizer);
      const { tables, host, block } = run;
      atOnce(tables.rows.initialise(3));
      const expected = rowsOf(run, optimizer);
      const random = new Random(4);
      const stateWords = rowStateWords(optimizer, DIM);
      // As many rows as move at a time, in any order; then few; then none.
      for (const count of [ROWS_AT_ONCE, 5, 0]) {
        const rows = random.shuffle(Uint32Array.from({ length: ROWS }, (_, i) => i)).slice(0, count);
        for (
          const [all, packed, width] of [
            [expected.weights, block.weights, DIM],
            [expected.state, block.state, stateWords],
          ] as const
        ) {
          if (packed === undefined) continue;
          const words = host.floats(packed);
          rows.forEach((row, i) => {
            for (let k = 0; k < width; k++) all[row * width + k] = words[i * width + k] = row + k / 8;
          });
        }
        tables.rows.write(rows, block);
        assert.deepEqual(rowsOf(run, optimizer), expected);
      }
    });
  }
}
