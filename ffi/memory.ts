/** Advice to the operating system about memory that this process already has. */
import { declare } from "./declare.ts";
import { openLibc } from "./libc.ts";
import { LibraryError } from "./library.ts";
import { addressOf } from "./pointer.ts";

const symbols = declare({
  madvise: ["i32", "buffer addr", "usize length", "i32 advice"],
});

/** MADV_HUGEPAGE of Linux. */
const HUGE_PAGES = 14;
/** madvise needs an address that is a multiple of this. */
const PAGE_BYTES = 4096;

let libc: Deno.StaticForeignLibraryInterface<typeof symbols> | undefined;

/**
 * Requests huge pages for `memory` from its first whole page on, which reduce TLB misses of random accesses to large
 * tables. Returns true if the system accepted the request; has no effect on other systems than Linux. The benefit is
 * certain only for memory that has not been used yet.
 */
export function adviseHugePages(memory: Uint8Array): boolean {
  if (Deno.build.os !== "linux") return false;
  try {
    libc ??= openLibc(symbols);
  } catch (error) {
    if (error instanceof LibraryError) return false;
    throw error;
  }
  const skip = Number(-addressOf(memory) & BigInt(PAGE_BYTES - 1));
  if (memory.length <= skip) return false;
  return libc.madvise(memory.subarray(skip) as Uint8Array<ArrayBuffer>, BigInt(memory.length - skip), HUGE_PAGES) === 0;
}
