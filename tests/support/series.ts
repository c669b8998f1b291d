/** Lengths of long series of cases. */

/** Cases in the default suite, under `deno task test:all`, and under `deno task evidence`. */
export interface SeriesLengths {
  readonly test: number;
  readonly all: number;
  readonly evidence: number;
}

/** Why a test is not part of the default suite, as a suffix for its name; undefined if long series run. */
export const onlyInAll: string | undefined = seriesLength({ test: 1, all: 0, evidence: 0 }) === 1
  ? "HOTSET_SERIES=all runs it, as deno task test:all does"
  : undefined;

/**
 * A test that takes seconds. It runs under `deno task test:all`; elsewhere it is reported as ignored, with the reason.
 */
export function slowTest(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name: onlyInAll === undefined ? name : `${name} (${onlyInAll})`, ignore: onlyInAll !== undefined, fn });
}

/** Cases that start a process each: every `nth` in the default suite, otherwise all. */
export function someOf<T>(cases: readonly T[], nth: number): T[] {
  const step = seriesLength({ test: nth, all: 1, evidence: 1 });
  return cases.filter((_, i) => i % step === 0);
}

/**
 * The number of cases to run: HOTSET_SERIES is `all` or `evidence`, or unset for the default suite. Shorter series are
 * the beginning of longer ones with the same seed, so their faults occur in both.
 */
export function seriesLength(lengths: SeriesLengths): number {
  const chosen = Deno.env.get("HOTSET_SERIES") || "test";
  if (chosen !== "test" && chosen !== "all" && chosen !== "evidence") {
    throw new TypeError(`HOTSET_SERIES is "${chosen}": expected all or evidence`);
  }
  return lengths[chosen];
}
