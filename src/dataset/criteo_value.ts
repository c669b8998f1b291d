/** Single values of the formats criteo and dlrm, by the same rules as the readers of files. */
import { CRITEO_KEY, criteoDense, parseNumber } from "./criteo_parser.ts";
import type { DenseColumn, SparseColumn } from "./schema.ts";
import { SHOWN_CHARACTERS } from "./row_fault.ts";
import { BadValue, type RowValue } from "./single_value.ts";

/** Converts the values of one column to a dense feature. */
export class CriteoDense {
  readonly column: DenseColumn;
  readonly #whole: boolean;

  /** With `whole` the values are whole numbers of 32 bits, as in dlrm's files. */
  constructor(column: DenseColumn, whole: boolean) {
    this.column = column;
    this.#whole = whole;
  }

  /** The transformed value. Throws BadValue. */
  encode(value: RowValue): number {
    const text = value === null || value === undefined ? "" : value;
    const number = typeof text === "string" && !this.#whole ? (text === "" ? 0 : parseNumber(text)) : text;
    if (typeof number !== "number" || !Number.isFinite(criteoDense(Math.fround(number)))) {
      throw BadValue.of(this.column, value);
    }
    if (this.#whole && number !== (number | 0)) throw BadValue.of(this.column, value);
    return Math.fround(criteoDense(number));
  }
}

/** Converts the values of one column to the keys of a table. */
export class CriteoSparse {
  readonly column: SparseColumn;
  readonly #whole: boolean;
  readonly #maxIndRange: number | undefined;

  /** With `whole` the values are whole numbers of 32 bits, else up to 8 hexadecimal digits as text. */
  constructor(column: SparseColumn, whole: boolean, maxIndRange: number | undefined) {
    this.column = column;
    this.#whole = whole;
    this.#maxIndRange = maxIndRange;
  }

  /** Passes the key of a row's value to `visit`. Throws BadValue. */
  encode(value: RowValue, take: (key: number) => void): void {
    const key = this.#whole ? this.#wholeNumber(value) : this.#digits(value);
    take(this.#maxIndRange === undefined ? key : key % this.#maxIndRange);
  }

  #wholeNumber(value: RowValue): number {
    if (typeof value === "number" && (value === (value | 0) || value === value >>> 0)) return value >>> 0;
    throw new BadValue(`${this.column.name} is ${shown(value)}, not a whole number of 32 bits`);
  }

  #digits(value: RowValue): number {
    if (value === null || value === undefined || value === "") return 0;
    if (typeof value === "string" && CRITEO_KEY.test(value)) return parseInt(value, 16);
    if (typeof value === "string") throw BadValue.of(this.column, value);
    throw new BadValue(`${this.column.name} is ${shown(value)}; write up to 8 hexadecimal digits as text`);
  }
}

function shown(value: RowValue): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text;
}
