/** The committed PTX was compiled from the source next to it. */
import assert from "node:assert/strict";
import { compile, kernelNames, staleKernels } from "../../tools/build_kernels.ts";
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

testWith("clang-14", "compiling the sources again gives the committed PTX", () => {
  for (const name of kernelNames()) {
    assert.equal(compile(name), Deno.readTextFileSync(new URL(`${name}.ptx`, KERNELS)), name);
  }
});
