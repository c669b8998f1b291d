/**
 * The encoding of a dataset gives its numbers their meaning: schema, dictionary, and the values that replace missing ones.
 * A dataset stores it beside its samples; a run stores a copy, so that its model can be used without the data.
 */
import { z } from "zod";
import { Artifact, type ArtifactCheck, fingerprint } from "../storage/artifact.ts";
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { NUMBERS_FILE, UNSEEN_FILE } from "./row_history.ts";

/** The fields of a manifest that describe the encoding. */
export interface EncodingBody {
  /** Its source: format, files and options; identifies the input so that a changed input is noticed. */
  source: Record<string, unknown>;
  /** Names of the dense features. */
  dense: string[];
  /**
   * One embedding table per categorical feature; row 0 is shared by rare and unseen values. `values` is the rule by
   * which DuckDB's formats compare values (value_rules.ts); version 0.1 did not record it. `dropped` rows were in
   * encodings from which this one grew and have expired; absent for none. `weights` is the column of the weights of the
   * table's lookups; absent where all are 1.
   */
  tables: {
    name: string;
    rows: number;
    values?: "number" | "text" | undefined;
    dropped?: number | undefined;
    weights?: string | undefined;
  }[];
  /**
   * Dense features with missing values, or with a rule for them from the train split: their number, and the value that
   * replaces them.
   */
  missing?: { feature: string; rows: number; value: number }[] | undefined;
  /** True if a sample can have any number of lookups in a table, not just one. */
  bags: boolean;
  /**
   * Steps of a sample, each with all dense features and tables, the last one the candidate; absent for 1. With several
   * steps there are bags, one for each step and table.
   */
  steps?: number | undefined;
}

export const encodingFields = {
  source: z.record(z.string(), z.unknown()),
  dense: z.array(z.string()),
  tables: z.array(z.object({
    name: z.string(),
    rows: z.number().int().positive(),
    values: z.enum(["number", "text"]).optional(),
    dropped: z.number().int().positive().optional(),
    weights: z.string().optional(),
  })),
  missing: z.array(
    z.object({ feature: z.string(), rows: z.number().int().nonnegative(), value: z.number() }),
  ).optional(),
  bags: z.boolean(),
  steps: z.number().int().min(2).optional(),
};

/** Maximum number of rows of all tables: global rows are 32-bit numbers, and the last one ends lists of segments. */
export const MAX_ROWS = 2 ** 32 - 1;

/** Adds an issue if 32 bits cannot number the rows of the tables. */
export function checkTables({ tables }: Pick<EncodingBody, "tables">, context: z.core.$RefinementCtx): void {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  if (rows <= MAX_ROWS) return;
  context.addIssue({ code: "custom", path: ["tables"], message: `${rows} rows, more than 32 bits can number` });
}

/** Parquet (feature, value, id): the dictionary of a dataset whose values are text. */
export const DICTIONARY_FILE = "dictionary.parquet";
/** U32 (rows of all tables): the dictionary of a dataset whose values are numbers; row 0 of each table has none. */
export const KEYS_FILE = "keys.u32";

/** The encoding of a dataset. */
export abstract class DatasetEncoding<Body extends EncodingBody = EncodingBody> {
  /** Its directory. */
  readonly directory: string;
  /** Identifies the dataset by its content: equal datasets have equal ids. */
  readonly id: string;
  /** Its manifest. */
  readonly body: Body;
  /** Global row of each table's first row, then the number of all rows: (tables + 1). */
  readonly firstRows: Float64Array;
  readonly #artifact: Artifact<Body>;

  /** Throws HotsetError if the keys do not fit the tables. @internal */
  protected constructor(artifact: Artifact<Body>, id: string) {
    this.#artifact = artifact;
    this.directory = artifact.directory;
    this.id = id;
    this.body = artifact.body;
    this.firstRows = new Float64Array(this.tables + 1);
    for (let t = 0; t < this.tables; t++) this.firstRows[t + 1] = this.firstRows[t] + this.body.tables[t].rows;
    for (const name of [KEYS_FILE, UNSEEN_FILE, NUMBERS_FILE]) {
      if (artifact.has(name)) artifact.expectBytes(name, 4 * this.rows);
    }
  }

  /**
   * Checks the checksums of all files while the event loop turns, for one that was opened with the check "lengths". Returns
   * it. Throws HotsetError with what is wrong.
   */
  async verified(): Promise<this> {
    await this.#artifact.verify();
    return this;
  }

  /** Number of embedding tables. */
  get tables(): number {
    return this.body.tables.length;
  }
  /** Number of dense features of a step. */
  get denseFeatures(): number {
    return this.body.dense.length;
  }
  /** Steps of a sample. */
  get steps(): number {
    return this.body.steps ?? 1;
  }
  /** Bags of a sample, by step and table. */
  get bagsOfSample(): number {
    return this.steps * this.tables;
  }
  /** Dense values of a sample, by step and feature. */
  get denseOfSample(): number {
    return this.steps * this.denseFeatures;
  }
  /** True if the lookups of a table have weights; those of other tables then have the weight 1. */
  get weightedLookups(): boolean {
    return this.body.tables.some(({ weights }) => weights !== undefined);
  }
  /** Number of rows of all tables. */
  get rows(): number {
    return this.firstRows[this.tables];
  }

  /** Path of the keys of all rows; undefined if the values of the dataset are not numbers. */
  get keysPath(): string | undefined {
    return this.#artifact.has(KEYS_FILE) ? this.#artifact.path(KEYS_FILE) : undefined;
  }

  /** Path of the dictionary; undefined if the values of the dataset are not text. */
  get dictionaryPath(): string | undefined {
    return this.#artifact.has(DICTIONARY_FILE) ? this.#artifact.path(DICTIONARY_FILE) : undefined;
  }

  /** Location of the words of a file of all rows that belong to a table, without row 0; undefined if there is no file. */
  wordsOf(name: string, table: number): { file: string; at: number; keys: number } | undefined {
    if (!this.#artifact.has(name)) return undefined;
    const { rows } = this.body.tables[table];
    return { file: this.#artifact.path(name), at: 4 * (this.firstRows[table] + 1), keys: rows - 1 };
  }

  /** Identifies the numbers of the rows, for encodings with the same values; undefined if they are the ids. */
  get numbersId(): string | undefined {
    return this.#artifact.has(NUMBERS_FILE) ? `${this.#artifact.crc32(NUMBERS_FILE)}` : undefined;
  }

  /**
   * Identifies the raw values of the rows: equal if the ids have the same meaning. For generated data it identifies the
   * model.
   */
  get valuesId(): string {
    const file = [KEYS_FILE, DICTIONARY_FILE].find((name) => this.#artifact.has(name));
    if (file !== undefined) return `${file} ${this.#artifact.bytes(file)} ${this.#artifact.crc32(file)}`;
    const { format, shape, seed, scale, ids } = this.body.source;
    return format === "generated" ? fingerprint([shape, seed, scale, ids]) : this.id;
  }

  /**
   * Share of the train split's lookups with a value too rare for its own row, by table: the share to expect in other data
   * if --min-frequency is above 1.
   */
  abstract rareShares(): Promise<readonly number[]>;

  /**
   * Writes the encoding to a directory, without the paths of raw files. The dictionary becomes a hard link where the file
   * system has them.
   */
  async save(directory: string): Promise<void> {
    const source = Object.fromEntries(Object.entries(this.body.source).filter(([key]) => !/inputs$/i.test(key)));
    const { dense, tables, missing, bags, steps } = this.body;
    const rareShares = [...await this.rareShares()];
    const body: SavedBody = { dataset: this.id, source, dense, tables, missing, bags, steps, rareShares };
    using writer = new ArtifactWriter("encoding", directory);
    for (const name of [KEYS_FILE, DICTIONARY_FILE, UNSEEN_FILE, NUMBERS_FILE]) {
      if (!this.#artifact.has(name)) continue;
      const entry = { bytes: this.#artifact.bytes(name), crc32: this.#artifact.crc32(name) };
      writer.link(name, this.#artifact.path(name), entry);
    }
    writer.commit(body);
  }
}

export interface SavedBody extends EncodingBody {
  dataset: string;
  rareShares: number[];
}
export const savedBody: z.ZodType<SavedBody> = z.object({
  dataset: z.string(),
  ...encodingFields,
  rareShares: z.array(z.number().min(0).max(1)),
}).superRefine(checkTables);

/** The encoding that a run keeps of the dataset on which it was trained. */
export class SavedEncoding extends DatasetEncoding<SavedBody> {
  /** Opens and validates it; `check` as for a dataset. Throws HotsetError with what is wrong. */
  static open(directory: string, check: ArtifactCheck = "checksums"): SavedEncoding {
    const artifact = Artifact.open("encoding", directory, savedBody, check);
    return new SavedEncoding(artifact, artifact.body.dataset);
  }

  /** That of the dataset. */
  rareShares(): Promise<readonly number[]> {
    return Promise.resolve(this.body.rareShares);
  }
}
