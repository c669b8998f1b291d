/**
 * The emulated libnccl. Ranks are emulated devices of several threads or processes, which exchange data in pages of
 * shared memory. Sums are in rank order. Errors that would make GPUs hang or compute wrong results are reported: ranks
 * that call different operations, that do not arrive, or that have ended.
 */
import { createSharedPages, mapSharedPages, type SharedPages } from "../ffi/shared_pages.ts";
import { Collectives, type ncclSymbols, UNIQUE_ID_BYTES } from "../ffi/nccl.ts";
import { type DeviceState, refuse } from "./state.ts";
import { EmulationError } from "./memory.ts";
import { type Handles, type Implementation, putInt, putWord } from "./marshal.ts";

type Pointer = Deno.PointerValue;

const VERSION = 22700;
const TEXTS: Record<number, string> = {
  0: "no error",
  1: "unhandled cuda error",
  2: "unhandled system error",
  4: "invalid argument",
  5: "invalid usage",
};
/** Status of a call that breaks the device, or finds it broken. */
export const UNHANDLED = 1;
const SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5;

/** First word of an id, which also identifies the shared pages. */
const MAGIC = 0x484f5453;
const MAX_RANKS = 64;
/** Words that a rank publishes at a time. */
const CHUNK_WORDS = 65_536;
const PAGE_BYTES = 65_536;
/** Number of polls before a waiting rank sleeps, and the duration of each sleep in milliseconds. */
const SPINS = 2_000;
const NAP_MS = 0.1;

/** Word of the first page: 1 + the rank that failed, 0 if none. The words of each rank follow, a cache line apart. */
const ABORTED = 0;
const rankWordsAt = (rank: number) => 16 * (rank + 1);
/**
 * Words of a rank: the size of the group that it joined (0 before), the number of its arrivals, and the operation and
 * its length at even arrivals, then at odd ones. Two copies allow a rank to continue while others still compare the
 * last one.
 */
const RankWord = { joined: 0, arrivals: 1, doing: 2 } as const;
const doingAt = (rank: number, arrival: number) => rankWordsAt(rank) + RankWord.doing + 2 * (arrival % 2);

/** One rank's side of a communicator. */
class Communicator {
  readonly rank: number;
  readonly ranks: number;
  readonly #timeoutMs: number;
  readonly #words: Int32Array;
  /** The chunks that the ranks publish, and their sum. */
  readonly #shown: Float32Array[];
  readonly #sum: Float32Array;

  /** Maps the shared pages of an id. Throws Error if the system refuses. */
  constructor(pages: SharedPages, rank: number, ranks: number, timeoutMs: number) {
    this.rank = rank;
    this.ranks = ranks;
    this.#timeoutMs = timeoutMs;
    const count = sharedBytes(ranks) / PAGE_BYTES;
    const { buffer } = new WebAssembly.Memory({ initial: count, maximum: count, shared: true });
    mapSharedPages(pages, new Uint8Array(buffer));
    this.#words = new Int32Array(buffer, 0, PAGE_BYTES / 4);
    const area = (n: number) => new Float32Array(buffer, PAGE_BYTES + 4 * CHUNK_WORDS * n, CHUNK_WORDS);
    this.#shown = Array.from({ length: ranks }, (_, r) => area(r));
    this.#sum = area(ranks);
  }

  /** Joins the communicator and waits for the other ranks. Throws EmulationError if they have different sizes. */
  join(): void {
    const before = Atomics.compareExchange(this.#words, rankWordsAt(this.rank) + RankWord.joined, 0, this.ranks);
    if (before !== 0) throw new EmulationError(`ncclCommInitRank: rank ${this.rank} has already joined`);
    this.#arrive("ncclCommInitRank", 0, 0);
    for (let r = 0; r < this.ranks; r++) {
      const ranks = this.#words[rankWordsAt(r) + RankWord.joined];
      if (ranks !== this.ranks) {
        throw new EmulationError(
          `ncclCommInitRank: rank ${r} has ${ranks} ranks where rank ${this.rank} has ${this.ranks}`,
        );
      }
    }
  }

  /**
   * Writes the sum of all ranks' `from` to `to`, which may be the same memory. Returns the number of words received.
   */
  allReduce(from: Float32Array, to: Float32Array): number {
    const { rank, ranks } = this;
    let received = 0;
    for (let first = 0; first < from.length; first += CHUNK_WORDS) {
      const words = Math.min(CHUNK_WORDS, from.length - first);
      this.#shown[rank].set(from.subarray(first, first + words));
      this.#arrive("ncclAllReduce", 1, from.length);
      const [begin, end] = [Math.floor(words * rank / ranks), Math.floor(words * (rank + 1) / ranks)];
      for (let i = begin; i < end; i++) {
        let sum = this.#shown[0][i];
        for (let r = 1; r < ranks; r++) sum = Math.fround(sum + this.#shown[r][i]);
        this.#sum[i] = sum;
      }
      this.#arrive("ncclAllReduce", 2, from.length);
      to.set(this.#sum.subarray(0, words), first);
      received += (ranks - 1) * (end - begin) + words - (end - begin);
    }
    return received;
  }

  /** Concatenates the `from` of all ranks in `to`. Returns the number of words received. */
  allGather(from: Float32Array, to: Float32Array): number {
    const { rank, ranks } = this;
    for (let first = 0; first < from.length; first += CHUNK_WORDS) {
      const words = Math.min(CHUNK_WORDS, from.length - first);
      this.#shown[rank].set(from.subarray(first, first + words));
      this.#arrive("ncclAllGather", 3, from.length);
      for (let r = 0; r < ranks; r++) to.set(this.#shown[r].subarray(0, words), r * from.length + first);
      this.#arrive("ncclAllGather", 4, from.length);
    }
    return (ranks - 1) * from.length;
  }

  /** Makes the other ranks' waits fail. */
  abort(): void {
    Atomics.store(this.#words, ABORTED, 1 + this.rank);
  }

  /**
   * Waits until all ranks have arrived at the same operation. Throws EmulationError if one called another operation,
   * has failed or does not arrive.
   */
  #arrive(doing: string, operation: number, count: number): void {
    const words = this.#words;
    const arrival = 1 + Atomics.load(words, rankWordsAt(this.rank) + RankWord.arrivals);
    words.set([operation, count], doingAt(this.rank, arrival));
    Atomics.store(words, rankWordsAt(this.rank) + RankWord.arrivals, arrival);
    for (let r = 0; r < this.ranks; r++) {
      this.#await(r, arrival, doing);
      const [other, otherCount] = words.subarray(doingAt(r, arrival));
      if (other === operation && otherCount === count) continue;
      const its = other === operation ? `the same of ${otherCount}` : "another operation";
      throw new EmulationError(`rank ${this.rank} calls ${doing} of ${count} words, rank ${r} ${its}`);
    }
  }

  #await(r: number, arrival: number, doing: string): void {
    const words = this.#words;
    const begin = performance.now();
    const isThere = () => Atomics.load(words, rankWordsAt(r) + RankWord.arrivals) >= arrival;
    for (let looks = 0; !isThere(); looks++) {
      const aborted = Atomics.load(words, ABORTED);
      // The failed rank may have arrived before it ended.
      if (aborted !== 0 && !isThere()) throw new EmulationError(`${doing}: rank ${aborted - 1} has failed`);
      if (looks < SPINS) continue;
      if (performance.now() - begin > this.#timeoutMs) {
        throw new EmulationError(`${doing}: rank ${r} did not arrive within ${this.#timeoutMs / 1000} s`);
      }
      Atomics.wait(words, ABORTED, 0, NAP_MS);
    }
  }
}

function sharedBytes(ranks: number): number {
  return PAGE_BYTES + 4 * CHUNK_WORDS * (ranks + 1);
}

/** Implements the functions of libnccl. */
export function ncclImplementation(
  device: DeviceState,
  communicators: Handles<Communicator>,
): Implementation<typeof ncclSymbols> {
  const communicatorOf = (handle: Pointer): Communicator => communicators.get(handle) ?? refuse(INVALID_ARGUMENT);

  const floats = (address: bigint, words: bigint, write: boolean, doing: string): Float32Array => {
    const { region, offset } = device.memory.range(Number(address), 4 * Number(words), write, doing);
    if (offset % 4 !== 0) throw new EmulationError(`${doing} has a vector at a misaligned address`);
    return region.f32.subarray(offset / 4, offset / 4 + Number(words));
  };

  /** Queues an exchange, which is counted when it runs. */
  const exchange = (doing: string, stream: Pointer, run: () => number) =>
    device.enqueue(stream, {
      isCopy: false,
      run: () => {
        device.counters.libraryCalls++;
        device.counters.bytesFromRanks += 4 * run();
      },
    }, doing);

  return {
    ncclGetVersion: (version) => putInt(version, VERSION),
    ncclGetErrorString: (code) => device.strings.pointer(TEXTS[code] ?? "unknown result code"),
    ncclGetLastError: (_communicator) => device.strings.pointer(device.fault ?? ""),
    ncclGetUniqueId: (out) => {
      const pages = systemCall(() => createSharedPages(sharedBytes(MAX_RANKS)));
      device.pages.set(pages.file, pages);
      const words = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(out!, UNIQUE_ID_BYTES));
      words.fill(0);
      words.set([MAGIC, pages.process, pages.file]);
    },
    ncclCommInitRank: (out, ranks, id, rank) => {
      const [magic, process, file] = new Int32Array(id.slice().buffer);
      if (magic !== MAGIC || ranks < 1 || rank < 0 || rank >= ranks) refuse(INVALID_ARGUMENT);
      if (ranks > MAX_RANKS) refuse(INVALID_USAGE);
      const communicator = systemCall(() => new Communicator({ process, file }, rank, ranks, device.timeoutMs));
      device.joinedCommunicators.push(communicator);
      communicator.join();
      device.closePages(file); // all ranks have mapped them
      putWord(out, communicators.add(communicator));
    },
    ncclCommDestroy: (handle) => {
      device.drainAll();
      if (!communicators.remove(handle)) refuse(INVALID_ARGUMENT);
    },
    ncclCommAbort: (handle) => {
      communicatorOf(handle).abort();
      communicators.remove(handle);
    },
    ncclAllReduce: (from, to, count, type, operation, handle, stream) => {
      const communicator = communicatorOf(handle);
      if (type !== Collectives.float32 || operation !== Collectives.sum) refuse(INVALID_USAGE);
      const doing = "ncclAllReduce";
      const run = () => communicator.allReduce(floats(from, count, false, doing), floats(to, count, true, doing));
      exchange(doing, stream, run);
    },
    ncclAllGather: (from, to, count, type, handle, stream) => {
      const communicator = communicatorOf(handle);
      if (type !== Collectives.float32) refuse(INVALID_USAGE);
      const doing = "ncclAllGather";
      const all = count * BigInt(communicator.ranks), place = (from - to) / 4n;
      const apart = from + 4n * count <= to || from >= to + 4n * all;
      if (!apart && place !== count * BigInt(communicator.rank)) {
        throw new EmulationError(
          `${doing} sends word ${place} of what it receives: not the place of rank ${communicator.rank}`,
        );
      }
      const run = () => communicator.allGather(floats(from, count, false, doing), floats(to, all, true, doing));
      exchange(doing, stream, run);
    },
  };
}

/** Returns a system error of NCCL if the operating system refuses; the device is not broken by it. */
function systemCall<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof EmulationError) throw error;
    return refuse(SYSTEM_ERROR);
  }
}
