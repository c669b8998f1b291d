/** Moves rows between two embedding stores, with their optimizer state: how the hot replica and the full tables sync. */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { EmbeddingStore } from "./dlrm.ts";
import type { ModelShape } from "./shape.ts";

/** Rows that move at a time; bounds the staging memory. */
const CHUNK_ROWS = 16_384;

/** Staging memory on one backend: lists of rows to read and to write, and those rows packed. */
interface Staging {
  readonly backend: Backend;
  readonly read: Buffer;
  readonly write: Buffer;
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
    this.#stateWords = rowStateWords(shape.optimizer, shape.dim);
  }

  /** Copies row `sourceRows[i]` of `source` over row `targetRows[i]` of `target` for every i; target rows are distinct. */
  move(source: EmbeddingStore, sourceRows: Uint32Array, target: EmbeddingStore, targetRows: Uint32Array): void {
    const from = this.#stagingOf(source.backend);
    const to = this.#stagingOf(target.backend);
    for (let first = 0; first < sourceRows.length; first += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, sourceRows.length - first);
      from.backend.upload(sourceRows.subarray(first, first + count), from.read);
      to.backend.upload(targetRows.subarray(first, first + count), to.write);
      this.#moveMatrix(count, this.#dim, from, source.weights, to, target.weights);
      if (source.state !== undefined && target.state !== undefined) {
        this.#moveMatrix(count, this.#stateWords, from, source.state, to, target.state);
      }
    }
  }

  /** Writes packed rows of host memory, (rows, width), over rows of a matrix. */
  put(packed: Float32Array, width: number, backend: Backend, target: Buffer, rows: Uint32Array): void {
    const to = this.#stagingOf(backend);
    for (let first = 0; first < rows.length; first += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, rows.length - first);
      backend.upload(rows.subarray(first, first + count), to.write);
      backend.upload(packed.subarray(first * width, (first + count) * width), to.packed);
      backend.unpackRows(count, width, to.packed, to.write, target);
    }
  }

  #moveMatrix(count: number, dim: number, from: Staging, source: Buffer, to: Staging, target: Buffer): void {
    const host = this.#host;
    const words = count * dim;
    from.backend.packRows(count, dim, source, from.read, from.packed);
    let { packed } = from;
    if (from.backend !== to.backend) {
      packed = to.packed;
      if (from.backend === host) to.backend.upload(host.floats(from.packed).subarray(0, words), packed);
      else from.backend.download(from.packed, host.floats(packed).subarray(0, words));
    }
    to.backend.unpackRows(count, dim, packed, to.write, target);
  }

  #stagingOf(backend: Backend): Staging {
    let staging = this.#staging.get(backend);
    if (staging === undefined) {
      staging = {
        backend,
        read: backend.allocate(CHUNK_ROWS, "rows to move"),
        write: backend.allocate(CHUNK_ROWS, "rows to move"),
        packed: backend.allocate(CHUNK_ROWS * Math.max(this.#dim, this.#stateWords), "packed rows"),
      };
      this.#staging.set(backend, staging);
    }
    return staging;
  }
}
