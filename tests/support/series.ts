/** How much of a long series of cases a test runs. */

/** Cases in the default suite, under `deno task test:all`, and under `deno task evidence`. */
export interface SeriesLengths {
  readonly test: number;
  readonly all: number;
  readonly evidence: number;
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
