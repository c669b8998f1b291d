/** Occupancy of a multiprocessor, from the limits in NVIDIA's programming guide. */

/** What a multiprocessor holds at once. */
interface Multiprocessor {
  readonly warps: number;
  readonly blocks: number;
  readonly sharedKiB: number;
  /** Shared memory that the system takes for each block. */
  readonly reservedBytes: number;
}

const MULTIPROCESSORS: Readonly<Record<number, Multiprocessor>> = {
  75: { warps: 32, blocks: 16, sharedKiB: 64, reservedBytes: 0 },
  80: { warps: 64, blocks: 32, sharedKiB: 164, reservedBytes: 1024 },
  86: { warps: 48, blocks: 16, sharedKiB: 100, reservedBytes: 1024 },
  89: { warps: 48, blocks: 24, sharedKiB: 100, reservedBytes: 1024 },
  90: { warps: 64, blocks: 32, sharedKiB: 228, reservedBytes: 1024 },
  100: { warps: 64, blocks: 32, sharedKiB: 228, reservedBytes: 1024 },
  120: { warps: 48, blocks: 24, sharedKiB: 100, reservedBytes: 1024 },
};
/** A multiprocessor has four parts, each with so many registers, which warps receive in units. */
const PARTS = 4;
const PART_REGISTERS = 16_384;
const REGISTER_UNIT = 256;
/** Shared memory is allocated in units of so many bytes. */
const SHARED_UNIT = 128;

/**
 * Warps that fit on a multiprocessor of an architecture (90 is sm_90) at once, divided by the warps that it can hold.
 * Throws TypeError for an architecture that is not in the table.
 */
export function occupancy(
  architecture: number,
  { threads, registers, sharedBytes }: { threads: number; registers: number; sharedBytes: number },
): number {
  const limits = MULTIPROCESSORS[architecture];
  if (limits === undefined) throw new TypeError(`The limits of sm_${architecture} are not known`);
  const warps = Math.ceil(threads / 32);
  const warpRegisters = Math.ceil(32 * registers / REGISTER_UNIT) * REGISTER_UNIT;
  const shared = Math.ceil((sharedBytes + limits.reservedBytes) / SHARED_UNIT) * SHARED_UNIT;
  const blocks = Math.min(
    limits.blocks,
    Math.floor(limits.warps / warps),
    Math.floor(PARTS * Math.floor(PART_REGISTERS / warpRegisters) / warps),
    shared === 0 ? Infinity : Math.floor(1024 * limits.sharedKiB / shared),
  );
  return blocks * warps / limits.warps;
}
