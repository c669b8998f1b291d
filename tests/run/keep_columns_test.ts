/** Input columns are written next to the scores of their rows. */
import assert from "node:assert/strict";
import { keepColumns, predictRun, writeScores } from "../../src/run/score_run.ts";
import { COLUMNS, csvOf, logRow, TrainedRun } from "../serving/support.ts";

Deno.test("predict keeps columns of any kind, and others, in the order of the rows", async () => {
  using trained = await TrainedRun.create();
  const rows: Record<string, string>[] = Array.from({ length: 50 }, (_, i) => ({
    ...logRow(i),
    request: i === 3 ? `"a, ""b"""` : `r${i}`,
  }));
  const names = [...COLUMNS.map(({ name }) => name), "request"];
  const first = trained.join("a.csv"), second = trained.join("b.csv"), out = trained.join("scores.csv");
  Deno.writeTextFileSync(first, csvOf(rows.slice(0, 20), names));
  Deno.writeTextFileSync(second, csvOf(rows.slice(20), names.toReversed()));
  const inputs = [first, second];
  const kept = await keepColumns(trained.run, inputs, ["request", "city"]);
  const scores = await predictRun(trained.run, inputs, { blas: "wasm" }, () => {});
  await writeScores(scores, out, "csv", kept);
  const [head, ...lines] = Deno.readTextFileSync(out).trimEnd().split("\n");
  assert.equal(head, "row,probability,request,city");
  assert.deepEqual(
    lines,
    rows.map(({ request, city }, i) => `${i},${scores[i].toPrecision(7)},${request},${city}`),
  );
  await writeScores(scores, out, "json", kept);
  const { event, row, kept: values } = JSON.parse(Deno.readTextFileSync(out).split("\n")[3]);
  assert.deepEqual([event, row, values], ["score", 3, {
    request: 'a, "b"',
    city: rows[3].city === "" ? null : rows[3].city,
  }]);
  await assert.rejects(
    keepColumns(trained.run, inputs, ["requests"]),
    /^UsageError: Cannot keep column requests: .*a\.csv has no such column; did you mean "request"\?$/,
  );
  await assert.rejects(
    () => writeScores(scores.subarray(1), out, "csv", kept),
    /^HotsetError: Cannot write request, city beside the scores: 50 rows were read and 49 scored/,
  );
});
