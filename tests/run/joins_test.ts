/** A model meets the ids of another dictionary by value or not at all; joins_slow_test.ts tries more. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { joinInEveryWay, ownDictionaries, sameDictionary } from "../support/joins.ts";

Deno.test("every way to join a model with data maps by value or refuses: one pair of logs of each kind", async () => {
  const [same] = fc.sample(sameDictionary, { numRuns: 1, seed: 4 });
  const [own] = fc.sample(ownDictionaries, { numRuns: 1, seed: 4 });
  assert.deepEqual(await joinInEveryWay(same), ["evaluate", "from", "import", "import"]);
  assert.deepEqual(await joinInEveryWay(own), []);
});
