import assert from "node:assert/strict";
import { seriesLength } from "../support/series.ts";
import { fuzz } from "./fuzz.ts";

const CASES = seriesLength({ test: 300, all: 10_000, evidence: 1_000_000 });

Deno.test(`${CASES} damaged files of all kinds are read or refused`, async () => {
  const { cases, targets, failure } = await fuzz(CASES, 6);
  assert.equal(failure, undefined);
  assert.ok(cases >= CASES && targets >= 15, `${cases} cases of ${targets} targets`);
});
