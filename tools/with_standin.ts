/**
 * Runs a command of deno in a process whose CUDA libraries are the stand-ins of tests/cuda_standin, as on a machine with
 * GPUs. Fails if clang++ 14, which builds them, is not installed.
 *
 *     deno run -A tools/with_standin.ts --devices 4 --delay 200 -- test -A tests/ranks/device_cached_ranks_slow_test.ts
 */
import { parseArgs } from "node:util";
import { standInAbsent, standInEnvironment } from "../tests/support/cuda_standin.ts";

const { values, positionals } = parseArgs({
  options: {
    devices: { type: "string", default: "1" },
    /** Longest random delay of an operation on a stream, in microseconds. */
    delay: { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
  },
  allowPositionals: true,
});
if (standInAbsent !== undefined) {
  console.error(`error: ${standInAbsent}`);
  Deno.exit(1);
}
const { devices, delay, seed } = values;
const env = standInEnvironment({ devices: Number(devices), delay: Number(delay), seed: Number(seed) });
const { code } = await new Deno.Command(Deno.execPath(), { args: positionals, env }).spawn().status;
Deno.exit(code);
