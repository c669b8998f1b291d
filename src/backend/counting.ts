/** A backend that records allocations and computes nothing. `plan` runs the allocating code of training on it. */
import type { Buffer, Download, HostBackend } from "./backend.ts";

function computesNothing(): never {
  throw new Error("a backend that counts computes nothing");
}

/** Adds up bytes by the labels of allocations. Can stand for a host or a device. */
export class CountingBackend implements HostBackend {
  readonly name = "counting";
  readonly blas = null;
  /** Bytes allocated so far, by label, in the order of each label's first allocation. */
  readonly bytes = new Map<string, number>();
  /** Memory of all views; its content is never used. */
  #block = new ArrayBuffer(0);

  allocate(words: number, label: string): Buffer {
    this.bytes.set(label, (this.bytes.get(label) ?? 0) + 4 * words);
    return { words };
  }

  allocateTable(words: number, label: string): Buffer {
    return this.allocate(words, label);
  }

  view(_buffer: Buffer, _first: number, words: number): Buffer {
    return { words };
  }

  floats({ words }: Buffer): Float32Array {
    if (4 * words > this.#block.byteLength) this.#block = new ArrayBuffer(4 * words);
    return new Float32Array(this.#block, 0, words);
  }

  newDownload(words: number): Download {
    this.allocate(words, "rows to move");
    return { begin: computesNothing, wait: computesNothing };
  }

  upload(): void {}
  synchronize(): void {}
  [Symbol.dispose](): void {}

  readonly download = computesNothing;
  readonly repeatable = computesNothing;
  readonly linear = computesNothing;
  readonly linearBackward = computesNothing;
  readonly columnSums = computesNothing;
  readonly pool = computesNothing;
  readonly interact = computesNothing;
  readonly interactBackward = computesNothing;
  readonly loss = computesNothing;
  readonly updateRows = computesNothing;
  readonly updateDense = computesNothing;
  readonly packRows = computesNothing;
  readonly unpackRows = computesNothing;
  readonly wrap = computesNothing;
  readonly share = computesNothing;
  readonly attach = computesNothing;
  readonly add = computesNothing;
  readonly multiplyAdd = computesNothing;
  readonly multiplyAddBackward = computesNothing;
  readonly scale = computesNothing;
  readonly squares = computesNothing;
  readonly rowSquares = computesNothing;
}
