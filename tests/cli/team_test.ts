/** prepare by several MPI processes: if one fails, all end. */
import assert from "node:assert/strict";
import { runMpi, testWithEach } from "../support/mpirun.ts";
import { Workplace } from "./support.ts";

const CLI = new URL("../../cli.ts", import.meta.url);

testWithEach("a malformed row ends all ranks with one error", async (launcher) => {
  using place = new Workplace();
  const [first, ...more] = Deno.readTextFileSync(await place.log("whole.tsv", 60)).trimEnd().split("\n");
  const logs = [[first], more.slice(0, 30), [more[30].replace("\t", ""), ...more.slice(31)]] // not the first rank's
    .map((lines, k) => place.write(`log-${k}.tsv`, `${lines.join("\n")}\n`));
  const divided = ["prepare", ...logs, "--out", place.join("data"), "--quiet", "--collective", "mpi"];
  const { code, stderr } = await runMpi(launcher, [2, 1], CLI, divided, {}, place.path);
  assert.equal(code, 1);
  const errors = stderr.split("\n").filter((line) => line.startsWith("error:"));
  assert.equal(errors.length, 1, stderr);
  assert.match(errors[0], /^error: Cannot read .*log-2\.tsv: line 1: /);
  assert.deepEqual(place.files(), ["log-0.tsv", "log-1.tsv", "log-2.tsv", "whole.tsv"]);
});
