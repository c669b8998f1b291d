/** How much of a long series of cases a test runs. */

/** Cases in the default suite, under `deno task test:all`, and under `deno task evidence`. */
export interface SeriesLengths {
  readonly test: number;
  readonly all: number;
  readonly evidence: number;
}

/** Why a test is left out of the default suite, to be added to its name; undefined where long series run. */
export const onlyInAll: string | undefined = seriesLength({ test: 1, all: 0, evidence: 0 }) === 1
  ? "HOTSET_SERIES=all runs it, as deno task test:all does"
  : undefined;

/** A test that takes seconds: it runs under `deno task test:all`, and elsewhere it is reported as ignored, with the reason. */
export function slowTest(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name: onlyInAll === undefined ? name : `${name} (${onlyInAll})`, ignore: onlyInAll !== undefined, fn });
}

/** The cases of a list that cost a process each: every `nth` in the default suite, all of them in the others. */
export function someOf<T>(cases: readonly T[], nth: number): T[] {
  const step = seriesLength({ test: nth, all: 1, evidence: 1 });
  return cases.filter((_, i) => i % step === 0);
}

/**
 * The number of cases to run: HOTSET_SERIES is `all` or `evidence`, or unset for the default suite. Each length is a seeded
 * sample that begins like the longer one, so that a fault in a shorter series is one in the longer series too.
 */
export function seriesLength(lengths: SeriesLengths): number {
  const chosen = Deno.env.get("HOTSET_SERIES") || "test";
  if (chosen !== "test" && chosen !== "all" && chosen !== "evidence") {
    throw new TypeError(`HOTSET_SERIES is "${chosen}": expected all or evidence`);
  }
  return lengths[chosen];
}
