/** Files of 32-bit words that are made piece by piece. */
import { writeAll } from "../storage/output_file.ts";

const PIECE_WORDS = 1 << 16;

/** Buffers words and writes them to a new file. */
export class WordFile implements Disposable {
  readonly #file: Deno.FsFile;
  #words = new Uint32Array(PIECE_WORDS);
  #length = 0;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
  }

  /** Space for the next `count` words, to be filled before the next call. */
  room(count: number): Uint32Array {
    if (this.#length + count > this.#words.length) this.finish();
    if (count > this.#words.length) this.#words = new Uint32Array(2 * count);
    this.#length += count;
    return this.#words.subarray(this.#length - count, this.#length);
  }

  finish(): void {
    const bytes = new Uint8Array(this.#words.buffer, 0, 4 * this.#length);
    writeAll(this.#file, bytes);
    this.#length = 0;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
