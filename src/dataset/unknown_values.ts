/** Values that are not in a dictionary: their lookups go to row 0 of the table. */
import type { Dataset, Split } from "./dataset.ts";

const CHUNK_SAMPLES = 1 << 14;

/** Share of the lookups with a value that has no row of its own, 0 to 1, by table. */
export type UnknownShare = Readonly<Record<string, number>>;

/** Counts the lookups of a split; tables without any have the share 0, and a split without samples has no tables. */
export function unknownShare(dataset: Dataset, split: Split): UnknownShare {
  const samples = dataset.samples(split);
  if (samples === 0) return {};
  const { tables, firstRows } = dataset;
  const lookups = new Float64Array(tables);
  const unknown = new Float64Array(tables);
  using reader = dataset.reader(split, Math.min(CHUNK_SAMPLES, samples));
  for (let at = 0; at < samples; at += CHUNK_SAMPLES) {
    const { count, indices, offsets } = reader.readLookups(at, Math.min(CHUNK_SAMPLES, samples - at));
    for (let bag = 0, table = 0, k = 0; bag < count * tables; bag++) {
      const first = firstRows[table];
      const end = offsets === undefined ? bag + 1 : offsets[bag + 1];
      lookups[table] += end - k;
      for (; k < end; k++) if (indices[k] === first) unknown[table]++;
      if (++table === tables) table = 0;
    }
  }
  return Object.fromEntries(
    dataset.body.tables.map(({ name }, t) => [name, lookups[t] === 0 ? 0 : unknown[t] / lookups[t]]),
  );
}
