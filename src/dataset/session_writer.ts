/** Writes a dataset whose samples are sessions: a user with the items of some steps, of which the last one is the candidate. */
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { measureInParts } from "../storage/file_entry.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, type Split, splitFiles, SPLITS } from "./dataset.ts";
import { DICTIONARY_FILE } from "./dataset_encoding.ts";

/** Steps of a sample: 20 of the history and the candidate. */
export const STEPS = 21;
/** Names of the tables, in their order in a step. */
export const SESSION_TABLES = ["user", "item", "category"] as const;
/** Number of tables. */
export const TABLES = SESSION_TABLES.length;
/** Bytes of a sample on disk. */
export const SAMPLE_BYTES = 1 + 4 * STEPS + 8 * STEPS * TABLES + 8;
/** Samples that are written at a time. */
const BLOCK = 1024;

/** The dense feature `time` of samples: in each of them the number of the step over the number of steps. */
export function stepTimes(samples: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: samples * STEPS }, (_, i) => i % STEPS / STEPS);
}

/** The part of a manifest that the caller knows. */
type SessionBody = Pick<DatasetBody, "source" | "tables" | "skippedRows" | "read" | "generated">;

/** A dataset of sessions that is being written. */
export class SessionWriter implements Disposable {
  readonly #out: string;
  readonly #artifact: ArtifactWriter;
  readonly #splits: Readonly<Record<Split, SplitFiles>>;
  readonly #counts: Uint32Array<ArrayBuffer>;

  /** `rows` is the number of rows of all tables. */
  constructor(out: string, rows: number) {
    this.#out = out;
    this.#artifact = new ArtifactWriter("dataset", out);
    this.#counts = new Uint32Array(rows);
    this.#splits = {
      train: new SplitFiles(this.#artifact, "train", this.#counts),
      validation: new SplitFiles(this.#artifact, "validation"),
      test: new SplitFiles(this.#artifact, "test"),
    };
  }

  /** Adds a sample to a split; `rows` are its global rows, by (step, table). */
  add(split: Split, label: number, rows: Uint32Array): void {
    this.#splits[split].add(label, rows);
  }

  /** Number of samples of a split so far. */
  samples(split: Split): number {
    return this.#splits[split].samples;
  }

  /** Completes the dataset; `writeDictionary` writes its dictionary to a path. */
  async commit(body: SessionBody, writeDictionary: (path: string) => Promise<void>): Promise<Dataset> {
    for (const split of SPLITS) this.#splits[split].end();
    await this.#artifact.file(COUNTS_FILE).appendInParts(this.#counts);
    const dictionary = this.#artifact.path(DICTIONARY_FILE);
    await writeDictionary(dictionary);
    this.#artifact.adopt(DICTIONARY_FILE, await measureInParts(dictionary));
    const splits = SPLITS.map((split) => {
      const { samples } = this.#splits[split];
      return [split, { samples, lookups: samples * STEPS * TABLES }] as const;
    });
    const whole: DatasetBody = {
      ...body,
      dense: ["time"],
      bags: true,
      steps: STEPS,
      splits: Object.fromEntries(splits) as DatasetBody["splits"],
    };
    this.#artifact.commit(whole);
    return await Dataset.open(this.#out, "lengths").verified();
  }

  /** Removes what is not complete. */
  [Symbol.dispose](): void {
    this.#artifact[Symbol.dispose]();
  }
}

/** The files of a split, written in blocks of samples. */
class SplitFiles {
  /** Samples so far. */
  samples = 0;
  readonly #writer: ArtifactWriter;
  readonly #files: ReturnType<typeof splitFiles>;
  /** Lookups of each row; undefined if they are not counted. */
  readonly #counts: Uint32Array | undefined;
  readonly #labels = new Uint8Array(BLOCK);
  readonly #indices = new Uint32Array(BLOCK * STEPS * TABLES);
  readonly #dense = stepTimes(BLOCK);
  readonly #lengths = new Uint32Array(BLOCK * STEPS * TABLES).fill(1);
  readonly #firstLookups = new Float64Array(BLOCK);
  #filled = 0;

  constructor(writer: ArtifactWriter, split: Split, counts?: Uint32Array) {
    this.#writer = writer;
    this.#files = splitFiles(split);
    this.#counts = counts;
  }

  add(label: number, rows: Uint32Array): void {
    this.#indices.set(rows, this.#filled * STEPS * TABLES);
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
