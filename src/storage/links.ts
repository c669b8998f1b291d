/** Symbolic and hard links. */
import { basename, dirname, join, resolve } from "node:path";

/**
 * The absolute path with symbolic links resolved, also if nothing exists there yet: a replacement must be created next
 * to the target of a link and replace the target, not the link. Throws the errors of Deno for broken links.
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

/** The target of a symbolic link; undefined if the path is none. */
export function linkAt(path: string): string | undefined {
  try {
    return Deno.lstatSync(path).isSymlink ? Deno.readLinkSync(path) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

/**
 * Gives a file a second name: a hard link where the file system has them, else a copy that is on disk. Throws the
 * errors of Deno.
 */
export function linkOrCopy(source: string, target: string): void {
  try {
    Deno.linkSync(source, target);
  } catch (error) {
    // Writing to it would change the file under all its names.
    if (error instanceof Deno.errors.AlreadyExists) throw error;
    Deno.copyFileSync(source, target);
    using copy = Deno.openSync(target, { write: true });
    copy.syncDataSync();
  }
}
