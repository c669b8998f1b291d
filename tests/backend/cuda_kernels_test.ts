/** The committed PTX: made from the source beside it, for every GPU from V100 on, without spills. */
import assert from "node:assert/strict";
import {
  assemble,
  compile,
  kernelNames,
  ptxasRelease,
  resourceTable,
  staleKernels,
} from "../../tools/build_kernels.ts";

const KERNELS = new URL("../../src/backend/cuda/kernels/", import.meta.url);

function isInstalled(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** A test that needs a program; where it is missing the name says so. */
function testWith(program: string, name: string, fn: () => void): void {
  const ignore = !isInstalled(program);
  Deno.test({ name: ignore ? `${name} (skipped: ${program} is not installed)` : name, ignore, fn });
}

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

testWith("ptxas", "ptxas assembles every kernel for every architecture without spills, as resources.md records", () => {
  assert.deepEqual(assemble("loss", 75).map(({ entry, spillBytes }) => [entry, spillBytes]), [["loss", 0]]);
  const recorded = Deno.readTextFileSync(new URL("resources.md", KERNELS));
  const table = resourceTable(); // throws if an entry spills
  if (recorded.includes(`by ptxas ${ptxasRelease()};`)) assert.equal(table, recorded);
});
