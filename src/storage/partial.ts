/** Names of files and directories that are being written, and what processes that ended left under such names. */
import { rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isDirectory } from "./artifact.ts";
import { throughLinks } from "./links.ts";
import { writerMark, writerState } from "./writer.ts";

/** The output whose writer gave something this name. */
const PARTIAL = /^\.(.+)\.partial-/;
/** Suffix of a directory that is being replaced. */
const REPLACED = ".replaced";

/** What a writer left. */
export interface Leftover {
  readonly path: string;
  /** The output of which it is. */
  readonly target: string;
  /** The host of its writer if that is another one, where it may still write; else undefined. */
  readonly host: string | undefined;
  /** True of the old output if there is no new one: the writer was killed between its two renames. */
  readonly isOnlyCopy: boolean;
}

/** A new name beside an output for what will replace it. */
export function partialPath(target: string): string {
  const unique = crypto.randomUUID().slice(0, 8);
  return join(dirname(target), `.${basename(target)}.partial-${writerMark()}${unique}`);
}

/** The name under which the old directory is kept while the one at `partial` takes its place. */
export function replacedPath(partial: string): string {
  return partial + REPLACED;
}

/** True if a file or directory with this name is one that its process has not completed. */
export function isPartial(name: string): boolean {
  return PARTIAL.test(name);
}

/** What writers left in a folder that do not run here. */
export function leftoversIn(folder: string): Leftover[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name }) => {
    const found = PARTIAL.exec(name);
    const state = found === null ? "running" : writerState(name.slice(found[0].length));
    if (state === "running") return [];
    const target = join(folder, found![1]);
    const isOnlyCopy = name.endsWith(REPLACED) && !isDirectory(target);
    return [{ path: join(folder, name), target, host: state === "ended" ? undefined : state.host, isOnlyCopy }];
  });
}

/** Removes what ended writers left, those of other hosts only if `everywhere`; gives an only copy its name back. */
function remove(leftovers: readonly Leftover[], everywhere: boolean): void {
  for (const { path, target, host, isOnlyCopy } of leftovers) {
    if (host !== undefined && !everywhere) continue;
    if (isOnlyCopy && !isDirectory(target)) Deno.renameSync(path, target);
    else rmSync(path, { recursive: true, force: true }); // another process may remove it too
  }
}

/** Removes what ended writers of this host left of an output. */
export function removeLeftovers(output: string): void {
  const target = throughLinks(output);
  remove(leftoversIn(dirname(target)).filter((leftover) => leftover.target === target), false);
}

/** Removes what ended writers left in a folder; with `everywhere` also what writers of other hosts did. */
export function removeAllLeftovers(folder: string, everywhere = false): void {
  remove(leftoversIn(folder), everywhere);
}
