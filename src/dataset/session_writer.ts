/** Writes a dataset whose samples are sessions: a user with the items of some steps, of which the last one is the candidate. */
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { measureInParts } from "../storage/file_entry.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, type Split, SPLITS } from "./dataset.ts";
import { DICTIONARY_FILE } from "./dataset_encoding.ts";
import { SplitWriter } from "./split_writer.ts";

/** Steps of a sample: 20 of the history and the candidate. */
export const STEPS = 21;
/** Names of the tables, in their order in a step. */
export const SESSION_TABLES = ["user", "item", "category"] as const;
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

/** Samples of a split that are not written yet. */
class Block {
  filled = 0;
  readonly labels = new Uint8Array(BLOCK);
  readonly indices = new Uint32Array(BLOCK * STEPS * TABLES);
}

/** A dataset of sessions that is being written. */
export class SessionWriter implements Disposable {
  readonly #out: string;
  readonly #artifact: ArtifactWriter;
  readonly #written: SplitWriter;
  readonly #blocks = { train: new Block(), validation: new Block(), test: new Block() };
  /** Lookups of each row in the train split. */
  readonly #counts: Uint32Array<ArrayBuffer>;
  /** What all blocks have in common. */
  readonly #dense = stepTimes(BLOCK);
  readonly #bagLengths = new Uint32Array(BLOCK * STEPS * TABLES).fill(1);
  readonly #firstLookups = Float64Array.from({ length: BLOCK }, (_, i) => i * STEPS * TABLES);

  /** `rows` is the number of rows of all tables. */
  constructor(out: string, rows: number) {
    this.#out = out;
    this.#artifact = new ArtifactWriter("dataset", out);
    this.#written = new SplitWriter(this.#artifact);
    this.#counts = new Uint32Array(rows);
  }

  /** Adds a sample to a split; `rows` are its global rows, by (step, table). */
  add(split: Split, label: number, rows: Uint32Array): void {
    const block = this.#blocks[split];
    block.labels[block.filled] = label;
    block.indices.set(rows, block.filled * STEPS * TABLES);
    if (++block.filled === BLOCK) this.#flush(split);
  }

  /** Number of samples of a split so far. */
  samples(split: Split): number {
    return this.#written.sizes[split].samples + this.#blocks[split].filled;
  }

  /** Completes the dataset; `writeDictionary` writes its dictionary to a path. */
  async commit(body: SessionBody, writeDictionary: (path: string) => Promise<void>): Promise<Dataset> {
    for (const split of SPLITS) {
      this.#flush(split);
      this.#written.endBags(split);
    }
    await this.#artifact.file(COUNTS_FILE).appendInParts(this.#counts);
    const dictionary = this.#artifact.path(DICTIONARY_FILE);
    await writeDictionary(dictionary);
    this.#artifact.adopt(DICTIONARY_FILE, await measureInParts(dictionary));
    const whole: DatasetBody = { ...body, dense: ["time"], bags: true, steps: STEPS, splits: this.#written.sizes };
    this.#artifact.commit(whole);
    return await Dataset.open(this.#out, "lengths").verified();
  }

  #flush(split: Split): void {
    const block = this.#blocks[split];
    const lookups = block.filled * STEPS * TABLES;
    const indices = block.indices.subarray(0, lookups);
    this.#written.write(split, {
      labels: block.labels.subarray(0, block.filled),
      dense: this.#dense.subarray(0, block.filled * STEPS),
      indices,
      bagLengths: this.#bagLengths.subarray(0, lookups),
      firstLookups: this.#firstLookups.subarray(0, block.filled),
    });
    if (split === "train") { for (const row of indices) this.#counts[row]++; }
    block.filled = 0;
  }

  /** Removes what is not complete. */
  [Symbol.dispose](): void {
    this.#artifact[Symbol.dispose]();
  }
}
