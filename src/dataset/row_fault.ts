/** Messages about malformed rows, shared by all readers. */
import { HotsetError } from "../errors.ts";
import { type Column, isMoment } from "./schema.ts";
import { isMissingText } from "./value_rules.ts";

export const MAX_LINE_BYTES = 2 << 20;
export const LINE_TOO_LONG = "it is longer than 2 MB";
export const NOT_UTF8 = "it is not UTF-8";

export const SHOWN_CHARACTERS = 40;

/** The error of a malformed row; `place` is its line, or its row if there are no lines. */
export function rowError(path: string, place: string, reason: string): HotsetError {
  return new HotsetError(`Cannot read ${path}: ${place}: ${reason}`, { code: "bad-row" });
}

export function widthFault(found: number, expected: number): string {
  return `${found} columns instead of ${expected}`;
}

/** Advice if the whole file seems to have another format. */
export const OTHER_FORMAT = "is this another --format?";

/** Message about an invalid field; `required` is that of the field. */
export function fieldFault(column: Column, raw: string | null, required = false): string {
  const { name } = column;
  if (raw === null || raw === "") {
    if (column.kind === "weights") return `${name} is empty, but ${column.of} is not`;
    return `${name} is empty${required ? ", and every row needs a value of it" : ""}`;
  }
  const shown = JSON.stringify(raw.length > SHOWN_CHARACTERS ? `${raw.slice(0, SHOWN_CHARACTERS)}...` : raw);
  if (column.kind === "ignore" || (required && isMissingText(raw))) {
    return `${name} is ${shown}, a missing value, and every row needs one`;
  }
  return `${name} is ${shown}, ${reasonOf(column, raw)}`;
}

function reasonOf(column: Exclude<Column, { kind: "ignore" }>, raw: string): string {
  if (column.kind === "label") {
    if (column.atLeast !== undefined) return "not a finite number";
    return column.positive === undefined ? "neither 0 nor 1" : "which is not a value";
  }
  if (column.kind === "weight") return "not a number above 0";
  if (column.kind === "weights") return `not one finite number for each value of ${column.of}`;
  if (isMoment(column)) return "neither unix seconds nor a date and time such as 2024-05-31 23:59:00";
  if (column.kind === "dense" || column.kind === "time") {
    return column.transform === "hour" ? "not a number that ends in an hour, as YYMMDDHH" : "not a finite number";
  }
  if (column.values === "hex") return "not a hexadecimal number of up to 8 digits";
  if (/^[[({]/.test(raw)) return column.kind === "bag" && column.brackets ? "not a list of values" : "a list";
  if (column.kind === "bag" && column.brackets) return "not a list in brackets";
  return /^[-+\d.e]+$|inf/.test(raw) ? "too large to be exact as a floating-point number" : NOT_UTF8;
}

/** How to declare the field in the schema if it is valid; empty if there is no way. */
export function schemaHint(column: Column, raw: string | null): string {
  if (raw === null || raw === "") return "";
  if (column.kind === "label") {
    return column.atLeast ?? column.positive
      ? ""
      : '; set in the schema what counts as 1: "atLeast": 1 or "positive": ["buy"]';
  }
  if (isMoment(column)) {
    if (/^\d{8}(\d{2}|\d{4}|\d{6})?$/.test(raw)) {
      return `; set its notation in the schema: "format": "%Y%m%d${
        ["%H", "%M", "%S"].slice(0, raw.length / 2 - 4).join("")
      }" or "unit": "s"`;
    }
    const unit = Object.entries({ ns: 1e17, us: 1e14, ms: 1e11 }).find(([, least]) => Math.abs(Number(raw)) >= least);
    return unit === undefined
      ? '; set another notation in the schema: "format": "%d.%m.%Y"'
      : `; set "unit": "${unit[0]}" in the schema`;
  }
  if (column.kind === "dense" && /^[-+\d., _']+$/.test(raw)) {
    return '; set other separators in the schema: "decimal": "," or "thousands": ","';
  }
  if (column.kind === "sparse" && column.values === "text" && raw.startsWith("[")) {
    return '; use kind bag with "brackets": true and its separator, or "values": "exact"';
  }
  if (column.kind === "bag" && /^[[({]/.test(raw) && !column.brackets) {
    return '; set "brackets": true and the separator in the schema, or "values": "exact"';
  }
  return "";
}
