/** The Layout artifact: the train split of a dataset, packed into hot and cold batches. */
import { z } from "zod";
import { Artifact, type FileReader } from "../artifact.ts";
import { HEADER_WORDS } from "../backend/backend.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { readHotRows } from "../profile/profile.ts";
import { type Batch, batchSections, type BatchShape } from "./batch.ts";
import { findBatchFault } from "./check_batch.ts";

/** The two kinds of batches: with hot-row ids of the replica, and with global rows of the full tables. */
export const BATCH_KINDS = ["hot", "cold"] as const;
/** A kind of batches. */
export type BatchKind = typeof BATCH_KINDS[number];

const count = z.number().int().nonnegative();

/** What a layout's manifest says. */
export const layoutBody = z.object({
  /** Ids of what it was made from; profile is null for a layout without hot rows. */
  dataset: z.string(),
  profile: z.string().nullable(),
  shape: z.object({
    batchSize: z.number().int().positive(),
    denseFeatures: count,
    tables: z.number().int().positive(),
    bags: z.boolean(),
    lookupCapacity: count,
  }),
  /** Rows of all tables, and the hot ones among them. */
  rows: z.number().int().positive(),
  hotRows: count,
  samples: count,
  hotSamples: count,
  hotSampleShare: z.number().min(0).max(1),
  hotBatches: count,
  coldBatches: count,
  /** Bytes of all batches. */
  bytes: count,
});
/** What a layout's manifest says. */
export type LayoutBody = z.infer<typeof layoutBody>;

/** Names of the files of one kind of batches. */
export function batchFiles(kind: BatchKind) {
  return {
    /** Records one after the other: the used words of each batch, see batch.ts. */
    batches: `${kind}.batches`,
    /** f64 (batches + 1): byte at which each record begins, then the end. */
    positions: `${kind}.positions.f64`,
  };
}

/** A layout on disk, open for reading. */
export class Layout implements Disposable {
  readonly directory: string;
  readonly id: string;
  readonly body: LayoutBody;
  /** Shape of all its batches, hot and cold. */
  readonly shape: BatchShape;
  /** Global row of each hot-row id, ascending. */
  readonly hotRows: Uint32Array;
  readonly #positions: Record<BatchKind, Float64Array>;
  readonly #readers: Record<BatchKind, FileReader>;

  private constructor(
    artifact: Artifact<LayoutBody>,
    hotRows: Uint32Array,
    positions: Record<BatchKind, Float64Array>,
  ) {
    this.directory = artifact.directory;
    this.id = artifact.id;
    this.body = artifact.body;
    this.shape = artifact.body.shape;
    this.hotRows = hotRows;
    this.#positions = positions;
    this.#readers = { hot: artifact.open(batchFiles("hot").batches), cold: artifact.open(batchFiles("cold").batches) };
  }

  /** Opens and validates a layout; batches are checked when read. Throws HotsetError that names what is wrong. */
  static open(directory: string): Layout {
    const artifact = Artifact.open("layout", directory, layoutBody);
    const { body } = artifact;
    const hotRows = readHotRows(artifact, body.hotRows, body.rows);
    return new Layout(artifact, hotRows, {
      hot: readPositions(artifact, "hot", body.hotBatches),
      cold: readPositions(artifact, "cold", body.coldBatches),
    });
  }

  /** Number of batches of one kind. */
  batches(kind: BatchKind): number {
    return this.#positions[kind].length - 1;
  }

  /** Throws HotsetError unless this layout was made from the dataset. */
  expectDataset(dataset: Dataset): void {
    if (this.body.dataset === dataset.id && this.body.rows === dataset.rows) return;
    throw new HotsetError(
      `Cannot use layout ${this.directory}: it was not made from dataset ${dataset.directory}; make it again`,
    );
  }

  /**
   * Reads batch `index` of a kind into `batch`, which has this layout's shape, and checks all that a step relies on.
   * Words after the batch's last are left as they were. Throws HotsetError that names the file, the batch and the fault.
   */
  readBatch(kind: BatchKind, index: number, batch: Batch): void {
    const begin = this.#positions[kind][index];
    const bytes = this.#positions[kind][index + 1] - begin;
    this.#readers[kind].read(begin, batch.bytes.subarray(0, bytes));
    const fault = findBatchFault(
      batch,
      kind === "hot",
      bytes / 4,
      kind === "hot" ? this.hotRows.length : this.body.rows,
    );
    if (fault !== undefined) {
      throw new HotsetError(
        `Cannot read ${this.directory}/${batchFiles(kind).batches}: batch ${index} is damaged (${fault}); make the ` +
          `layout again`,
      );
    }
  }

  [Symbol.dispose](): void {
    for (const kind of BATCH_KINDS) this.#readers[kind][Symbol.dispose]();
  }
}

/** Reads where records begin and checks that each of them fits a block. */
function readPositions(artifact: Artifact<LayoutBody>, kind: BatchKind, batches: number): Float64Array {
  const { batches: batchesFile, positions: positionsFile } = batchFiles(kind);
  artifact.expectBytes(positionsFile, 8 * (batches + 1));
  const positions = artifact.readInto(positionsFile, new Float64Array(batches + 1));
  const { capacity } = batchSections(artifact.body.shape);
  const valid = positions[0] === 0 && positions[batches] === artifact.bytes(batchesFile) &&
    positions.subarray(1).every((position, i) => {
      const words = (position - positions[i]) / 4;
      return Number.isInteger(words) && words >= HEADER_WORDS && words <= capacity;
    });
  if (!valid) {
    throw new HotsetError(
      `Cannot open layout ${artifact.directory}: ${positionsFile} does not fit ${batchesFile}; make it again`,
    );
  }
  return positions;
}
