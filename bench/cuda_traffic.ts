/**
 * Memory traffic of the CUDA kernels, counted on the emulated device: 32-byte sectors that warps access, compared with
 * the minimum for the same bytes, and cycles of shared memory.
 *
 *     deno run -A bench/cuda_traffic.ts
 */
import { Header, interactionWidth } from "../src/backend/backend.ts";
import { OPTIMIZER_NAMES, rowStateWords, writeStep } from "../src/optimizer/optimizers.ts";
import { openCuda } from "../src/backend/cuda/open.ts";
import { Batch, type BatchShape, SEGMENTS_END } from "../src/layout/batch.ts";
import { Random } from "../src/random.ts";

/** Rows of each table: like Criteo's, some tables have few rows and some have many. */
const TABLE_ROWS = [3, 20, 600, 5000, 14, 300, 20_000, 9, 100, 4000, 50, 8000];

/**
 * Traffic of one kernel's launch. `neededSectors` of gather and update is what the operation needs at the least: every
 * row, gradient and state in sectors of its own, the lists packed. For the others it is the sum over requests of what
 * their bytes would take side by side.
 */
export interface TrafficLine {
  readonly kernel: string;
  readonly dim: number;
  readonly sectors: number;
  readonly neededSectors: number;
  readonly bytes: number;
  readonly bankTurns: number;
}

/** A batch of skewed lookups, one for each (sample, table) pair, with its segments. */
function drawBatch(batchSize: number, random: Random): { batch: Batch; rows: number } {
  const tables = TABLE_ROWS.length;
  const lookups = batchSize * tables;
  const shape: BatchShape = { batchSize, denseFeatures: 13, tables, bags: false, lookupCapacity: lookups };
  const batch = new Batch(shape);
  const { words, sections } = batch;
  const firstRows = TABLE_ROWS.map((_, t) => TABLE_ROWS.slice(0, t).reduce((sum, rows) => sum + rows, 0));
  const bagsOf = new Map<number, number[]>();
  for (let bag = 0; bag < lookups; bag++) {
    const table = bag % tables;
    const row = firstRows[table] + Math.floor(TABLE_ROWS[table] * random.uniform() ** 3);
    words[sections.indices + bag] = row;
    bagsOf.set(row, [...bagsOf.get(row) ?? [], bag]);
  }
  let first = 0, segment = sections.segments;
  for (const [row, bags] of [...bagsOf].sort(([a], [b]) => a - b)) {
    words.set([row, first], segment);
    words.set(bags, sections.segmentBags + first);
    first += bags.length;
    segment += 2;
  }
  words.set([SEGMENTS_END, first], segment);
  words[Header.samples] = batchSize;
  words[Header.lookups] = lookups;
  words[Header.distinct] = bagsOf.size;
  writeStep("sgd", batch.floats, 0.1);
  return { batch, rows: TABLE_ROWS.reduce((sum, rows) => sum + rows, 0) };
}

/** Runs every kernel once over a batch and returns its memory traffic. */
export function measureTraffic(dim: number, batchSize: number): TrafficLine[] {
  using backend = openCuda({ device: "emulated", emulated: { countTraffic: true } });
  const random = new Random(dim);
  const { batch, rows } = drawBatch(batchSize, random);
  const tables = TABLE_ROWS.length;
  const { sections, shape: { lookupCapacity } } = batch;
  const block = backend.allocate(sections.capacity, "batch");
  backend.upload(batch.words, block);
  const part = (first: number, words: number) => backend.view(block, first, words);
  const make = (words: number) => {
    const buffer = backend.allocate(words, "operand");
    backend.upload(Float32Array.from({ length: words }, () => random.normal()), buffer);
    return buffer;
  };
  const header = part(0, sections.labels), indices = part(sections.indices, lookupCapacity);
  const table = make(rows * dim), pooled = make(lookupCapacity * dim), dPooled = make(lookupCapacity * dim);
  backend.pool(lookupCapacity, dim, table, indices, undefined, pooled);

  const segments = part(sections.segments, 2 * (lookupCapacity + 1));
  const bags = part(sections.segmentBags, lookupCapacity);
  for (const optimizer of OPTIMIZER_NAMES) {
    const stateWords = rowStateWords(optimizer, dim);
    const state = stateWords === 0 ? undefined : backend.allocate(rows * stateWords, "state");
    const shape = { optimizer, dim, rank: 0, ranks: 1 };
    backend.updateRows(shape, header, segments, bags, dPooled, table, state);
  }

  const shape = { kind: "dot", bottom: true, tables, dim } as const, width = interactionWidth(shape);
  const bottom = make(batchSize * dim), output = make(batchSize * width);
  backend.interact(shape, batchSize, bottom, pooled, output);
  const dBottom = make(batchSize * dim);
  backend.interactBackward(shape, batchSize, { bottom, pooled, dOutput: output, dBottom, dPooled });

  const layer = { inputs: 13, outputs: 64, activation: "relu" } as const;
  const [x, weight, bias, y] = [make(batchSize * 13), make(13 * 64), make(64), make(batchSize * 64)];
  backend.linear(layer, batchSize, x, weight, bias, y);
  const [dY, dWeight, dBias] = [make(batchSize * 64), make(13 * 64), make(64)];
  backend.linearBackward(layer, batchSize, { x, weight, y, dY, dX: undefined, dWeight, dBias });
  const labels = part(sections.labels, batchSize);
  backend.loss(batchSize, header, make(batchSize), labels, make(batchSize), backend.allocate(1, "loss"));
  backend.updateDense("adagrad", 4096, header, make(4096), make(4096), backend.allocate(4096, "state"));
  backend.synchronize();
  const { kernels } = backend.device.libraries.emulated!.traffic!;
  const sectorsOf = (words: number) => Math.ceil(words / 8);
  const rowSectors = sectorsOf(dim), { distinct } = batch;
  const listSectors = sectorsOf(lookupCapacity) + sectorsOf(2 * (distinct + 1)) + 1;
  const needed = new Map([["gather_4", 2 * lookupCapacity * rowSectors + sectorsOf(lookupCapacity)]]);
  for (const optimizer of OPTIMIZER_NAMES) {
    const perRow = 2 * rowSectors + 2 * sectorsOf(rowStateWords(optimizer, dim));
    needed.set(`update_rows_${optimizer}_4`, lookupCapacity * rowSectors + distinct * perRow + listSectors);
  }
  return [...kernels].map(([kernel, traffic]) => {
    return { kernel, dim, ...traffic, neededSectors: needed.get(kernel) ?? traffic.neededSectors };
  });
}

if (import.meta.main) {
  const batchSize = 256;
  console.log(
    `Batch of ${batchSize} samples, ${TABLE_ROWS.length} tables, skewed lookups; warps' requests, no caches\n`,
  );
  console.log("kernel                   dim  bytes asked  sectors  needed  ratio  bank turns");
  for (const dim of [16, 32, 64, 128]) {
    for (const { kernel, bytes, sectors, neededSectors, bankTurns } of measureTraffic(dim, batchSize)) {
      const numbers = [
        String(dim).padStart(4),
        String(bytes).padStart(12),
        String(sectors).padStart(8),
        String(neededSectors).padStart(7),
        (sectors / neededSectors).toFixed(3).padStart(6),
        String(bankTurns || "-").padStart(11),
      ];
      console.log(kernel.padEnd(23), ...numbers);
    }
  }
}
