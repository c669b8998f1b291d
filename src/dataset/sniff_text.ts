/** Detects the dialect of a text: separators, quotes and header. */
import { HotsetError, messageOf } from "../errors.ts";
import { type Engine, quoted, textFile } from "./duckdb.ts";
import type { InputFile } from "./inputs.ts";
import type { LogSchema } from "./schema.ts";
import { textOf } from "./text_file.ts";

export type TextForm = Omit<LogSchema, "columns">;

/** Bytes that are searched for quotes and for lines above the header. */
const SAMPLE_BYTES = 8 << 20;
/** Separators that DuckDB does not try. */
const LONG_DELIMITERS = ["::", "||", "|:|", "^|^", "~|~"];

/** Detects the dialect of a text. Throws HotsetError if it has no columns. */
export async function sniffText(engine: Engine, file: InputFile): Promise<TextForm> {
  const sample = await sampleOf(file);
  if (/^\s*(\{|\[\s*\{)/.test(sample)) {
    throw new HotsetError(
      `Cannot read ${file.path}: it contains JSON, which is not supported; convert it to CSV or Parquet`,
    );
  }
  const comments = /^(?:#[^\n]*\n)*/.exec(sample)![0].split("\n").length - 1;
  const [first] = sample.split("\n", comments + 1).slice(comments);
  const long = LONG_DELIMITERS.find((text) => isDelimiter(text, first));
  const known = [
    ...comments > 0 ? [`skip = ${comments}`] : [],
    ...long === undefined ? [] : [`delim = ${quoted(long)}`],
  ];
  const [[delimiter, quote, escape, skipped, header]] = await engine.rows(
    `SELECT Delimiter, Quote, Escape, SkipRows, HasHeader FROM sniff_csv(${[textFile(file), ...known].join(", ")})`,
  ).catch((error) => {
    if (!/sniffing file/.test(messageOf(error))) throw error;
    throw new HotsetError(`Cannot read ${file.path}: it is neither text with columns nor a Parquet file`, {
      cause: error,
    });
  });
  const skip = Math.max(comments, Number(skipped));
  // No quotes in the sample do not mean that later quotes are text; quotes that enclose nothing do.
  const enclosing = quote !== "(empty)" ? String(quote) : sample.includes('"') ? "" : '"';
  return {
    delimiter: String(delimiter),
    quote: enclosing,
    ...(escape === "\\" && enclosing !== "" ? { escape: "\\" } : {}),
    header: header === true,
    ...(skip > 0 ? { skip } : {}),
  };
}

/** True if a line is divided by this text, and not just by a single character of it. */
function isDelimiter(text: string, line: string): boolean {
  const [character] = text.match(/[|:]/)!;
  const count = (part: string) => line.split(part).length - 1;
  return count(text) > 0 && count(character) === count(text) * (text.split(character).length - 1);
}

async function sampleOf(file: InputFile): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of textOf(file)) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > SAMPLE_BYTES) break;
  }
  return text.replaceAll("\r\n", "\n");
}
