/**
 * Reads single values of rows in memory, by the rules that fields.ts and value_rules.ts express in SQL for whole logs:
 * it uses their patterns and limits, and tests/dataset/single_value_test.ts compares the results. A string is treated
 * like a CSV field; numbers, booleans and lists like Parquet values of type DOUBLE, BOOLEAN and lists of them.
 */
import { createHash } from "node:crypto";
import {
  DECIMAL_COMMA,
  groupedNumber,
  MAX_NUMBER,
  MAX_SECONDS,
  NUMBER_DATE,
  PER_SECOND,
  QUOTED_ITEM,
} from "./fields.ts";
import { fieldFault } from "./row_fault.ts";
import { type DenseColumn, isMoment, type LogSchema, type SparseColumn, type WeightsColumn } from "./schema.ts";
import { EXACT, isMissingText, NUMBER, trim, type ValueRule } from "./value_rules.ts";

/** A value of a row; null and undefined are missing, like empty text. */
export type SingleValue = string | number | boolean | null | undefined;
/** The value of a column in a row: one value, or for a bag a list of values. */
export type RowValue = SingleValue | readonly SingleValue[];

/** Text that DuckDB casts to a number; it accepts more blanks than its regular expressions. */
const DOUBLE = /^[ \t\n\v\f\r]*\+?(-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[ \t\n\v\f\r]*$/;
const DATE_OF_DIGITS = whole(NUMBER_DATE);
const COMMA_NUMBER = whole(DECIMAL_COMMA);
const PLAIN_NUMBER = whole(NUMBER, "i");
/** Dates and times in ISO 8601 that are supported here; DuckDB supports more. */
const ISO =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.]([0-9]{1,6}))?)?(Z|[-+][0-9]{2}(?::?[0-9]{2})?)?)?$/;
const LIST_IN_TEXT = /^\[.*,.*\]$/s;
const BRACKETED = /^(?:\[.*\]|\(.*,.*\)|\{.*,.*\})$/s;
const IN_BRACKETS = /^(?:\[.*\]|\(.*\)|\{.*\})$/s;
const QUOTED = new RegExp(QUOTED_ITEM);
const HEX = /^[0-9a-fA-F](?:_?[0-9a-fA-F])*$/;

function whole(pattern: string, flags?: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, flags);
}

/** The number of a text; undefined if it is not a number. */
function parseDouble(text: string): number | undefined {
  const found = DOUBLE.exec(text);
  return found === null ? undefined : Number(found[1]);
}

/** A number with a fraction, or a large one, in DuckDB's notation. */
function doubleText(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? "inf" : value < 0 ? "-inf" : "nan";
  const [digits, exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) return Number.isInteger(value) ? `${value}.0` : String(value);
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** The text of a value, equal for equal values of different types; null if it is missing. */
export function textOf(value: SingleValue): string | null {
  if (value === null || value === undefined || value === "" || Number.isNaN(value)) return null;
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "1" : "0";
  return Number.isInteger(value) && Math.abs(value) < EXACT ? String(value) : doubleText(value);
}

/** The form of a value in an error. */
function shown(value: RowValue): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "object" ? JSON.stringify(value) ?? "a list" : textOf(value);
}

/** An invalid value. Its message is a clause that names the column. */
export class BadValue extends Error {
  /** Thrown where it is found. */
  static of(column: DenseColumn | SparseColumn | WeightsColumn, value: RowValue): BadValue {
    return new BadValue(fieldFault(column, shown(value)));
  }
}

/** Throws BadValue unless it is one value: rows can come from anywhere. */
function expectSingle(column: Pick<SparseColumn, "name">, value: unknown): asserts value is SingleValue {
  if (value === null || !["object", "function", "symbol", "bigint"].includes(typeof value)) return;
  const kind = Array.isArray(value) ? "a list" : `of type ${typeof value}`;
  throw new BadValue(`${column.name} is ${kind}, where text, a number, true, false or null is expected`);
}

/** Converts one column's values to a dense feature. */
export class DenseEncoder {
  readonly column: DenseColumn;
  /** If semicolons separate fields, numbers may have a decimal comma. */
  readonly #commas: boolean;
  readonly #grouped: RegExp | undefined;
  /** Replacement of a missing value, transformed. */
  readonly #fill: number;

  /** `fill` is the replacement of missing values, transformed, if the dataset determined it. */
  constructor(column: DenseColumn, { delimiter }: Pick<LogSchema, "delimiter">, fill: number | undefined) {
    this.column = column;
    this.#commas = delimiter === ";" && !isMoment(column);
    const { thousands, decimal } = marksOf(column);
    this.#grouped = thousands === undefined ? undefined : whole(groupedNumber(thousands, decimal ?? "."));
    const missing = column.kind === "dense" && typeof column.missing === "number" ? column.missing : undefined;
    this.#fill = fill ?? (missing === undefined ? 0 : Math.fround(this.#transformed(missing)));
  }

  /** Why values of this column cannot be read here as from a log; undefined if they can. */
  static fault(column: DenseColumn): string | undefined {
    if (column.format === undefined) return undefined;
    return `its dates are written as ${column.format}, which only a dataset's reader knows`;
  }

  /** The transformed value. Throws BadValue. */
  encode(value: RowValue): number {
    const { column } = this;
    expectSingle(column, value);
    const number = isMoment(column) ? this.#secondsOf(value) : this.#numberOf(value);
    if (number === null) {
      if (column.kind === "time" || column.missing === "error") throw BadValue.of(column, value);
      return this.#fill;
    }
    const hour = number % 100;
    const good = Math.abs(number) <= MAX_NUMBER &&
      (column.transform !== "hour" || (Number.isInteger(hour) && hour >= 0 && hour < 24));
    if (!good) throw BadValue.of(column, value);
    return Math.fround(this.#transformed(number));
  }

  /** Null if missing, NaN if invalid. */
  #numberOf(value: SingleValue): number | null {
    if (typeof value === "number") return Number.isNaN(value) ? null : value;
    if (typeof value === "boolean") return Number(value);
    const text = textOf(value);
    const written = text === null ? null : this.#plain(text);
    const parsed = written === null ? undefined : parseDouble(written);
    if (parsed !== undefined && Number.isFinite(parsed)) return parsed;
    if (isMissingText(text)) return null;
    const word = text!.toLowerCase();
    return word === "true" ? 1 : word === "false" ? 0 : NaN;
  }

  /** A number in DuckDB's notation, if the schema declares another notation; null if it is not in that notation. */
  #plain(text: string): string | null {
    const { thousands, decimal } = marksOf(this.column);
    let plain = text;
    if (thousands !== undefined && text.includes(thousands)) {
      if (!this.#grouped!.test(text)) return null;
      plain = text.replaceAll(thousands, "");
    }
    if (decimal === undefined && thousands === undefined && this.#commas) {
      return COMMA_NUMBER.test(text) ? text.replaceAll(",", ".") : text;
    }
    if (decimal !== ",") return plain;
    return plain.includes(".") ? null : plain.replaceAll(",", ".");
  }

  /** Unix seconds; null if the moment is missing, NaN if it is invalid. */
  #secondsOf(value: SingleValue): number | null {
    const { unit } = this.column;
    const number = this.#numberOf(value);
    if (unit !== undefined) return number === null ? null : number / PER_SECOND[unit];
    const text = textOf(value);
    if (isMissingText(text)) return null;
    const plain = parseDouble(text!);
    if (plain === undefined) return isoSeconds(text!);
    return Math.abs(plain) < MAX_SECONDS && !DATE_OF_DIGITS.test(text!) ? number : NaN;
  }

  #transformed(value: number): number {
    const { transform } = this.column;
    if (transform === "log") return Math.log((value <= 0 ? 0 : value) + 1);
    if (transform === "hour") return (value % 100) / 24;
    if (transform === "clock") return ((value % 86400 + 86400) % 86400) / 86400;
    return value;
  }
}

function marksOf(column: DenseColumn): { thousands?: string | undefined; decimal?: string | undefined } {
  return column.kind === "dense" ? column : {};
}

/** Unix seconds of a date and time in ISO 8601, UTC unless stated otherwise; NaN if it is invalid. */
function isoSeconds(text: string): number {
  const found = ISO.exec(text);
  if (found === null) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const isDay = year > 0 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!isDay || hour > 23 || minute > 59 || second > 59) return NaN;
  const [, sign, hours, minutes] = /^([-+])([0-9]{2}):?([0-9]{2})?$/.exec(found[8] ?? "") ?? [];
  if (Number(hours ?? 0) > 14 || Number(minutes ?? 0) > 59) return NaN;
  const offset = (sign === "-" ? -1 : 1) * (60 * Number(hours ?? 0) + Number(minutes ?? 0));
  const micros = Number((found[7] ?? "").padEnd(6, "0"));
  const milliseconds = date.getTime() + ((hour * 60 + minute - offset) * 60 + second) * 1000 +
    Math.trunc(micros / 1000);
  return milliseconds / 1000 + (micros % 1000) / 1e6;
}

/** Converts one column's values to the keys of a table: text or a number of 32 bits, as its dictionary has them. */
export class SparseEncoder {
  readonly column: SparseColumn;
  readonly #rule: ValueRule;
  readonly #maxIndRange: number | undefined;
  /** True if the column's separator is, or is between, blanks. */
  readonly #blank: boolean;

  /** `rule` is how the dataset compares the table's values. */
  constructor(column: SparseColumn, rule: ValueRule, maxIndRange: number | undefined) {
    this.column = column;
    this.#rule = rule;
    this.#maxIndRange = maxIndRange;
    this.#blank = column.kind === "bag" && column.separator.trim() === "";
  }

  /** Passes the keys of a row's value to `visit`, in order: one, or for a bag any number. Throws BadValue. */
  encode(value: RowValue, take: (key: string | number) => void): void {
    const { column } = this;
    if (column.kind === "sparse") {
      expectSingle(column, value);
      take(this.#key(this.#single(value), value));
    } else if (Array.isArray(value)) {
      for (const item of value as readonly SingleValue[]) {
        expectSingle(column, item);
        take(this.#key(this.#single(item), item));
      }
    } else {
      expectSingle(column, value);
      for (const item of this.#items(value)) take(this.#key(item, value));
    }
  }

  /** One categorical value as text. */
  #single(value: SingleValue): string {
    const { column } = this;
    this.#expectText(value);
    const list = column.values === "text" && this.#rule !== "untyped" && typeof value === "string" &&
      LIST_IN_TEXT.test(value);
    const inexact = typeof value === "number" && Math.abs(value) >= EXACT;
    if (list || inexact) throw BadValue.of(column, value);
    return textOf(value) ?? "";
  }

  /** Models of version 0.1 have numbers in the notation of their files. */
  #expectText(value: SingleValue): void {
    if (this.#rule !== "untyped" || (typeof value !== "number" && typeof value !== "boolean")) return;
    throw new BadValue(
      `${this.column.name} is a ${typeof value}, and this model is of version 0.1, which compared text alone; write it as ` +
        `text, as the log had it`,
    );
  }

  /** The items of a list written as text. */
  #items(value: SingleValue): string[] {
    const column = this.column as Extract<SparseColumn, { kind: "bag" }>;
    this.#expectText(value);
    const text = textOf(value);
    if (text === null) return [];
    const { separator, values, brackets } = column;
    if (brackets) return this.#bracketed(text, separator);
    if (this.#rule === "untyped" || values === "exact") return text.split(separator);
    if (BRACKETED.test(text)) throw BadValue.of(column, value);
    const items = text.split(separator).map(trim);
    return this.#blank ? items.filter((item) => item !== "") : items;
  }

  #bracketed(text: string, separator: string): string[] {
    const list = trim(text);
    if (!IN_BRACKETS.test(list)) throw BadValue.of(this.column, text);
    const inner = list.slice(1, -1);
    if (trim(inner) === "") return [];
    const items = inner.split(separator).map(trim).filter((item) => item !== "");
    return items.map((item) => {
      const quoted = QUOTED.exec(item);
      if (quoted !== null) return quoted[1] ?? quoted[2] ?? "";
      // With a quote at only one end it was split at a separator inside quotes.
      if (/["'\[\]]/.test(item)) throw BadValue.of(this.column, text);
      return item;
    });
  }

  #key(text: string, value: RowValue): string | number {
    const range = this.#maxIndRange;
    if (this.column.values === "hex") {
      const number = text === "" ? 0 : HEX.test(text) ? parseInt(text.replaceAll("_", ""), 16) : NaN;
      if (!(number < 2 ** 32)) throw BadValue.of(this.column, value);
      return range === undefined ? number : number % range;
    }
    const key = this.#rule === "number" ? numberKey(text) : text;
    return range === undefined ? key : hashModulo(key, range);
  }
}

/** Converts the values of a column to the weights of a bag's lookups. */
export class WeightsEncoder {
  readonly column: WeightsColumn;
  /** The items as text, in the notation of the bag. */
  readonly #items: SparseEncoder;

  constructor(column: WeightsColumn, bag: SparseColumn) {
    this.column = column;
    this.#items = new SparseEncoder({ ...bag, name: column.name, values: "text" }, "text", undefined);
  }

  /** Passes the weights of a row's `count` lookups to `take`, in order. Throws BadValue, perhaps after some. */
  encode(value: RowValue, count: number, take: (weight: number) => void): void {
    let found = 0;
    const add = (item: SingleValue) => {
      const weight = Math.fround(typeof item === "number" ? item : weightOf(item));
      if (!Number.isFinite(weight)) throw BadValue.of(this.column, value);
      found++;
      take(weight);
    };
    if (Array.isArray(value)) {
      for (const item of value as readonly SingleValue[]) {
        expectSingle(this.column, item);
        add(item);
      }
    } else this.#items.encode(value, add);
    if (found !== count) throw BadValue.of(this.column, value);
  }
}

/** The number of an item as text or true or false; NaN if it is none. */
function weightOf(item: Exclude<SingleValue, number>): number {
  const text = textOf(item);
  return text === null || text.includes("_") ? NaN : parseDouble(trim(text)) ?? NaN;
}

/** The canonical text of a number, a boolean or a missing value, in any notation. */
function numberKey(text: string): string {
  if (text >= "0" && text < ":") return plainNumber(text);
  if (isMissingText(text)) return "";
  const word = text.toLowerCase();
  return word === "true" ? "1" : word === "false" ? "0" : plainNumber(text);
}

/** A number without trailing zeros of its fraction and, if possible, without an exponent; other text unchanged. */
function plainNumber(text: string): string {
  const inRange = () => Math.abs(Number(text)) < EXACT;
  if (/^-?(?:0|[1-9][0-9]*)[.][0-9]*0$/.test(text) && inRange()) {
    return text.replace(/[.]?0+$/, "").replace(/^-0$/, "0");
  }
  const unusual = /[eE]/.test(text) || (text < "1" && /^(?:-?[.]|-0|0[.]0000)/.test(text));
  if (!unusual || !PLAIN_NUMBER.test(text) || !inRange()) return text;
  return textOf(Number(text))!;
}

/** The lower half of a text's MD5, modulo a number. */
function hashModulo(text: string, range: number): number {
  const digest = createHash("md5").update(text).digest();
  return Number(digest.readBigUInt64LE(8) % BigInt(range));
}
