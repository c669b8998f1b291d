/** Memory that the processes of a node share: pages of each process are replaced by shared pages. */
import { closeSharedPages, createSharedPages, mapSharedPages, type SharedPages } from "../../ffi/shared_pages.ts";
import type { ProcessGroups } from "./process_group.ts";

/** Size of the memory that is mapped to test whether the processes of a machine can share memory. */
const PROBE_BYTES = 65_536;

/**
 * Replaces the memory of `target` (whole pages, the same on all ranks of a node) by memory that the processes of this
 * node share; new memory is zero. Collective over the world. Returns false if a rank failed to map it; the content is
 * then undefined.
 */
export function shareMemory({ world, node }: Pick<ProcessGroups, "world" | "node">, target: Uint8Array): boolean {
  const pages = node.rank === 0 ? pagesOf(target.length) : null;
  const place = node.broadcast(pages && { process: pages.process, file: pages.file });
  const mapped = place !== null && isMapped(place, target);
  const all = world.gather(mapped).every(Boolean); // and all have mapped it
  if (pages !== null) closeSharedPages(pages);
  return all;
}

function pagesOf(bytes: number): SharedPages | null {
  try {
    return createSharedPages(bytes);
  } catch {
    return null;
  }
}

function isMapped(place: Pick<SharedPages, "process" | "file">, target: Uint8Array): boolean {
  try {
    mapSharedPages(place, target);
    return true;
  } catch {
    return false;
  }
}

/** True if the processes of every node see each other's writes. */
export function canShareMemory(groups: Pick<ProcessGroups, "world" | "node">): boolean {
  const { world, node } = groups;
  if (node.size === 1) return true;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const bytes = new Uint8Array(memory.buffer, 0, PROBE_BYTES);
  if (!shareMemory(groups, bytes)) return false;
  bytes[node.rank] = node.rank + 1;
  world.barrier();
  const seen = Array.from({ length: node.size }, (_, rank) => bytes[rank] === (rank + 1) % 256);
  return world.gather(seen.every(Boolean)).every(Boolean);
}
