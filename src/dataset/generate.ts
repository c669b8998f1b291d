/** Generates data: a raw log in the Criteo format, or a dataset. */
import { existsSync } from "node:fs";
import { breaks } from "../breaks.ts";
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { expectRoom } from "../storage/disk.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { mix } from "../random.ts";
import { BlockRing } from "./block_ring.ts";
import { BLOCK_SAMPLES, type ClickBlock, ClickModel, type ClickModelOptions } from "./click_model.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, type Split, SPLITS } from "./dataset.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { schemaOf } from "./formats.ts";
import { idOf } from "./multi_hot.ts";
import { shapeOf } from "./published.ts";
import { isDense, isSparse } from "./schema.ts";
import { type Fractions, splitSizes } from "./splits.ts";
import { SplitWriter } from "./split_writer.ts";

/** Number of samples, and their split by order. */
export interface GenerateOptions extends ClickModelOptions {
  /** Number of samples of all splits. */
  readonly samples: number;
  /** Shares of the splits with which the log will be prepared. */
  readonly fractions: Fractions;
  /** Called after every block with the completed share, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** AUC of the true click probabilities on the generated labels of each split that has both labels. */
export type BestAuc = Partial<Record<Split, number>>;

/**
 * Writes a raw log in the Criteo format to a new file. Returns the best reachable AUC of each split. Throws HotsetError
 * if writing fails.
 */
export async function writeCriteoLog(path: string, options: GenerateOptions): Promise<BestAuc> {
  const { shape } = options;
  if (shape === "avazu" || shape === "mlperf-dcnv2") {
    throw new UsageError(`Cannot write a raw log in the shape of ${shape}, only a dataset`);
  }
  if (/\.(gz|zst)$/.test(path)) throw new UsageError(`Cannot write ${path}: raw logs are written as plain text`);
  if (existsSync(path)) throw new HotsetError(`Cannot write ${path}: it already exists`, { code: "occupied" });
  expectRoom(path, options.samples * MIN_LINE, `write ${path}`);
  using file = new AtomicFile(path);
  const lines = new LineBuffer();
  const bestAuc = await generate(await ClickModel.calibrated(options), options, (block, from, to) => {
    lines.clear();
    for (let s = from; s < to; s++) lines.add(block, s);
    file.append(lines.bytes);
  });
  file.commit();
  return bestAuc;
}

/** Options of a generated dataset. */
export interface GenerateDatasetOptions extends GenerateOptions {
  /**
   * Ids by falling popularity, as prepare assigns them, or in arbitrary order, as after hashing. Default popularity.
   */
  readonly ids?: "popularity" | "arbitrary";
}

/**
 * Generates a dataset without a raw log; row 0 of each table is never looked up. Memory does not depend on the number of
 * samples. Throws HotsetError if it cannot be written.
 */
export async function generateDataset(out: string, options: GenerateDatasetOptions): Promise<Dataset> {
  const model = await ClickModel.calibrated(options);
  const { tables, denseFeatures } = model;
  const { samples, seed, scale = 1, shape = "kaggle", drift = 0, fractions, ids = "popularity" } = options;
  const { columns } = schemaOf(shape === "avazu" ? "avazu" : "criteo", undefined);
  const strides = model.rows.map((rows) => ids === "popularity" ? 1 : scatteringStride(rows));
  const firstRows = [0];
  for (const rows of model.rows) firstRows.push(firstRows.at(-1)! + rows + 1);
  const counts = new Uint32Array(firstRows[tables]);
  const { multiHotSizes } = shapeOf(shape);
  const bagLengths = multiHotSizes ?? new Array<number>(tables).fill(1);
  const lookups = bagLengths.reduce((sum, length) => sum + length, 0);
  const indices = new Uint32Array(BLOCK_SAMPLES * lookups);
  const dense = new Float32Array(BLOCK_SAMPLES * denseFeatures);

  const bagWords = multiHotSizes === undefined ? 0 : tables + 2;
  expectRoom(out, samples * (1 + 4 * (denseFeatures + lookups + bagWords)) + counts.byteLength, `write dataset ${out}`);
  using writer = new ArtifactWriter("dataset", out);
  const splits = new SplitWriter(writer);
  const lengths = Uint32Array.from({ length: BLOCK_SAMPLES * tables }, (_, i) => bagLengths[i % tables]);
  const firstLookups = Float64Array.from({ length: BLOCK_SAMPLES }, (_, i) => i * lookups);
  const bestAuc = await generate(model, options, (block, from, to, split) => {
    for (let i = from * tables, at = from * lookups; i < to * tables; i++) {
      const table = i % tables, rows = model.rows[table];
      const id = block.ranks[i] * strides[table] % rows;
      for (let place = 0; place < bagLengths[table]; place++) {
        const row = firstRows[table] + 1 + idOf(seed, table, rows, id, place);
        indices[at++] = row;
        if (split === "train") counts[row]++;
      }
    }
    for (let i = from * denseFeatures; i < to * denseFeatures; i++) {
      dense[i] = Number.isNaN(block.dense[i]) ? 0 : Math.log(block.dense[i] + 1);
    }
    splits.write(split, {
      labels: block.labels.subarray(from, to),
      dense: dense.subarray(from * denseFeatures, to * denseFeatures),
      indices: indices.subarray(from * lookups, to * lookups),
      bagLengths: multiHotSizes && lengths.subarray(from * tables, to * tables),
      firstLookups: multiHotSizes && firstLookups.subarray(0, to - from),
    });
  });
  for (const split of SPLITS) {
    splits.create(split, ["labels", "dense", "indices"]);
    if (multiHotSizes !== undefined) splits.endBags(split);
  }
  await writer.file(COUNTS_FILE).appendInParts(counts);
  if (breaks.due) await breaks.take();
  const body: DatasetBody = {
    source: { format: "generated", shape, samples, seed, scale, drift, fractions, ids },
    dense: columns.filter(isDense).map((c) => c.name),
    tables: columns.filter(isSparse).map(({ name }, t) => ({ name, rows: model.rows[t] + 1 })),
    bags: multiHotSizes !== undefined,
    splits: splits.sizes,
    skippedRows: 0,
    generated: { bestAuc },
  };
  writer.commit(body);
  if (breaks.due) await breaks.take();
  // The checksums of files that were just written are known.
  return Dataset.open(out, "lengths");
}

/** A stride that visits all rows of a table once and separates rows of similar popularity: near rows / golden ratio. */
function scatteringStride(rows: number): number {
  const divides = (a: number, b: number): boolean => b === 0 ? a > 1 : divides(b, a % b);
  let stride = Math.max(1, Math.floor(rows * 0.6180339887));
  while (divides(stride, rows)) stride++;
  return stride;
}

/** Generates all samples in order and passes on parts of a block that belong to one split. */
async function generate(
  model: ClickModel,
  options: GenerateOptions,
  take: (block: ClickBlock, from: number, to: number, split: Split) => void,
): Promise<BestAuc> {
  const { samples, fractions, onProgress } = options;
  using ring = new BlockRing(options, model, samples);
  if (breaks.due) await breaks.take();
  let block = model.block();
  const bestAuc: BestAuc = {};
  let drawn = 0;
  for (const part of splitSizes(samples, fractions)) {
    const auc = new AucHistogram();
    for (let left = part.samples; left > 0;) {
      const from = drawn % BLOCK_SAMPLES;
      if (from === 0) {
        block = ring.next();
        if (breaks.due) await breaks.take();
      }
      const to = Math.min(BLOCK_SAMPLES, from + left);
      take(block, from, to, part.split);
      for (let s = from; s < to; s++) auc.add(block.probabilities[s], block.labels[s]);
      left -= to - from;
      drawn += to - from;
      onProgress?.(drawn / samples);
      if (breaks.due) await breaks.take();
    }
    const { value } = auc;
    if (breaks.due) await breaks.take();
    if (value !== undefined) bestAuc[part.split] = value;
  }
  return bestAuc;
}

/**
 * AUC in constant memory: probabilities are counted in bins that are narrow enough to ignore ties within one (1e-5).
 */
class AucHistogram {
  static readonly #bins = 1 << 16;
  readonly #clicks = new Float64Array(AucHistogram.#bins);
  readonly #others = new Float64Array(AucHistogram.#bins);

  add(probability: number, label: number): void {
    const bin = Math.min(Math.floor(probability * AucHistogram.#bins), AucHistogram.#bins - 1);
    (label === 1 ? this.#clicks : this.#others)[bin]++;
  }

  /** Undefined unless there are samples with both labels. */
  get value(): number | undefined {
    const [clicksOf, othersOf] = [this.#clicks, this.#others];
    let wins = 0;
    let clicks = 0;
    let others = 0;
    for (let b = 0; b < clicksOf.length; b++) {
      wins += clicksOf[b] * (others + othersOf[b] / 2);
      clicks += clicksOf[b];
      others += othersOf[b];
    }
    return clicks * others === 0 ? undefined : wins / (clicks * others);
  }
}

const TAB = 9;
const NEWLINE = 10;
const DIGITS = new TextEncoder().encode("0123456789abcdef");
/** Minimum bytes of a line: a label, empty dense fields, and values of 8 digits. */
const MIN_LINE = 1 + 13 + 26 * 9 + 1;
const MAX_LINE = 1 + 13 * 11 + 26 * 9 + 1;

/** Lines of the Criteo format, as bytes. */
class LineBuffer {
  readonly #bytes = new Uint8Array(BLOCK_SAMPLES * MAX_LINE);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  add({ labels, dense, ranks }: ClickBlock, sample: number): void {
    const denseFeatures = dense.length / BLOCK_SAMPLES;
    const tables = ranks.length / BLOCK_SAMPLES;
    this.#bytes[this.#length++] = DIGITS[labels[sample]];
    for (let d = 0; d < denseFeatures; d++) {
      this.#bytes[this.#length++] = TAB;
      const value = dense[sample * denseFeatures + d];
      if (!Number.isNaN(value)) this.#decimal(value);
    }
    for (let t = 0; t < tables; t++) {
      this.#bytes[this.#length++] = TAB;
      // A value is the mixed rank: mixing is a bijection, so the values of a table are distinct.
      const value = mix(mix(ranks[sample * tables + t]) ^ (t + 1));
      for (let shift = 28; shift >= 0; shift -= 4) this.#bytes[this.#length++] = DIGITS[(value >>> shift) & 15];
    }
    this.#bytes[this.#length++] = NEWLINE;
  }

  #decimal(value: number): void {
    let divisor = 1;
    while (divisor * 10 <= value) divisor *= 10;
    for (; divisor >= 1; divisor /= 10) this.#bytes[this.#length++] = DIGITS[Math.floor(value / divisor) % 10];
  }
}
