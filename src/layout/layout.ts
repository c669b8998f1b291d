/** The Layout artifact: the train split of a dataset, packed into hot and cold batches. */
import { z } from "zod";
import { Artifact, type ArtifactCheck, type FileReader } from "../storage/artifact.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { MAX_ROWS } from "../dataset/dataset_encoding.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { expectBuiltFrom, readHotRows } from "../profile/profile.ts";
import { Batch, batchSections, type BatchShape, findShapeFault } from "./batch.ts";
import { maxRecordBytes } from "./batch_record.ts";
import { BatchUnpacker } from "./batch_unpacker.ts";
import { findBatchFault } from "./check_batch.ts";

/** The two kinds of batches: with hot-row ids of the replica, and with global rows of the full tables. */
export type BatchKind = "hot" | "cold";
/** Both kinds. */
export const BATCH_KINDS: readonly BatchKind[] = ["hot", "cold"];

/** Content of a layout's manifest. */
export interface LayoutBody {
  /** Id of its dataset. */
  dataset: string;
  /** Id of its profile; null for a layout without hot rows. */
  profile: string | null;
  /** Seed of the shuffle of its samples; undefined if they are in the order of the log. */
  shuffleSeed?: number | undefined;
  /** Shape of all batches. */
  shape: BatchShape;
  /** Rows of all tables. */
  rows: number;
  /** Number of hot rows. */
  hotRows: number;
  /** Number of samples of the train split. */
  samples: number;
  /** Number of samples whose lookups are all hot. */
  hotSamples: number;
  /** Their share, 0 to 1. */
  hotSampleShare: number;
  /** Number of batches of hot samples. */
  hotBatches: number;
  /** Number of batches of the other samples. */
  coldBatches: number;
  /** Maximum number of distinct rows of a batch, for each kind. */
  mostDistinct: Record<BatchKind, number>;
  /** Bytes of all batches. */
  bytes: number;
}

const count = z.number().int().nonnegative();

/** Schema of a layout's manifest. */
export const layoutBody: z.ZodType<LayoutBody> = z.object({
  dataset: z.string(),
  profile: z.string().nullable(),
  shuffleSeed: count.optional(),
  shape: z.object({
    batchSize: z.number().int().positive(),
    denseFeatures: count,
    tables: z.number().int().nonnegative(),
    bags: z.boolean(),
    weighted: z.boolean().optional(),
    weightedLookups: z.boolean().optional(),
    lookupCapacity: count,
  }),
  rows: z.number().int().nonnegative(),
  hotRows: count,
  samples: count,
  hotSamples: count,
  hotSampleShare: z.number().min(0).max(1),
  hotBatches: count,
  coldBatches: count,
  mostDistinct: z.object({ hot: count, cold: count }),
  bytes: count,
}).superRefine(({ shape, rows, samples, hotSamples, hotBatches, coldBatches }, context) => {
  const complain = (what: string, message: string) => context.addIssue({ code: "custom", path: [what], message });
  const fault = findShapeFault(shape);
  if (fault !== undefined) complain("shape", fault);
  if (rows > MAX_ROWS) complain("rows", `${rows} rows, more than 32 bits can number`);
  if (hotSamples > samples) return complain("hotSamples", `${hotSamples} hot samples of ${samples}`);
  const batches = (count: number) => Math.ceil(count / shape.batchSize);
  if (hotBatches !== batches(hotSamples) || coldBatches !== batches(samples - hotSamples)) {
    complain(
      "batches",
      `${hotBatches} hot and ${coldBatches} cold batches, which do not fit ${hotSamples} hot samples of ${samples}`,
    );
  }
});

/** Names of the files of one kind of batches. */
export function batchFiles(kind: BatchKind) {
  return {
    /** Concatenated records, see batch_record.ts. */
    batches: `${kind}.batches`,
    /** F64 (batches + 1): position of each record, then the end. */
    positions: `${kind}.positions.f64`,
  };
}

/** A layout on disk, open for reading. */
export class Layout implements Disposable {
  /** Its directory. */
  readonly directory: string;
  /** Identifies its content: equal contents have equal ids. */
  readonly id: string;
  /** Its manifest. */
  readonly body: LayoutBody;
  /** Shape of all its batches, hot and cold. */
  readonly shape: BatchShape;
  /** Global row of each hot-row id, ascending. */
  readonly hotRows: Uint32Array;
  readonly #artifact: Artifact<LayoutBody>;
  readonly #positions: Record<BatchKind, Float64Array>;
  readonly #readers: Record<BatchKind, FileReader>;
  /** Undefined until a batch is read. */
  #unpacker: BatchUnpacker | undefined;

  private constructor(
    artifact: Artifact<LayoutBody>,
    hotRows: Uint32Array,
    positions: Record<BatchKind, Float64Array>,
  ) {
    this.#artifact = artifact;
    this.directory = artifact.directory;
    this.id = artifact.id;
    this.body = artifact.body;
    this.shape = artifact.body.shape;
    this.hotRows = hotRows;
    this.#positions = positions;
    this.#readers = { hot: artifact.open(batchFiles("hot").batches), cold: artifact.open(batchFiles("cold").batches) };
  }

  /**
   * Opens and validates a layout, which blocks until all of it has been read; batches are validated when they are read.
   * With `check` "lengths" checksums are not compared: `verified` does. Throws HotsetError with what is wrong.
   */
  static open(directory: string, check?: ArtifactCheck): Layout {
    const artifact = Artifact.open("layout", directory, layoutBody, check);
    const { body } = artifact;
    const hotRows = readHotRows(artifact, body.hotRows, body.rows);
    return new Layout(artifact, hotRows, {
      hot: readPositions(artifact, "hot", body.hotBatches),
      cold: readPositions(artifact, "cold", body.coldBatches),
    });
  }

  /** Compares the checksums while the event loop turns. Returns the layout. Throws HotsetError with what is wrong. */
  async verified(): Promise<this> {
    await this.#artifact.verify();
    return this;
  }

  /** Number of batches of one kind. */
  batches(kind: BatchKind): number {
    return this.#positions[kind].length - 1;
  }

  /** Throws HotsetError unless this layout was built from the dataset. */
  expectDataset(dataset: Dataset): void {
    expectBuiltFrom(dataset, "layout", this);
  }

  /**
   * Reads batch `index` of a kind into `batch`, which has this layout's shape, and validates everything that a step
   * relies on. Does not change words after the batch's last. Throws HotsetError that names the file, the batch and the
   * problem, or UsageError if there is no such batch.
   */
  readBatch(kind: BatchKind, index: number, batch: Batch): void {
    const unpacker = this.#begin(kind, index, batch);
    while (unpacker.advance());
    this.#end(kind, index, batch, unpacker);
  }

  /** The same in parts; no other batch may be read meanwhile. @internal */
  *readInParts(kind: BatchKind, index: number, batch: Batch): Generator<void> {
    const unpacker = this.#begin(kind, index, batch);
    do yield; while (unpacker.advance());
    this.#end(kind, index, batch, unpacker);
  }

  /** Reads a record, and begins to unpack it. */
  #begin(kind: BatchKind, index: number, batch: Batch): BatchUnpacker {
    if (!(Number.isInteger(index) && index >= 0 && index < this.batches(kind))) {
      throw new UsageError(
        `Cannot read ${kind} batch ${index} of layout ${this.directory}: it has ${this.batches(kind)}, from 0`,
      );
    }
    const unpacker = this.#unpacker ??= new BatchUnpacker(this.shape);
    const begin = this.#positions[kind][index], packed = begin + batch.block.length;
    const packedBytes = this.#positions[kind][index + 1] - packed;
    this.#readers[kind].read(begin, batch.block);
    this.#readers[kind].read(packed, unpacker.packed.subarray(0, packedBytes));
    unpacker.begin(batch, packedBytes, kind === "hot" ? this.hotRows.length : this.body.rows);
    return unpacker;
  }

  /** Validates an unpacked batch. */
  #end(kind: BatchKind, index: number, batch: Batch, unpacker: BatchUnpacker): void {
    const fault = unpacker.end() ?? findBatchFault(batch, kind === "hot") ??
      (batch.distinct > this.body.mostDistinct[kind] ? "it has more distinct rows than the manifest says" : undefined);
    if (fault !== undefined) {
      throw new HotsetError(
        `Cannot read ${this.directory}/${batchFiles(kind).batches}: batch ${index} is damaged (${fault}); build the ` +
          `layout again`,
      );
    }
  }

  /**
   * Reads all batches of a kind in order, each into memory of its own. To reuse memory, call `readBatch`. Throws like
   * `readBatch`.
   */
  *iterate(kind: BatchKind): Generator<Batch> {
    for (let index = 0; index < this.batches(kind); index++) {
      const batch = new Batch(this.shape);
      this.readBatch(kind, index, batch);
      yield batch;
    }
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const kind of BATCH_KINDS) this.#readers[kind][Symbol.dispose]();
  }
}

/** Reads the positions of the records and checks that each record fits in a block. */
function readPositions(artifact: Artifact<LayoutBody>, kind: BatchKind, batches: number): Float64Array {
  const { batches: batchesFile, positions: positionsFile } = batchFiles(kind);
  artifact.expectBytes(positionsFile, 8 * (batches + 1));
  const positions = artifact.readInto(positionsFile, new Float64Array(batches + 1));
  const { shape } = artifact.body;
  const shortest = 4 * batchSections(shape).indices, longest = maxRecordBytes(shape);
  const valid = positions[0] === 0 && positions[batches] === artifact.bytes(batchesFile) &&
    positions.subarray(1).every((position, i) => {
      const bytes = position - positions[i];
      return Number.isInteger(bytes / 4) && bytes >= shortest && bytes <= longest;
    });
  if (!valid) {
    throw new HotsetError(
      `Cannot open layout ${artifact.directory}: ${positionsFile} does not fit ${batchesFile}; build it again`,
    );
  }
  return positions;
}
