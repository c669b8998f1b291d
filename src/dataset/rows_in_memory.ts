/** Rows that a program has in memory, in any of their forms, as batches of values. */
import { cannot, HotsetError } from "../errors.ts";
import type { SingleValue } from "./single_value.ts";

/** A value: that of a field, a whole number of 64 bits, a moment, or a list of values for a bag. */
export type InputValue = SingleValue | bigint | Date | Iterable<SingleValue | bigint>;
/** A row: values of the columns by name. All rows have the same columns; null and undefined are missing values. */
export type InputRow = Readonly<Record<string, InputValue>>;
/** Columns by name, typed arrays or others, all with a value for each row. */
export type InputColumns = Readonly<Record<string, ArrayLike<InputValue>>>;

/** What is used of a table of the package apache-arrow. Columns may be dictionaries; lists are bags. */
export interface ArrowTable {
  /** Number of its rows. */
  readonly numRows: number;
  /** Its columns, with the types that their text names: Int32, Utf8, `Timestamp<MILLISECOND>`, `List<Utf8>`. */
  readonly schema: { readonly fields: readonly { readonly name: string; readonly type: unknown }[] };
  /** The column of a name. */
  getChild(name: string): { get(row: number): unknown } | null;
}

/** Rows in memory: objects that come at once or over time, columns, or an Arrow table. */
export type RowsInMemory = Iterable<InputRow> | AsyncIterable<InputRow> | InputColumns | ArrowTable;

/** A moment in milliseconds since 1970, with a fraction where its source has one. */
export class Moment {
  constructor(readonly ms: number) {}
}

/** Successive rows, each with its values in the order of the names, which are those of every batch. */
export interface RowBatch {
  readonly names: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

const BATCH_ROWS = 1024;
/** Types of Arrow by their text. */
const ARROW_LIST = /^(Fixed|Large)?(Size)?List/;
const ARROW_MOMENT = /^(Date|Timestamp)/;

/** An error that names a row, counted from 0. */
export function rowFault(row: number, reason: string): HotsetError {
  return new HotsetError(`Cannot write rows: row ${row} (from 0): ${reason}`, { code: "bad-row" });
}

/** Reads rows in batches. Throws HotsetError if they do not all have the same columns. */
export async function* batchesOf(rows: RowsInMemory): AsyncGenerator<RowBatch> {
  if (typeof rows !== "object" || rows === null) {
    throw new HotsetError(`Cannot write rows: ${rows} is neither rows nor columns`, { code: "bad-row" });
  }
  if (isArrow(rows)) yield* ofArrow(rows);
  else if (Symbol.asyncIterator in rows || Symbol.iterator in rows) {
    yield* ofObjects(rows as Iterable<InputRow> | AsyncIterable<InputRow>);
  } else yield* ofArrays(rows as InputColumns);
}

function isArrow(rows: RowsInMemory): rows is ArrowTable {
  return "getChild" in rows && typeof rows.getChild === "function";
}

async function* ofObjects(rows: Iterable<InputRow> | AsyncIterable<InputRow>): AsyncGenerator<RowBatch> {
  let names: string[] | undefined;
  const batch: unknown[][] = [];
  let read = 0;
  const isFull = (row: InputRow) => {
    if (typeof row !== "object" || row === null) throw rowFault(read, "it is no object with a value for each column");
    names ??= Object.keys(row);
    return batch.push(valuesOf(row, names, read++)) === BATCH_ROWS;
  };
  const taken = (): RowBatch => ({ names: names!, rows: batch.splice(0) });
  // Waiting for each row of an array would take longer than writing it.
  if (Symbol.asyncIterator in rows) { for await (const row of rows) if (isFull(row)) yield taken(); }
  else for (const row of rows) if (isFull(row)) yield taken();
  if (batch.length > 0) yield taken();
}

function valuesOf(row: InputRow, names: readonly string[], at: number): unknown[] {
  const own = Object.keys(row);
  if (own.length !== names.length) {
    const further = own.find((name) => !names.includes(name));
    if (further !== undefined) throw rowFault(at, `it has a column ${further}, which the first row has not`);
  }
  return names.map((name) => {
    const value = row[name];
    if (value !== undefined || Object.hasOwn(row, name)) return value;
    throw rowFault(at, `it has no column ${name}; a value that is missing is null`);
  });
}

function* ofArrays(columns: InputColumns): Generator<RowBatch> {
  const names = Object.keys(columns);
  const [first] = names;
  const fail = cannot("write rows", "bad-row");
  for (const name of names) {
    const values: unknown = columns[name];
    // A text is like an array of its characters: an object with texts is a row.
    if (typeof values !== "object" || values === null || !("length" in values)) {
      fail(`column ${name} is no array; a single row is an array with one object`);
    }
    const [length, expected] = [columns[name].length, columns[first].length];
    if (length !== expected) fail(`column ${name} has ${length} values, and ${first} has ${expected}`);
  }
  const arrays = Object.values(columns);
  yield* ofGetters(names, arrays[0]?.length ?? 0, arrays.map((values) => (row) => values[row]));
}

function* ofArrow(table: ArrowTable): Generator<RowBatch> {
  const { fields } = table.schema;
  const getters = fields.map(({ name, type }) => {
    const values = table.getChild(name)!;
    const text = String(type);
    const isList = ARROW_LIST.test(text), isMoment = ARROW_MOMENT.test(text);
    return (row: number): unknown => {
      const value = values.get(row);
      if (typeof value === "object" && value !== null && !isList && !(value instanceof Date)) {
        throw rowFault(row, `column ${name} has the Arrow type ${text}, which is neither one value nor a list`);
      }
      return isMoment && typeof value === "number" ? new Moment(value) : value;
    };
  });
  yield* ofGetters(fields.map(({ name }) => name), table.numRows, getters);
}

function* ofGetters(
  names: readonly string[],
  rows: number,
  getters: readonly ((row: number) => unknown)[],
): Generator<RowBatch> {
  for (let first = 0; first < rows; first += BATCH_ROWS) {
    const length = Math.min(BATCH_ROWS, rows - first);
    yield { names, rows: Array.from({ length }, (_, i) => getters.map((get) => get(first + i))) };
  }
}
