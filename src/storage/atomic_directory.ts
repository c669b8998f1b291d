/** Directories that appear under their names only when they are complete, and are removed as a whole. */
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { isDirectory } from "./artifact.ts";
import { throughLinks } from "./links.ts";

/** Suffix of a directory that is being replaced. */
const REPLACED = ".replaced";

/** Directories that this thread is filling. Long work takes breaks, in which the program may begin another one. */
const filling = new Set<string>();

/** A directory that is filled at `temporary`; disposing it before `commit` removes it. Throws the errors of Deno. */
export class AtomicDirectory implements Disposable {
  /** Path of the directory until it is complete, next to its final path. */
  readonly temporary: string;
  /** Its final path, with links resolved. */
  readonly target: string;

  /**
   * Begins a directory that will replace the one at `path` if `mayReplace` allows it; removes leftovers of killed
   * writers.
   */
  constructor(path: string, mayReplace: (target: string) => void) {
    this.target = throughLinks(path);
    const parent = dirname(this.target);
    Deno.mkdirSync(parent, { recursive: true });
    removeLeftovers(this.target);
    mayReplace(this.target);
    this.temporary = Deno.makeTempDirSync({ dir: parent, prefix: `${partialPrefix(this.target)}${Deno.pid}-` });
    filling.add(resolve(this.temporary));
    Deno.chmodSync(this.temporary, 0o755);
  }

  /** Renames the complete directory to its final path. */
  commit(): void {
    const replaced = this.temporary + REPLACED;
    const exists = isDirectory(this.target);
    if (exists) Deno.renameSync(this.target, replaced);
    Deno.renameSync(this.temporary, this.target);
    filling.delete(resolve(this.temporary));
    if (exists) Deno.removeSync(replaced, { recursive: true });
  }

  [Symbol.dispose](): void {
    if (filling.delete(resolve(this.temporary))) Deno.removeSync(this.temporary, { recursive: true });
  }
}

function partialPrefix(target: string): string {
  return `.${basename(target)}.partial-`;
}

/** Removes a directory. Renames it first, so that a kill in between leaves a name that is recognised as a leftover. */
export function removeWhole(directory: string): void {
  const doomed = join(dirname(directory), `${partialPrefix(directory)}${Deno.pid}-removed`);
  Deno.renameSync(directory, doomed);
  Deno.removeSync(doomed, { recursive: true });
}

/** Removes what killed processes left of a directory, except the old directory if there is no new one. */
function removeLeftovers(directory: string): void {
  const target = throughLinks(directory);
  const prefix = partialPrefix(target);
  for (const { name } of Deno.readDirSync(dirname(target))) {
    const leftover = join(dirname(target), name);
    if (!name.startsWith(prefix) || isInUse(leftover, parseInt(name.slice(prefix.length)))) continue;
    // A writer that was killed between its two renames has moved the old directory away and not yet renamed the new
    // one.
    if (name.endsWith(REPLACED) && !isDirectory(target)) Deno.renameSync(leftover, target);
    else Deno.removeSync(leftover, { recursive: true });
  }
}

const LEFTOVER = /^\.(.+)\.partial-/;

/** True if a directory with this name is one that its process has not completed. */
export function isPartial(name: string): boolean {
  return LEFTOVER.test(name);
}

/** Removes all such leftovers in a folder. */
export function removeAllLeftovers(folder: string): void {
  const begun = [...Deno.readDirSync(folder)].flatMap(({ name }) => LEFTOVER.exec(name)?.[1] ?? []);
  for (const name of new Set(begun)) removeLeftovers(join(folder, name));
}

/** The leftovers in a folder that `removeAllLeftovers` removes. */
export function leftoversIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => {
    const target = LEFTOVER.exec(name)?.[1];
    if (target === undefined) return false;
    if (isInUse(join(folder, name), parseInt(name.slice(partialPrefix(target).length)))) return false;
    return !name.endsWith(REPLACED) || isDirectory(join(folder, target));
  }).map((name) => join(folder, name));
}

/** True if the process that began the directory still fills it. */
function isInUse(directory: string, pid: number): boolean {
  // In containers, process ids repeat: other directories with the id of this process are those of an earlier one.
  if (pid === Deno.pid) return filling.has(resolve(directory));
  try {
    return process.kill(pid, 0) && !isZombie(pid);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** True if a process has ended, and keeps its id until its parent has asked how. */
function isZombie(pid: number): boolean {
  try {
    return /\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false; // the system does not say
  }
}
