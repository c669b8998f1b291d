/** Divides work that creates files among the ranks that can see the files. */
import { existsSync } from "node:fs";
import { attempt } from "../errors.ts";
import type { MpiWorld } from "./mpi_world.ts";
import { type ProcessGroup, together } from "./process_group.ts";

/**
 * Divides work that creates files in these directories among all ranks, or among those of each machine if machines
 * share no disk. Throws on all ranks if it fails on one.
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
    // The other ranks of the group do not know of this error and go on working, so this rank cannot wait for them to
    // agree.
    if (error !== group.failure) throw error;
    failure = error;
  }
  world.agree(failure);
  return done!.result;
}

/** The ranks that see files that the first one writes to the directories: all, or those of this machine. */
function groupAt(world: MpiWorld, directories: readonly string[]): ProcessGroup {
  const first = world.rank === 0;
  const probes = world.broadcast(together(world, () => first ? directories.map(newProbe) : []));
  const shared = !world.gather(probes.every(existsSync)).includes(false);
  if (first) { for (const probe of probes) Deno.removeSync(probe); }
  return shared ? world : world.machine;
}

/** A new file in a directory, which is created if needed. */
function newProbe(directory: string): string {
  return attempt(`Cannot write to ${directory}`, () => {
    Deno.mkdirSync(directory, { recursive: true });
    return Deno.makeTempFileSync({ dir: directory, prefix: ".shared-" });
  });
}
