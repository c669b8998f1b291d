/** The committed PTX compiles for every GPU from V100 on, without register spills. */
import assert from "node:assert/strict";
import { assemble, ptxasRelease, resourceTable } from "../../tools/build_kernels.ts";
import { testWith } from "../support/programs.ts";

const RECORDED = new URL("../../src/backend/cuda/kernels/resources.md", import.meta.url);

testWith("ptxas", "ptxas assembles every kernel for every architecture without spills, as resources.md records", () => {
  assert.deepEqual(assemble("loss", 75).map(({ entry, spillBytes }) => [entry, spillBytes]), [["loss_total", 0], [
    "loss",
    0,
  ]]);
  const recorded = Deno.readTextFileSync(RECORDED);
  const table = resourceTable(); // throws if an entry spills
  if (recorded.includes(`by ptxas ${ptxasRelease()};`)) assert.equal(table, recorded);
});
