/**
 * Sessions as rows: a row holds the user, and the lists of the items and of their categories, the candidate last. Such rows
 * are encoded like any others, with two bags, and then become steps.
 */
import { HotsetError } from "../errors.ts";
import type { Dataset, Lookups } from "./dataset.ts";
import { linkOrCopy } from "../storage/links.ts";
import { SessionWriter, STEPS, stepTimes, TABLES } from "./session_writer.ts";

/** Samples that are read at a time. */
const CHUNK_SAMPLES = 1024;

/** Encoded rows become steps in memory that is reused. */
export class SessionRows {
  readonly #firstRows: ArrayLike<number>;
  #indices = new Uint32Array(0);
  #dense = new Float32Array(0);
  #offsets = new Uint32Array(0);

  /** `firstRows` are the first global rows of the tables. */
  constructor(firstRows: ArrayLike<number>) {
    this.#firstRows = firstRows;
  }

  /**
   * The steps of rows with bags: the last 21 items of a row, after steps without an item where it has fewer; each step has
   * the user. The arrays are valid until the next call. Throws HotsetError if a row has no candidate, or not a category for
   * each item; the message numbers rows from `first`.
   */
  fold({ count, indices, offsets }: Lookups, first: number): Required<Lookups> & { dense: Float32Array } {
    this.#grow(count);
    for (let row = 0; row < count; row++) {
      const [user, items, categories, end] = offsets!.subarray(row * TABLES, row * TABLES + TABLES + 1);
      const length = categories - items;
      if (length === 0 || end - categories !== length) {
        const reason = length === 0
          ? "it has no item, and the last one is the candidate"
          : `it has ${length} items and ${end - categories} categories, where each item needs one`;
        throw new HotsetError(`Cannot score row ${first + row} (from 0): ${reason}`, { code: "bad-row" });
      }
      for (let step = 0, at = row * STEPS * TABLES; step < STEPS; step++) {
        const item = length - STEPS + step;
        this.#indices[at++] = indices[user];
        this.#indices[at++] = item < 0 ? this.#firstRows[1] : indices[items + item];
        this.#indices[at++] = item < 0 ? this.#firstRows[2] : indices[categories + item];
      }
    }
    return {
      count,
      indices: this.#indices.subarray(0, count * STEPS * TABLES),
      dense: this.#dense.subarray(0, count * STEPS),
      offsets: this.#offsets.subarray(0, count * STEPS * TABLES + 1),
    };
  }

  #grow(count: number): void {
    if (this.#indices.length >= count * STEPS * TABLES) return;
    this.#indices = new Uint32Array(count * STEPS * TABLES);
    this.#dense = stepTimes(count);
    this.#offsets = Uint32Array.from({ length: count * STEPS * TABLES + 1 }, (_, i) => i);
  }
}

/** Writes a dataset of sessions from the test split of one whose samples are rows of sessions. Throws HotsetError. */
export async function sessionsFrom(encoded: Dataset, out: string): Promise<Dataset> {
  const { body: { source, tables, skippedRows, read }, firstRows, rows, dictionaryPath } = encoded;
  const samples = encoded.samples("test");
  using writer = new SessionWriter(out, rows);
  const folded = new SessionRows(firstRows);
  if (samples > 0) {
    using reader = encoded.reader("test", Math.min(CHUNK_SAMPLES, samples));
    for (let first = 0; first < samples; first += CHUNK_SAMPLES) {
      const chunk = reader.read(first, Math.min(CHUNK_SAMPLES, samples - first));
      const { indices } = folded.fold(chunk, first);
      const size = STEPS * TABLES;
      chunk.labels.forEach((label, i) => writer.add("test", label, indices.subarray(i * size, (i + 1) * size)));
    }
  }
  const body = { source, tables, skippedRows, read, generated: null };
  return await writer.commit(body, (path) => Promise.resolve(linkOrCopy(dictionaryPath!, path)));
}
