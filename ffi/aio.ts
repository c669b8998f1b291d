/**
 * Linux AIO: many reads and writes at a time from one thread, where io_uring is forbidden, as in most containers. Only
 * files opened with O_DIRECT are transferred asynchronously; a transfer of another file is complete when it has begun.
 */
import { LibraryError } from "./library.ts";
import { addressOf } from "./pointer.ts";
import { SystemCalls } from "./syscall.ts";

/** Numbers of the calls. */
const CALLS = {
  x86_64: { setup: 206n, destroy: 207n, getEvents: 208n, submit: 209n },
  aarch64: { setup: 0n, destroy: 1n, getEvents: 4n, submit: 2n },
} as const;
const READ = 0, WRITE = 1;
const EINTR = 4, EAGAIN = 11;
/** Words of `struct iocb` and of `struct io_event`. */
const REQUEST_WORDS = 16, EVENT_WORDS = 8;
/** Requests are submitted when this many wait, so that the disk has work while more are written. */
const SUBMIT_AT = 32;

/** A queue of transfers between files and one piece of memory. */
export class LinuxAio implements Disposable {
  readonly name: string;
  /** Maximum number of pending transfers. */
  readonly depth: number;
  /** Result of the transfer that `finish` returned: bytes, or a negative error number. */
  result = 0;
  readonly #system: SystemCalls;
  readonly #calls = CALLS[Deno.build.arch];
  readonly #context: bigint;
  readonly #memory: Uint8Array;
  /** Address of the memory. */
  readonly #base: number;
  /** Requests that wait to be submitted, and their addresses. The system copies them. */
  readonly #requests = new Int32Array(SUBMIT_AT * REQUEST_WORDS);
  readonly #pointers: BigUint64Array;
  readonly #pointersAddress: bigint;
  #waiting = 0;
  /** Number of requests that the system has. */
  #submitted = 0;
  readonly #events: Int32Array;
  readonly #eventsAddress: bigint;
  /** Ended transfers that `finish` has not returned: a ring of tags and results. */
  readonly #tags: Int32Array;
  readonly #results: Int32Array;
  #ended = 0;
  #returned = 0;
  #begun = 0;

  /**
   * A queue for `depth` transfers to and from `memory`, which must not move. Throws LibraryError where the system has no
   * AIO or forbids it.
   */
  constructor(depth: number, memory: Uint8Array) {
    this.#system = new SystemCalls("Linux AIO");
    this.depth = depth;
    const context = new BigUint64Array(1);
    const status = this.#system.call(this.#calls.setup, BigInt(depth), addressOf(context));
    if (status < 0) throw new LibraryError(`Cannot use Linux AIO: error ${-status}`, []);
    this.#context = context[0];
    this.#memory = memory;
    this.#base = Number(addressOf(memory));
    const requests = addressOf(this.#requests);
    this.#pointers = BigUint64Array.from({ length: SUBMIT_AT }, (_, i) => requests + BigInt(4 * REQUEST_WORDS * i));
    this.#pointersAddress = addressOf(this.#pointers);
    this.#tags = new Int32Array(depth);
    this.#results = new Int32Array(depth);
    this.#events = new Int32Array(depth * EVENT_WORDS);
    this.#eventsAddress = addressOf(this.#events);
    this.name = `Linux AIO, ${depth} at a time`;
  }

  /**
   * Begins to read or write `length` bytes of a file, to or from offset `at` of the memory; `tag` identifies the
   * transfer.
   */
  begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
    if (this.#begun - this.#returned === this.depth) {
      throw new RangeError("Cannot begin a transfer: too many are under way");
    }
    if (at + length > this.#memory.length) throw new RangeError("Cannot begin a transfer outside of its memory");
    if (this.#waiting === SUBMIT_AT) this.#submit();
    const request = this.#requests;
    const first = REQUEST_WORDS * this.#waiting++;
    const address = this.#base + at;
    request.fill(0, first, first + REQUEST_WORDS);
    request[first] = tag;
    request[first + 4] = write ? WRITE : READ;
    request[first + 5] = fd;
    request[first + 6] = address;
    request[first + 7] = Math.floor(address / 2 ** 32);
    request[first + 8] = length;
    request[first + 10] = position;
    request[first + 11] = Math.floor(position / 2 ** 32);
    this.#begun++;
  }

  /** Waits for one of the pending transfers, and returns its tag. */
  finish(): number {
    if (this.#begun === this.#returned) throw new RangeError("Cannot finish a transfer: none is under way");
    if (this.#ended === this.#returned) this.#submit();
    if (this.#ended === this.#returned) this.#wait();
    const at = this.#returned++ % this.depth;
    this.result = this.#results[at];
    return this.#tags[at];
  }

  /** Submits all waiting requests. */
  #submit(): void {
    const { submit } = this.#calls;
    for (let first = 0; first < this.#waiting;) {
      const at = this.#pointersAddress + BigInt(8 * first);
      const taken = this.#system.call(submit, this.#context, BigInt(this.#waiting - first), at);
      if (taken >= 0) {
        this.#submitted += taken;
        first += taken;
      } else if (taken === -EAGAIN && this.#submitted > 0) {
        this.#wait(); // which makes room
      } else if (taken !== -EINTR) {
        this.#end(this.#requests[REQUEST_WORDS * first++], taken); // the system refuses it
      }
    }
    this.#waiting = 0;
  }

  /** Waits until at least one submitted request has ended. */
  #wait(): void {
    const { getEvents } = this.#calls;
    let count = -EINTR;
    while (count === -EINTR) {
      count = this.#system.call(getEvents, this.#context, 1n, BigInt(this.depth), this.#eventsAddress);
    }
    if (count < 0) throw new Error(`Linux AIO failed: ${-count}`);
    for (let event = 0; event < EVENT_WORDS * count; event += EVENT_WORDS) {
      this.#end(this.#events[event], this.#events[event + 4]);
    }
    this.#submitted -= count;
  }

  #end(tag: number, result: number): void {
    const at = this.#ended++ % this.depth;
    this.#tags[at] = tag;
    this.#results[at] = result;
  }

  /** Destroys the queue; nothing may be pending. */
  [Symbol.dispose](): void {
    this.#system.call(this.#calls.destroy, this.#context);
  }
}
