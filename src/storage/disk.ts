/** Space on disks: free, and taken by files. */
import { statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { HotsetError } from "../errors.ts";
import { throughLinks } from "./links.ts";
import { bytes } from "../format.ts";

/** Free bytes on the disk of a path that may not exist yet; undefined if the system or Deno does not report them. */
export function freeBytes(path: string): number | undefined {
  try {
    for (let place = throughLinks(path);; place = dirname(place)) {
      try {
        const { bavail, bsize } = statfsSync(place);
        return bavail * bsize;
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOENT" || place === dirname(place)) throw error;
      }
    }
  } catch {
    return undefined;
  }
}

/** Throws HotsetError if the disk of `out` has fewer free bytes than needed, before anything is written. */
export function expectRoom(
  out: string,
  needed: number,
  doing: string,
  remedy = "name an --out on another disk",
): void {
  const free = freeBytes(out);
  if (free === undefined || needed <= free) return;
  throw new HotsetError(
    `Cannot ${doing}: it takes at least ${bytes(needed)} and the disk of ${out} has ${
      bytes(free)
    } free; make room, or ${remedy}`,
    { code: "no-space" },
  );
}

/** A file, which may have several names; its identity is the same for all of them. */
type FileFound = Readonly<{ size: number; identity: string; names: number }>;

/** The names of files at or below a path, without those that were removed meanwhile. Links are not followed. */
function* filesBelow(path: string): Generator<FileFound> {
  try {
    const { size, isDirectory, isSymlink, dev, ino, nlink } = Deno.lstatSync(path);
    if (isDirectory) { for (const { name } of Deno.readDirSync(path)) yield* filesBelow(join(path, name)); }
    else if (!isSymlink) yield { size, identity: ino === null ? path : `${dev}:${ino}`, names: nlink ?? 1 };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Bytes of a file, or of all files below a directory. A file with several names counts once. */
export function bytesBelow(path: string): number {
  const sizes = new Map([...filesBelow(path)].map(({ identity, size }) => [identity, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** Bytes that removing paths frees: files that have another name elsewhere keep their space. */
export function bytesFreed(paths: readonly string[]): number {
  const found = new Map<string, { file: FileFound; seen: number }>();
  for (const path of paths) {
    for (const file of filesBelow(path)) {
      found.set(file.identity, { file, seen: (found.get(file.identity)?.seen ?? 0) + 1 });
    }
  }
  return [...found.values()].filter(({ file, seen }) => seen >= file.names)
    .reduce((sum, { file }) => sum + file.size, 0);
}

/** Removes a directory unless it has files, or another process has removed it. */
export function removeIfEmpty(directory: string): void {
  try {
    Deno.removeSync(directory);
  } catch {
    // It stays, or has gone.
  }
}
