/** How a program learns of a failure: the exit status, and with --json an object with a code. */
import assert from "node:assert/strict";
import { codeOf, ERROR_CODES, type ErrorCode, HotsetError, Interrupted, UsageError } from "../../src/errors.ts";
import { someOf } from "../support/series.ts";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

/** A command, what it exits with and the code of its error. */
const CASES: [[string, ...string[]], status: number, code: ErrorCode][] = [
  [["train", "--nope"], 2, "usage"],
  [["tran"], 2, "usage"],
  [["train", "data", "--epochs", "0"], 2, "usage"],
  [["train", "--resume"], 2, "usage"],
  [["train", "--config"], 2, "usage"],
  [["prepare", "nowhere.tsv", "--out", "new"], 1, "not-found"],
  [["prepare", "nowhere_*.tsv", "--out", "new"], 1, "not-found"],
  [["layout", "nowhere"], 1, "not-found"],
  [["evaluate", "nowhere"], 1, "not-found"],
  [["train", "data", "--out", "data"], 1, "occupied"],
  [["train", "data", "--out", "run"], 1, "occupied"],
  [["profile", "data", "--out", "data"], 1, "occupied"],
  [["generate", "--raw", "--samples", "9", "--out", "log.tsv"], 1, "occupied"],
  [["layout", "damaged"], 1, "damaged"],
  [["evaluate", "damaged_run"], 1, "damaged"],
  [["train", "data", "--out", "hot", "--learning-rate", "1e30", ...TINY_MODEL], 1, "diverged"],
  [["prepare", "log.tsv", "--out", "/proc/new"], 1, "not-found"],
  [["prepare", "broken.tsv", "--out", "new"], 1, "bad-row"],
  [["prepare", "empty.tsv", "--out", "new"], 1, "failed"],
];

Deno.test("errors: exit status and code, with --json as the last line of stdout", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 600);
  place.write("broken.tsv", "2\n");
  place.write("empty.tsv", "\n");
  await place.succeed("prepare", "log.tsv", "--out", "data");
  await place.succeed("prepare", "log.tsv", "--out", "damaged");
  Deno.truncateSync(place.join("damaged/counts.u32"), 5);
  for (const run of ["run", "damaged_run"]) {
    Deno.mkdirSync(place.join(run));
    place.write(`${run}/run.json`, '{"hotset": "run", "version": 3}');
  }
  const cases = someOf(CASES, 4);
  const outcomes = await Promise.all(cases.map(([args]) => place.run(...args, "--json", "--quiet")));
  for (const [i, [args, status, code]] of cases.entries()) {
    const { code: actual, stdout, stderr } = outcomes[i];
    const said = `hotset ${args.join(" ")}\n${stderr}${stdout}`;
    assert.equal(actual, status, said);
    const { message, ...event } = jsonLines(stdout).at(-1);
    assert.deepEqual(event, { event: "error", code }, said);
    assert.ok(stderr.trimEnd().endsWith(`error: ${message}`), said);
  }
});

Deno.test("errors: a cause gives its code to what it causes", () => {
  const full = Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
  const cases: [unknown, ErrorCode][] = [
    [new HotsetError("Cannot write a", { cause: full }), "no-space"],
    [new HotsetError("Cannot save", { cause: new HotsetError("Cannot write a", { cause: full }) }), "no-space"],
    [new HotsetError("Cannot write a", { cause: full, code: "busy" }), "busy"],
    [new HotsetError("Cannot write a", { cause: new Deno.errors.NotCapable("no") }), "denied"],
    [new HotsetError("Cannot do it", { cause: new TypeError("x is not a function") }), "failed"],
    [new UsageError("Cannot use both"), "usage"],
    [new Interrupted("Interrupted by SIGTERM"), "interrupted"],
    [new TypeError("x is not a function"), "defect"],
    ["text", "defect"],
  ];
  for (const [error, code] of cases) assert.equal(codeOf(error), code, `${error}`);
});

Deno.test("errors: docs/operations.md lists every code, as it is described, and no other", () => {
  const text = Deno.readTextFileSync(new URL("../../docs/operations.md", import.meta.url));
  const rows = [...text.matchAll(/^\| `([a-z-]+)` +\| (\d(?:, \d+)*|\d+, \d+, \d+) +\| (.*?) +\|$/gm)];
  assert.deepEqual(Object.fromEntries(rows.map(([, code, , meaning]) => [code, meaning])), ERROR_CODES);
});
