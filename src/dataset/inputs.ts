/** The files of a raw log. */
import { globSync, type Stats, statSync } from "node:fs";
import { join, parse, resolve, sep } from "node:path";
import { crc32 } from "node:zlib";
import { cannot, HotsetError, messageOf, UsageError } from "../errors.ts";
import { throughLinks } from "../storage/links.ts";
import { type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";
import { contentOf, type FileContent, MAGIC_BYTES, unreadable } from "./file_content.ts";
import type { Format } from "./formats.ts";

const PIECE_BYTES = 4 << 20;

export interface InputFile {
  /** Absolute path. */
  readonly path: string;
  readonly bytes: number;
  readonly content: FileContent;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** A file whose content has been read completely. */
export interface KnownFile extends InputFile {
  readonly crc32: number;
}

/**
 * Finds the files of paths and globs in the given order, those of a glob sorted by the numbers in their names. An
 * existing path is not a glob. Throws HotsetError.
 */
export function findInputs(patterns: readonly string[], format?: Format): InputFile[] {
  return patterns.flatMap((pattern) => {
    const names = isGlob(pattern) ? expand(pattern) : [pattern];
    if (names.length === 0) throw new HotsetError(`Cannot read ${pattern}: no file matches`, { code: "not-found" });
    return names.map((name) => inputFile(name, format === "parquet" ? "parquet" : "plain"));
  });
}

/** Throws UsageError if a file belongs to two splits, because metrics would then include samples used for training. */
export function expectApart(files: Readonly<Record<"train" | "validation" | "test", readonly InputFile[]>>): void {
  const splitOf = new Map<string, string>();
  for (const [split, verb] of [["train", "train"], ["validation", "validate"], ["test", "test"]] as const) {
    const paths = files[split].map(({ path }) => ({ path, target: throughLinks(path) }));
    for (const { path, target } of paths) {
      const other = splitOf.get(target);
      if (other === undefined) continue;
      throw new UsageError(`Cannot ${verb} on ${path}: it is also a ${other} file; remove it from one of them`);
    }
    for (const { target } of paths) splitOf.set(target, split);
  }
}

/** Throws UsageError if an output would overwrite an input. */
export function expectNoInput(out: string, inputs: readonly InputFile[]): void {
  const target = throughLinks(out);
  if (inputs.every(({ path }) => throughLinks(path) !== target)) return;
  throw new UsageError(`Cannot write ${out}: it is one of the files to read; choose another --out`);
}

function isGlob(pattern: string): boolean {
  return /[*?[{]/.test(pattern) && !exists(pattern);
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Directories of a pattern that exist are taken literally, whatever characters their names contain. */
function expand(pattern: string): string[] {
  const { root } = parse(pattern);
  const parts = pattern.slice(root.length).split(sep);
  let folder = root;
  while (parts.length > 1 && exists(join(folder, parts[0]))) folder = join(folder, parts.shift()!);
  return globSync(parts.join(sep), { cwd: resolve(folder) }).map((name) => join(folder, name)).sort(byNumbers);
}

/** Compares names with numbers by value: day_2 comes before day_10. */
export function byNumbers(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.match(/\d+|\D+/g) ?? []);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i], right[i]];
    const numbers = /\d/.test(x) && /\d/.test(y);
    if (numbers ? BigInt(x) !== BigInt(y) : x !== y) return (numbers ? BigInt(x) < BigInt(y) : x < y) ? -1 : 1;
  }
  return left.length - right.length || (a < b ? -1 : Number(a > b));
}

function inputFile(path: string, standard: FileContent): InputFile {
  const fail = cannot(`read ${path}`);
  let stats: Stats;
  let begin = new Uint8Array(MAGIC_BYTES), end = new Uint8Array(MAGIC_BYTES);
  try {
    stats = statSync(path);
    if (stats.isFile()) {
      using file = Deno.openSync(path);
      begin = begin.subarray(0, file.readSync(begin) ?? 0);
      file.seekSync(Math.max(0, stats.size - MAGIC_BYTES), Deno.SeekMode.Start);
      end = end.subarray(0, file.readSync(end) ?? 0);
    }
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return fail("no permission", "denied");
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return fail("no such file", "not-found");
    return code === "EACCES" ? fail("no permission", "denied") : fail(messageOf(error));
  }
  if (stats.isDirectory()) fail(`it is a directory; name its files, for example '${path}/*.gz'`);
  if (!stats.isFile()) fail("it is not a file");
  const fault = unreadable(begin);
  if (fault !== undefined) fail(fault);
  // An empty file may be an empty part of any type.
  const content = stats.size === 0 ? "plain" : contentOf(path, begin, end, standard);
  return { path: resolve(path), bytes: stats.size, content, modified: stats.mtimeMs };
}

/**
 * Reads files completely for their checksums, divided among the ranks of a group: files with equal paths and bytes are
 * equal, whenever they were written. Throws HotsetError.
 */
export async function identify(
  files: readonly InputFile[],
  group: ProcessGroup,
  onProgress: (fraction: number) => void,
): Promise<KnownFile[]> {
  const own = files.filter((_, i) => i % group.size === group.rank);
  const total = own.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const sums = await togetherAsync(group, async () => {
    const sums: number[] = [];
    for (const file of own) sums.push(await checksumOf(file, (bytes) => onProgress((done += bytes) / total)));
    return sums;
  });
  const all = group.gather(sums);
  return files.map((file, i) => ({ ...file, crc32: all[i % group.size][Math.floor(i / group.size)] }));
}

async function checksumOf(file: InputFile, onRead: (bytes: number) => void): Promise<number> {
  const piece = new Uint8Array(Math.min(PIECE_BYTES, file.bytes));
  let sum = 0;
  try {
    using opened = await Deno.open(file.path);
    // Not beyond the known length: another process may append as fast as this one reads.
    for (let left = file.bytes; left > 0;) {
      const count = await opened.read(piece.subarray(0, left)) ?? left;
      sum = crc32(piece.subarray(0, count), sum);
      left -= count;
      onRead(count);
    }
  } catch (error) {
    throw new HotsetError(`Cannot read ${file.path}: ${messageOf(error)}`, { cause: error });
  }
  expectUnchanged([file]);
  return sum;
}

/** Throws HotsetError if a file was changed since it was found. */
export function expectUnchanged(files: readonly InputFile[]): void {
  for (const { path, bytes, modified } of files) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.size === bytes && stats.mtimeMs === modified) continue;
    throw new HotsetError(`Cannot read ${path}: it changed while it was read; wait until it is complete`);
  }
}

/** Columns in the names of a path's directories, as in click=1/part-0.csv; null for no value. */
export function folderColumns(path: string): Map<string, string | null> {
  const columns = new Map<string, string | null>();
  for (const folder of path.split(sep).slice(0, -1)) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(folder) ?? [];
    if (name !== undefined) columns.set(name, value === "__HIVE_DEFAULT_PARTITION__" ? null : unescaped(value));
  }
  return columns;
}

/** Unescapes characters that paths cannot contain. */
function unescaped(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
