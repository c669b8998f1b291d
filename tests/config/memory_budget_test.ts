import assert from "node:assert/strict";
import { bytesBefore, readBudget } from "../../src/config/memory_budget.ts";

Deno.test("a budget is written in bytes of the process or as a share of the tables", () => {
  assert.deepEqual(readBudget("6GiB"), { bytes: 6 * 2 ** 30 });
  assert.deepEqual(readBudget("25%"), { share: 0.25 });
  assert.deepEqual(readBudget("2.5 %"), { share: 0.025 });
  assert.deepEqual(readBudget("0"), { bytes: 0 });
  for (const text of ["", "%", "101%", "-1%", "much", "25%%", "6GiB%"]) {
    assert.throws(() => readBudget(text), /^Error: must be bytes of the process, as in 6GiB, or a share/, text);
  }
});

Deno.test("work before training has the budget of the process where that is the smaller one", () => {
  assert.equal(bytesBefore({ bytes: 100 }, 400), 100);
  assert.equal(bytesBefore({ bytes: 500 }, 400), 400);
  assert.equal(bytesBefore({ share: 0.1 }, 400), 400);
  assert.equal(bytesBefore(null, 400), 400);
});
