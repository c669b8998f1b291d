/** Writes rows in memory to a Parquet file, which everything that reads logs can read. */
import { availableParallelism } from "node:os";
import { breaks } from "../breaks.ts";
import { cannot } from "../errors.ts";
import { AtomicPath } from "../storage/atomic_file.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { Engine, engineFailure, identifier, quoted } from "./duckdb.ts";
import { batchesOf, Moment, rowFault, type RowsInMemory } from "./rows_in_memory.ts";
import { type SingleValue, textOf } from "./single_value.ts";

const MEMORY_BYTES = 2 ** 30;
/** Between the items of a list in the table in which rows are collected. */
const UNIT_SEPARATOR = "\x1f";
const MAX_BIGINT = 2n ** 63n - 1n;
const MIN_BIGINT = -(2n ** 63n);

/** What a value is; `wide` is a whole number beyond 64 bits. */
type Kind = "integer" | "wide" | "fraction" | "boolean" | "text" | "moment" | "list";

/**
 * Writes rows to a Parquet file at `path`, replacing one that is there, and returns their number. The file is an input for
 * `prepareDataset`, `inferSchema`, `trainOn`, `evaluateRun` and `predictRun`; the dataset has the bytes that the same rows
 * in a CSV file give.
 *
 * A column whose values are all numbers, all true or false, all moments or all lists keeps that type; in any other,
 * values are text as in a CSV file, true and false being 1 and 0. Missing values are null, undefined, NaN and empty
 * text. Moments are `Date`s, and the dates and timestamps of Arrow.
 *
 * Rows that come over time are written to a temporary folder beside `path` once they fill 1 GiB of memory; `hotset
 * clean` removes what a killed process left of it. The event loop continues meanwhile. Throws HotsetError that names
 * row and column, and what an iterator throws.
 */
export async function writeRows(rows: RowsInMemory, path: string): Promise<number> {
  using output = new AtomicPath(path);
  using directory = TemporaryDirectory.beside(path);
  using engine = await Engine.create(directory.path, { memoryBytes: MEMORY_BYTES, threads: availableParallelism() });
  try {
    const columns: Column[] = [];
    let written = 0;
    for await (const batch of batchesOf(rows)) {
      if (written === 0) {
        columns.push(...columnsOf(batch.names));
        await engine.run(`CREATE TABLE rows (${columns.map((_, i) => `c${i} VARCHAR`).join(", ")})`);
      }
      const texts = batch.rows.map((values, r) => columns.map((column, c) => column.take(values[c], written + r)));
      await engine.append("rows", texts);
      written += texts.length;
      if (breaks.due) await breaks.take();
    }
    if (written === 0) cannot("write rows", "bad-row")("there are none");
    // One thread writes the same bytes each time, and equal bytes are an equal log.
    const values = columns.map((column, i) => `${column.sql(`c${i}`)} AS ${identifier(column.name)}`);
    await engine.runAlone(
      `COPY (SELECT ${values.join(", ")} FROM rows) TO ${quoted(output.temporary)} (FORMAT parquet)`,
    );
    output.commit();
    return written;
  } catch (error) {
    throw engineFailure(`write ${path}`, error);
  }
}

function columnsOf(names: readonly string[]): Column[] {
  const fail = cannot("write rows", "bad-row");
  if (names.length === 0) fail("the first row has no columns");
  const seen = new Map<string, string>();
  for (const name of names) {
    if (name === "") fail("a column has no name");
    const other = seen.get(name.toLowerCase());
    if (other !== undefined) fail(`the columns ${other} and ${name} would have one name in a Parquet file`);
    seen.set(name.toLowerCase(), name);
  }
  return names.map((name) => new Column(name));
}

/** A column: the kinds of its values, and their text. */
class Column {
  readonly name: string;
  readonly #kinds = new Set<Kind>();

  constructor(name: string) {
    this.name = name;
  }

  /** The text by which a value is collected; null if it is missing. Throws HotsetError. */
  take(value: unknown, row: number): string | null {
    if (value === null || value === undefined || value === "" || Number.isNaN(value)) return null;
    const kind = this.#kindOf(value, row);
    if (!this.#kinds.has(kind)) {
      this.#kinds.add(kind);
      for (const apart of ["list", "moment"] as const) {
        if (!this.#kinds.has(apart) || this.#kinds.size === 1) continue;
        throw rowFault(row, `${this.name} holds both ${apart}s and other values`);
      }
    }
    if (kind === "list") return this.#listText(value as Iterable<unknown>, row);
    if (kind === "moment") return this.#microseconds(value as Date | Moment, row);
    return this.#singleText(value as SingleValue | bigint, row);
  }

  /** SQL of the values, given that of their text. */
  sql(text: string): string {
    const [kind, ...others] = this.#kinds;
    if (kind === "list") {
      const items = `list_transform(string_split(${text}, chr(31)), lambda v: CASE WHEN v <> '' THEN v[2:] END)`;
      return `CASE WHEN ${text} = '' THEN []::VARCHAR[] ELSE ${items} END`;
    }
    if (kind === "moment") return `make_timestamp(${text}::BIGINT)`;
    if (kind === "boolean" && others.length === 0) return `${text}::TINYINT::BOOLEAN`;
    if (kind === "integer" && others.length === 0) return `${text}::BIGINT`;
    const numbers = [...this.#kinds].every((kind) => kind === "integer" || kind === "fraction");
    return numbers && this.#kinds.size > 0 && !this.#big ? `${text}::DOUBLE` : text;
  }

  /** True if there are whole numbers that floating-point numbers do not represent. */
  #big = false;

  #kindOf(value: unknown, row: number): Kind {
    switch (typeof value) {
      case "string":
        return "text";
      case "boolean":
        return "boolean";
      case "bigint":
        if (BigInt(Number(value)) !== value) this.#big = true;
        return value <= MAX_BIGINT && value >= MIN_BIGINT ? "integer" : "wide";
      case "number":
        return Number.isSafeInteger(value) ? "integer" : "fraction";
      case "object":
        if (value instanceof Date || value instanceof Moment) return "moment";
        if (value !== null && Symbol.iterator in value) return "list";
    }
    throw rowFault(row, `${this.name} is of type ${typeof value}, which is neither one value nor a list`);
  }

  #singleText(value: SingleValue | bigint, row: number): string | null {
    const text = typeof value === "bigint" ? String(value) : textOf(value);
    if (text?.includes("\0")) throw rowFault(row, `${this.name} contains a character of code 0`);
    return text;
  }

  /** Items after a mark that tells them from none, with a separator between them. */
  #listText(list: Iterable<unknown>, row: number): string {
    return Array.from(list, (item) => {
      if (item !== null && !["string", "number", "bigint", "boolean", "undefined"].includes(typeof item)) {
        throw rowFault(row, `${this.name} is a list with a value of type ${typeof item}`);
      }
      const text = this.#singleText(item as SingleValue | bigint, row);
      if (text?.includes(UNIT_SEPARATOR)) throw rowFault(row, `${this.name} contains a character of code 31`);
      return text === null ? "" : `=${text}`;
    }).join(UNIT_SEPARATOR);
  }

  #microseconds(value: Date | Moment, row: number): string {
    const ms = value instanceof Date ? value.getTime() : value.ms;
    if (!Number.isFinite(ms)) throw rowFault(row, `${this.name} is an invalid date`);
    return String(Math.round(ms * 1000));
  }
}
