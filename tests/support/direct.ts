/** Finds out which files this process writes with direct I/O (Linux only). */
import { closeSync, constants, openSync, rmSync } from "node:fs";

/** True if the file system of a directory supports direct I/O. */
export function canWriteDirectly(directory: string): boolean {
  const path = `${directory}/probe`;
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  } finally {
    rmSync(path, { force: true });
  }
}

/** For each open file whose path ends with this text: whether it is written with direct I/O. */
export function directness(end: string): boolean[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      if (!Deno.readLinkSync(`/proc/self/fd/${name}`).endsWith(end)) return [];
      const flags = /^flags:\s+(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${name}`))![1];
      return [(parseInt(flags, 8) & constants.O_DIRECT) !== 0];
    } catch {
      return []; // closed in the meantime
    }
  });
}
