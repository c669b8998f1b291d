/** Reads and writes of pages, many at a time if the system supports it. */
import { readSync, writeSync } from "node:fs";
import { LinuxAio } from "../../../ffi/aio.ts";
import { IoUring } from "../../../ffi/io_uring.ts";
import { LibraryError } from "../../../ffi/library.ts";
import { ThreadTransfers } from "./thread_transfers.ts";

/** Transfers between files and one memory. Allocates nothing per transfer. */
export interface Transfers extends Disposable {
  /** Name of the method, for messages. */
  readonly name: string;
  /** Maximum number of pending transfers. */
  readonly depth: number;
  /** Result of the transfer that `finish` returned: bytes, or a negative error number of the system. */
  readonly result: number;
  /**
   * Begins to read or write `length` bytes of a file, to or from offset `at` of the memory; `tag` identifies the
   * transfer.
   */
  begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void;
  /** Waits for one of the pending transfers, and returns its tag. */
  finish(): number;
}

/** Error number for errors without one. */
const EIO = 5;

/** One transfer after the other, if no C library may be called: slower, with the same results. */
export class SerialTransfers implements Transfers {
  readonly name = "one read or write at a time";
  readonly depth = 1;
  result = 0;
  readonly #memory: Uint8Array;
  #tag: number | undefined;

  constructor(memory: Uint8Array) {
    this.#memory = memory;
  }

  begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
    if (this.#tag !== undefined) throw new RangeError("Cannot begin a transfer: one is under way");
    this.#tag = tag;
    try {
      this.result = write
        ? writeSync(fd, this.#memory, at, length, position)
        : readSync(fd, this.#memory, at, length, position);
    } catch (error) {
      const { errno } = error as { errno?: number };
      this.result = typeof errno === "number" && errno !== 0 ? -Math.abs(errno) : -EIO;
    }
  }

  finish(): number {
    const tag = this.#tag;
    if (tag === undefined) throw new RangeError("Cannot finish a transfer: none is under way");
    this.#tag = undefined;
    return tag;
  }

  [Symbol.dispose](): void {}
}

/** Ways to make many transfers at a time, the fastest first. */
const WAYS = [IoUring, LinuxAio, ThreadTransfers];

/** The fastest transfers that this system supports and permits, at most `depth` at a time. */
export function openTransfers(memory: Uint8Array, depth: number): Transfers {
  for (const Way of WAYS) {
    try {
      return new Way(depth, memory);
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
    }
  }
  return new SerialTransfers(memory);
}
