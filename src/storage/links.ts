/** Where outputs go, and files of several names. */
import { basename, dirname, join, resolve } from "node:path";

/**
 * The absolute path of what a path names, with links followed, also to where nothing is yet: what replaces it must lie
 * beside it, and take its place, not that of a link to it. Throws what Deno throws for links that lead nowhere.
 */
export function throughLinks(path: string): string {
  const absolute = resolve(path);
  try {
    return Deno.realPathSync(absolute);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) || dirname(absolute) === absolute) throw error;
  }
  const folder = throughLinks(dirname(absolute));
  const here = join(folder, basename(absolute));
  const target = linkAt(here);
  return target === undefined ? here : throughLinks(resolve(folder, target));
}

/** What a link says; undefined if there is none. */
export function linkAt(path: string): string | undefined {
  try {
    return Deno.lstatSync(path).isSymlink ? Deno.readLinkSync(path) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

/** Gives a file another name: a hard link where the file system can, else a copy that is on the disk. Throws what Deno throws. */
export function linkOrCopy(source: string, target: string): void {
  try {
    Deno.linkSync(source, target);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw error; // writing to it would change all its names
    Deno.copyFileSync(source, target);
    using copy = Deno.openSync(target, { write: true });
    copy.syncDataSync();
  }
}
