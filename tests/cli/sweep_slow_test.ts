/** What a sweep prints. */
import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

Deno.test("a run of a sweep that diverges is in the table, and the exit status says so, the second time too", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 600);
  const sweep = (...args: string[]) =>
    place.run("sweep", "log.tsv", "--learning-rate", "1e30,0.01", "--out", "out", "--quiet", ...TINY_MODEL, ...args);
  for (const time of ["first", "second"]) {
    const { code, stdout, stderr } = await sweep();
    assert.equal(code, 1, time);
    assert.match(
      stdout,
      /learningRate=0.01 +ended [^]*learningRate=1e\+30 +diverged [^]*\n {2}diverged: .*not a number/,
    );
    assert.match(
      stderr,
      /^error: Cannot complete the sweep in out: 1 of 2 runs diverged \(out\/learningRate=1e\+30\); /,
    );
  }
  const { code, stdout } = await sweep("--json");
  assert.equal(code, 1);
  const lines = jsonLines(stdout);
  const runs = lines.filter(({ event }) => event === "run").map(({ state, diverged }) => [state, diverged !== null]);
  assert.deepEqual(runs, [["ended", false], ["diverged", true]]);
  assert.equal(lines.at(-1).code, "diverged");
});
