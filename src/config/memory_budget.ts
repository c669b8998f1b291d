/** The memory budget of a run. */
import { z } from "zod";
import { parseBytes } from "../format.ts";

/**
 * Bytes of the whole process; or a share (0 to 1) of the tables with their optimizer state, in addition to what the
 * same run takes with tiny tables.
 */
export type MemoryBudget = { readonly bytes: number } | { readonly share: number };

const EXPECTED = "must be { bytes }, of the whole process, or { share }, from 0 to 1 of the tables with their state";

export const memoryBudget: z.ZodType<MemoryBudget> = z.custom<MemoryBudget>(isBudget, EXPECTED);

function isBudget(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 1) return false;
  const { bytes, share } = value as { readonly bytes?: unknown; readonly share?: unknown };
  const inRange = (value: unknown, most: number) => typeof value === "number" && value >= 0 && value <= most;
  return Number.isInteger(bytes) && inRange(bytes, Number.MAX_SAFE_INTEGER) || inRange(share, 1);
}

/** Parses a budget: "6GiB" for the process, or "25%" of the tables. Throws an error that states the syntax. */
export function readBudget(text: string): MemoryBudget {
  const [, share] = /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(text) ?? [];
  if (share !== undefined && Number(share) <= 100) return { share: Number(share) / 100 };
  const bytes = parseBytes(text);
  if (bytes === undefined) {
    throw new Error("must be bytes of the process, as in 6GiB, or a share of the tables, as in 25%");
  }
  return { bytes };
}

/**
 * Maximum memory of stages before training: `limit`, and the budget if it is a number of bytes (a share needs the size
 * of the tables, which is not known yet).
 */
export function bytesBefore(memory: MemoryBudget | null | undefined, limit: number): number {
  return memory && "bytes" in memory ? Math.min(memory.bytes, limit) : limit;
}
