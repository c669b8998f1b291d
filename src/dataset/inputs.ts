/** The files that a raw log consists of. */
import { globSync, type Stats, statSync } from "node:fs";
import { resolve } from "node:path";
import { type ErrorCode, HotsetError, messageOf } from "../errors.ts";

/** A file of a raw log. */
export interface InputFile {
  /** Absolute. */
  readonly path: string;
  /** Its length. */
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** Finds the files that paths and globs name, in the given order, those of a glob by name. Throws HotsetError. */
export function findInputs(patterns: readonly string[]): InputFile[] {
  return patterns.flatMap((pattern) => {
    const stats = statSync(pattern, { throwIfNoEntry: false });
    const names = stats === undefined && /[*?[{]/.test(pattern) ? globSync(pattern).sort() : [pattern];
    if (names.length === 0) throw new HotsetError(`Cannot read ${pattern}: no file matches`, { code: "not-found" });
    return names.map(inputFile);
  });
}

function inputFile(path: string): InputFile {
  const fail = (reason: string, code?: ErrorCode): never => {
    throw new HotsetError(`Cannot read ${path}: ${reason}`, { code });
  };
  let stats: Stats;
  const start = new Uint8Array(2);
  try {
    stats = statSync(path);
    if (stats.isFile()) {
      using file = Deno.openSync(path);
      file.readSync(start);
    }
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return fail("no permission", "denied");
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return fail("no such file", "not-found");
    return code === "EACCES" ? fail("no permission", "denied") : fail(messageOf(error));
  }
  if (stats.isDirectory()) fail(`it is a directory; name its files, for example '${path}/*.gz'`);
  if (!stats.isFile()) fail("it is not a file");
  if (stats.size === 0) fail("it is empty");
  if (start[0] === 0xff && start[1] === 0xfe || start[0] === 0xfe && start[1] === 0xff) {
    fail("it is UTF-16; convert it to UTF-8, for example with iconv");
  }
  return { path: resolve(path), bytes: stats.size, modified: Math.trunc(stats.mtimeMs) };
}

/** What a staged log is called in a message. */
export function namesOf(files: readonly InputFile[]): string {
  return files.length === 1 ? files[0].path : `${files[0].path} and ${files.length - 1} more files`;
}
