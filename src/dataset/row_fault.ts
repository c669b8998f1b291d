/** What is wrong with a row, in the words that all readers use. */
import { type Column, isMoment } from "./schema.ts";

/** The longest line that is read. */
export const MOST_LINE_BYTES = 2 << 20;
/** What is wrong with longer ones. */
export const LINE_TOO_LONG = "it is longer than 2 MB";
/** What is wrong with text in another encoding. */
export const NOT_UTF8 = "it is not UTF-8";

const SHOWN_CHARACTERS = 40;

/** What is wrong with the number of fields. */
export function widthFault(found: number, expected: number): string {
  return `${found} columns instead of ${expected}`;
}

/** What to ask where it looks as if the whole file were of another kind. */
export const OTHER_FORMAT = "is it of another --format?";

/** What is wrong with a field. */
export function fieldFault(column: Column, raw: string | null): string {
  const { name, kind } = column;
  if (raw === null || raw === "") return `${name} is empty`;
  const shown = JSON.stringify(raw.length > SHOWN_CHARACTERS ? `${raw.slice(0, SHOWN_CHARACTERS)}...` : raw);
  if (kind === "label" && column.atLeast === undefined) return `${name} is ${shown}, neither 0 nor 1`;
  if (isMoment(column)) return `${name} is ${shown}, neither unix seconds nor a date and time as 2024-05-31 23:59:00`;
  if (kind === "dense" || kind === "label") return `${name} is ${shown}, not a finite number`;
  return `${name} is ${shown}, not a hexadecimal number of up to 8 digits`;
}
