import assert from "node:assert/strict";
import { fuzz } from "./fuzz.ts";

const CASES = 20_000;

Deno.test(`${CASES} damaged files of all kinds are read or refused`, async () => {
  const { cases, targets, failure } = await fuzz(CASES, 6);
  assert.equal(failure, undefined);
  assert.ok(cases >= CASES && targets >= 15, `${cases} cases of ${targets} targets`);
});
