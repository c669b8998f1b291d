/** Free space on disks. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
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
