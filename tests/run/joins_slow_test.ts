/** Many pairs of logs with different dictionaries. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { joinInEveryWay, ownDictionaries, sameDictionary } from "../support/joins.ts";
import { seriesLength } from "../support/series.ts";

Deno.test("every way to join a model with data maps by value or refuses", async () => {
  const outcomes = { taken: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.oneof(ownDictionaries, ownDictionaries, sameDictionary), async (logs) => {
      const { length } = await joinInEveryWay(logs);
      assert.ok(length === 0 || length === 4, "all ways agree");
      outcomes[length === 0 ? "refused" : "taken"]++;
    }),
    { seed: 14, numRuns: seriesLength({ test: 20, all: 20, evidence: 40 }), endOnFailure: true },
  );
  assert.ok(outcomes.taken >= 5 && outcomes.refused >= 5, JSON.stringify(outcomes));
});
