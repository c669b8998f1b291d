/** Guesses how to read a log for which the user names neither a format nor a schema. */
import { AVAZU_TABLES } from "./avazu_shape.ts";
import { HotsetError, UsageError } from "../errors.ts";
import type { Format } from "./formats.ts";
import { inferSchema } from "./infer.ts";
import { findInputs } from "./inputs.ts";
import type { LogSchema } from "./schema.ts";
import { firstLine } from "./text_file.ts";

/** A line of Criteo's format has 39 tabs; with at least this number it is one, perhaps a malformed one. */
const CRITEO_TABS = 20;
const SEPARATORS = /[,;|\t]|::/;

/** Public logs with a format of their own, by their first line. */
const PUBLIC: readonly { format: Format; of: string; isIt: (line: string) => boolean }[] = [
  { format: "avazu", of: "Avazu's, by its header", isIt: (line) => isAvazu(line.split(",")) },
  {
    format: "taobao",
    of: "Taobao's UserBehavior, by its first line",
    isIt: (line) => /^\d+,\d+,\d+,(pv|buy|cart|fav),\d{9,10}$/.test(line),
  },
  {
    format: "movielens",
    of: "MovieLens' u.data, by its first line",
    isIt: (line) => /^\d+\t\d+\t[1-5]\t\d{9,10}$/.test(line),
  },
];
const AVAZU_COLUMNS = ["click", "hour", ...AVAZU_TABLES.map(({ name }) => name)];

/** True for Avazu's columns alone: the format would leave out any other. */
function isAvazu(names: readonly string[]): boolean {
  return AVAZU_COLUMNS.every((name) => names.includes(name)) &&
    names.every((name) => name === "id" || AVAZU_COLUMNS.includes(name));
}

/** Names in a note, of each kind of column. */
const MAX_NAMED = 12;

export interface GuessedFormat {
  readonly format: Format;
  /** The columns of csv and parquet. */
  readonly schema?: string | LogSchema;
}

/** What the user has said about it. */
export interface NamedFormat {
  readonly format?: Format | undefined;
  /** File with the columns. */
  readonly schema?: string | undefined;
  /** Column of the label, if the columns are inferred. */
  readonly label?: string | undefined;
}

/**
 * The format of a log by the content of its first file: Parquet, that of a public log, or other text with columns (csv).
 * Where no schema is given, the columns of csv and parquet are inferred. `onNote` receives what was found and how to
 * change it. Throws HotsetError if no columns can be inferred.
 */
export async function guessFormat(
  inputs: readonly string[],
  { format, schema, label }: NamedFormat,
  onProgress: (fraction: number) => void,
  onNote: (note: string) => void,
): Promise<GuessedFormat> {
  const found = format ?? await formatOf(inputs[0]);
  // Only columns that are described, or inferred for a label, can be the user's.
  const isNamed = schema !== undefined || label !== undefined && found !== "criteo";
  const guessed = format ?? (isNamed && found !== "parquet" ? "csv" : found);
  if (schema !== undefined) return { format: guessed, schema };
  const known = format === undefined ? PUBLIC.find((log) => log.format === guessed) : undefined;
  if (known !== undefined) {
    onNote(
      `${inputs[0]} has the format ${known.format} (${known.of}). If that is wrong: --format csv infers the columns`,
    );
  }
  if (guessed !== "csv" && guessed !== "parquet") {
    if (label === undefined) return { format: guessed };
    throw new UsageError(`Cannot use --label ${label} with format ${guessed}: its columns are fixed; leave it out`);
  }
  const inferred = await inferSchema(inputs[0], onProgress, onNote, label);
  onNote(`Columns of ${inputs[0]}, inferred from its content: ${columnsText(inferred)}`);
  onNote(
    `If that is wrong: --label COLUMN names another label; hotset prepare --infer ${
      inputs[0]
    } > schema.json writes the ` +
      `columns to be edited, for --schema schema.json`,
  );
  return { format: guessed, schema: inferred };
}

async function formatOf(input: string): Promise<Format> {
  const [file] = findInputs([input]);
  if (file.content === "parquet") return "parquet";
  let line: string | undefined;
  try {
    line = await firstLine(file);
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error; // reading it says what is wrong
  }
  if (line === undefined || !SEPARATORS.test(line)) return "criteo";
  const known = PUBLIC.find(({ isIt }) => isIt(line.replace(/\r$/, "")));
  if (known !== undefined) return known.format;
  return line.split("\t").length > CRITEO_TABS ? "criteo" : "csv";
}

/** Names of columns by kind: `label clicked; dense price, age`. */
function columnsText({ columns }: LogSchema): string {
  const kinds = ["label", "time", "dense", "sparse", "bag", "ignore"] as const;
  return kinds.flatMap((kind) => {
    const names = columns.filter((column) => column.kind === kind).map(({ name }) => name);
    if (names.length === 0) return [];
    const others = names.length - MAX_NAMED;
    const shown = names.slice(0, MAX_NAMED).join(", ") + (others > 0 ? ` and ${others} more` : "");
    return [`${kind === "ignore" ? "ignored" : kind} ${shown}`];
  }).join("; ");
}
