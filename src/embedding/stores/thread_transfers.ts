/** Transfers by threads, each of which makes one at a time: where the system has or permits no asynchronous ones. */
import { openPread } from "../../../ffi/pread.ts";
import { addressOf } from "../../../ffi/pointer.ts";
import { type Work, WorkRing } from "../../threads/work_ring.ts";

/** Threads besides the caller's, which makes transfers itself while it waits. */
const THREADS = 3;
/** Words of a request: 1 to write, the file, the position, the address and the length. */
const REQUEST_WORDS = 5;

/** Makes the transfer of a slot, whose request is among `requests`: its words are the tag, and then the result. */
export function transferring(requests: Float64Array<SharedArrayBuffer>): Work {
  const transfer = openPread();
  return (slot, words) => {
    const at = REQUEST_WORDS * slot;
    words[1] = transfer(requests[at] === 1, requests[at + 1], requests[at + 2], requests[at + 3], requests[at + 4]);
  };
}

/** Transfers between files and one memory, which must not move. */
export class ThreadTransfers implements Disposable {
  /** Name of the method, for messages. */
  readonly name = `${THREADS + 1} threads`;
  /** Maximum number of pending transfers. */
  readonly depth: number;
  /** Result of the transfer that `finish` returned: bytes, or a negative error number. */
  result = 0;
  readonly #memory: Uint8Array;
  readonly #base: number;
  readonly #requests: Float64Array<SharedArrayBuffer>;
  readonly #free: number[];
  readonly #ring: WorkRing;

  /** Throws LibraryError if the C library cannot be called. */
  constructor(depth: number, memory: Uint8Array) {
    this.depth = depth;
    this.#memory = memory;
    const requests = new Float64Array(new SharedArrayBuffer(8 * REQUEST_WORDS * depth));
    this.#requests = requests;
    this.#free = Array.from({ length: depth }, (_, slot) => slot);
    this.#ring = new WorkRing(depth, "reads and writes pages", transferring(requests), {
      module: new URL("./transfer_worker.ts", import.meta.url),
      count: THREADS,
      input: requests,
    });
    this.#base = Number(addressOf(memory));
  }

  /** Begins a transfer of `length` bytes between a file and offset `at` of the memory. */
  begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
    if (at + length > this.#memory.length) throw new RangeError("Cannot begin a transfer outside of its memory");
    const slot = this.#free.pop();
    if (slot === undefined) throw new RangeError("Cannot begin a transfer: too many are under way");
    this.#requests.set([write ? 1 : 0, fd, position, this.#base + at, length], REQUEST_WORDS * slot);
    this.#ring.words(slot)[0] = tag;
    this.#ring.submit(slot);
  }

  /** Waits for the oldest pending transfer, and returns its tag. */
  finish(): number {
    if (this.#ring.waiting === 0) throw new RangeError("Cannot finish a transfer: none is under way");
    const slot = this.#ring.take();
    this.#free.push(slot);
    const [tag, result] = this.#ring.words(slot);
    this.result = result;
    return tag;
  }

  /** Stops the threads; nothing may be pending. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
