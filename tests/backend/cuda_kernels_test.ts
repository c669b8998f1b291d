/** The committed PTX was compiled from the source next to it. */
import assert from "node:assert/strict";
import { compile, kernelNames, staleKernels } from "../../tools/build_kernels.ts";
import { occupanciesOf } from "../../bench/kernel_table.ts";
import { occupancy } from "../../tools/occupancy.ts";
import { testWith } from "../support/programs.ts";

const KERNELS = new URL("../../src/backend/cuda/kernels/", import.meta.url);

Deno.test("every kernel's PTX was built from its source as it is now", () => {
  assert.deepEqual(staleKernels(), []);
  assert.ok(kernelNames().length >= 7);
});

Deno.test("the PTX says version 7.0 and target sm_70", () => {
  for (const name of kernelNames()) {
    const text = Deno.readTextFileSync(new URL(`${name}.ptx`, KERNELS));
    assert.match(text, /^\.version 7\.0\n\.target sm_70\n/m, name);
  }
});

Deno.test("row updates occupy at least 37 % of a multiprocessor of sm_90", () => {
  const occupancies = occupanciesOf(Deno.readTextFileSync(new URL("resources.md", KERNELS)), 90);
  assert.equal(occupancies.architecture, "sm_90");
  const shares = [...occupancies.of].filter(([entry]) => entry.startsWith("update_rows")).map(([, share]) => share);
  assert.equal(shares.length, 8);
  for (const share of shares) assert.ok(Number.parseInt(share) >= 37, share);
});

Deno.test("occupancy is limited by registers, blocks, warps or shared memory, as in NVIDIA's calculator", () => {
  const of = (architecture: number, threads: number, registers: number, sharedBytes: number) =>
    occupancy(architecture, { threads, registers, sharedBytes });
  assert.equal(of(90, 256, 78, 6304), 24 / 64, "25 warps have registers: 3 blocks");
  assert.equal(of(90, 256, 64, 6304), 32 / 64);
  assert.equal(of(80, 32, 16, 0), 32 / 64, "32 blocks of a warp");
  assert.equal(of(86, 1024, 31, 128), 32 / 48, "one block of 32 warps");
  assert.equal(of(89, 64, 31, 20_000), 8 / 48, "4 blocks have shared memory, with 1 KiB each for the system");
  assert.equal(of(75, 64, 31, 20_000), 6 / 32, "3 blocks have shared memory");
  assert.throws(() => of(52, 32, 16, 0), TypeError);
});

testWith("clang-14", "compiling the sources again gives the committed PTX", () => {
  for (const name of kernelNames()) {
    assert.equal(compile(name), Deno.readTextFileSync(new URL(`${name}.ptx`, KERNELS)), name);
  }
});
