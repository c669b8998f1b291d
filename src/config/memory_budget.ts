/** How much memory a run may take. */

/** Bytes of the whole process, or a share of the bytes of the tables with their optimizer state. */
export type MemoryBudget = { readonly bytes: number } | { readonly share: number };
