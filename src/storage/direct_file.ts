/**
 * Files written without the page cache (O_DIRECT), where the system and the file system support it. A copy into the
 * page cache costs as much processor time as everything else that a checkpoint needs, on a virtual machine at times
 * several times that, and it evicts pages that training reads.
 */
import { closeSync, constants, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import type { OutputFile } from "./output_file.ts";

/** Addresses, lengths and positions must be multiples of this. */
const ALIGNMENT = 4096;
/** Bytes that do not begin or end at such a multiple are collected in a block of this size. */
const BLOCK_BYTES = 1 << 20;
const PAGE_BYTES = 65536;
/** Memory allocated by `alignedBytes`. */
const aligned = new WeakSet<ArrayBufferLike>();

/** New memory at an address that direct I/O accepts. */
export function alignedBytes(bytes: number): Uint8Array<ArrayBuffer> {
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  // The memory of a WASM module begins at a page; that of an array need not.
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer as ArrayBuffer;
  aligned.add(memory);
  return new Uint8Array(memory, 0, bytes);
}

/** Opens a new file for sequential writing. Throws the errors of Deno and node:fs. */
export function createFile(path: string): OutputFile {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  if (constants.O_DIRECT !== undefined) {
    try {
      return new DirectFile(path, openSync(path, flags | constants.O_DIRECT));
    } catch (error) {
      // The file system has no O_DIRECT, for example tmpfs.
      if ((error as { code?: string }).code !== "EINVAL") throw error;
      rmSync(path, { force: true });
    }
  }
  return Deno.openSync(path, { write: true, createNew: true });
}

/** A file written without the page cache, except its last bytes. */
class DirectFile implements OutputFile {
  readonly #path: string;
  readonly #file: number;
  readonly #block = alignedBytes(BLOCK_BYTES);
  #gathered = 0;
  #written = 0;

  constructor(path: string, file: number) {
    this.#path = path;
    this.#file = file;
  }

  writeSync(bytes: Uint8Array): number {
    if (this.#gathered === 0 && bytes.byteOffset % ALIGNMENT === 0 && aligned.has(bytes.buffer)) {
      const whole = bytes.length - bytes.length % ALIGNMENT;
      if (whole > 0) return this.#write(this.#file, bytes.subarray(0, whole));
    }
    const part = bytes.subarray(0, this.#block.length - this.#gathered);
    this.#block.set(part, this.#gathered);
    this.#gathered += part.length;
    if (this.#gathered === this.#block.length) this.#writeGathered(this.#file, this.#gathered);
    return part.length;
  }

  #writeGathered(file: number, end: number): void {
    for (let done = 0; done < end;) done += this.#write(file, this.#block.subarray(done, end));
    this.#block.copyWithin(0, end, this.#gathered);
    this.#gathered -= end;
  }

  #write(file: number, bytes: Uint8Array): number {
    const count = writeSync(file, bytes, 0, bytes.length, this.#written);
    this.#written += count;
    return count;
  }

  syncDataSync(): void {
    this.#writeGathered(this.#file, this.#gathered - this.#gathered % ALIGNMENT);
    if (this.#gathered > 0) {
      // The rest is not a whole number of blocks, so nothing can be appended after a sync.
      const rest = openSync(this.#path, constants.O_WRONLY);
      try {
        this.#writeGathered(rest, this.#gathered);
        fdatasyncSync(rest);
      } finally {
        closeSync(rest);
      }
    }
    fdatasyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }
}
