/** Accounts for the lines of a delimited text without parsing its values: no line may be lost unnoticed. */
import { rowError } from "./row_fault.ts";
import type { LogSchema } from "./schema.ts";
import { type TextFile, textOf } from "./text_file.ts";

const NEWLINE = 10, RETURN = 13;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
/** This number of rows is not inside one field by chance. */
const SWALLOWED_ROWS = 10;
/** Fields with more line ends are reported. */
const LONG_FIELD_LINES = 100;

/** Where a quoted field begins, and the number of line ends in it. */
export interface LongField {
  readonly line: number;
  readonly lines: number;
}

export interface TextLines {
  readonly lines: number;
  /** Lines skipped by the schema. */
  readonly above: number;
  /** Empty lines outside quotes. */
  readonly blank: number;
  /** Rows, including the header. */
  readonly records: number;
  /** Line ends in quoted fields. */
  readonly quoted: number;
  /** Line ends in quoted fields of the first record. */
  readonly quotedInFirst: number;
  /** The first quoted field that contains as many lines and delimiters as whole rows, or very many lines. */
  readonly suspect: LongField | undefined;
}

/** How rows are divided. */
export type Dialect = Pick<LogSchema, "delimiter" | "quote" | "escape" | "skip">;

/**
 * Counts the lines of a text. Throws HotsetError if a quoted field certainly contains rows, and if the file is
 * truncated.
 */
export async function countLines(file: TextFile, dialect: Dialect, columns: number): Promise<TextLines> {
  const counter = new LineCounter(dialect, columns);
  for await (const piece of textOf(file)) counter.take(piece);
  const counted = counter.end();
  const { swallowed } = counter;
  if (swallowed === undefined) return counted;
  throw rowError(
    file.path,
    `line ${swallowed.line}`,
    `a quoted field begins that contains ${swallowed.lines} line ends and ` +
      `as many delimiters as ${swallowed.lines} rows; if quotes are ordinary characters here, write "quote": "" in the schema`,
  );
}

/** The line on which a row begins, both from 1; the header is a row. */
export async function lineOfRecord(file: TextFile, dialect: Dialect, record: number): Promise<number> {
  const counter = new LineCounter(dialect, Infinity, record);
  for await (const piece of textOf(file)) {
    counter.take(piece);
    if (counter.wantedLine !== undefined) return counter.wantedLine;
  }
  const { lines } = counter.end();
  return counter.wantedLine ?? lines;
}

/** The line at a byte position of the text. */
export async function lineAfter(file: TextFile, bytes: number): Promise<number> {
  const counter = new LineCounter({ delimiter: "", quote: "", escape: "", skip: 0 }, 1);
  let left = bytes;
  for await (const piece of textOf(file)) {
    counter.take(piece.subarray(0, left));
    left -= piece.length;
    if (left <= 0) break;
  }
  return 1 + counter.end().lines;
}

/** Meaning of a byte. */
const OTHER = 0, LINE_END = 1, QUOTE = 2, DELIMITER = 3, ESCAPE = 4;

/** Scans a text in parts. */
export class LineCounter {
  /** The first quoted field that contains rows. */
  swallowed: LongField | undefined;
  /** Position of the wanted record, once known. */
  wantedLine: number | undefined;
  readonly #columns: number;
  readonly #wanted: number;
  readonly #kinds = new Uint8Array(256);
  readonly #delimiter: Uint8Array;
  readonly #skip: number;
  readonly #quoteByte: number;
  #lines = 0;
  #blank = 0;
  #records = 0;
  #quoted = 0;
  #quotedInFirst = 0;
  #suspect: LongField | undefined;
  /**
   * State before the next byte: in a quoted field; after a quote or an escape in it; at the beginning of a field or of
   * a line.
   */
  #inQuotes = false;
  #afterQuote = false;
  #afterEscape = false;
  #fieldBegins = true;
  #lineBegins = true;
  #afterLineEnd = false;
  #afterReturn = false;
  /** Bytes of a delimiter matched so far. */
  #matched = 0;
  #recordLine = 1;
  #field = { line: 0, lines: 0, delimiters: 0 };
  #first = true;

  constructor({ delimiter, quote, escape = quote, skip = 0 }: Dialect, columns: number, wanted = -1) {
    this.#skip = skip;
    this.#recordLine = skip + 1;
    this.#columns = columns;
    this.#wanted = wanted;
    this.#delimiter = new TextEncoder().encode(delimiter);
    this.#kinds[NEWLINE] = LINE_END;
    this.#kinds[RETURN] = LINE_END;
    for (const byte of this.#delimiter) this.#kinds[byte] = DELIMITER;
    this.#quoteByte = quote === "" ? -1 : quote.charCodeAt(0);
    if (quote !== "" && escape !== quote) this.#kinds[escape.charCodeAt(0)] = ESCAPE;
    if (quote !== "") this.#kinds[this.#quoteByte] = QUOTE;
  }

  take(bytes: Uint8Array): void {
    const piece = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength); // searching in a Buffer is slow
    const kinds = this.#kinds;
    let i = 0;
    if (this.#first && BYTE_ORDER_MARK.every((byte, k) => piece[k] === byte)) i = BYTE_ORDER_MARK.length;
    this.#first = false;
    if (!this.#inQuotes && !piece.includes(this.#quoteByte) && !piece.includes(RETURN)) i = this.#plainLines(piece, i);
    for (; i < piece.length; i++) {
      const byte = piece[i];
      const kind = this.#lines < this.#skip && kinds[byte] !== LINE_END ? OTHER : kinds[byte];
      if (this.#afterEscape && kind !== LINE_END) {
        this.#afterEscape = false;
      } else if (kind === ESCAPE && this.#inQuotes && !this.#afterQuote) {
        this.#afterEscape = true;
        this.#pass();
      } else if (kind === OTHER || kind === ESCAPE) {
        this.#other();
        while (i + 1 < piece.length && kinds[piece[i + 1]] === OTHER) i++;
      } else if (kind === LINE_END) {
        this.#lineEnd(byte);
      } else if (kind === QUOTE) {
        this.#quote();
      } else {
        this.#delimit(byte);
      }
    }
  }

  /** Lines without quotes, of which only the ends matter. Returns where the last one begins, which has no end yet. */
  #plainLines(piece: Uint8Array, from: number): number {
    let begin = from;
    for (let end = piece.indexOf(NEWLINE, begin); end >= 0; end = piece.indexOf(NEWLINE, begin)) {
      if (end > begin) this.#other();
      this.#lineEnd(NEWLINE);
      begin = end + 1;
    }
    return begin;
  }

  /** The end of the text, with or without a line end. */
  end(): TextLines {
    if (this.#afterQuote) this.#closeField();
    if (!this.#lineBegins) {
      if (this.#afterLineEnd) this.#quoted--; // no line follows
      else this.#lines++;
      if (this.#lines > this.#skip) this.#endRecord();
    }
    return {
      lines: this.#lines,
      above: Math.min(this.#skip, this.#lines),
      blank: this.#blank,
      records: this.#records,
      quoted: this.#quoted,
      quotedInFirst: this.#quotedInFirst,
      suspect: this.#suspect,
    };
  }

  /** A byte within a line. */
  #pass(): void {
    this.#fieldBegins = this.#lineBegins = false;
    this.#afterLineEnd = this.#afterReturn = false;
  }

  #other(): void {
    if (this.#afterQuote) this.#closeField(); // malformed
    this.#pass();
    this.#matched = 0;
  }

  #quote(): void {
    if (this.#afterQuote) this.#afterQuote = false; // a doubled quote
    else if (this.#inQuotes) this.#afterQuote = true;
    else if (this.#fieldBegins) {
      this.#inQuotes = true;
      this.#field = { line: this.#lines + 1, lines: 0, delimiters: 0 };
    }
    this.#pass();
    this.#matched = 0;
  }

  #delimit(byte: number): void {
    if (this.#afterQuote) this.#closeField();
    this.#pass();
    if (byte === this.#delimiter[this.#matched]) this.#matched++;
    else this.#matched = Number(byte === this.#delimiter[0]);
    if (this.#matched < this.#delimiter.length) return;
    this.#matched = 0;
    if (this.#inQuotes) this.#field.delimiters++;
    else this.#fieldBegins = true;
  }

  #lineEnd(byte: number): void {
    const second = byte === NEWLINE && this.#afterReturn;
    this.#afterReturn = byte === RETURN;
    this.#afterLineEnd = true;
    if (second) return;
    if (this.#afterQuote) this.#closeField();
    this.#lines++;
    this.#matched = 0;
    this.#afterEscape = false;
    if (this.#lines <= this.#skip) {
      this.#fieldBegins = this.#lineBegins = true;
      return;
    }
    if (this.#inQuotes) {
      this.#field.lines++;
      this.#quoted++;
      return;
    }
    if (this.#lineBegins) {
      this.#blank++;
      this.#recordLine = this.#lines + 1;
    } else {
      this.#endRecord();
    }
    this.#fieldBegins = this.#lineBegins = true;
  }

  #closeField(): void {
    this.#inQuotes = this.#afterQuote = false;
    const { line, lines, delimiters } = this.#field;
    const likeRows = lines > 0 && delimiters === lines * (this.#columns - 1);
    if (likeRows || lines > LONG_FIELD_LINES) this.#suspect ??= { line, lines };
    if (likeRows && lines >= SWALLOWED_ROWS) this.swallowed ??= { line, lines };
  }

  #endRecord(): void {
    if (this.#records === 0) this.#quotedInFirst = this.#quoted;
    if (++this.#records === this.#wanted) this.wantedLine = this.#recordLine;
    this.#recordLine = this.#lines + 1;
  }
}
