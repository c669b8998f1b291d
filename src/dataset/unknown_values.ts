/** Values that are not in a dictionary: their lookups go to row 0 of the table. */
import { breaks } from "../breaks.ts";
import type { Dataset, Split } from "./dataset.ts";

/** Samples that are read at a time, which takes a few milliseconds. */
const CHUNK_SAMPLES = 1 << 12;

/** Share of the lookups with a value that has no row of its own, 0 to 1, by table. */
export type UnknownShare = Readonly<Record<string, number>>;

/**
 * Counts the lookups of a split, without those of the steps that precede the first one of a short session; tables
 * without any have the share 0, and a split without samples has no tables.
 */
export async function unknownShare(dataset: Dataset, split: Split): Promise<UnknownShare> {
  const samples = dataset.samples(split);
  if (samples === 0) return {};
  const { tables, firstRows, bagsOfSample, steps } = dataset;
  const lookups = new Float64Array(tables);
  const unknown = new Float64Array(tables);
  using reader = dataset.reader(split, Math.min(CHUNK_SAMPLES, samples));
  for (let at = 0; at < samples; at += CHUNK_SAMPLES) {
    const { count, indices, offsets } = reader.readLookups(at, Math.min(CHUNK_SAMPLES, samples - at));
    for (let bag = 0, table = 0, k = 0, before = false; bag < count * bagsOfSample; bag++) {
      if (steps > 1 && table === 0) {
        before = (before || bag % bagsOfSample === 0) && hasNoItem(indices.subarray(bag, bag + tables), firstRows);
      }
      const first = firstRows[table];
      const end = offsets === undefined ? bag + 1 : offsets[bag + 1];
      if (before) k = end;
      lookups[table] += end - k;
      for (; k < end; k++) if (indices[k] === first) unknown[table]++;
      if (++table === tables) table = 0;
    }
    if (breaks.due) await breaks.take();
  }
  return Object.fromEntries(
    dataset.body.tables.map(({ name }, t) => [name, lookups[t] === 0 ? 0 : unknown[t] / lookups[t]]),
  );
}

/** True for the rows of a step of sessions, of a user, an item and a category, without an item. */
function hasNoItem([, item, category]: Uint32Array, firstRows: Float64Array): boolean {
  return item === firstRows[1] && category === firstRows[2];
}
