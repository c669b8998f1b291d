/**
 * Times the parts of reading batches from a layout as in training, without a device: reading the record from the page
 * cache, decoding, validation, and the copy to the memory from which a device is fed if a slot is not. What a whole step
 * needs of the host is in cuda_host_bench.ts.
 *
 *     deno run -A bench/batch_reading.ts [--batch-sizes 128,2048,65536] [--samples N] [--folder DIR] [--json]
 *
 * Other work on the machine only adds to a time, so the minimum of several repetitions is reported.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FileReader } from "../src/storage/artifact.ts";
import { Batch } from "../src/layout/batch.ts";
import { BatchUnpacker } from "../src/layout/batch_unpacker.ts";
import { findBatchFault } from "../src/layout/check_batch.ts";
import { BATCH_KINDS, batchFiles, type BatchKind, type Layout } from "../src/layout/layout.ts";
import { ReadAhead, readThreads } from "../src/layout/read_ahead.ts";
import { resolveConfig } from "../src/config/config.ts";
import { KAGGLE_STEPS, stepDataset, stepLayout } from "./cuda_steps.ts";

/** Maximum number of batches of a pass, and of passes. */
const BATCHES = 32;
const PASSES = 20;
/** Slots of a run, and batches that a pass reads ahead: few, so that some pass has the processor for itself. */
const SLOTS = 8;
const AHEAD_BATCHES = 16;
/** Duration of the passes, and time for threads to start, in milliseconds. */
const AHEAD_MS = 1000;
const START_MS = 500;

/** Milliseconds per batch by part, and the size of a batch. */
interface ReadingTime {
  readonly batchSize: number;
  readonly kind: BatchKind;
  /** Bytes of a sample on disk. */
  readonly bytesPerSample: number;
  readonly read: number;
  readonly decode: number;
  readonly check: number;
  readonly copy: number;
  /** Everything except the copy, as in `Layout.readBatch`. */
  readonly readBatch: number;
  /** Total time per batch with threads that read ahead, as in training. */
  readonly ahead: number;
}

/** Times one kind of full batches of a layout. */
async function timeReading(layout: Layout, kind: BatchKind): Promise<ReadingTime> {
  const { shape } = layout;
  const files = batchFiles(kind);
  const positions = new Float64Array(Deno.readFileSync(join(layout.directory, files.positions)).buffer);
  using reader = new FileReader(join(layout.directory, files.batches));
  const unpacker = new BatchUnpacker(shape);
  const batch = new Batch(shape, new SharedArrayBuffer(new Batch(shape).bytes.length));
  const target = new Uint8Array(batch.bytes.length);
  const rowLimit = kind === "hot" ? layout.hotRows.length : layout.body.rows;
  const batches = Math.min(BATCHES, layout.batches(kind) - 1);
  const { block } = batch;
  const packedBytes = (index: number) => positions[index + 1] - positions[index] - block.length;
  const parts = [
    (index: number) => {
      reader.read(positions[index], block);
      reader.read(positions[index] + block.length, unpacker.packed.subarray(0, packedBytes(index)));
    },
    (index: number) => expectNoFault(unpacker.unpack(batch, packedBytes(index), rowLimit)),
    () => expectNoFault(findBatchFault(batch, kind === "hot")),
    () => target.set(batch.bytes.subarray(0, 4 * batch.usedWords)),
  ];
  const best = [...parts, undefined].map(() => new Float64Array(batches).fill(Infinity));
  const timed = (part: number, index: number, work: () => void) => {
    const begin = performance.now();
    work();
    best[part][index] = Math.min(best[part][index], performance.now() - begin);
  };
  for (let pass = 0; pass < PASSES; pass++) {
    for (let index = 0; index < batches; index++) {
      parts.forEach((work, part) => timed(part, index, () => work(index)));
      timed(parts.length, index, () => layout.readBatch(kind, index, batch));
    }
  }
  const [read, decode, check, copy, readBatch] = best.map((times) => times.reduce((sum, time) => sum + time) / batches);
  const ahead = await timeAhead(layout, kind, batches, target);
  const { batchSize } = shape;
  const bytesPerSample = positions[batches] / batches / batchSize;
  return { batchSize, kind, bytesPerSample, read, decode, check, copy, readBatch, ahead };
}

/** Milliseconds per batch that is read ahead and copied, in the fastest pass. */
async function timeAhead(layout: Layout, kind: BatchKind, batches: number, target: Uint8Array): Promise<number> {
  const capacity = target.length;
  const memory = new SharedArrayBuffer(SLOTS * capacity);
  const slots = Array.from({ length: SLOTS }, (_, slot) => new Batch(layout.shape, memory, slot * capacity));
  using reading = new ReadAhead(layout, slots, readThreads(layout, navigator.hardwareConcurrency - 1));
  await new Promise((resolve) => setTimeout(resolve, START_MS));
  let best = Infinity;
  for (let slot = 0, end = performance.now() + AHEAD_MS; performance.now() < end;) {
    const begin = performance.now();
    for (let index = 0, asked = 0; index < AHEAD_BATCHES; index++) {
      for (; asked < AHEAD_BATCHES && reading.waiting < reading.depth; asked++, slot = (slot + 1) % SLOTS) {
        reading.ask(slot, kind, asked % batches);
      }
      const { bytes, usedWords } = slots[reading.take()];
      target.set(bytes.subarray(0, 4 * usedWords));
    }
    best = Math.min(best, (performance.now() - begin) / AHEAD_BATCHES);
  }
  return best;
}

function expectNoFault(fault: string | undefined): void {
  if (fault !== undefined) throw new Error(fault);
}

/** Text of a result. */
function timeText({ batchSize, kind, bytesPerSample, ...parts }: ReadingTime): string {
  const ms = Object.values(parts).map((time) => time.toFixed(3).padStart(9)).join(" ");
  const rate = (batchSize / 1000 / parts.ahead).toFixed(2);
  return `${`${batchSize} ${kind}`.padEnd(12)} ${ms} ms ${
    bytesPerSample.toFixed(1).padStart(7)
  } B/sample ${rate} M samples/s`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      "batch-sizes": { type: "string", default: "128,2048,65536" },
      samples: { type: "string", default: String(KAGGLE_STEPS.samples) },
      folder: { type: "string", default: join("hotset", "bench") },
      json: { type: "boolean", default: false },
    },
  });
  const dataset = await stepDataset(values.folder, { ...KAGGLE_STEPS, samples: Number(values.samples) });
  const sizes = values["batch-sizes"].split(",").map(Number);
  if (!values.json) {
    const heads = ["read", "decode", "check", "copy", "readBatch", "ahead"].map((head) => head.padStart(9)).join(" ");
    console.log(`${"".padEnd(12)} ${heads}`);
  }
  for (const batchSize of sizes) {
    const config = resolveConfig("kaggle", KAGGLE_STEPS.model, { mode: "fae", batchSize });
    using layout = await stepLayout(config, dataset, values.folder);
    for (const kind of BATCH_KINDS.filter((kind) => layout.batches(kind) > 1)) {
      const time = await timeReading(layout, kind);
      console.log(values.json ? JSON.stringify({ event: "reading", ...time }) : timeText(time));
    }
  }
}

if (import.meta.main) await main();
