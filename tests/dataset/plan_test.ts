/** Results of the SQL for fields and values in DuckDB. */
import assert from "node:assert/strict";
import { Engine } from "../../src/dataset/duckdb.ts";
import { fieldBuilder, parsedRows } from "../../src/dataset/fields.ts";
import { logSchema } from "../../src/dataset/schema.ts";
import { keys } from "../../src/dataset/value_rules.ts";
import { TemporaryDirectory } from "./support.ts";

Deno.test("fields and keys are made row by row: a long IN would become a join of all rows in every scan", async () => {
  using directory = new TemporaryDirectory();
  using engine = await Engine.create(directory.path, { memoryBytes: 2 ** 28, threads: 1 });
  const { data: schema } = logSchema.safeParse({
    columns: [
      { name: "label", kind: "label", positive: ["a", "b", "c", "d", "e", "f", "g"] },
      { name: "moment", kind: "time" },
      { name: "hour", kind: "dense", transform: "hour" },
      { name: "sparse", kind: "sparse" },
      { name: "bag", kind: "bag", separator: "|" },
    ],
  });
  const field = fieldBuilder(undefined, undefined);
  const fields = [...schema!.columns, { name: "flag", kind: "label" } as const]
    .flatMap((column, i) => field(column, { raw: `c${i}`, type: undefined }));
  await engine.run(
    "CREATE TABLE file AS SELECT i AS c0, i AS c1, i AS c2, i AS c3, i AS c4, i AS c5 " +
      "FROM (SELECT range::VARCHAR AS i FROM range(10))",
  );
  const values = fields.map(({ value, staged }, i) => `${value} AS ${staged === "label" ? `label${i}` : staged}`);
  await engine.run(
    `CREATE VIEW staged AS SELECT ${values.join(", ")}, ${fields.map(({ good }) => good).join(" AND ")} AS good ` +
      `FROM ${parsedRows("file", fields)}`,
  );
  const [[, plan]] = await engine.rows(
    `EXPLAIN SELECT ${keys(schema!, ["number", "number"], undefined).join(", ")} FROM staged`,
  );
  assert.match(String(plan), /file/);
  assert.doesNotMatch(String(plan), /JOIN/);
});
