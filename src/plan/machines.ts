/**
 * Machines that training can be planned for. Figures are peaks from NVIDIA's data sheets of the SXM cards (V100: 900 GB/s,
 * 15.7 TFLOPS, NVLink 300 GB/s; A100 80 GB: 2,039 GB/s, 19.5, 600; H100: 3.35 TB/s, 67, 900) and from the numbers of
 * channels and the clocks of the hosts' processors. Links are halved: data sheets add both directions.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { HotsetError, messageOf, UsageError } from "../errors.ts";

const positive = z.number().positive().finite();
const machineFile = z.strictObject({
  name: z.string().min(1),
  deviceGb: positive,
  deviceGbPerSecond: positive,
  deviceTflops: positive,
  kernelMicroseconds: positive,
  launchMicroseconds: positive,
  linkGbPerSecond: positive,
  copyMicroseconds: positive,
  peersGbPerSecond: positive,
  cores: positive.int(),
  coreGflops: positive,
  hostGbPerSecond: positive,
  rowNanoseconds: positive,
});

/** A machine with GPUs. GB are 10^9 bytes, GFLOPs and TFLOPs 10^9 and 10^12 floating-point operations a second. */
export interface GpuMachine {
  /** Its name. */
  readonly name: string;
  /** Memory of each device, in GB. */
  readonly deviceGb: number;
  /** Bandwidth of this memory, in GB/s. */
  readonly deviceGbPerSecond: number;
  /** Speed of a device in single precision without TF32, in TFLOPs. */
  readonly deviceTflops: number;
  /** Time from one kernel to the next in a recorded sequence, in microseconds. */
  readonly kernelMicroseconds: number;
  /** The same if kernels are launched one by one. */
  readonly launchMicroseconds: number;
  /** Bandwidth between host and a device in one direction, in GB/s. */
  readonly linkGbPerSecond: number;
  /** Latency of a copy, in microseconds. */
  readonly copyMicroseconds: number;
  /** Rate at which a device receives from others, in GB/s. */
  readonly peersGbPerSecond: number;
  /** Cores of the host. */
  readonly cores: number;
  /** Speed of a core in single precision, in GFLOPs. */
  readonly coreGflops: number;
  /** Bandwidth of host memory for all cores together, in GB/s. */
  readonly hostGbPerSecond: number;
  /** Time of a core for a row in host memory that is not in its caches, in nanoseconds. */
  readonly rowNanoseconds: number;
}

/** Not in data sheets: usual values of CUDA, and a core that reads four rows of 100 ns at a time. */
const ASSUMED = { kernelMicroseconds: 2, launchMicroseconds: 5, copyMicroseconds: 10, rowNanoseconds: 25 };

/** By name. The hosts of A100 and H100 are those of the DGX with the card, that of V100 is the paper's. */
const MACHINES = {
  // NVLink 2, PCIe 3 x16; the paper's two Xeon Silver 4116 of 12 cores, 2.1 GHz, 6 channels of DDR4-2400 each
  v100: {
    ...{ name: "V100", deviceGb: 16, deviceGbPerSecond: 900, deviceTflops: 15.7, linkGbPerSecond: 15.75 },
    ...{ peersGbPerSecond: 150, cores: 24, coreGflops: 67, hostGbPerSecond: 230, ...ASSUMED },
  },
  // NVLink 3, PCIe 4 x16; two EPYC 7742 of 64 cores, 2.25 GHz, 8 channels of DDR4-3200 each
  a100: {
    ...{ name: "A100", deviceGb: 80, deviceGbPerSecond: 2039, deviceTflops: 19.5, linkGbPerSecond: 31.5 },
    ...{ peersGbPerSecond: 300, cores: 128, coreGflops: 72, hostGbPerSecond: 410, ...ASSUMED },
  },
  // NVLink 4, PCIe 5 x16; two Xeon Platinum 8480C of 56 cores, 2 GHz, 8 channels of DDR5-4800 each
  h100: {
    ...{ name: "H100", deviceGb: 80, deviceGbPerSecond: 3350, deviceTflops: 67, linkGbPerSecond: 63 },
    ...{ peersGbPerSecond: 450, cores: 112, coreGflops: 128, hostGbPerSecond: 614, ...ASSUMED },
  },
} satisfies Record<string, GpuMachine>;

/** Names of the machines that are known. */
export const MACHINE_NAMES = Object.keys(MACHINES) as (keyof typeof MACHINES)[];

/** A machine by its name, or from a JSON file with the fields of `GpuMachine`. Throws UsageError or HotsetError. */
export function gpuMachine(nameOrFile: string): GpuMachine {
  if (Object.hasOwn(MACHINES, nameOrFile)) return MACHINES[nameOrFile as keyof typeof MACHINES];
  let text: string;
  try {
    text = readFileSync(nameOrFile, "utf8");
  } catch (error) {
    const names = MACHINE_NAMES.join(", ");
    throw new UsageError(`Cannot plan for "${nameOrFile}": neither one of ${names} nor a file (${messageOf(error)})`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HotsetError(`Cannot read the machine in ${nameOrFile}: ${messageOf(error)}`);
  }
  const parsed = machineFile.safeParse(value);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new HotsetError(`Cannot read the machine in ${nameOrFile}: ${[...path, message].join(": ")}`);
}
