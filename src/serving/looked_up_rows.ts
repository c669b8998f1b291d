/** The embedding rows of a model that scores: all in memory, or on disk with a cache in memory. */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { UsageError } from "../errors.ts";
import { type Checkpoint, CHECKPOINT_FILES } from "../checkpoint/checkpoint.ts";
import type { WeightReader } from "../checkpoint/weights.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import type { ModelPlan } from "../model/shape.ts";

/** Where the rows of lookups are: lookup k is row `positions[k]` of the table. Valid until the next call. */
export interface RowPositions {
  readonly table: Buffer;
  readonly positions: Buffer;
}

export interface LookedUpRows extends Disposable {
  /** The rows of these global row numbers. */
  take(rows: Uint32Array): RowPositions;
}

/** All rows, which the checkpoint loads into `matrix`. */
export class RowsInMemory implements LookedUpRows {
  readonly matrix: RowMatrix;
  readonly #host: HostBackend;
  #positions: Buffer;

  constructor(host: HostBackend, { rows, shape: { dim } }: ModelPlan, lookups: number) {
    this.#host = host;
    const weights = host.allocateTable(rows * dim, "the embedding tables");
    this.matrix = { backend: host, rows, weights, state: undefined };
    this.#positions = host.allocate(lookups, "indices");
  }

  take(rows: Uint32Array): RowPositions {
    if (rows.length > this.#positions.words) this.#positions = this.#host.allocate(2 * rows.length, "indices");
    this.#host.upload(rows, this.#positions);
    return { table: this.matrix.weights, positions: this.#positions };
  }

  [Symbol.dispose](): void {}
}

/** Tag of an empty place in the cache; no row has this number. */
const EMPTY = 0xffffffff;

/**
 * Rows that are read from a checkpoint when they are looked up. Each row has one place in a cache; a row that is read
 * replaces the one that was there. The system's page cache is behind it.
 */
export class RowsOnDisk implements LookedUpRows {
  readonly #host: HostBackend;
  readonly #reader: WeightReader;
  readonly #dim: number;
  /** Row in each place of the cache. */
  readonly #tags: Uint32Array;
  readonly #cache: Float32Array;
  /** The rows of the present lookups, one after the other. */
  #table: Buffer;
  #positions: Buffer;

  /** `bytes` is the size of the cache. Throws HotsetError if the checkpoint cannot be read or was replaced. */
  constructor(
    host: HostBackend,
    { rows, shape: { dim } }: ModelPlan,
    lookups: number,
    checkpoint: Checkpoint,
    bytes: number,
  ) {
    if (!(Number.isSafeInteger(bytes) && bytes > 0)) {
      throw new UsageError(`Cannot keep rows in ${bytes} bytes of memory: rowMemory must be a whole number above 0`);
    }
    const places = Math.max(1, Math.min(rows, Math.floor(bytes / (4 * dim + 4))));
    this.#host = host;
    this.#dim = dim;
    this.#tags = new Uint32Array(places).fill(EMPTY);
    this.#cache = new Float32Array(places * dim);
    [this.#table, this.#positions] = this.#allocate(lookups);
    this.#reader = checkpoint.reader(CHECKPOINT_FILES.rows);
    try {
      checkpoint.expectInPlace(); // its rows are read one by one, without their checksum
    } catch (error) {
      this.#reader[Symbol.dispose]();
      throw error;
    }
  }

  #allocate(lookups: number): [table: Buffer, positions: Buffer] {
    const table = this.#host.allocate(lookups * this.#dim, "rows from disk");
    const positions = this.#host.allocate(lookups, "indices");
    this.#host.upload(Uint32Array.from({ length: lookups }, (_, k) => k), positions);
    return [table, positions];
  }

  take(rows: Uint32Array): RowPositions {
    if (rows.length > this.#positions.words) [this.#table, this.#positions] = this.#allocate(2 * rows.length);
    const target = this.#host.floats(this.#table);
    const dim = this.#dim;
    for (let k = 0, to = 0; k < rows.length; k++) {
      const from = this.#placeOf(rows[k]) * dim;
      for (let d = 0; d < dim; d++) target[to++] = this.#cache[from + d];
    }
    return { table: this.#table, positions: this.#positions };
  }

  /** The place of a row in the cache, where it then is. Neighbouring rows have different places. */
  #placeOf(row: number): number {
    const place = row % this.#tags.length;
    if (this.#tags[place] === row) return place;
    this.#tags[place] = EMPTY; // in case the read fails
    this.#reader.read(row * this.#dim, this.#cache.subarray(place * this.#dim, (place + 1) * this.#dim));
    this.#tags[place] = row;
    return place;
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
