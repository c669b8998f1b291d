/** Encodes rows in memory, one or a few at a time, with the same results as reading them from a log. */
import { HotsetError } from "../errors.ts";
import { didYouMean } from "../similar.ts";
import { CriteoDense, CriteoSparse } from "./criteo_value.ts";
import type { Lookups } from "./dataset.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { rawEncodingOf } from "./encoding.ts";
import { SessionRows } from "./session_rows.ts";
import { idsOfDictionary, idsOfKeys, type TableIds } from "./table_ids.ts";
import { isDense, isNumeric, isSparse, weightsOf } from "./schema.ts";
import { BadValue, DenseEncoder, type RowValue, SparseEncoder, WeightsEncoder } from "./single_value.ts";
import type { UnknownShare } from "./unknown_values.ts";

/** A row: values of the columns by name. Columns that the model does not use are ignored. */
export type Row = Readonly<Record<string, RowValue>>;

/** Samples in memory: lookups, and dense features (count, features), transformed. */
export interface EncodedRows extends Lookups {
  /** (count, dense features), transformed. */
  readonly dense: Float32Array;
  /** Weight of each lookup, parallel to the indices; undefined where the model's data have none. */
  readonly lookupWeights?: Float32Array | undefined;
}

/** Names in a row that are compared with a missing column's: rows can come from anywhere. */
const COMPARED_NAMES = 1000;

interface ColumnEncoder<Result> {
  readonly column: { readonly name: string };
  encode(value: RowValue, take: (key: string | number) => void): Result;
}

/** Encodes rows into arrays that it reuses. */
export class RowEncoder {
  /** Names of the columns that a row must have. */
  readonly columns: readonly string[];
  readonly #tables: readonly string[];
  readonly #dense: readonly ColumnEncoder<number>[];
  readonly #sparse: readonly ColumnEncoder<void>[];
  /** Of each table whose lookups have weights. */
  readonly #weights: readonly (WeightsEncoder | undefined)[];
  readonly #ids: readonly TableIds[];
  readonly #firstRows: Float64Array;
  readonly #bags: boolean;
  /** Only for sessions. */
  readonly #sessions: SessionRows | undefined;
  #denseWords = new Float32Array(0);
  #indices = new Uint32Array(64);
  /** As long as the indices; undefined if no table has weights. */
  #lookupWeights: Float32Array | undefined;
  #offsets = new Uint32Array(1);
  #lookups = 0;
  /** Table that is being encoded. */
  #table = 0;
  /** Lookups of each table, and those with unknown values. */
  readonly #met: Float64Array;
  readonly #unknown: Float64Array;
  readonly #take = (key: string | number) => this.#add(key);

  private constructor(
    dataset: DatasetEncoding,
    dense: readonly ColumnEncoder<number>[],
    sparse: readonly ColumnEncoder<void>[],
    ids: readonly TableIds[],
    weights: readonly (WeightsEncoder | undefined)[] = [],
  ) {
    this.#dense = dense;
    this.#sparse = sparse;
    this.#ids = ids;
    this.#firstRows = dataset.firstRows;
    this.#bags = dataset.body.bags;
    this.#sessions = dataset.steps > 1 ? new SessionRows(dataset.firstRows) : undefined;
    this.#tables = dataset.body.tables.map(({ name }) => name);
    this.#weights = weights;
    const found = weights.filter((encoder) => encoder !== undefined);
    if (found.length > 0) this.#lookupWeights = new Float32Array(this.#indices.length);
    this.columns = [...dense, ...sparse, ...found].map(({ column }) => column.name);
    this.#met = new Float64Array(dataset.tables);
    this.#unknown = new Float64Array(dataset.tables);
  }

  /**
   * Reads a dataset's dictionary. Throws HotsetError if there is none, or if a column's format can be read only from
   * files.
   */
  static async load(dataset: DatasetEncoding): Promise<RowEncoder> {
    const { format, schema, maxIndRange, rules, fills } = rawEncodingOf(dataset);
    const denseColumns = schema.columns.filter(isDense);
    const sparseColumns = schema.columns.filter(isSparse);
    for (const column of denseColumns) {
      const fault = DenseEncoder.fault(column);
      if (fault === undefined) continue;
      throw new HotsetError(
        `Cannot encode rows in memory: column ${column.name}: ${fault}; score files with predict, or train with this ` +
          `column as unix seconds or as 2024-05-31 23:59:00`,
      );
    }
    if (format === "criteo" || format === "dlrm") {
      const integers = format === "dlrm";
      return new RowEncoder(
        dataset,
        denseColumns.map((column) => new CriteoDense(column, integers)),
        sparseColumns.map((column) => new CriteoSparse(column, integers, maxIndRange)),
        await idsOfKeys(dataset),
      );
    }
    return new RowEncoder(
      dataset,
      denseColumns.map((column, d) => new DenseEncoder(column, schema, fills[d])),
      sparseColumns.map((column, t) => new SparseEncoder(column, rules[t], maxIndRange)),
      await idsOfDictionary(
        dataset,
        sparseColumns.map((column) =>
          !isNumeric(column, maxIndRange) ? undefined : maxIndRange === undefined ? 16 : 10
        ),
      ),
      sparseColumns.map((column) => {
        const weights = weightsOf(schema.columns, column);
        return weights && new WeightsEncoder(weights, column);
      }),
    );
  }

  /**
   * Encodes `rows[first .. first + count)`. The arrays are valid until the next call. Throws HotsetError that names row
   * and column.
   */
  encode(rows: readonly Row[], first: number, count: number): EncodedRows {
    const denseFeatures = this.#dense.length;
    const tables = this.#sparse.length;
    if (this.#denseWords.length < count * denseFeatures) this.#denseWords = new Float32Array(count * denseFeatures);
    if (this.#offsets.length < count * tables + 1) this.#offsets = new Uint32Array(count * tables + 1);
    this.#lookups = 0;
    for (let r = 0, o = 0, b = 0; r < count; r++) {
      const row = rows[first + r];
      try {
        if (typeof row !== "object" || row === null || Array.isArray(row)) {
          throw new BadValue("it is no object with a value for each column");
        }
        for (let d = 0; d < denseFeatures; d++) {
          const encoder = this.#dense[d];
          this.#denseWords[o++] = encoder.encode(valueOf(row, encoder.column.name), this.#take);
        }
        for (let t = 0; t < tables; t++) {
          const encoder = this.#sparse[t];
          this.#table = t;
          const begin = this.#lookups;
          encoder.encode(valueOf(row, encoder.column.name), this.#take);
          this.#offsets[++b] = this.#lookups;
          this.#weigh(row, t, begin);
        }
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        throw new HotsetError(`Cannot score row ${first + r} (from 0): ${error.message}`, { code: "bad-row" });
      }
    }
    const encoded = {
      count,
      dense: this.#denseWords.subarray(0, count * denseFeatures),
      indices: this.#indices.subarray(0, this.#lookups),
      lookupWeights: this.#lookupWeights?.subarray(0, this.#lookups),
      offsets: this.#bags ? this.#offsets.subarray(0, count * tables + 1) : undefined,
    };
    const samples = this.#sessions?.fold(encoded, first) ?? encoded;
    this.#countUnknown(count * tables);
    return samples;
  }

  /** Share of the lookups so far with a value that has no row of its own, by table. */
  get unknownShare(): UnknownShare {
    return Object.fromEntries(
      this.#tables.map((name, t) => [name, this.#met[t] === 0 ? 0 : this.#unknown[t] / this.#met[t]]),
    );
  }

  /** Writes the weights of the row's lookups in a table, which begin at `begin`. */
  #weigh(row: Row, table: number, begin: number): void {
    const weights = this.#lookupWeights;
    if (weights === undefined) return;
    const encoder = this.#weights[table];
    if (encoder === undefined) return void weights.fill(1, begin, this.#lookups);
    let at = begin;
    encoder.encode(valueOf(row, encoder.column.name), this.#lookups - begin, (weight) => weights[at++] = weight);
  }

  #add(key: string | number): void {
    const at = this.#lookups++;
    if (at === this.#indices.length) {
      this.#indices = twice(this.#indices, Uint32Array);
      this.#lookupWeights &&= twice(this.#lookupWeights, Float32Array);
    }
    this.#indices[at] = this.#firstRows[this.#table] + this.#ids[this.#table].idOf(key);
  }

  /** Counts the lookups of rows that were encoded without an error. */
  #countUnknown(bags: number): void {
    const tables = this.#sparse.length;
    for (let bag = 0, table = 0; bag < bags; bag++) {
      const first = this.#firstRows[table];
      for (let k = this.#offsets[bag]; k < this.#offsets[bag + 1]; k++) {
        this.#met[table]++;
        if (this.#indices[k] === first) this.#unknown[table]++;
      }
      if (++table === tables) table = 0;
    }
  }
}

function twice<A extends Uint32Array | Float32Array>(words: A, Words: new (length: number) => A): A {
  const larger = new Words(2 * words.length);
  larger.set(words);
  return larger;
}

/** A row's value in a column. Throws BadValue if it has no such column. */
function valueOf(row: Row, name: string): RowValue {
  const value = row[name];
  if (value !== undefined || Object.hasOwn(row, name)) return value;
  const names = Object.keys(row).slice(0, COMPARED_NAMES);
  throw new BadValue(
    `it has no column ${name}${
      didYouMean(name, names).replace("did you mean", "is it")
    }; a value that is missing is null`,
  );
}
