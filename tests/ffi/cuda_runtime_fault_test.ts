/** Which CUDA runtime works with which driver and GPU, and the message if none does. */
import assert from "node:assert/strict";
import { cudartFault, type CudartSymbols } from "../../ffi/cudart.ts";
import { EmulatedDevice } from "../../emulator/device.ts";

/** A runtime of a version on a machine with a driver, and with a GPU if the driver serves the version. */
function fault(runtime: number, driver: number, capability: readonly [number, number] = [9, 0]): string | undefined {
  using device = new EmulatedDevice({});
  const set = (target: unknown, value: number) => {
    (target as Int32Array)[0] = value;
    return 0;
  };
  const symbols: CudartSymbols = {
    ...device.cudart,
    cudaRuntimeGetVersion: (version) => set(version, runtime),
    cudaDriverGetVersion: (version) => set(version, driver),
    cudaGetDeviceCount: (count) => Math.floor(driver / 1000) < Math.floor(runtime / 1000) ? 35 : set(count, 1),
    cudaDeviceGetAttribute: (value, attribute) => set(value, capability[attribute - 75]),
  };
  return cudartFault(symbols);
}

Deno.test("a runtime fits a driver of its CUDA or a newer one; CUDA 13 has no code for Volta, Hotset none for older GPUs", () => {
  assert.equal(fault(13000, 13000), undefined);
  assert.equal(fault(12080, 13000), undefined);
  assert.equal(fault(13000, 13000, [7, 5]), undefined);
  assert.equal(fault(12080, 13000, [7, 0]), undefined);
  assert.equal(fault(11040, 11040, [7, 0]), undefined);
  assert.match(fault(13000, 13000, [7, 0])!, /GPU 0 has compute capability 7\.0.*CUDA 12: pip install .*-cu12/);
  assert.match(fault(12080, 13000, [6, 1])!, /^GPU 0 has compute capability 6\.1, but Hotset needs 7\.0/);
  assert.match(fault(13000, 13000, [6, 1])!, /^GPU 0 has compute capability 6\.1, but Hotset needs 7\.0/);
});

Deno.test("a driver that is too old is told from one that is not there", () => {
  assert.match(
    fault(13000, 12080)!,
    /\(35\).*supports CUDA 12, but this is the runtime of CUDA 13: update .*580.*-cu12/,
  );
  assert.match(fault(12080, 11040)!, /supports CUDA 11, .* CUDA 12: update .*525\), or install a toolkit of CUDA 11/);
  assert.match(fault(13000, 11040)!, /supports CUDA 11, .* CUDA 13: update .*, or install a toolkit of CUDA 11/);
  assert.match(fault(13000, 10020)!, /supports CUDA 10, .* CUDA 13: update .* CUDA 12 needs 525\)$/);
  assert.match(fault(13000, 0)!, /\(35\).*Install or update NVIDIA's driver until nvidia-smi lists the GPU$/);
});
