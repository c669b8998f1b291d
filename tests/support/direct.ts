/** Which files this process writes past the system's cache; Linux tells. */
import { closeSync, constants, openSync, rmSync } from "node:fs";

/** True if the file system of a directory can write so. */
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

/** Of the open files whose path ends so: whether they are written past the cache. */
export function directness(end: string): boolean[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      if (!Deno.readLinkSync(`/proc/self/fd/${name}`).endsWith(end)) return [];
      const flags = /^flags:\s+(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${name}`))![1];
      return [(parseInt(flags, 8) & constants.O_DIRECT) !== 0];
    } catch {
      return []; // closed meanwhile
    }
  });
}
