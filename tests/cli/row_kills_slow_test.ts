/** A few of the kills of tools/faults.ts, which makes hundreds. */
import assert from "node:assert/strict";
import { runRowKills } from "../support/row_kills.ts";

Deno.test("runs with rows on a disk that are killed at random moments end with the bits of one in memory", async () => {
  const { injected, faults } = await runRowKills(4, 41);
  assert.deepEqual(faults, []);
  assert.equal(injected.train + injected.resume, 4);
});
