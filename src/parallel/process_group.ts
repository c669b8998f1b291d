/**
 * Groups of ranks, with names and semantics of torch.distributed. Implemented by threads (threads.ts), processes
 * (mpi.ts) and GPUs (nccl.ts).
 *
 * There is one failure protocol. Work that may fail runs in `together`: at its end all ranks learn whether it failed on
 * any rank, and throw. After any other error, other ranks may be waiting for this one: it calls `abort`, which ends
 * their waits. `failure` distinguishes the two.
 */
import { breaks } from "../breaks.ts";
import { HotsetError } from "../errors.ts";

/** Words or bytes in host memory, which may be shared. */
export type HostVector = Float32Array | Uint32Array | Int32Array | Uint8Array;

/** How a vector is divided among ranks: the number and the position of each rank's elements. */
export interface RankParts {
  /** Number of elements, by rank. */
  readonly counts: Int32Array;
  /** Position of the first element, by rank. */
  readonly firsts: Int32Array;
}

/** A pending operation. Its memory may be reused after `wait`. */
export interface Work {
  /** Returns when the operation is complete. */
  wait(): void;
}

/**
 * One rank's side of a group. All ranks call the same methods in the same order. Vectors are in host memory, or of type
 * `V`, which an implementation may carry differently (on devices).
 */
export interface ProcessGroup<V = never> {
  /** Rank of the caller, from 0 to `size - 1`. Rank 0 writes what exists once. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Rank among those of the same machine, from 0 to `localSize - 1`. */
  readonly localRank: number;
  /** Number of ranks on this machine, which share its cores and memory. */
  readonly localSize: number;
  /** True if the ranks of a machine share memory. */
  readonly sharesMemory: boolean;
  /** The error that `agree` threw, which all ranks know of. */
  readonly failure: unknown;
  /** Returns when all ranks have called it; what they wrote to shared memory before is then visible. */
  barrier(): void;
  /** Replaces the vector by the sum of all ranks' vectors, added in a fixed order: the same bits on all ranks. */
  allReduce(vector: Float32Array | Uint32Array | V): void;
  /** Copies every rank's `own` to its part of `all`. */
  allGather<W extends HostVector | V>(own: W, all: W, parts: RankParts): void;
  /** Begins an all-to-all: part r of `source` is sent to rank r, and part r of `target` is received from it. */
  allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work;
  /** Returns the value of rank 0. Values are plain data. */
  broadcast<T>(value: T): T;
  /** Returns the values of all ranks, by rank. Values are plain data. */
  gather<T>(value: T): T[];
  /**
   * Returns when all ranks have called it. If any passed an error, throws: that error on its rank, PeerFailed on the
   * others.
   */
  agree(error?: unknown): void;
  /** Ends all waits in the group, after an error that other ranks do not know of. */
  abort(error: unknown): void;
}

/** The groups that a rank of a training run belongs to. */
export interface ProcessGroups<V = never> {
  /** All ranks of the run. */
  readonly world: ProcessGroup;
  /** The ranks that share host memory with this one. */
  readonly node: ProcessGroup;
  /** The ranks with the same rank within their nodes, one of each node. */
  readonly peers: ProcessGroup;
  /** All ranks, if each has a device: carries vectors between devices. Undefined if hosts compute. */
  readonly devices: ProcessGroup<V> | undefined;
}

/** Another rank failed and reports the reason. */
export class PeerFailed extends HotsetError {
  /** Name of the class. */
  override name = "PeerFailed";
}

/** Consecutive parts of these sizes. */
export function consecutive(counts: ArrayLike<number>): RankParts {
  const parts = { counts: new Int32Array(counts.length), firsts: new Int32Array(counts.length) };
  setParts(parts, counts);
  return parts;
}

/** Sets consecutive parts of these numbers of rows with `width` elements each. */
export function setParts({ counts, firsts }: RankParts, rows: ArrayLike<number>, width = 1): void {
  for (let r = 0, first = 0; r < rows.length; r++) {
    counts[r] = rows[r] * width;
    firsts[r] = first;
    first += counts[r];
  }
}

/** All-gather of a vector of which every rank has its part. */
export function gatherParts(group: ProcessGroup, vector: Float32Array, parts: RankParts): void {
  const first = parts.firsts[group.rank];
  group.allGather(vector.slice(first, first + parts.counts[group.rank]), vector, parts);
}

/** Runs work on every rank and returns when all are done. Throws on all ranks if it fails on one. */
export function together<T>(group: ProcessGroup, work: () => T): T {
  let result: T | undefined;
  let error: unknown;
  try {
    result = work();
  } catch (thrown) {
    error = thrown ?? new Error("failed");
  }
  group.agree(error);
  return result as T;
}

/** The same for asynchronous work. */
export async function togetherAsync<T>(group: ProcessGroup, work: () => Promise<T>): Promise<T> {
  if (breaks.due) await breaks.take();
  const outcome = await work().then((result) => () => result, (error) => (): T => {
    throw error;
  });
  return together(group, outcome);
}

/**
 * Runs work that creates files, or finds them: first on rank 0, then on the first rank of every machine, which creates
 * its own if machines share no disk, then on the others. Throws on all ranks if it fails on one.
 */
export async function inTurn<T>(group: ProcessGroup, work: () => T | Promise<T>): Promise<T> {
  const mine = group.rank === 0 ? 0 : group.localRank === 0 ? 1 : 2;
  let done: { result: T } | undefined;
  for (let turn = 0; turn < 3; turn++) {
    await togetherAsync(group, async () => {
      if (turn === mine) done = { result: await work() };
    });
  }
  return done!.result;
}

/** Throws on all ranks unless all have the same value, which joint work requires. */
export function expectSame(group: ProcessGroup, doing: string, what: string, value: string | null): void {
  if (group.gather(value).every((other) => other === value)) return;
  group.agree(new HotsetError(`Cannot ${doing}: ${what} differs between ranks`));
}

/** The consecutive share of `count` items that belongs to this rank: from `first` to below `end`. */
export function ownPart(
  { rank, size }: Pick<ProcessGroup, "rank" | "size">,
  count: number,
): { first: number; end: number } {
  return { first: Math.floor(count * rank / size), end: Math.floor(count * (rank + 1) / size) };
}
