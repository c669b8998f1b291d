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

/** Throws HotsetError if the disk of `out` has fewer free bytes than needed: at once, not when it is full. */
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

/** Identities of files that have been counted: a file with several names takes its space once. */
export type CountedFiles = Set<string>;

/** Bytes of a file, or of all files below a directory; 0 for what was removed meanwhile. Links are not followed. */
export function bytesBelow(path: string, counted: CountedFiles = new Set()): number {
  try {
    const { size, isDirectory, isSymlink, dev, ino } = Deno.lstatSync(path);
    if (isDirectory) {
      return [...Deno.readDirSync(path)].reduce((sum, { name }) => sum + bytesBelow(join(path, name), counted), 0);
    }
    const identity = `${dev}:${ino}`;
    if (isSymlink || (ino !== null && counted.has(identity))) return 0;
    counted.add(identity);
    return size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
