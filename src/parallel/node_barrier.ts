/** Where the ranks of a node wait for each other in a step. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { ProcessGroups } from "./process_group.ts";

/**
 * Returns when all ranks of the node have called it; what they wrote to its memory is then visible. Waits for this rank's
 * device first, so that no other device waits for one whose rank sleeps here.
 */
export function nodeBarrier({ node, devices }: ProcessGroups<Buffer>, device: Backend): void {
  if (devices !== undefined) device.synchronize();
  node.barrier();
}
