import assert from "node:assert/strict";
import { example, examples, runExample, trainedExample } from "./support.ts";

Deno.test("examples: trains on a CSV file and scores it", async () => {
  const { directory, trained } = await trainedExample(2000);
  using _ = directory;
  const auc = Number(/^test AUC (\d\.\d+), logloss/m.exec(trained)?.[1]);
  assert.ok(auc > 0.55, trained);

  const best = (await runExample(directory.path, "score.ts", "run", "clicks.csv")).trimEnd().split("\n");
  assert.equal(best.length, 10);
  const probabilities = best.map((line) => Number(line.split("  ")[0]));
  assert.deepEqual(probabilities, probabilities.toSorted((a, b) => b - a));
  assert.match(best[0], /^0\.\d{4} {2}[01],\d+,\d+,u\d+,i\d+,/);
});

Deno.test("examples: the README lists all of them", () => {
  const text = Deno.readTextFileSync(example("README.md"));
  for (const name of examples()) assert.ok(text.includes(`examples/${name}`), name);
});
