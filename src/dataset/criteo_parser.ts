/** Parser of the Criteo format: bytes to labels, dense values and keys. The format is fixed, so there is no schema. */
import { CRITEO } from "./formats.ts";
import {
  fieldFault,
  LINE_TOO_LONG,
  MAX_LINE_BYTES,
  NOT_UTF8,
  OTHER_FORMAT,
  rowError,
  widthFault,
} from "./row_fault.ts";
import { isDense, isSparse } from "./schema.ts";
import type { ChunkBuffer } from "./staged_chunk.ts";

const TAB = 9, NEWLINE = 10, RETURN = 13, MINUS = 45, ZERO = 48;
/** Numbers of dense features and of tables. */
export const DENSE = CRITEO.columns.filter(isDense).length;
export const TABLES = CRITEO.columns.filter(isSparse).length;
const COLUMNS = CRITEO.columns.length;
/** Minimum bytes of a valid row: all separators, a label and a line end. */
export const MIN_ROW_BYTES = COLUMNS;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const MAX_FLOAT = 3.4e38;
/** Log(x + 1) of small whole numbers, which are most values. */
const LOGARITHMS = Float32Array.from({ length: 1 << 14 }, (_, x) => Math.log(x + 1));
/** Value of a hexadecimal digit; 16 for other bytes. */
const DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? 16 : digit;
});

/** First field of rows: a label, none, or any field, which is ignored. */
export type LabelField = "read" | "absent" | "ignored";

/** Options of the parser, and what it has found so far. */
export class CriteoParser {
  /** Lines passed, including blank ones. */
  lines = 0;
  blank = 0;
  skippedRows = 0;
  readonly #path: string;
  readonly #label: LabelField;
  readonly #maxIndRange: number | undefined;
  readonly #skip: boolean;

  /** Parses lines of the file at `path`; with `skip` malformed rows are counted, otherwise they are errors. */
  constructor(path: string, options: { label: LabelField; maxIndRange: number | undefined; skip: boolean }) {
    this.#path = path;
    this.#label = options.label;
    this.#maxIndRange = options.maxIndRange;
    this.#skip = options.skip;
  }

  /**
   * Parses the complete lines in `bytes[from .. to)`, whose last byte is a line end, into `rows`. `firstLine` returns
   * the number of the first line, for errors.
   */
  parse(bytes: Uint8Array, from: number, to: number, rows: ChunkBuffer, firstLine: () => number): void {
    for (let at = from; at < to;) {
      if (bytes[at] === NEWLINE) {
        at++;
        this.blank++;
      } else if (bytes[at] === RETURN && bytes[at + 1] === NEWLINE) {
        at += 2;
        this.blank++;
      } else {
        const next = this.#row(bytes, at, rows);
        if (next > 0) {
          at = next;
          rows.rows++;
        } else {
          const end = bytes.indexOf(NEWLINE, at);
          this.fault(() => this.#complaint(bytes.subarray(at, end)), firstLine);
          at = end + 1;
        }
      }
      this.lines++;
    }
  }

  /** Counts a malformed row, or throws what is wrong with it. */
  fault(reason: () => string, firstLine: () => number): void {
    if (!this.#skip) {
      throw rowError(this.#path, `line ${firstLine() + this.lines}`, reason());
    }
    this.skippedRows++;
  }

  /** Parses a row into row `rows.rows`. Returns the position of the next line, or 0 if the row is malformed. */
  #row(bytes: Uint8Array, from: number, { rows, labels, dense, keys }: ChunkBuffer): number {
    let at = from;
    labels[rows] = 0;
    if (this.#label === "read") {
      const label = bytes[at] - ZERO;
      if ((label !== 0 && label !== 1) || bytes[at + 1] !== TAB) return 0;
      labels[rows] = label;
      at += 2;
    } else if (this.#label === "ignored") {
      while (bytes[at] !== TAB) if (bytes[at++] === NEWLINE) return 0;
      at++;
    }
    for (let d = 0, o = rows * DENSE; d < DENSE; d++, o++) {
      const begin = at;
      const negative = bytes[at] === MINUS;
      if (negative) at++;
      let value = 0;
      for (let digit = bytes[at] - ZERO; digit >= 0 && digit <= 9; digit = bytes[at] - ZERO) {
        value = 10 * value + digit;
        at++;
      }
      if (bytes[at] === TAB && at - begin <= 15 && !(negative && at === begin + 1)) {
        at++;
        dense[o] = negative ? 0 : value < LOGARITHMS.length ? LOGARITHMS[value] : Math.log(value + 1);
      } else {
        const end = bytes.indexOf(TAB, begin);
        const found = end < 0 ? undefined : parseNumber(textOf(bytes.subarray(begin, end)));
        if (found === undefined) return 0;
        dense[o] = criteoDense(found);
        at = end + 1;
      }
    }
    for (let t = 0; t < TABLES; t++) {
      const begin = at;
      let key = 0;
      for (let digit = DIGITS[bytes[at]]; digit < 16; digit = DIGITS[bytes[at]]) {
        key = key << 4 | digit;
        at++;
      }
      if (at - begin > 8) return 0;
      const end = bytes[at++];
      if (t < TABLES - 1) {
        if (end !== TAB) return 0;
      } else if (end === RETURN) {
        if (bytes[at++] !== NEWLINE) return 0;
      } else if (end !== NEWLINE) {
        return 0;
      }
      keys[t][rows] = this.#maxIndRange === undefined ? key : (key >>> 0) % this.#maxIndRange;
    }
    return at;
  }

  #complaint(line: Uint8Array): string {
    if (line.length > MAX_LINE_BYTES) return LINE_TOO_LONG;
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line).replace(/\r$/, "");
    } catch {
      return NOT_UTF8;
    }
    const columns = CRITEO.columns.filter((c) => this.#label !== "absent" || c.kind !== "label");
    const fields = text.split("\t");
    if (fields.length === 1) return `expected ${columns.length} tab-separated columns, found 1; ${OTHER_FORMAT}`;
    if (fields.length !== columns.length) return widthFault(fields.length, columns.length);
    const bad = columns.findIndex((column, i) => {
      const field = fields[i];
      if (column.kind === "label") return this.#label === "read" && field !== "0" && field !== "1";
      if (column.kind === "dense") return field !== "" && parseNumber(field) === undefined;
      return !CRITEO_KEY.test(field);
    });
    return fieldFault(columns[bad], fields[bad]);
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A categorical value. */
export const CRITEO_KEY = /^[0-9a-f]{0,8}$/i;

/** The dense feature of a number. */
export function criteoDense(value: number): number {
  return Math.log(Math.max(value, 0) + 1);
}

/** The finite number of a dense value; undefined if it is none. */
export function parseNumber(text: string): number | undefined {
  const value = Number(text);
  return NUMBER.test(text) && Math.abs(value) <= MAX_FLOAT ? value : undefined;
}

/** True if a line has all columns but the label. */
export function lacksLabel(line: string): boolean {
  return line.split("\t").length === COLUMNS - 1;
}
