/** How much memory a run may take. */
import { UsageError } from "../errors.ts";

/** Bytes of the whole process, or a share (from 0 to 1) of the bytes of the tables with their optimizer state. */
export type MemoryBudget = { readonly bytes: number } | { readonly share: number };

/** Throws UsageError unless the budget says one of both, within its range. */
export function expectBudget(memory: MemoryBudget): void {
  const { bytes, share } = memory as { readonly bytes?: unknown; readonly share?: unknown };
  const inRange = (value: unknown, most: number) => typeof value === "number" && value >= 0 && value <= most;
  if (share === undefined && inRange(bytes, Number.MAX_SAFE_INTEGER)) return;
  if (bytes === undefined && inRange(share, 1)) return;
  throw new UsageError(
    `Cannot use memory ${
      JSON.stringify(memory)
    }: it must be { bytes }, of the process, or { share }, from 0 to 1 of the rows`,
  );
}
