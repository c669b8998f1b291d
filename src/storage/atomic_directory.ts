/** Directories that appear under their names only when they are complete, and are removed as a whole. */
import { dirname } from "node:path";
import { isDirectory } from "./artifact.ts";
import { throughLinks } from "./links.ts";
import { partialPath, removeLeftovers, replacedPath } from "./partial.ts";

/** A directory that is filled at `temporary`; disposing it before `commit` removes it. Throws the errors of Deno. */
export class AtomicDirectory implements Disposable {
  /** Path of the directory until it is complete, next to its final path. */
  readonly temporary: string;
  /** Its final path, with links resolved. */
  readonly target: string;
  #isThere = true;

  /**
   * Begins a directory that will replace the one at `path` if `mayReplace` allows it; removes leftovers of killed
   * writers.
   */
  constructor(path: string, mayReplace: (target: string) => void) {
    this.target = throughLinks(path);
    Deno.mkdirSync(dirname(this.target), { recursive: true });
    removeLeftovers(this.target);
    mayReplace(this.target);
    this.temporary = partialPath(this.target);
    Deno.mkdirSync(this.temporary);
    Deno.chmodSync(this.temporary, 0o755);
  }

  /** Renames the complete directory to its final path. */
  commit(): void {
    const replaced = replacedPath(this.temporary);
    const exists = isDirectory(this.target);
    if (exists) Deno.renameSync(this.target, replaced);
    try {
      Deno.renameSync(this.temporary, this.target);
    } catch (error) {
      if (exists) Deno.renameSync(replaced, this.target);
      throw error;
    }
    this.#isThere = false;
    if (exists) Deno.removeSync(replaced, { recursive: true });
  }

  [Symbol.dispose](): void {
    if (!this.#isThere) return;
    this.#isThere = false;
    Deno.removeSync(this.temporary, { recursive: true });
  }
}

/** Removes a directory. Renames it first, so that a kill in between leaves a name that is recognised as a leftover. */
export function removeWhole(directory: string): void {
  const doomed = partialPath(directory);
  Deno.renameSync(directory, doomed);
  Deno.removeSync(doomed, { recursive: true });
}
