/** The barrier of the ranks of a node within a step. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { ProcessGroups } from "./process_group.ts";

/**
 * Returns when all ranks of the node have called it; what they wrote to shared memory is then visible. Waits for this
 * rank's device first, so that no other device waits for a rank that is asleep.
 */
export function nodeBarrier({ node, devices }: ProcessGroups<Buffer>, device: Backend): void {
  if (devices !== undefined) device.synchronize();
  node.barrier();
}
