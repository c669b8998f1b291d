/** Each table of `deno task evidence` has a place in its page, which states what was not run. */
import assert from "node:assert/strict";
import { tableOf } from "../tools/evidence/evidence.ts";
import { SERIES } from "../tools/evidence/series.ts";
import { withTable } from "../tools/page_table.ts";

Deno.test("every series has one place in its page and parts of different names", () => {
  for (const { name, page, parts } of SERIES) {
    const text = Deno.readTextFileSync(new URL(`../${page}`, import.meta.url));
    assert.equal(text.split(`<!-- evidence ${name} -->`).length, 2, `${page}: ${name}`);
    assert.equal(new Set(parts.map((part) => part.name)).size, parts.length, name);
  }
});

Deno.test("a table replaces the last one, and its neighbours stay", () => {
  const page = "a\n<!-- evidence x -->\nold\n<!-- /evidence -->\nb\n<!-- evidence y -->\nc\n<!-- /evidence -->\n";
  assert.equal(
    withTable(page, "evidence x", "new"),
    "a\n<!-- evidence x -->\n\nnew\n\n<!-- /evidence -->\nb\n<!-- evidence y -->\nc\n<!-- /evidence -->\n",
  );
  assert.throws(() => withTable(page, "evidence z", "new"), /no place for the table evidence z/);
});

Deno.test("a row is the output of its part; one that was not run says so", () => {
  const part = (name: string) => ({ name, args: [], row: () => [] });
  const series = { name: "x", page: "x.md", columns: ["case", "passed", "failed"], parts: [part("a"), part("b")] };
  const done = { commit: "0123456789", date: "", code: 0, row: ["7", "0"] };
  assert.equal(
    tableOf(series, ({ name }) => name === "a" ? done : undefined, "a processor"),
    "| case | passed | failed |\n| --- | --- | --- |\n| a | 7 | 0 |\n| b | not run |  |\n\nCommit 0123456, a processor.",
  );
});
