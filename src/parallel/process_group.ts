/**
 * Ranks that work together, and how they meet. Names and meanings are those of torch.distributed. Threads (threads.ts),
 * processes (mpi.ts) and GPUs (nccl.ts) implement it.
 *
 * There is one failure protocol. Work that may fail is done by `together`: all ranks learn at its end whether it failed on
 * one, and throw. A rank with any other error leaves others waiting for it: it calls `abort`, which ends their waiting.
 * `failure` tells the two apart.
 */
import { HotsetError } from "../errors.ts";

/** Words or bytes of host memory, which may be shared. */
export type HostVector = Float32Array | Uint32Array | Int32Array | Uint8Array;

/** The part of a vector that belongs to each rank: its elements, and the position of the first. */
export interface Parts {
  /** Elements, by rank. */
  readonly counts: Int32Array;
  /** Position of the first element, by rank. */
  readonly firsts: Int32Array;
}

/** An operation under way. Its memory may be used again after `wait`. */
export interface Work {
  /** Returns when the operation is complete. */
  wait(): void;
}

/**
 * One rank's end of a group. All ranks call the same methods in the same order. Vectors lie in host memory, or are a `V`:
 * where they lie decides what carries them.
 */
export interface ProcessGroup<V = never> {
  /** This rank, from 0 to `size - 1`. The first one writes what exists once. */
  readonly rank: number;
  /** Ranks of the group. */
  readonly size: number;
  /** This rank among those of its machine, from 0 to `localSize - 1`. */
  readonly localRank: number;
  /** Ranks of the group on this machine, which divide its cores and memory. */
  readonly localSize: number;
  /** True if the ranks of a machine see the same memory. */
  readonly sharesMemory: boolean;
  /** The error that `agree` threw; all ranks know of it. */
  readonly failure: unknown;
  /** Returns when all ranks have called it; what they wrote to shared memory before is then visible. */
  barrier(): void;
  /** Replaces the vector by the sum of all ranks' vectors, added in one order: the same bits on all ranks. */
  allReduce(vector: Float32Array | Uint32Array | V): void;
  /** Copies every rank's `own` to its part of `all`. */
  allGather<W extends HostVector | V>(own: W, all: W, parts: Parts): void;
  /** Begins to send part r of `source` to rank r, and to receive from rank r what becomes part r of `target`. */
  allToAll<W extends HostVector>(source: W, sent: Parts, target: W, received: Parts): Work;
  /** The first rank's value, which is plain data. */
  broadcast<T>(value: T): T;
  /** The values of all ranks, by rank, which are plain data. */
  gather<T>(value: T): T[];
  /** Returns when all ranks have called it. Throws if any has an error: on one rank its error, on all others PeerFailed. */
  agree(error?: unknown): void;
  /** Ends the group at once, for a rank that failed where the others do not know: nobody waits for it any more. */
  abort(error: unknown): void;
}

/** The groups that a rank of a training run belongs to. */
export interface ProcessGroups<V = never> {
  /** All ranks of the run. */
  readonly world: ProcessGroup;
  /** The ranks that share this one's host memory. */
  readonly node: ProcessGroup;
  /** The ranks with this one's place in their node, one of each node. */
  readonly peers: ProcessGroup;
  /** All ranks, where each has a device: carries vectors from device to device. Undefined if they compute on hosts. */
  readonly devices: ProcessGroup<V> | undefined;
}

/** Another rank failed and says why; this one has nothing to add. */
export class PeerFailed extends HotsetError {
  /** Name of the class. */
  override name = "PeerFailed";
}

/** Parts of these sizes, one after the other. */
export function consecutive(counts: ArrayLike<number>): Parts {
  const parts = { counts: new Int32Array(counts.length), firsts: new Int32Array(counts.length) };
  setParts(parts, counts);
  return parts;
}

/** Changes parts to these numbers of rows, one after the other; rows have `width` elements. */
export function setParts({ counts, firsts }: Parts, rows: ArrayLike<number>, width = 1): void {
  for (let r = 0, first = 0; r < rows.length; r++) {
    counts[r] = rows[r] * width;
    firsts[r] = first;
    first += counts[r];
  }
}

/** Completes a vector of which every rank has its part. */
export function gatherParts(group: ProcessGroup, vector: Float32Array, parts: Parts): void {
  const first = parts.firsts[group.rank];
  group.allGather(vector.slice(first, first + parts.counts[group.rank]), vector, parts);
}

/** Does work on every rank and returns when all have done theirs. Throws on all ranks if it fails on one. */
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

/** The same for work that takes turns with other work. */
export async function togetherAsync<T>(group: ProcessGroup, work: () => Promise<T>): Promise<T> {
  const outcome = await work().then((result) => () => result, (error) => (): T => {
    throw error;
  });
  return together(group, outcome);
}

/**
 * Work that leaves files, or finds them: done by the first rank, then by the first of every machine, which makes its own
 * where they share no disk, then by the others. Throws on all ranks if it fails on one.
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

/** Throws on all ranks unless they have the same value: they could not make one thing together. */
export function expectSame(group: ProcessGroup, doing: string, what: string, value: string | null): void {
  if (group.gather(value).every((other) => other === value)) return;
  group.agree(new HotsetError(`Cannot ${doing}: ${what} differs between ranks`));
}

/** Which of `count` things, one after the other, are this rank's: from `first` to below `end`. */
export function ownPart({ rank, size }: ProcessGroup, count: number): { first: number; end: number } {
  return { first: Math.floor(count * rank / size), end: Math.floor(count * (rank + 1) / size) };
}
