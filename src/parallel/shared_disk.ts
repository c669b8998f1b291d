/** Work that makes files, divided over the ranks that see each other's. */
import { existsSync } from "node:fs";
import { HotsetError, messageOf } from "../errors.ts";
import type { MpiWorld } from "./mpi_world.ts";
import { type ProcessGroup, together } from "./process_group.ts";

/**
 * Work that makes files in these directories, divided: by all ranks, or by those of each machine where they share no
 * disk. Throws on all ranks if it fails on one.
 */
export async function onSharedDisk<T>(
  world: MpiWorld,
  directories: readonly string[],
  work: (group: ProcessGroup) => T | Promise<T>,
): Promise<T> {
  const group = groupAt(world, directories);
  let done: { result: T } | undefined;
  let failure: unknown;
  try {
    done = { result: await work(group) };
  } catch (error) {
    // What the others of the group do not know is not to be agreed on: they are at other work.
    if (error !== group.failure) throw error;
    failure = error;
  }
  world.agree(failure);
  return done!.result;
}

/** The ranks that see what the first one writes to the directories: all, or else those of this machine. */
function groupAt(world: MpiWorld, directories: readonly string[]): ProcessGroup {
  const first = world.rank === 0;
  const probes = world.broadcast(together(world, () => first ? directories.map(newProbe) : []));
  const shared = !world.gather(probes.every(existsSync)).includes(false);
  if (first) { for (const probe of probes) Deno.removeSync(probe); }
  return shared ? world : world.machine;
}

/** A new file in a directory, which is made if it is not there. */
function newProbe(directory: string): string {
  try {
    Deno.mkdirSync(directory, { recursive: true });
    return Deno.makeTempFileSync({ dir: directory, prefix: ".shared-" });
  } catch (error) {
    throw new HotsetError(`Cannot write to ${directory}: ${messageOf(error)}`, { cause: error });
  }
}
