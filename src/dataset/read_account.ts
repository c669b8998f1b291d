/** Accounts for every line and row of the files of a log. */
import { z } from "zod";
import { basename } from "node:path";
import { count as number } from "../format.ts";
import { HotsetError } from "../errors.ts";
import { byNumbers } from "./inputs.ts";

/** The lines of a text: `read = header + blank + rows + quoted + skipped`. */
export interface LineAccount {
  /** All of them. */
  readonly read: number;
  /** Header lines. */
  readonly header: number;
  /** Blank lines. */
  readonly blank: number;
  /** Lines within quoted fields of rows that were kept. */
  readonly quoted: number;
  /** Lines of malformed rows that were skipped. */
  readonly skipped: number;
}

/** Lines and rows of a file. */
export interface FileAccount {
  /** Absolute path. */
  readonly path: string;
  /** Rows that were kept. */
  readonly rows: number;
  /** Malformed rows that were skipped. */
  readonly skippedRows: number;
  /** Null for files without lines. */
  readonly lines: LineAccount | null;
  /** Warnings for the user. */
  readonly notes: readonly string[];
}

/** The account of a text with only blank lines. */
export function noRows(path: string, blank: number): FileAccount {
  return { path, rows: 0, skippedRows: 0, lines: { read: blank, header: 0, blank, quoted: 0, skipped: 0 }, notes: [] };
}

/** Why a log that was read cannot be used. */
export function noRowsFault(accounts: readonly FileAccount[]): HotsetError {
  const malformed = accounts.some(({ skippedRows }) => skippedRows > 0);
  const names = accounts.length === 1 ? accounts[0].path : `${accounts[0].path} and ${accounts.length - 1} more files`;
  return malformed
    ? new HotsetError(`Cannot read ${names}: every row is malformed`, { code: "bad-row" })
    : new HotsetError(`Cannot read ${names}: there are no rows`);
}

const count = z.number().int().nonnegative();

/** Schema of the accounts in a manifest: of the files that were split, then of those of the test split. */
export const fileAccounts: z.ZodType<FileAccount[][]> = z.array(z.array(
  z.object({
    path: z.string(),
    rows: count,
    skippedRows: count,
    lines: z.object({ read: count, header: count, blank: count, quoted: count, skipped: count }).nullable(),
    notes: z.array(z.string()),
  }).refine(
    ({ rows, lines }) =>
      lines === null || lines.read === lines.header + lines.blank + rows + lines.quoted + lines.skipped,
    "lines do not add up",
  ),
));

/** What a dataset records of how its logs were read. */
interface Reading {
  readonly read?: readonly (readonly FileAccount[])[] | undefined;
}

/** Maximum number of file names in a message. */
const SHOWN_NAMES = 12;

/** Notes for the user about how logs were read. */
export function readNotes({ read = [] }: Reading): string[] {
  const files = read.flat();
  return [
    ...read.flatMap(orderNotes),
    ...emptyNotes(files),
    ...files.flatMap(({ path, notes }) => notes.map((note) => `${path}: ${note}`)),
    ...lineNotes({ read }),
  ];
}

function orderNotes(files: readonly FileAccount[]): string[] {
  if (files.length < 2) return [];
  const names = files.map(({ path }) => path);
  const notes = [`Read in this order: ${shown(names)}`];
  const isSorted = (compare?: (a: string, b: string) => number) =>
    [...names].sort(compare).every((name, i) => name === names[i]);
  if (isSorted() && !isSorted(byNumbers)) {
    const at = names.findIndex((name, i) => i > 0 && byNumbers(names[i - 1], name) > 0);
    notes.push(
      `${basename(names[at - 1])} comes before ${
        basename(names[at])
      }, as a shell sorts them: quote the pattern to have ` +
        `files in the order of their numbers`,
    );
  }
  return notes;
}

function emptyNotes(files: readonly FileAccount[]): string[] {
  const empty = files.filter(({ rows, skippedRows }) => rows + skippedRows === 0);
  if (empty.length === 0) return [];
  const what = empty.length === 1 ? "1 file without rows is" : `${empty.length} files without rows are`;
  return [`${what} skipped: ${shown(empty.map(({ path }) => path))}`];
}

/** The sums over the lines of all texts; null if there are none. */
export function allLines({ read = [] }: Reading): LineAccount | null {
  const texts = read.flat().flatMap(({ lines }) => lines ?? []);
  const sum = (name: keyof LineAccount) => texts.reduce((total, lines) => total + lines[name], 0);
  if (texts.length === 0) return null;
  return {
    read: sum("read"),
    header: sum("header"),
    blank: sum("blank"),
    quoted: sum("quoted"),
    skipped: sum("skipped"),
  };
}

function lineNotes(reading: Reading): string[] {
  const skippedRows = reading.read!.flat().reduce((total, file) => total + file.skippedRows, 0);
  const notes = skippedRows === 0
    ? []
    : [`${counted(skippedRows, "malformed row")} ${skippedRows === 1 ? "was" : "were"} skipped`];
  const lines = allLines(reading);
  if (lines === null) return notes;
  const { read, header, blank, quoted, skipped } = lines;
  const parts = ([
    [header, "header"],
    [blank, "blank"],
    [quoted, "within quoted fields"],
    [skipped, "of skipped rows"],
  ] as const).flatMap(([lines, words]) => lines === 0 ? [] : [`, ${number(lines)} ${words}`]);
  const rows = read - header - blank - quoted - skipped;
  return [...notes, `${counted(read, "line")} read: ${counted(rows, "row")}${parts.join("")}`];
}

function counted(value: number, what: string): string {
  return `${number(value)} ${what}${value === 1 ? "" : "s"}`;
}

/** File names without their common directory, shortened to a few. */
function shown(paths: readonly string[]): string {
  const folders = paths.map((path) => path.slice(0, path.lastIndexOf("/") + 1));
  const common = folders.every((folder) => folder === folders[0]) ? folders[0].length : 0;
  const names = paths.map((path) => path.slice(common));
  if (names.length <= SHOWN_NAMES) return names.join(", ");
  return `${names.slice(0, SHOWN_NAMES - 2).join(", ")}, ... ${names.at(-1)} (${names.length} files)`;
}
