/**
 * Multi-hot lookups as MLPerf makes them from Criteo Terabyte for DLRM-DCNv2 (mlcommons/training, recommendation_v2): a
 * feature has a fixed number of ids, of which the first is that of the log. The others are uniformly random, but the same
 * in every sample with this first id, so that the rows which a popular id brings along are popular too.
 */
import { mix } from "../random.ts";

/** Ids of a sample in C1 to C26, as published: 214. */
// deno-fmt-ignore
export const MULTI_HOT_SIZES: readonly number[] = [
  3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1,
];

/** Id `place` of the ids of a sample in a table of `rows` rows, whose first id is `id`: that one in place 0. */
export function idOf(seed: number, table: number, rows: number, id: number, place: number): number {
  if (place === 0) return id;
  const bits = mix(mix(mix(mix(seed) ^ ~table) + id) ^ place);
  return Math.floor((bits >>> 0) / 2 ** 32 * rows);
}
