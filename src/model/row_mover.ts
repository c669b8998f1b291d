/** Moves rows between two embedding stores, with their optimizer state: how the hot replica and the full tables sync. */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { stateWordsPerRow } from "../backend/backend.ts";
import type { EmbeddingStore } from "./dlrm.ts";
import type { ModelShape } from "./shape.ts";

/** Rows that move at a time; bounds the staging memory. */
const CHUNK_ROWS = 16_384;

/** Staging memory on one backend: a list of rows, and those rows packed. */
interface Staging {
  readonly backend: Backend;
  readonly rows: Buffer;
  readonly packed: Buffer;
}

/** Copies chosen rows between stores on the same or on different backends. */
export class RowMover {
  readonly #host: HostBackend;
  readonly #dim: number;
  readonly #stateWords: number;
  readonly #staging = new Map<Backend, Staging>();

  constructor(shape: ModelShape, host: HostBackend) {
    this.#host = host;
    this.#dim = shape.dim;
    this.#stateWords = stateWordsPerRow(shape.optimizer, shape.dim);
  }

  /** Copies row `sourceRows[i]` of `source` over row `targetRows[i]` of `target` for every i; target rows are distinct. */
  move(source: EmbeddingStore, sourceRows: Uint32Array, target: EmbeddingStore, targetRows: Uint32Array): void {
    const from = this.#stagingOf(source.backend);
    const to = this.#stagingOf(target.backend);
    for (let first = 0; first < sourceRows.length; first += CHUNK_ROWS) {
      const end = Math.min(first + CHUNK_ROWS, sourceRows.length);
      const read = sourceRows.subarray(first, end);
      const write = targetRows.subarray(first, end);
      this.#moveMatrix(from, source.weights, read, to, target.weights, write, this.#dim);
      if (source.state !== undefined && target.state !== undefined) {
        this.#moveMatrix(from, source.state, read, to, target.state, write, this.#stateWords);
      }
    }
  }

  #moveMatrix(
    from: Staging,
    source: Buffer,
    read: Uint32Array,
    to: Staging,
    target: Buffer,
    write: Uint32Array,
    dim: number,
  ): void {
    from.backend.upload(read, from.rows);
    from.backend.packRows(read.length, dim, source, from.rows, from.packed);
    if (from.backend !== to.backend) {
      const host = this.#host;
      const words = read.length * dim;
      if (from.backend === host) to.backend.upload(host.floats(from.packed).subarray(0, words), to.packed);
      else from.backend.download(from.packed, host.floats(to.packed).subarray(0, words));
    }
    to.backend.upload(write, to.rows);
    to.backend.unpackRows(write.length, dim, to.packed, to.rows, target);
  }

  #stagingOf(backend: Backend): Staging {
    let staging = this.#staging.get(backend);
    if (staging === undefined) {
      staging = {
        backend,
        rows: backend.allocate(CHUNK_ROWS, "rows to move"),
        packed: backend.allocate(CHUNK_ROWS * this.#dim, "packed rows"),
      };
      this.#staging.set(backend, staging);
    }
    return staging;
  }
}
