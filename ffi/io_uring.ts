/**
 * io_uring of Linux: many concurrent reads and writes from one thread. Requests are written to memory shared with the
 * kernel; one system call submits all of them.
 */
import { declare } from "./declare.ts";
import { openLibc } from "./libc.ts";
import { LibraryError } from "./library.ts";
import { addressOf } from "./pointer.ts";
import { SystemCalls } from "./syscall.ts";

const symbols = declare({
  mmap: ["pointer", "pointer addr", "usize length", "i32 prot", "i32 flags", "i32 fd", "i64 offset"],
  munmap: ["i32", "pointer addr", "usize length"],
});

/** Numbers of system calls, the same on all architectures. */
const SETUP = 425n, ENTER = 426n, REGISTER = 427n;
const OFFSET_RINGS = 0n, OFFSET_REQUESTS = 0x10000000n;
const FEATURE_SINGLE_MAP = 1;
const REGISTER_BUFFERS = 0n;
const ENTER_GETEVENTS = 1n;
const PROT_READ_WRITE = 3, MAP_SHARED_POPULATE = 0x8001;
const EINTR = 4, EAGAIN = 11, EBUSY = 16;
const Operation = { readFixed: 4, writeFixed: 5, read: 22, write: 23 } as const;
/** Size of `struct io_uring_params` in words; below, the members that are read. */
const PARAMS_WORDS = 30;
const Param = { entries: 0, completions: 1, features: 5, submit: 10, complete: 20 } as const;
/** Words of a ring's offsets in the parameters. */
const Offset = { head: 0, tail: 1, mask: 2, array: 6, completions: 5 } as const;
/** Words of a request and of a completion. */
const REQUEST_WORDS = 16, COMPLETION_WORDS = 4;
/** Requests are submitted when this number is pending, so that the disk works while more are written. */
const HAND_OVER = 32;
const MAP_FAILED = 0xffffffffffffffffn;

type Libc = Deno.StaticForeignLibraryInterface<typeof symbols>;

/** A ring for transfers between files and one memory range. */
export class IoUring implements Disposable {
  /** Name for messages. */
  readonly name: string;
  /** Maximum number of concurrent transfers. */
  readonly depth: number;
  readonly #system: SystemCalls;
  readonly #libc: Libc;
  readonly #fd: bigint;
  readonly #maps: readonly { readonly at: Deno.PointerValue; readonly bytes: bigint }[];
  readonly #fixed: boolean;
  /** Address of the memory range. */
  readonly #base: number;
  readonly #memory: Uint8Array;
  readonly #rings: Int32Array;
  readonly #requests: Int32Array;
  /** Words of the rings. */
  readonly #submitTail: number;
  readonly #submitMask: number;
  readonly #submitArray: number;
  readonly #completeHead: number;
  readonly #completeTail: number;
  readonly #completeMask: number;
  readonly #completions: number;
  #waiting = 0;
  #underWay = 0;
  /** Result of the transfer that `finish` returned: a number of bytes, or a negative error number. */
  result = 0;

  /**
   * Creates a ring for `depth` transfers to and from `memory`, which must not move. Throws LibraryError if the system
   * does not support or permit io_uring.
   */
  constructor(depth: number, memory: Uint8Array) {
    this.#system = new SystemCalls("io_uring");
    this.#libc = openLibc(symbols);
    this.depth = depth;
    const params = new Uint32Array(PARAMS_WORDS);
    const fd = this.#system.call(SETUP, BigInt(depth), addressOf(params));
    if (fd < 0) throw new LibraryError(`Cannot use io_uring: error ${-fd}`, []);
    this.#fd = BigInt(fd);
    const [submit, complete] = [params.subarray(Param.submit), params.subarray(Param.complete)];
    const ringBytes = Math.max(
      submit[Offset.array] + 4 * params[Param.entries],
      complete[Offset.completions] + 4 * COMPLETION_WORDS * params[Param.completions],
    );
    const requestBytes = 4 * REQUEST_WORDS * params[Param.entries];
    const maps: { at: Deno.PointerValue; bytes: bigint }[] = [];
    this.#maps = maps;
    const map = (bytes: number, offset: bigint): Int32Array => {
      const at = this.#libc.mmap(null, BigInt(bytes), PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, offset);
      if (at === null || Deno.UnsafePointer.value(at) === MAP_FAILED) {
        this[Symbol.dispose]();
        throw new LibraryError("Cannot use io_uring: its rings cannot be mapped", []);
      }
      maps.push({ at, bytes: BigInt(bytes) });
      return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(at, bytes));
    };
    if ((params[Param.features] & FEATURE_SINGLE_MAP) === 0) {
      this[Symbol.dispose]();
      throw new LibraryError("Cannot use io_uring: it needs Linux 5.4 or newer", []);
    }
    this.#rings = map(ringBytes, OFFSET_RINGS);
    this.#requests = map(requestBytes, OFFSET_REQUESTS);
    this.#submitTail = submit[Offset.tail] / 4;
    this.#submitMask = this.#rings[submit[Offset.mask] / 4];
    this.#submitArray = submit[Offset.array] / 4;
    this.#completeHead = complete[Offset.head] / 4;
    this.#completeTail = complete[Offset.tail] / 4;
    this.#completeMask = this.#rings[complete[Offset.mask] / 4];
    this.#completions = complete[Offset.completions] / 4;
    this.#memory = memory;
    const address = addressOf(memory);
    this.#base = Number(address);
    // Registered pages need no lookup for each transfer. Registration may exceed the system's limit and is optional.
    const vector = new BigUint64Array([address, BigInt(memory.length)]);
    this.#fixed = this.#system.call(REGISTER, this.#fd, REGISTER_BUFFERS, addressOf(vector), 1n) === 0;
    this.name = `io_uring, ${depth} at a time${this.#fixed ? "" : ", buffers not registered"}`;
  }

  /**
   * Begins to read or write `length` bytes of a file at `position`, to or from offset `at` of the memory. `tag`
   * identifies the transfer. At most `depth` transfers may be pending.
   */
  begin(write: boolean, fd: number, position: number, at: number, length: number, tag: number): void {
    if (this.#underWay === this.depth) throw new RangeError("Cannot begin a transfer: too many are under way");
    if (at + length > this.#memory.length) throw new RangeError("Cannot begin a transfer outside of its memory");
    const tail = Atomics.load(this.#rings, this.#submitTail);
    const index = tail & this.#submitMask;
    const request = this.#requests;
    const first = REQUEST_WORDS * index;
    const address = this.#base + at;
    request.fill(0, first, first + REQUEST_WORDS);
    request[first] = this.#fixed
      ? (write ? Operation.writeFixed : Operation.readFixed)
      : (write ? Operation.write : Operation.read);
    request[first + 1] = fd;
    request[first + 2] = position;
    request[first + 3] = Math.floor(position / 2 ** 32);
    request[first + 4] = address;
    request[first + 5] = Math.floor(address / 2 ** 32);
    request[first + 6] = length;
    request[first + 8] = tag;
    this.#rings[this.#submitArray + index] = index;
    Atomics.store(this.#rings, this.#submitTail, tail + 1);
    this.#underWay++;
    if (++this.#waiting >= HAND_OVER) this.#enter(0n);
  }

  /** Waits for any pending transfer and returns its tag; its result is in `result`. */
  finish(): number {
    if (this.#underWay === 0) throw new RangeError("Cannot finish a transfer: none is under way");
    const head = this.#rings[this.#completeHead];
    while (Atomics.load(this.#rings, this.#completeTail) === head) this.#enter(1n);
    const at = this.#completions + COMPLETION_WORDS * (head & this.#completeMask);
    const tag = this.#rings[at];
    this.result = this.#rings[at + 2];
    Atomics.store(this.#rings, this.#completeHead, head + 1);
    this.#underWay--;
    return tag;
  }

  #enter(wait: bigint): void {
    const flags = wait === 0n ? 0n : ENTER_GETEVENTS;
    const taken = this.#system.call(ENTER, this.#fd, BigInt(this.#waiting), wait, flags);
    if (taken >= 0) this.#waiting -= taken;
    // Interrupted or out of memory: pending transfers will free some.
    else if (taken !== -EINTR && taken !== -EAGAIN && taken !== -EBUSY) throw new Error(`io_uring failed: ${-taken}`);
  }

  /** Releases the ring. No transfer may be pending. */
  [Symbol.dispose](): void {
    for (const { at, bytes } of this.#maps) this.#libc.munmap(at, bytes);
    this.#system.call(CLOSE[Deno.build.arch], this.#fd);
  }
}

const CLOSE = { x86_64: 3n, aarch64: 57n } as const;
