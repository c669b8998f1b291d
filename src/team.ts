/** Processes that make an artifact together: each does a part of the work, and in between they meet. */
import { HotsetError } from "./errors.ts";

/** One process's place in a team. All ranks call the same in the same order. */
export interface Team {
  /** This process, from 0 to `ranks - 1`. The first one writes what exists once. */
  readonly rank: number;
  /** Processes. */
  readonly ranks: number;
  /** Those of them on this machine, which divide its cores and memory. */
  readonly locals: number;
  /** This process among those of its machine, from 0 to `locals - 1`. */
  readonly local: number;
  /** What every rank gives, plain data, by rank. */
  gather<T>(value: T): T[];
  /** Adds up in place what all ranks have counted. */
  sum(counts: Uint32Array): void;
  /** Returns when all ranks have called it. Throws if any has an error: the first of those its error, all others PeerFailed. */
  agree(error?: unknown): void;
}

/** Another rank failed and says why; this one has nothing to add. */
export class PeerFailed extends HotsetError {
  /** Name of the class. */
  override name = "PeerFailed";
}

/** A team of one. */
export const ALONE: Team = {
  rank: 0,
  ranks: 1,
  locals: 1,
  local: 0,
  gather: (value) => [value],
  sum: () => {},
  agree(error) {
    if (error !== undefined) throw error;
  },
};

/** Does work on every rank and returns when all have done theirs. Throws on all ranks if it fails on one. */
export function together<T>(team: Team, work: () => T): T {
  let result: T | undefined;
  let error: unknown;
  try {
    result = work();
  } catch (thrown) {
    error = thrown ?? new Error("failed");
  }
  team.agree(error);
  return result as T;
}

/** The same for work that takes turns with other work. */
export async function togetherAsync<T>(team: Team, work: () => Promise<T>): Promise<T> {
  const outcome = await work().then((result) => () => result, (error) => (): T => {
    throw error;
  });
  return together(team, outcome);
}

/** Throws on all ranks unless they have the same value: they could not make one thing together. */
export function expectSame(team: Team, doing: string, what: string, value: string | null): void {
  if (team.gather(value).every((other) => other === value)) return;
  team.agree(new HotsetError(`Cannot ${doing}: ${what} is not the same on all ranks`));
}

/** Which of `count` things, one after the other, are this rank's: from `first` to below `end`. */
export function shareOf({ rank, ranks }: Team, count: number): { first: number; end: number } {
  return { first: Math.floor(count * rank / ranks), end: Math.floor(count * (rank + 1) / ranks) };
}
