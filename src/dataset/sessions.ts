/**
 * Samples of sessions as the authors of TBSM published them for Taobao: windows of a user's history, each with a candidate
 * at its end, which the user chose (label 1) or which was drawn (label 0).
 */
import { UsageError } from "../errors.ts";
import { Random } from "../random.ts";
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { expectRoom } from "../storage/disk.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, type Split, splitFiles, SPLITS } from "./dataset.ts";

/** Steps of a sample: 20 of the history and the candidate. */
export const STEPS = 21;
/** Items of a history. The last one is the target, which only the test split uses. */
export const HISTORY = 200;
/** Names of the tables, in their order in a step. */
export const SESSION_TABLES = ["user", "item", "category"] as const;
const TABLES = SESSION_TABLES.length;
const LAST = HISTORY - 1;
/** Samples of each label of a user, by the tens of steps that the history is longer than one. */
const MOST_POINTS = 10;
const POINTS = [0, 1, 3, 6];
/** Added to the seed for the validation split. */
const VALIDATION_SEED = 31;
/** Samples that are written at a time. */
const BLOCK = 1024;

/** One user's history, filled in by a source; ids are those of the tables, and item 0 is none. */
export class History {
  user = 0;
  /** Whether the target at the end is the user's choice. */
  label = 0;
  /** Padded on the left with 0. */
  readonly items: Uint32Array = new Uint32Array(HISTORY);
  readonly categories: Uint32Array = new Uint32Array(HISTORY);
  /** Items that the user has not chosen. */
  readonly negativeItems: Uint32Array = new Uint32Array(HISTORY);
  readonly negativeCategories: Uint32Array = new Uint32Array(HISTORY);
}

/** Users with their histories. */
export interface Histories {
  /** Number of users, those of the train split first. */
  readonly users: number;
  /** Rows of each table. */
  readonly rows: readonly number[];
  /** Fills in the history of a user. */
  read(user: number, history: History): void;
}

/** Sizes and source of the samples. */
export interface SessionOptions {
  readonly seed: number;
  /** Samples of each split. */
  readonly samples: Readonly<Record<Split, number>>;
  /**
   * Users of the validation split: those of the train split, with windows that overlap its windows, as published; or
   * others.
   */
  readonly validationUsers: "train" | "other";
  /** Identifies the histories. */
  readonly source: Record<string, unknown>;
  readonly onProgress?: (fraction: number) => void;
}

/** A sample: where its history ends, and the number of its negative, or undefined if its candidate is the next item. */
interface Window {
  readonly end: number;
  readonly negative: number | undefined;
}

/**
 * The windows of a history, as published: `most` at most of each label, those with the label 1 first. The positive ones
 * end in their candidate.
 */
export function windowsOf(history: Pick<History, "items">, random: Random, most: number): Window[] {
  const first = Math.max(0, history.items.findIndex((item) => item > 0));
  const tens = Math.floor((LAST - first) / 10);
  const points = Math.min(POINTS[tens] ?? MOST_POINTS, most);
  const end = (steps: number) => {
    const least = Math.min(first + steps, LAST - 1);
    return least + random.below(LAST - least);
  };
  return [
    ...Array.from({ length: points }, () => ({ end: end(STEPS - 1), negative: undefined })),
    ...Array.from({ length: points }, () => ({ end: end(STEPS - 2), negative: random.below(LAST) })),
  ];
}

/** Writes a dataset of sessions. Throws UsageError if there are too few users for its samples. */
export function writeSessions(out: string, histories: Histories, options: SessionOptions): Dataset {
  const { samples, seed, validationUsers, source, onProgress } = options;
  const total = SPLITS.reduce((sum, split) => sum + samples[split], 0);
  expectRoom(out, total * (1 + 4 * STEPS + 8 * STEPS * TABLES), `write dataset ${out}`);
  using writer = new ArtifactWriter("dataset", out);
  const history = new History();
  let written = 0;
  const counts = new Uint32Array(histories.rows.reduce((sum, rows) => sum + rows, 0));
  /** Writes windows of users from `user` on; returns the next user. */
  const write = (split: Split, most: number, user: number): number => {
    const target = new SampleFiles(writer, split, histories.rows, split === "train" ? counts : undefined);
    for (; target.samples < samples[split]; user++) {
      if (user >= (split === "validation" && validationUsers === "train" ? trained : histories.users)) {
        throw new UsageError(
          `Cannot make ${samples[split]} ${split} samples: the users have ${target.samples}; ask for fewer samples`,
        );
      }
      histories.read(user, history);
      const before = target.samples;
      if (split === "test") target.add(history, { end: LAST, negative: undefined }, history.label);
      else {
        const random = new Random(split === "validation" ? seed + VALIDATION_SEED : seed, user);
        for (const window of windowsOf(history, random, most)) {
          if (target.samples < samples[split]) target.add(history, window, window.negative === undefined ? 1 : 0);
        }
      }
      onProgress?.((written += target.samples - before) / total);
    }
    target.end();
    return user;
  };
  let trained = 0;
  trained = write("train", MOST_POINTS, 0);
  const validated = write("validation", 1, validationUsers === "train" ? 0 : trained);
  write("test", 1, Math.max(trained, validated));
  writer.file(COUNTS_FILE).append(counts);
  const body: DatasetBody = {
    source,
    dense: ["time"],
    tables: SESSION_TABLES.map((name, t) => ({ name, rows: histories.rows[t] })),
    bags: true,
    steps: STEPS,
    splits: {
      train: sizeOf(samples.train),
      validation: sizeOf(samples.validation),
      test: sizeOf(samples.test),
    },
    skippedRows: 0,
    generated: { bestAuc: {} },
  };
  writer.commit(body);
  return Dataset.open(out);
}

function sizeOf(samples: number): { samples: number; lookups: number } {
  return { samples, lookups: samples * STEPS * TABLES };
}

/** The files of a split, written in blocks of samples. */
class SampleFiles {
  /** Samples so far. */
  samples = 0;
  readonly #writer: ArtifactWriter;
  readonly #files: ReturnType<typeof splitFiles>;
  /** Global row of each table's first row. */
  readonly #firstRows: readonly number[];
  /** Lookups of each row; undefined if they are not counted. */
  readonly #counts: Uint32Array | undefined;
  readonly #labels = new Uint8Array(BLOCK);
  readonly #indices = new Uint32Array(BLOCK * STEPS * TABLES);
  readonly #dense = Float32Array.from({ length: BLOCK * STEPS }, (_, i) => i % STEPS / STEPS);
  readonly #lengths = new Uint32Array(BLOCK * STEPS * TABLES).fill(1);
  readonly #firstLookups = new Float64Array(BLOCK);
  #filled = 0;

  constructor(writer: ArtifactWriter, split: Split, rows: readonly number[], counts: Uint32Array | undefined) {
    this.#writer = writer;
    this.#files = splitFiles(split);
    this.#firstRows = [0, rows[0], rows[0] + rows[1]];
    this.#counts = counts;
  }

  /** Adds a window of a history. */
  add(history: History, { end, negative }: Window, label: number): void {
    const [users, items, categories] = this.#firstRows;
    // A window with a negative ends in the step before the candidate.
    const first = negative === undefined ? end - (STEPS - 1) : end - (STEPS - 2);
    let at = this.#filled * STEPS * TABLES;
    for (let step = 0; step < STEPS; step++) {
      const isNegative = negative !== undefined && step === STEPS - 1;
      this.#indices[at++] = users + history.user;
      this.#indices[at++] = items + (isNegative ? history.negativeItems[negative] : history.items[first + step]);
      this.#indices[at++] = categories +
        (isNegative ? history.negativeCategories[negative] : history.categories[first + step]);
    }
    this.#labels[this.#filled] = label;
    this.#firstLookups[this.#filled] = this.samples * STEPS * TABLES;
    this.samples++;
    if (++this.#filled === BLOCK) this.#flush();
  }

  /** Writes the last samples. */
  end(): void {
    this.#flush();
    this.#writer.file(this.#files.firstLookups).append(Float64Array.of(this.samples * STEPS * TABLES));
  }

  #flush(): void {
    const samples = this.#filled;
    const indices = this.#indices.subarray(0, samples * STEPS * TABLES);
    const { labels, dense, indices: rows, bagLengths, firstLookups } = this.#files;
    this.#writer.file(labels).append(this.#labels.subarray(0, samples));
    this.#writer.file(dense).append(this.#dense.subarray(0, samples * STEPS));
    this.#writer.file(rows).append(indices);
    this.#writer.file(bagLengths).append(this.#lengths.subarray(0, indices.length));
    this.#writer.file(firstLookups).append(this.#firstLookups.subarray(0, samples));
    if (this.#counts !== undefined) { for (const row of indices) this.#counts[row]++; }
    this.#filled = 0;
  }
}
